"""`DatasetRecorder`: the dataset of one robot, with an episode in progress or none.

Encoding and the disk have a thread of their own, of low priority, which gets what is to be done in
order: a slow disk or a busy processor delays no other process, and the images that wait for it are
bounded in bytes. What the disk does not take costs the episode in progress, is said once in the log
and stays in `reason` until an episode is begun again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import DatasetError
from ...robot.dataset.dataset_info import INFO
from ...robot.dataset.dataset_writer import DatasetWriter
from ...robot.dataset.encoding import Encoding
from ...robot.dataset.episode_recording import EpisodeRecording
from ...robot.dataset.recording_schema import RecordingSchema, Row

_NICE = 5
"""Control, drivers, sensors and policies go first where the processors are few."""
_RETRY_NS = 5_000_000_000
_LOOK_S = 1.0
_MOST_BYTES = 192 << 20
_MOST_ROWS = 3000


class _Outcome(NamedTuple):
    """What became of something in the thread. `number` is the episode's, counted here."""

    number: int
    saved: int | None = None
    fault: str = ""


class DatasetRecorder:
    """`saved` counts episodes of this process, `repeated` images that stand for a missing one, and
    `dropped` those of them that were left out because too many waited; `frames` are the rows of the
    episode in progress, `size_bytes` that of its files, as it was a second ago."""

    def __init__(
        self,
        root: Path,
        robot: str,
        schema: RecordingSchema,
        encoding: Encoding,
        log: logging.Logger,
    ) -> None:
        self.root, self.reason, self.encoder = root, "", ""
        self.recording = False
        self.frames = self.saved = self.repeated = self.dropped = self.size_bytes = 0
        self._robot, self._schema, self._encoding, self._log = robot, schema, encoding, log
        self._number = 0
        self._put = self._taken = self._rows_put = self._rows_taken = 0
        self._outcomes: deque[_Outcome] = deque()
        self._saving = 0
        self._retry_ns = 0
        self._pool = ThreadPoolExecutor(1, "record", _yield_processor)
        # The thread's own.
        self._writer: DatasetWriter | None = None
        self._recording: EpisodeRecording | None = None
        self._episodes = 0
        self._look_s = 0.0

    @property
    def state(self) -> str:
        """recording, paused (`reason` says why), saving or idle."""
        if self.recording:
            return "recording"
        if self.reason:
            return "paused"
        return "saving" if self.saving else "idle"

    @property
    def saving(self) -> bool:
        return self._saving > 0

    @property
    def next_index(self) -> int:
        """The index of the episode in progress, or of the next, if no other robot saves one
        before."""
        return self._episodes + self._saving

    @property
    def waiting_bytes(self) -> int:
        """Of the images that are not encoded yet."""
        return self._put - self._taken

    def open(self) -> None:
        """Open the dataset, or make it. Raises DatasetError for one that cannot be added to; what
        the system refuses is tried again later."""
        try:
            self._pool.submit(self._open).result()
        except OSError as error:
            self._outcomes.append(_Outcome(0, fault=_words("the dataset cannot be opened", error)))

    def begin(self) -> Future[None]:
        """Begin an episode. The future ends when its files are open; `reason` says why not."""
        self.discard()
        self._number += 1
        self.recording, self.frames, self.size_bytes = True, 0, 0
        return self._pool.submit(self._begin, self._number)

    def add(self, row: Row) -> None:
        """Add a row to the episode in progress, if there is one."""
        if not self.recording:
            return
        size = sum(taken[0].nbytes for taken in row.images.values() if taken)
        if self._rows_put - self._rows_taken > _MOST_ROWS:
            self._outcomes.append(
                _Outcome(self._number, fault=f"{self.root} takes nothing: {_MOST_ROWS} rows wait")
            )
            return
        if self.waiting_bytes + size > _MOST_BYTES:
            self.dropped += sum(taken is not None for taken in row.images.values())
            row, size = replace(row, images={}), 0
        self._put += size
        self._rows_put += 1
        self.frames += 1
        self._pool.submit(self._add, self._number, row, size)

    def finish(self, success: bool | None) -> Future[int] | None:
        """Commit the episode in progress; the future has its index once it is durable. None if
        there is none, or it has no rows."""
        was, self.recording = self.recording, False
        if not was or not self.frames:
            self._pool.submit(self._drop)
            return None
        self._saving += 1
        return self._pool.submit(self._commit, self._number, success)

    def discard(self) -> None:
        """Drop the episode in progress, if there is one."""
        if self.recording:
            self.recording = False
            self._pool.submit(self._drop)

    def serve(self, now_ns: int) -> None:
        """Take note of what became of episodes; try a dataset again that could not be opened."""
        while self._outcomes:
            self._note(self._outcomes.popleft(), now_ns)
        if self.reason and not self.recording and now_ns >= self._retry_ns:
            self._retry_ns = now_ns + _RETRY_NS
            self._pool.submit(self._reopen)

    def close(self) -> None:
        """Keep the episode in progress, wait until all is on the disk, and give the dataset
        free."""
        self.finish(None)
        self._pool.submit(self._shut)
        self._pool.shutdown(wait=True)
        self.serve(0)

    def _note(self, outcome: _Outcome, now_ns: int) -> None:
        if outcome.fault:
            if outcome.fault != self.reason:
                self._log.error("%s", outcome.fault)
            self.reason, self._retry_ns = outcome.fault, now_ns + _RETRY_NS
            if outcome.number == self._number and self.recording:
                self.recording = False
                self._pool.submit(self._drop)
        elif outcome.saved is not None:
            self.saved += 1
            self._log.info("episode %d is saved", outcome.saved)
        elif self.reason:
            self.reason = ""
            self._log.info("recording is possible again")

    # In the thread

    def _open(self) -> None:
        self._shut()
        self._writer = DatasetWriter(self.root, self._robot, self._schema, self._encoding)
        self._episodes = self._writer.episodes
        for sentence in self._writer.recovered:
            self._log.warning("%s: %s", self.root, sentence)

    def _begin(self, number: int) -> None:
        def begin() -> None:
            if self._writer is None or not (self.root / INFO).exists():
                self._open()
            assert self._writer is not None
            self._recording = self._writer.begin()
            self.encoder = self._recording.encoder
            self._outcomes.append(_Outcome(number))

        self._guarded(number, "no episode can be begun", begin)

    def _add(self, number: int, row: Row, size: int) -> None:
        self._taken += size
        self._rows_taken += 1
        recording = self._recording
        if recording is None:
            return  # it was lost; the rows that had been on their way are too

        def add() -> None:
            before = sum(recording.repeated.values())
            recording.add(row)
            self.repeated += sum(recording.repeated.values()) - before
            if time.monotonic() >= self._look_s:
                self._look_s = time.monotonic() + _LOOK_S
                if not recording.folder.is_dir():
                    raise DatasetError(f"{self.root} was deleted or moved")
                if number == self._number:
                    files = (each for each in recording.folder.rglob("*") if each.is_file())
                    self.size_bytes = sum(each.stat().st_size for each in files)

        what = f"the episode in progress ({len(recording)} frames) is lost"
        try:
            self._guarded(number, what, add)
        except (OSError, DatasetError):
            self._drop()

    def _commit(self, number: int, success: bool | None) -> int:
        recording, self._recording = self._recording, None
        try:
            if recording is None or self._writer is None:
                raise DatasetError("it was lost before")

            writer = self._writer
            try:
                index: int = self._guarded(
                    number,
                    "an episode could not be saved",
                    lambda: writer.commit(recording, success),
                )
            except BaseException:
                recording.discard()
                raise
            self._episodes = index + 1
            self._outcomes.append(_Outcome(number, saved=index))
            return index
        finally:
            self._saving -= 1

    def _drop(self) -> None:
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.discard()

    def _reopen(self) -> None:
        """Open the dataset again where that had failed; after another fault, see whether it is
        still there. The next episode shows the rest."""
        if self._writer is None:
            self._guarded(0, "the dataset cannot be opened", self._open)
            self._outcomes.append(_Outcome(0))

    def _shut(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _guarded(self, number: int, what: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (OSError, DatasetError) as error:
            self._outcomes.append(_Outcome(number, fault=_words(what, error, self.root)))
            raise


def _words(what: str, error: BaseException, root: Path | None = None) -> str:
    why = str(error)
    if isinstance(error, OSError) and error.strerror:
        why = f"{error.strerror} ({error.filename or root})"
    return f"{what}: {why}"


def _yield_processor() -> None:
    """Linux gives each thread a priority of its own; the encoder's threads inherit it."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
