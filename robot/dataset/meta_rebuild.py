"""`rebuild`: files of meta that are missing or damaged, from the rest of the dataset.

What cannot be known from the rest is said, never assumed. A damaged file is put aside, not deleted,
and each new one is in place at once, info.json last: what is interrupted is begun anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from ... import disk
from ...errors import DatasetError
from . import commit_plan, episode_stats, recovery
from .commit_plan import STAGING
from .dataset_info import EPISODES_PATH, INFO, STATS, TASKS, DatasetInfo, read_info
from .dataset_reader import episode_entries, episode_files, read_parquet, read_stats, read_tasks
from .episode_rebuild import FoundEpisode, found_episodes, new_row, place_of, spans, stats_of
from .episode_stats import Stats
from .info_rebuild import rebuilt_info
from .recorded_episode import EpisodeEntry
from .task_table import task_table

_KNOWN_BY_WORDS = "task {} (its words are lost)"


def has_rows(root: Path) -> bool:
    """Whether there is anything to rebuild from."""
    return any(root.glob("data/chunk-*/file-*.parquet"))


def rebuild(root: Path) -> list[str]:
    """Returns what was done and what is not known, in words. The caller holds the dataset's lock,
    and has completed an interrupted commit. Raises DatasetError where nothing can be done."""
    return _Rebuild(root).run()


class _Rebuild:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.said: list[str] = []

    def run(self) -> list[str]:
        raw = self._info()
        is_new = raw is not None
        info = read_info(self.root) if raw is None else _as_info(raw)
        episodes = _in_order(found_episodes(self.root))
        if not is_new:
            # What info.json does not count is no part of the dataset.
            episodes = [each for each in episodes if each.index < info.total_episodes]
        if not episodes:
            return self.said
        known, damaged = self._known(info)
        tasks = self._tasks(episodes, known)
        missing = [each for each in episodes if each.index not in known]
        if missing or damaged:
            self._rows(info, episodes, missing, damaged, tasks)
        counted = _in_order(each for each in episodes if each.index in known or each in missing)
        self._stats(info, counted, tasks)
        if is_new:
            frames = counted[-1].first + counted[-1].length
            made = recovery.updated_info(info, len(counted), frames, len(tasks))
            self._replace(INFO, made)
            self.said.append(f"it counts {len(counted)} episodes, {frames} frames")
        return self.said

    def _info(self) -> dict[str, Any] | None:
        """info.json anew, if it has to be; its counts are not yet right."""
        try:
            read_info(self.root)
        except DatasetError:
            if _is_another_version(self.root):
                raise
        else:
            return None
        raw, said = rebuilt_info(self.root)
        self.said += said
        return {**raw, "total_episodes": 0, "total_frames": 0, "total_tasks": 0, "splits": {}}

    def _known(self, info: DatasetInfo) -> tuple[dict[int, EpisodeEntry], list[Path]]:
        """The episodes with a row, and the files of rows that cannot be read."""
        known: dict[int, EpisodeEntry] = {}
        damaged = []
        for path in episode_files(self.root):
            try:
                known |= {entry.index: entry for entry in episode_entries(info, [path])}
            except DatasetError:
                damaged.append(path)
        return known, damaged

    def _tasks(
        self, episodes: list[FoundEpisode], known: dict[int, EpisodeEntry]
    ) -> tuple[str, ...]:
        """The tasks' words by their numbers; tasks.parquet anew, if it has to be."""
        count = 1 + max(number for each in episodes for number in each.tasks)
        try:
            tasks = read_tasks(self.root)
            if len(tasks) >= count:
                return tasks
        except DatasetError:
            pass  # it is missing or damaged
        words: dict[int, str] = {}
        for each in episodes:
            entry = known.get(each.index)
            # With several tasks it is not known which number is whose, unless the rows are ours.
            if entry is None or len(entry.tasks) != len(each.tasks):
                continue
            if len(each.tasks) == 1 or "recorded_at" in entry.extra:
                words |= dict(zip(each.tasks, entry.tasks, strict=True))
        lost = [number for number in range(count) if number not in words]
        tasks = tuple(words.get(n, _KNOWN_BY_WORDS.format(n)) for n in range(count))
        sink = pa.BufferOutputStream()
        pq.write_table(task_table(list(tasks)), sink)
        self._replace(TASKS, sink.getvalue().to_pybytes())
        self.said.append(f"{TASKS} was rebuilt from meta/episodes: {len(words)} of {count} tasks")
        if lost:
            self.said.append(f"not known: the words of the tasks {', '.join(map(str, lost))}")
        return tasks

    def _rows(
        self,
        info: DatasetInfo,
        episodes: list[FoundEpisode],
        missing: list[FoundEpisode],
        damaged: list[Path],
        tasks: tuple[str, ...],
    ) -> None:
        """The rows that are missing, each in the file that its place asks for."""
        found = {camera: spans(self.root, info, camera, episodes) for camera in info.video_cameras}
        like = _like(self.root, damaged)
        tables: dict[str, list[pa.Table]] = {}
        for each in list(missing):
            meta = self._file_of(each, episodes, damaged)
            videos = {camera: at[each.index] for camera, at in found.items()}
            try:
                columns = new_row(self.root, info, each, tasks, meta, videos)
            except (DatasetError, OSError) as error:
                self.said.append(f"episode {each.index} stays without a row: {error}")
                missing.remove(each)
                continue
            tables.setdefault(meta, []).append(_fit(pa.table(columns), like))
        for path, rows in tables.items():
            sink = pa.BufferOutputStream()
            pq.write_table(pa.concat_tables(rows), sink)
            self._replace(path, sink.getvalue().to_pybytes())
        names = [path.relative_to(self.root).as_posix() for path in damaged]
        useless = [name for name in names if name not in tables]
        self._aside(useless)
        for name in useless:
            (self.root / name).unlink()
        numbers = ", ".join(str(each.index) for each in missing[:5])
        if missing:
            self.said.append(
                f"the rows of {len(missing)} episodes in meta/episodes were rebuilt ({numbers}"
                f"{' and more' if len(missing) > 5 else ''}), with the checksums of their files as "
                "they are now"
            )
            self.said.append("not known: which robot recorded them, and when")

    def _file_of(
        self, each: FoundEpisode, episodes: list[FoundEpisode], damaged: list[Path]
    ) -> str:
        if all(other.own for other in episodes):
            chunk, file = place_of(each.data)
            return EPISODES_PATH.format(chunk_index=chunk, file_index=file)
        others = [path for path in episode_files(self.root) if path not in damaged]
        if len(damaged) == 1 or not others:
            path = (
                damaged[0]
                if damaged
                else self.root / EPISODES_PATH.format(chunk_index=0, file_index=0)
            )
            return path.relative_to(self.root).as_posix()
        raise DatasetError(
            f"{self.root}: meta/episodes lacks rows between others, and its files have several "
            "each: where they belong is not known"
        )

    def _stats(
        self, info: DatasetInfo, episodes: list[FoundEpisode], tasks: tuple[str, ...]
    ) -> None:
        try:
            read_stats(self.root)
        except DatasetError:
            pass  # it is missing or damaged
        else:
            return
        parts = [part for part in recovery.stats_of_episodes(self.root, len(episodes)) if part]
        source = "meta/episodes"
        if len(parts) != len(episodes):
            parts, source = list(self._computed(info, tasks)), "all rows and images"
        self._replace(STATS, recovery.encode_stats(episode_stats.merged(parts)))
        self.said.append(f"{STATS} was rebuilt from {source}")

    def _computed(self, info: DatasetInfo, tasks: tuple[str, ...]) -> Iterable[dict[str, Stats]]:
        for entry in episode_entries(info, episode_files(self.root)):
            yield stats_of(self.root, info, entry, tasks)

    def _replace(self, path: str, content: bytes) -> None:
        self._aside([path])
        recovery.replace_file(self.root, path, content)

    def _aside(self, paths: Iterable[str]) -> None:
        """Keep copies of what is replaced."""
        there = [path for path in paths if (self.root / path).exists()]
        if not there:
            return
        number = 1 + sum(1 for _ in (self.root / STAGING).glob("aside-*"))
        for path in there:
            target = self.root / STAGING / f"aside-{number}" / path
            commit_plan.make_durable_folder(target.parent, self.root)
            shutil.copyfile(self.root / path, target)
            disk.sync(target)
        self.said.append(f"the damaged {', '.join(there)} is in {STAGING}/aside-{number}")


def _as_info(raw: dict[str, Any]) -> DatasetInfo:
    return msgspec.convert({**raw, "raw": raw}, DatasetInfo)


def _is_another_version(root: Path) -> bool:
    try:
        said = msgspec.json.decode((root / INFO).read_bytes())
        return not str(said["codebase_version"]).startswith("v3")
    except (OSError, msgspec.MsgspecError, KeyError, TypeError):
        return False


def _in_order(episodes: Iterable[FoundEpisode]) -> list[FoundEpisode]:
    """Those from 0 on, up to the first that is missing."""
    by_index = {each.index: each for each in episodes}
    made: list[FoundEpisode] = []
    while len(made) in by_index:
        made.append(by_index[len(made)])
    return made


def _like(root: Path, damaged: list[Path]) -> pa.Schema | None:
    """The columns of another file: LeRobot reads all files of meta/episodes as one table."""
    for path in episode_files(root):
        if path not in damaged:
            return read_parquet(path).schema
    return None


def _fit(row: pa.Table, like: pa.Schema | None) -> pa.Table:
    if like is None:
        return row
    columns = [
        row.column(field.name).cast(field.type)
        if field.name in row.column_names
        else pa.nulls(len(row), field.type)
        for field in like
    ]
    return pa.table(columns, schema=like)
