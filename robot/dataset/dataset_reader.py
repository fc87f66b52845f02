"""`Dataset`: reading a LeRobotDataset v3.0, ours or any other.

Several episodes may share a file, as lerobot writes them. Opening a dataset reads info.json and the
tasks, the first use of `episodes` the rest of its meta folder. Does not check that the data and
videos are whole; `verification.verify` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import DatasetError
from .dataset_info import INFO, STATS, TASKS, DatasetInfo, Feature, read_info
from .recorded_episode import EpisodeEntry, RecordedEpisode, VideoSpan

_KNOWN = ("episode_index", "length", "tasks", "dataset_from_index", "dataset_to_index")


class Dataset:
    """A dataset as it was when opened. Raises DatasetError: none, of another version, or damaged.

    `len()` is the number of its episodes.
    """

    def __init__(self, path: str | Path) -> None:
        self.root = Path(path).expanduser()
        self.info: DatasetInfo = read_info(self.root)
        self.tasks: tuple[str, ...] = read_tasks(self.root) if self.info.total_tasks else ()

    @cached_property
    def episodes(self) -> tuple[EpisodeEntry, ...]:
        """Those that meta/info.json counts, in order. The first use reads meta/episodes; raises
        DatasetError where it lacks one."""
        return tuple(_committed(self.root, self.info))

    @property
    def fps(self) -> float:
        return self.info.fps

    @property
    def features(self) -> dict[str, Feature]:
        return self.info.features

    @property
    def cameras(self) -> tuple[str, ...]:
        return self.info.cameras

    @property
    def frames(self) -> int:
        """The number of frames of all episodes."""
        return self.info.total_frames

    def names(self, key: str) -> tuple[str, ...]:
        """The names of the parts of a vector, such as `observation.state`; empty if it has none."""
        feature = self.features.get(key)
        if feature is None:
            raise DatasetError(f"no feature {key}; there are {', '.join(self.features)}")
        return feature.flat_names

    def __len__(self) -> int:
        return self.info.total_episodes

    def episode(self, index: int) -> RecordedEpisode:
        if not 0 <= index < len(self.episodes):
            raise DatasetError(f"{self.root} has no episode {index}: it has {len(self.episodes)}")
        return RecordedEpisode(self.root, self.info, self.tasks, self.episodes[index])

    def __iter__(self) -> Iterator[RecordedEpisode]:
        return (self.episode(index) for index in range(len(self)))

    def stats(self) -> dict[str, dict[str, Any]]:
        """meta/stats.json: `min`, `max`, `mean`, `std`, `count` and quantiles of each feature, as
        nested lists."""
        return read_stats(self.root)


def read_stats(root: Path) -> dict[str, dict[str, Any]]:
    """The content of meta/stats.json. Raises DatasetError."""
    path = root / STATS
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, Any]])
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise DatasetError(f"{path} is damaged: {error}") from error


def read_tasks(root: Path) -> tuple[str, ...]:
    """The tasks by `task_index`."""
    table = read_parquet(root / TASKS)
    index = table.column_names
    # pandas keeps the sentences as the table's index, which has its own name or none.
    text = next((name for name in ("task", "__index_level_0__") if name in index), None)
    if text is None or "task_index" not in index:
        raise DatasetError(f"{root / TASKS} has the columns {index}, expected task and task_index")
    found = dict(
        zip(table.column("task_index").to_pylist(), table.column(text).to_pylist(), strict=True)
    )
    if sorted(found) != list(range(len(found))):
        raise DatasetError(f"{root / TASKS} has the task_index {sorted(found)}, expected 0, 1, ...")
    return tuple(found[number] for number in range(len(found)))


def episode_entries(info: DatasetInfo, files: Iterable[Path]) -> Iterator[EpisodeEntry]:
    """The rows of these files of meta/episodes, in their order. Raises DatasetError."""
    for path in files:
        for row in read_parquet(path, lambda name: not name.startswith("stats/")).to_pylist():
            yield to_entry(row, info, path)


def to_entry(row: dict[str, Any], info: DatasetInfo, path: Path) -> EpisodeEntry:
    """One row of the file `path` of meta/episodes, without its statistics. Raises DatasetError."""

    def place(key: str) -> tuple[int, int]:
        return row.pop(f"{key}/chunk_index"), row.pop(f"{key}/file_index")

    try:
        index, length, tasks, first, last = (row.pop(name) for name in _KNOWN)
        data = info.data_file(*place("data"))
        videos = {
            camera: VideoSpan(
                info.video_file(camera, *place(f"videos/{camera}")),
                row.pop(f"videos/{camera}/from_timestamp"),
                row.pop(f"videos/{camera}/to_timestamp"),
            )
            for camera in info.video_cameras
        }
    except KeyError as error:
        raise DatasetError(f"{path} lacks the column {error}") from error
    extra = {key: value for key, value in row.items() if not key.startswith("meta/")}
    return EpisodeEntry(index, length, tuple(tasks), first, last, data, videos, extra)


def episode_files(root: Path) -> list[Path]:
    """The files of meta/episodes, in order."""
    return sorted((root / "meta" / "episodes").glob("chunk-*/file-*.parquet"))


def read_parquet(path: Path, only: Callable[[str], bool] | None = None) -> pa.Table:
    """The whole table, or the columns whose names `only` accepts. Raises DatasetError."""
    try:
        # Not `read_table`, which takes ten times as long for a small file.
        with pq.ParquetFile(path) as file:
            names = [name for name in file.schema_arrow.names if only is None or only(name)]
            return file.read(names, use_threads=False)
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing") from error
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error


def _committed(root: Path, info: DatasetInfo) -> Iterator[EpisodeEntry]:
    if info.total_episodes == 0:
        return
    found = {entry.index: entry for entry in episode_entries(info, episode_files(root))}
    missing = [index for index in range(info.total_episodes) if index not in found]
    if missing:
        raise DatasetError(
            f"{root / INFO} counts {info.total_episodes} episodes, but meta/episodes lacks "
            f"{', '.join(map(str, missing[:5]))}{' and more' if len(missing) > 5 else ''}"
        )
    yield from (found[index] for index in range(info.total_episodes))
