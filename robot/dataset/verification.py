"""`verify`: whether all episodes of a dataset are whole, episode by episode.

Thorough, every file is read: for our own datasets its checksum is compared, for all the rows and
the frames of the videos are counted and their instants compared, and images in the rows have to be
there, with their ends. Otherwise only the presence of the
files is looked at, and the last episode thoroughly. Images are not decoded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ...errors import DatasetError
from .commit_plan import REDO, crc32_of
from .dataset_info import EPISODES_PATH, DatasetInfo, read_info
from .dataset_reader import episode_entries, episode_files, read_stats, read_tasks
from .file_version import FileVersion
from .recorded_episode import EpisodeEntry, RecordedEpisode, VideoSpan
from .stored_images import image_fault

CRC32 = "crc32"
"""The last part of the columns of meta/episodes that have the checksums of an episode's files."""

_TOLERANCE_S = 1e-4
_ATTEMPTS, _COMMIT_S = 10, 0.05
"""A commit of another process takes some milliseconds."""


@dataclass(frozen=True)
class VerifiedEpisode:
    """What was found of one episode. `meta_file` is that of its row, relative to the root."""

    entry: EpisodeEntry
    meta_file: str
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Verification:
    """Of a whole dataset. `faults` are those of no single episode."""

    info: DatasetInfo
    episodes: tuple[VerifiedEpisode, ...]
    faults: tuple[str, ...]

    @property
    def whole(self) -> bool:
        return not self.faults and not any(each.faults for each in self.episodes)


def verify(root: Path, thorough: bool = True) -> Verification:
    """Raises DatasetError where there is no dataset, or its info.json cannot be read."""
    info = read_info(root)
    episodes = tuple(verify_episodes(root, info, thorough))
    faults = []
    if (root / REDO).exists():
        faults.append("a commit was interrupted: the next recording, or a repair, completes it")
    frames = sum(each.entry.length for each in episodes)
    if frames != info.total_frames:
        faults.append(f"info.json counts {info.total_frames} frames, the episodes have {frames}")
    if info.total_episodes:
        try:
            tasks = read_tasks(root)
            if len(tasks) != info.total_tasks:
                faults.append(f"info.json counts {info.total_tasks} tasks, there are {len(tasks)}")
        except DatasetError as error:
            faults.append(str(error))
        try:
            read_stats(root)
        except DatasetError as error:
            faults.append(str(error))
    return Verification(info, episodes, tuple(faults))


def verify_episodes(root: Path, info: DatasetInfo, thorough: bool) -> Iterator[VerifiedEpisode]:
    """The episodes that info.json counts, in order; one without a row is a fault too."""
    rows = _rows(root, info)
    expected_from: int | None = 0
    """None after an episode without a row: how long it was is not known."""
    for index in range(info.total_episodes):
        if index not in rows:
            absent = EpisodeEntry(index, 0, (), 0, 0, "", {})
            expected_from = None
            yield VerifiedEpisode(absent, "", ("meta/episodes has no row of it",))
            continue
        entry, meta_file = rows[index]
        faults = []
        first = entry.from_index if expected_from is None else expected_from
        if (entry.from_index, entry.to_index) != (first, first + entry.length):
            faults.append(
                f"its frames are {entry.from_index} to {entry.to_index}, expected {first} to "
                f"{first + entry.length}"
            )
        expected_from = first + entry.length
        if thorough or index == info.total_episodes - 1:
            faults += _steadily(root, info, entry, root / meta_file)
        else:
            faults += _files(root, entry)
        yield VerifiedEpisode(entry, meta_file, tuple(faults))


def _steadily(root: Path, info: DatasetInfo, entry: EpisodeEntry, meta_file: Path) -> list[str]:
    """What is wrong with the episode, also while its videos are transcoded: a checksum that was
    read before its video was replaced is read again."""
    for _ in range(_ATTEMPTS):
        faults = _thoroughly(root, info, entry)
        if not faults:
            break
        if (root / REDO).exists():
            time.sleep(_COMMIT_S)
        elif entry == (now := _row_again(info, meta_file, entry)):
            break
        else:
            entry = now
    return faults


def _row_again(info: DatasetInfo, meta_file: Path, entry: EpisodeEntry) -> EpisodeEntry:
    try:
        rows = episode_entries(info, [meta_file])
        return next((each for each in rows if each.index == entry.index), entry)
    except DatasetError:
        return entry


def last_faults(root: Path, info: DatasetInfo, place: int) -> list[str]:
    """What is wrong with the last episode, which is alone in the files of `place`. Raises
    DatasetError where its row cannot be read."""
    chunk, file = divmod(place, info.chunks_size)
    path = root / EPISODES_PATH.format(chunk_index=chunk, file_index=file)
    rows = list(episode_entries(info, [path]))
    if len(rows) != 1 or rows[0].index != info.total_episodes - 1:
        return [f"{path} has {len(rows)} rows, expected that of {info.total_episodes - 1}"]
    (entry,) = rows
    if (entry.to_index, entry.to_index - entry.from_index) != (info.total_frames, entry.length):
        return [f"its frames end at {entry.to_index}, expected {info.total_frames}"]
    return _thoroughly(root, info, entry)


def _rows(root: Path, info: DatasetInfo) -> dict[int, tuple[EpisodeEntry, str]]:
    found: dict[int, tuple[EpisodeEntry, str]] = {}
    for path in episode_files(root):
        try:
            rows = list(episode_entries(info, [path]))
        except DatasetError:
            # Its episodes are then without a row.
            continue
        name = path.relative_to(root).as_posix()
        found |= {entry.index: (entry, name) for entry in rows}
    return found


def _files(root: Path, entry: EpisodeEntry) -> list[str]:
    paths = [entry.data, *(span.path for span in entry.videos.values())]
    return [f"{path} is missing" for path in paths if not (root / path).is_file()]


def _thoroughly(root: Path, info: DatasetInfo, entry: EpisodeEntry) -> list[str]:
    faults = _files(root, entry)
    if faults:
        return faults
    faults += _checksum(root, entry, f"data/{CRC32}", entry.data)
    instants = _data(root, info, entry, faults)
    for camera, span in entry.videos.items():
        different = _checksum(root, entry, f"videos/{camera}/{CRC32}", span.path)
        faults += different or _video(root / span.path, span, instants, info.fps)
    if not faults:
        for camera in info.cameras:
            if info.features[camera].dtype == "image":
                faults += _stored(root, info, entry, camera)
    return faults


def _stored(root: Path, info: DatasetInfo, entry: EpisodeEntry, camera: str) -> list[str]:
    """What is wrong with images that are in the rows."""
    try:
        values = RecordedEpisode(root, info, (), entry).column(camera)
    except DatasetError as error:
        return [str(error)]
    judged = ((number, image_fault(value)) for number, value in enumerate(values))
    found = [f"image {number} of {camera} {fault}" for number, fault in judged if fault]
    more = f", and {len(found) - 1} more are damaged" if len(found) > 1 else ""
    return [f"{entry.data}: {found[0]}{more}"] if found else []


def _checksum(root: Path, entry: EpisodeEntry, column: str, path: str) -> list[str]:
    wanted = entry.extra.get(column)
    if wanted is None or crc32_of(root / path) == wanted:
        return []
    return [f"{path} has another content than when it was recorded"]


def _data(
    root: Path, info: DatasetInfo, entry: EpisodeEntry, faults: list[str]
) -> NDArray[np.float64]:
    """The instants of the rows; adds what is wrong with them to `faults`."""
    columns = ["timestamp", "frame_index", "episode_index", "index"]
    only = [("episode_index", "=", entry.index)]
    expected = np.arange(entry.length)
    try:
        table: Any = pq.read_table(root / entry.data, columns=columns, filters=only)
    except (OSError, pa.ArrowException) as error:
        faults.append(f"{entry.data} cannot be read: {error}")
        return expected / info.fps
    if len(table) != entry.length:
        faults.append(f"{entry.data} has {len(table)} rows of it, expected {entry.length}")
        return expected / info.fps
    instants: NDArray[np.float64] = table.column("timestamp").to_numpy().astype(np.float64)
    for name, wanted in (
        ("frame_index", expected),
        ("index", entry.from_index + expected),
    ):
        if not np.array_equal(table.column(name).to_numpy(), wanted):
            faults.append(f"{entry.data}: {name} does not count up by one")
    if not np.allclose(instants, expected / info.fps, atol=_TOLERANCE_S):
        faults.append(f"{entry.data}: timestamp is not frame_index / {info.fps:g}")
    return instants


def video_instants_s(path: Path) -> list[float]:
    """Those of all frames of a video, in order. Raises av.FFmpegError, IndexError or OSError for a
    file that cannot be read."""
    return _instants_s(FileVersion.of(path))


@lru_cache(maxsize=8)
def _instants_s(file: FileVersion) -> list[float]:
    # LeRobot puts many episodes into one.
    with av.open(str(file.path)) as container:
        stream = container.streams.video[0]
        base = stream.time_base
        assert base is not None
        return sorted(
            float(packet.pts * base) for packet in container.demux(stream) if packet.pts is not None
        )


def _video(path: Path, span: VideoSpan, instants: NDArray[np.float64], fps: float) -> list[str]:
    try:
        found = video_instants_s(path)
    except (av.FFmpegError, IndexError, OSError) as error:
        return [f"{span.path} cannot be read: {error}"]
    within = [at for at in found if span.from_s - 0.5 / fps <= at < span.to_s - 0.5 / fps]
    if len(within) != len(instants):
        return [f"{span.path} has {len(within)} frames of it, expected {len(instants)}"]
    away_s = np.abs(np.array(within) - span.from_s - instants).max(initial=0.0)
    if away_s > 0.5 / fps:
        return [f"{span.path}: a frame is {away_s:.3f} s away from its row"]
    return []
