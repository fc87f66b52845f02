"""`EpisodePages`: the list of a dataset's episodes, a page at a time.

Of a dataset of any size only those files of meta/episodes are read that a page needs, and of them
neither the statistics nor the frames. What is counted of an episode (steps by hand, repeated
images) is taken from its statistics, so that it is unknown where a dataset has none.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import DatasetError
from .dataset_info import INFO, read_info
from .dataset_reader import episode_files, read_tasks, to_entry
from .file_version import FileVersion
from .recorded_episode import EpisodeEntry, RecordedEpisode

_COUNTED = {"interventions": "stats/intervention/mean", "repeated": "stats/repeated/mean"}
"""The shares of the frames that make a count."""
_ROWS = 64
"""Rows of meta/episodes that become Python objects at a time."""
_SHORT_FILES, _LONG_FILES = 10_000, 8
"""How many files of meta/episodes are kept in memory. Ours have one row, of which reading costs
some milliseconds; those of lerobot have thousands."""


@dataclass(frozen=True)
class EpisodeSummary:
    """One episode of the list. `interventions` are frames in which a person commanded, `repeated`
    images that stand for one that was not there; None where the dataset does not say it."""

    entry: EpisodeEntry
    interventions: int | None
    repeated: int | None

    @property
    def success(self) -> bool | None:
        """None if it was not judged."""
        said = self.entry.extra.get("success")
        return None if said is None else bool(said)


@dataclass(frozen=True)
class EpisodeFilter:
    """Which episodes are wanted: of this success, one of `yes`, `no` and `unjudged`; with or
    without interventions; with a task that contains `task`. None and "": any."""

    success: str | None = None
    intervention: bool | None = None
    task: str = ""

    def accepts(self, episode: EpisodeSummary) -> bool:
        judged = {True: "yes", False: "no", None: "unjudged"}[episode.success]
        if self.success is not None and self.success != judged:
            return False
        if self.intervention is not None and self.intervention != bool(episode.interventions):
            return False
        wanted = self.task.casefold()
        return not wanted or any(wanted in task.casefold() for task in episode.entry.tasks)


@dataclass(frozen=True)
class EpisodePage:
    """Some episodes in order. `next` is the number of the first that was not looked at; None: all
    were."""

    episodes: tuple[EpisodeSummary, ...]
    next: int | None


class EpisodePages:
    """Of the dataset at `root`, as it was when opened. Raises DatasetError: none, of another
    version, or damaged."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser()
        self.info = read_info(self.root)
        self._files = episode_files(self.root)

    def __len__(self) -> int:
        return self.info.total_episodes

    def tasks(self) -> tuple[str, ...]:
        """All tasks, by `task_index`."""
        return read_tasks(self.root) if self.info.total_tasks else ()

    def summary(self, index: int) -> EpisodeSummary:
        """Of episode `index`. Raises DatasetError if there is none."""
        if not 0 <= index < len(self):
            raise DatasetError(f"{self.root} has no episode {index}: it has {len(self)}")
        return next(self._episodes(index))

    def episode(self, index: int) -> RecordedEpisode:
        """Its rows and images. Raises DatasetError if there is none."""
        return RecordedEpisode(self.root, self.info, self.tasks(), self.summary(index).entry)

    def page(
        self, start: int, limit: int, wanted: EpisodeFilter, within_s: float = 1.0
    ) -> EpisodePage:
        """At most `limit` of those that are `wanted`, from episode `start` on. The search ends
        after `within_s` (and at least one episode), so that a page may have fewer, even none:
        another call goes on at its `next`."""
        found: list[EpisodeSummary] = []
        ends_s = time.monotonic() + within_s
        for summary in self._episodes(max(start, 0)):
            if wanted.accepts(summary):
                found.append(summary)
            following = summary.entry.index + 1
            if len(found) >= limit or time.monotonic() >= ends_s:
                return EpisodePage(tuple(found), following if following < len(self) else None)
        return EpisodePage(tuple(found), None)

    def _episodes(self, start: int) -> Iterator[EpisodeSummary]:
        """From `start` on, those that info.json counts."""
        if start >= len(self):
            return
        # The files have the episodes in order, those of lerobot too: it only appends.
        at = bisect_right(self._files, start, key=_first) - 1
        expected = start
        for path in self._files[max(at, 0) :]:
            for row in _rows(path, expected):
                if row["episode_index"] != expected:
                    break
                yield self._summary(row, path)
                expected += 1
                if expected == len(self):
                    return
        raise DatasetError(
            f"{self.root / INFO} counts {len(self)} episodes, but meta/episodes lacks {expected}"
        )

    def _summary(self, row: dict[str, Any], path: Path) -> EpisodeSummary:
        shares = {name: row.pop(column, None) for name, column in _COUNTED.items()}
        entry = to_entry(row, self.info, path)
        counts = {
            name: None if share is None else round(sum(share) * entry.length)
            for name, share in shares.items()
        }
        return EpisodeSummary(entry, **counts)


def _first(path: Path) -> int:
    """The number of the first episode of a file."""
    row = next(_rows(path, 0), None)
    if row is None:
        raise DatasetError(f"{path} has no row: it is damaged")
    return int(row["episode_index"])


def _rows(path: Path, start: int) -> Iterator[dict[str, Any]]:
    """Those from episode `start` on, each a dictionary of its own. Raises DatasetError."""
    try:
        file = FileVersion.of(path)
        short = _short(file)
        if short is not None:
            yield from (dict(row) for row in short if row["episode_index"] >= start)
            return
        table = _table(file)
        first = int(np.searchsorted(table.column("episode_index").to_numpy(), start))
        for batch in table.slice(first).to_batches(max_chunksize=_ROWS):
            yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error


@lru_cache(maxsize=_SHORT_FILES)
def _short(file: FileVersion) -> list[dict[str, Any]] | None:
    """The rows of a file that has few; None for another."""
    table = _table(file)
    return table.to_pylist() if len(table) <= _ROWS else None


@lru_cache(maxsize=_LONG_FILES)
def _table(file: FileVersion) -> pa.Table:
    with pq.ParquetFile(file.path) as parquet:
        names = parquet.schema_arrow.names
        if "episode_index" not in names:
            raise DatasetError(f"{file.path} lacks the column episode_index")
        kept = [n for n in names if not n.startswith("stats/") or n in _COUNTED.values()]
        return parquet.read(kept, use_threads=False)
