"""`EpisodeRows`: rows of meta/episodes anew, from the files of rows and the videos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import DatasetError
from . import episode_stats
from .commit_plan import crc32_of
from .dataset_info import DatasetInfo
from .episode_stats import PixelStats, Stats
from .recorded_episode import EpisodeEntry, RecordedEpisode, VideoSpan
from .recovery import stats_columns
from .verification import CRC32, video_instants_s


@dataclass(frozen=True)
class FoundEpisode:
    """An episode as its rows say; `data` is their file, `own` whether it has no other episode."""

    index: int
    length: int
    first: int
    data: str
    own: bool
    tasks: tuple[int, ...]
    success: bool | None


def found_episodes(root: Path) -> Iterator[FoundEpisode]:
    """By the files of rows that can be read, in order."""
    for path in sorted(root.glob("data/chunk-*/file-*.parquet")):
        try:
            with pq.ParquetFile(path) as file:
                names = [n for n in file.schema_arrow.names if n in _READ]
                table = file.read(names, use_threads=False)
        except (OSError, pa.ArrowException):
            continue  # its episodes are not known
        column = {name: table.column(name).to_numpy() for name in table.column_names}
        indices = np.unique(column["episode_index"])
        for index in indices.tolist():
            rows = column["episode_index"] == index
            judged = column["success"][rows] if "success" in column else np.array([-1])
            yield FoundEpisode(
                index=index,
                length=int(rows.sum()),
                first=int(column["index"][rows][0]),
                data=path.relative_to(root).as_posix(),
                own=len(indices) == 1,
                tasks=tuple(dict.fromkeys(column["task_index"][rows].tolist())),
                success=None if judged[0] < 0 else bool(judged[0]),
            )


_READ = ("episode_index", "index", "task_index", "success")


def place_of(path: str) -> tuple[int, int]:
    """Chunk and file of a path of the layout."""
    parts = PurePosixPath(path)
    return int(parts.parent.name.partition("-")[2]), int(parts.stem.partition("-")[2])


def spans(
    root: Path, info: DatasetInfo, camera: str, episodes: list[FoundEpisode]
) -> dict[int, VideoSpan]:
    """Where each episode's frames of a camera are. Raises DatasetError where that is not known."""
    files = sorted((root / "videos" / camera).glob("chunk-*/file-*.mp4"))
    if all(episode.own for episode in episodes):
        made = {}
        for each in episodes:
            path = info.video_file(camera, *place_of(each.data))
            made[each.index] = VideoSpan(path, 0.0, each.length / info.fps)
        return made
    # As LeRobot writes: one episode after the other, in files of about the same size.
    made, left = {}, list(episodes)
    for file in files:
        frames, at = len(video_instants_s(file)), 0
        while left and at + left[0].length <= frames:
            each = left.pop(0)
            ends = at + each.length
            path = file.relative_to(root).as_posix()
            made[each.index] = VideoSpan(path, at / info.fps, ends / info.fps)
            at = ends
        if at != frames:
            break
    if left:
        raise DatasetError(
            f"not known: where in the videos of {camera} episode {left[0].index} and those after "
            "it are, because the frames do not add up to the rows"
        )
    return made


def new_row(
    root: Path,
    info: DatasetInfo,
    found: FoundEpisode,
    tasks: tuple[str, ...],
    meta: str,
    videos: dict[str, VideoSpan],
) -> dict[str, pa.Array]:
    """The columns of one row of the file `meta`, with statistics and checksums of what is there."""
    entry = EpisodeEntry(
        index=found.index,
        length=found.length,
        tasks=tuple(tasks[number] for number in found.tasks),
        from_index=found.first,
        to_index=found.first + found.length,
        data=found.data,
        videos=videos,
    )
    row: dict[str, Any] = {
        "episode_index": entry.index,
        "tasks": list(entry.tasks),
        "length": entry.length,
        "dataset_from_index": entry.from_index,
        "dataset_to_index": entry.to_index,
        "success": found.success,
        "robot": None,
        "recorded_at": None,
        f"data/{CRC32}": crc32_of(root / entry.data),
    }
    for name, path in {"data": found.data, "meta/episodes": meta}.items():
        row |= dict(zip((f"{name}/chunk_index", f"{name}/file_index"), place_of(path), strict=True))
    for camera, span in videos.items():
        chunk, file = place_of(span.path)
        row |= {
            f"videos/{camera}/chunk_index": chunk,
            f"videos/{camera}/file_index": file,
            f"videos/{camera}/from_timestamp": span.from_s,
            f"videos/{camera}/to_timestamp": span.to_s,
            f"videos/{camera}/{CRC32}": crc32_of(root / span.path),
        }
    kinds = {
        "tasks": pa.list_(pa.string()),
        "success": pa.bool_(),
        "robot": pa.string(),
        "recorded_at": pa.string(),
    }
    columns = {key: pa.array([value], kinds.get(key)) for key, value in row.items()}
    return columns | stats_columns(stats_of(root, info, entry, tasks))


def stats_of(
    root: Path, info: DatasetInfo, entry: EpisodeEntry, tasks: tuple[str, ...]
) -> dict[str, Stats]:
    """The statistics of an episode: of its numbers, and of all its images, which are decoded."""
    episode = RecordedEpisode(root, info, tasks, entry)
    numbers = [
        key
        for key, of in info.features.items()
        if not of.visual and not of.dtype.startswith(("string", "large_string"))
    ]
    made = {
        key: episode_stats.of_column(values) for key, values in episode.columns(numbers).items()
    }
    for camera in info.cameras:
        if not info.features[camera].is_depth:
            pixels = PixelStats()
            for image in episode.frames(camera):
                pixels.add(image)
            made[camera] = pixels.stats()
    return made
