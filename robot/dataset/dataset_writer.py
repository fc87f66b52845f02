"""`DatasetWriter`: adds episodes to a LeRobotDataset v3.0, each durable when `commit` returns.

One parquet file of one row group and one mp4 per camera for each episode, and nothing is ever
appended to or overwritten, except the small files meta/info.json, stats.json and tasks.parquet,
which are replaced whole. A process that is killed at any instant loses at most the episode that it
is recording (commit_plan.py, recovery.py). Several writers, in several processes, may have one
dataset: their episodes get their numbers when they are finished.

Not guaranteed: anything on a file system that does not keep what it has synchronized, or that is
shared by hosts (the lock is of one host).
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import DatasetError
from . import commit_plan, episode_stats, recovery
from .commit_plan import REDO, STAGING, Move, RedoRecord
from .dataset_info import EPISODES_PATH, INFO, STATS, TASKS, DatasetInfo, read_info
from .dataset_place import other_content
from .dataset_reader import read_stats, read_tasks
from .embedded_info import embed
from .encoding import Encoding
from .episode_places import next_place
from .episode_recording import EpisodeRecording, column_stats
from .episode_stats import Stats
from .recording_schema import RecordingSchema, to_table
from .task_table import task_table
from .verification import CRC32
from .video_encoder import CODEC, VideoFacts, choose

NOT_JUDGED = -1
"""In the column `success`, beside 1 for yes and 0 for no."""


class DatasetWriter:
    """Of the dataset in `root`, which is made where there is none.

    `owner` is the name of the robot: a second writer of that name is refused. Raises DatasetError
    when what is there is no dataset that such episodes can be added to, and OSError when the disk
    refuses. `recovered` says what an interrupted process had left to be done.
    """

    def __init__(
        self, root: Path, owner: str, schema: RecordingSchema, encoding: Encoding | None = None
    ) -> None:
        self.root = root = root.expanduser().absolute()
        self.schema, self.owner = schema, owner
        self.encoding = encoding or Encoding()
        if schema.cameras:
            choose(self.encoding.codec)
        self._folder = root / STAGING / owner
        self._count = 0
        if other := other_content(root):
            raise DatasetError(f"{other}; record to another root")
        commit_plan.make_durable_folder(root, Path(root.anchor))
        commit_plan.make_durable_folder(self._folder, root)
        self._own_lock = _take_lock(self._folder / "lock", owner)
        try:
            with locked(root):
                self.recovered: list[str] = self._resume()
            self._clear()
        except BaseException:
            self.close()
            raise

    @property
    def episodes(self) -> int:
        """How many the dataset has, those of other writers too."""
        return read_info(self.root).total_episodes

    def begin(self) -> EpisodeRecording:
        """A new episode. It is not yet part of the dataset."""
        self._count += 1
        folder = self._folder / f"episode-{self._count}"
        return EpisodeRecording(folder, self.schema, self.encoding)

    def commit(self, recording: EpisodeRecording, success: bool | None = None) -> int:
        """Make it part of the dataset; returns its index. It is durable then.

        Raises DatasetError for one without rows or with a damaged video, and OSError; discard it
        then. After an error during the moves, the next commit or writer completes them first.
        """
        if not len(recording):
            raise DatasetError("an episode without rows is not kept")
        videos = recording.close()
        with locked(self.root):
            recovery.redo(self.root)
            index, operations = self._stage(recording, videos, success)
            try:
                commit_plan.carry_out(self.root, operations)
            finally:
                recording.keep_files = (self.root / REDO).exists()
        recording.discard()
        return index

    def close(self) -> None:
        """Give the dataset free for another writer of this name."""
        os.close(self._own_lock)

    # The parts of a commit

    def _stage(
        self,
        recording: EpisodeRecording,
        videos: dict[str, tuple[Path, VideoFacts]],
        success: bool | None,
    ) -> tuple[int, list[commit_plan.Operation]]:
        """Write all files of the commit, and say what is to be done with them."""
        info = read_info(self.root)
        index, first, length = info.total_episodes, info.total_frames, len(recording)
        chunk, file = divmod(next_place(self.root, info), info.chunks_size)
        known = read_tasks(self.root) if info.total_tasks else ()
        tasks = list(dict.fromkeys([*known, *recording.tasks]))
        columns = recording.columns()
        columns["episode_index"] = np.full(length, index, np.int64)
        columns["index"] = first + np.arange(length, dtype=np.int64)
        columns["task_index"] = np.array([tasks.index(t) for t in recording.tasks], np.int64)
        judged = NOT_JUDGED if success is None else int(success)
        columns["success"] = np.full(length, judged, np.int64)
        columns = {key: values for key, values in columns.items() if key in info.features}
        stats = column_stats(columns) | recording.image_stats()

        folder = recording.folder.relative_to(self.root).as_posix()
        moves: list[Move] = []

        def stage(name: str, to: str) -> Move:
            moves.append(commit_plan.describe(self.root, f"{folder}/{name}", to))
            return moves[-1]

        row: dict[str, Any] = {
            "episode_index": index,
            "tasks": list(dict.fromkeys(recording.tasks)),
            "length": length,
        }
        for name, (path, _) in videos.items():
            key = self.schema.video_keys[name]
            move = stage(path.name, info.video_file(key, chunk, file))
            row |= {
                f"videos/{key}/chunk_index": chunk,
                f"videos/{key}/file_index": file,
                f"videos/{key}/from_timestamp": 0.0,
                f"videos/{key}/to_timestamp": length / self.schema.fps,
                f"videos/{key}/{CRC32}": move.crc32,
            }
        table = embed(to_table(info.features, columns), info)
        pq.write_table(table, recording.folder / "data.parquet", row_group_size=length)
        move = stage("data.parquet", info.data_file(chunk, file))
        row |= {
            "data/chunk_index": chunk,
            "data/file_index": file,
            f"data/{CRC32}": move.crc32,
            "dataset_from_index": first,
            "dataset_to_index": first + length,
            "robot": self.owner,
            "recorded_at": recording.recorded_at,
            "success": success,
        }
        meta = EPISODES_PATH.format(chunk_index=chunk, file_index=file)
        row |= {"meta/episodes/chunk_index": chunk, "meta/episodes/file_index": file}
        pq.write_table(_episode_table(row, stats), recording.folder / "episode.parquet")
        stage("episode.parquet", meta)
        self._stage_stats(recording.folder, stats, index)
        stage("stats.json", STATS)
        if len(tasks) != len(known):
            pq.write_table(task_table(tasks), recording.folder / "tasks.parquet")
            stage("tasks.parquet", TASKS)
        found = {self.schema.video_keys[name]: facts.info for name, (_, facts) in videos.items()}
        (recording.folder / "info.json").write_bytes(
            recovery.updated_info(
                _with_video_info(info, found), index + 1, first + length, len(tasks)
            )
        )
        stage("info.json", INFO)
        return index, commit_plan.plan(RedoRecord(index, moves))

    def _stage_stats(self, folder: Path, stats: dict[str, Stats], index: int) -> None:
        before: list[dict[str, Stats]] = []
        if index:
            known = read_stats(self.root).items()
            before = [
                {
                    key: {name: np.array(value, np.float64) for name, value in of.items()}
                    for key, of in known
                }
            ]
        merged = episode_stats.merged([*before, stats])
        (folder / "stats.json").write_bytes(recovery.encode_stats(merged))

    # Opening

    def _resume(self) -> list[str]:
        if not (self.root / INFO).exists():
            made = msgspec.json.encode(self.schema.new_info())
            recovery.replace_file(self.root, INFO, msgspec.json.format(made, indent=4))
            return []
        fault = self.schema.misfit(read_info(self.root))
        if fault:
            raise DatasetError(
                f"{self.root} has episodes of another kind: {fault}; record to another root"
            )
        return recovery.recover(self.root)

    def _clear(self) -> None:
        """Delete what an episode in progress of this name left."""
        for left in self._folder.glob("episode-*"):
            shutil.rmtree(left)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """No other process changes the dataset meanwhile."""
    commit_plan.make_durable_folder(root / STAGING, root)
    descriptor = os.open(root / STAGING / "lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def alone(root: Path, lock: str, does: str, *, waits: bool) -> Iterator[None]:
    """No other process with the same `lock` works on the dataset meanwhile. Where one does it is
    waited for, or, without `waits`, DatasetError says what that process `does`."""
    with locked(root):  # makes its folder
        descriptor = os.open(root / STAGING / lock, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BlockingIOError:
            raise DatasetError(f"another process {does} {root}: wait for it, or end it") from None
        yield
    finally:
        os.close(descriptor)


def _take_lock(path: Path, owner: str) -> int:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise DatasetError(
            f"another process records {owner} to {path.parents[2]}: stop it, or record to another "
            "root"
        ) from None
    return descriptor


def _with_video_info(info: DatasetInfo, found: dict[str, dict[str, object]]) -> DatasetInfo:
    """With what is known of the videos, as LeRobot has it, from the first episode on. Where all
    before were archived in another codec, the newest is named (see video_archive.py)."""
    features = {
        key: {**feature, "info": {**(feature.get("info") or found[key]), CODEC: found[key][CODEC]}}
        if key in found
        else feature
        for key, feature in info.raw["features"].items()
    }
    return msgspec.structs.replace(info, raw={**info.raw, "features": features})


def _episode_table(row: dict[str, Any], stats: dict[str, Stats]) -> pa.Table:
    kinds = {"tasks": pa.list_(pa.string()), "success": pa.bool_()}
    columns = {key: pa.array([value], kinds.get(key)) for key, value in row.items()}
    return pa.table(columns | recovery.stats_columns(stats))
