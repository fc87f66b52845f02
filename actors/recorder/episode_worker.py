"""`EpisodeWorker`: what encodes and saves one robot's episodes, in threads of low priority.

One thread encodes what is to be done in order; another makes finished episodes durable, so that a
slow disk delays no image of the next one. Their outcomes are left in `outcomes`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import DatasetError
from ...robot.dataset.dataset_info import INFO
from ...robot.dataset.dataset_writer import DatasetWriter
from ...robot.dataset.episode_recording import EpisodeRecording
from ...robot.dataset.recording_schema import Row

_NICE = 5
"""Control, drivers, sensors and policies go first where the processors are few."""
_LOOK_S = 1.0


class WorkOutcome(NamedTuple):
    """What became of something in a thread. `number` is the episode's, counted by the caller, or
    0; `lost`: a fault that has cost an episode."""

    number: int
    saved: int | None = None
    fault: str = ""
    lost: bool = False


class EpisodeWorker:
    """Of the dataset in `root`, which `write` opens, or makes. `episodes` is how many the dataset
    had when it was looked at last, `encoder` the name of the one in use, `repeated` how many
    images stand for a missing one; `size_bytes` is that of the files of the episode `number`, a
    second ago; `taken_bytes` and `taken_rows` are what was encoded since the start."""

    def __init__(self, root: Path, write: Callable[[], DatasetWriter], log: logging.Logger) -> None:
        self.outcomes: deque[WorkOutcome] = deque()
        self.encoder = ""
        self.episodes = self.repeated = self.size_bytes = self.number = 0
        self.taken_bytes = self.taken_rows = 0
        self._root, self._write, self._log = root, write, log
        self._writer: DatasetWriter | None = None
        self._writing = threading.Lock()
        """Held while the dataset is opened, closed, or gets an episode."""
        self._recording: EpisodeRecording | None = None
        self._look_s = 0.0
        self._encode = ThreadPoolExecutor(1, "encode", _yield_processor)
        self._save = ThreadPoolExecutor(1, "save", _yield_processor)

    def open(self) -> None:
        """Open the dataset, or make it, in the calling thread. Raises DatasetError for one that
        cannot be added to; what the system refuses is an outcome."""
        try:
            self._open()
        except OSError as error:
            fault = _words("the dataset cannot be opened", error)
            self.outcomes.append(WorkOutcome(0, fault=fault))

    def begin(self, number: int) -> Future[None]:
        """The future ends when the files of the episode `number` are open."""
        self.number, self.size_bytes = number, 0
        return self._encode.submit(self._begin, number)

    def add(self, row: Row, size: int) -> None:
        """Add a row, whose images have `size` bytes, to the episode begun last."""
        self._encode.submit(self._add, self.number, row, size)

    def finish(self, success: bool | None) -> Future[int]:
        """Make the episode begun last part of the dataset; its index, once it is durable."""
        durable: Future[int] = Future()
        self._encode.submit(self._hand_over, self.number, success, durable)
        return durable

    def drop(self) -> None:
        """Drop the episode in progress, if there is one."""
        self._encode.submit(self._drop)

    def reopen(self) -> None:
        """Open the dataset where that had failed. The next episode shows the rest."""
        self._encode.submit(self._reopen)

    def close(self) -> None:
        """Wait until all is done, and give the dataset free."""
        self._encode.shutdown(wait=True)
        self._save.shutdown(wait=True)
        self._drop()
        with self._writing:
            self._shut()

    def _open(self) -> None:
        with self._writing:
            self._shut()
            self._writer = self._write()
            self.episodes = self._writer.episodes
            for sentence in self._writer.recovered:
                self._log.warning("%s: %s", self._root, sentence)

    def _shut(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _begin(self, number: int) -> None:
        def begin() -> None:
            if self._writer is None or not (self._root / INFO).exists():
                self._open()
            assert self._writer is not None
            self._recording = self._writer.begin()
            self.encoder = self._recording.encoder
            self.outcomes.append(WorkOutcome(number))

        self._guarded(number, "no episode can be begun", begin)

    def _add(self, number: int, row: Row, size: int) -> None:
        self.taken_bytes += size
        self.taken_rows += 1
        recording = self._recording
        if recording is None:
            return  # it was lost; the rows that had been on their way are too

        def add() -> None:
            before = sum(recording.repeated.values())
            recording.add(row)
            self.repeated += sum(recording.repeated.values()) - before
            if time.monotonic() >= self._look_s:
                self._look_s = time.monotonic() + _LOOK_S
                self._look(number, recording.folder)

        what = f"an episode of {len(recording)} frames is lost"
        try:
            self._guarded(number, what, add, lost=True)
        except (OSError, DatasetError):
            self._drop()

    def _look(self, number: int, folder: Path) -> None:
        if not folder.is_dir():
            raise DatasetError(f"{self._root} was deleted or moved")
        if number == self.number:
            files = (each for each in folder.rglob("*") if each.is_file())
            self.size_bytes = sum(each.stat().st_size for each in files)

    def _hand_over(self, number: int, success: bool | None, durable: Future[int]) -> None:
        recording, self._recording = self._recording, None
        self._save.submit(self._commit, number, recording, success, durable)

    def _commit(
        self,
        number: int,
        recording: EpisodeRecording | None,
        success: bool | None,
        durable: Future[int],
    ) -> None:
        def commit() -> int:
            with self._writing:
                if recording is None or self._writer is None:
                    raise DatasetError("it was lost before")
                return self._writer.commit(recording, success)

        try:
            index: int = self._guarded(number, "an episode could not be saved", commit, lost=True)
        except Exception as error:  # noqa: BLE001 the caller gets it
            if recording is not None:
                recording.discard()
            durable.set_exception(error)
            return
        self.episodes = index + 1
        self.outcomes.append(WorkOutcome(number, saved=index))
        durable.set_result(index)

    def _drop(self) -> None:
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.discard()

    def _reopen(self) -> None:
        if self._writer is None:
            self._guarded(0, "the dataset cannot be opened", self._open)
            self.outcomes.append(WorkOutcome(0))

    def _guarded(
        self, number: int, what: str, call: Callable[[], Any], *, lost: bool = False
    ) -> Any:
        try:
            return call()
        except (OSError, DatasetError) as error:
            fault = _words(what, error, self._root)
            self.outcomes.append(WorkOutcome(number, fault=fault, lost=lost))
            raise


def _words(what: str, error: BaseException, root: Path | None = None) -> str:
    why = str(error)
    if isinstance(error, OSError) and error.strerror:
        why = f"{error.strerror} ({error.filename or root})"
    return f"{what}: {why}"


def _yield_processor() -> None:
    """Linux gives each thread a priority of its own; the encoder's threads inherit it. One of the
    batch class does not preempt an ordinary one when it wakes up, as it does for each row."""
    thread = threading.get_native_id()
    os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, thread, _NICE)
