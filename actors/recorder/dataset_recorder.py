"""`DatasetRecorder`: the dataset of one robot, with an episode in progress or none.

Encoding and the disk have threads of their own, of low priority (`EpisodeWorker`): a slow disk or a
busy processor delays no other process, and the images that wait for them are bounded in bytes. What
the disk does not take costs the episode in progress, is said once in the log and stays in `reason`
until an episode is saved.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path

from ...robot.dataset.dataset_writer import DatasetWriter
from ...robot.dataset.encoding import Encoding
from ...robot.dataset.recording_schema import RecordingSchema, Row
from .episode_worker import EpisodeWorker, WorkOutcome

_RETRY_NS = 5_000_000_000
_MOST_BYTES = 192 << 20
_MOST_ROWS = 3000


class DatasetRecorder:
    """`saved` counts episodes of this process, and `dropped` the images that were left out because
    too many waited; `frames` are the rows of the episode in progress."""

    def __init__(
        self,
        root: Path,
        robot: str,
        schema: RecordingSchema,
        encoding: Encoding,
        log: logging.Logger,
    ) -> None:
        self.root, self.reason = root, ""
        self.recording = False
        self.frames = self.saved = self.dropped = 0
        self._log = log
        write = partial(DatasetWriter, root, robot, schema, encoding)
        self._worker = EpisodeWorker(root, write, log)
        self._number = 0
        self._put_bytes = self._put_rows = 0
        self._saving: list[Future[int]] = []
        self._has_lost = False
        """Whether `reason` is that of an episode: it stays until one is saved."""
        self._retry_ns = 0

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
        return self._on_their_way > 0

    @property
    def next_index(self) -> int:
        """The index of the episode in progress, or of the next, if no other robot saves one
        before."""
        return self._worker.episodes + self._on_their_way

    @property
    def encoder(self) -> str:
        """The name of the encoder in use; empty before the first episode."""
        return self._worker.encoder

    @property
    def repeated(self) -> int:
        """How many images stand for a missing one."""
        return self._worker.repeated

    @property
    def size_bytes(self) -> int:
        """Of the files of the episode in progress, as it was a second ago."""
        return self._worker.size_bytes

    @property
    def waiting_bytes(self) -> int:
        """Of the images that are not encoded yet."""
        return self._put_bytes - self._worker.taken_bytes

    @property
    def waiting(self) -> float:
        """Those that wait, as a share of those that may."""
        return self.waiting_bytes / _MOST_BYTES

    def open(self) -> None:
        """Open the dataset, or make it. Raises DatasetError for one that cannot be added to; what
        the system refuses is tried again later."""
        self._worker.open()

    def begin(self) -> Future[None]:
        """Begin an episode. The future ends when its files are open; `reason` says why not."""
        self.discard()
        self._number += 1
        self.recording, self.frames = True, 0
        return self._worker.begin(self._number)

    def add(self, row: Row) -> None:
        """Add a row to the episode in progress, if there is one."""
        if not self.recording:
            return
        size = sum(taken[0].nbytes for taken in row.images.values() if taken)
        if self._put_rows - self._worker.taken_rows > _MOST_ROWS:
            fault = f"{self.root} takes nothing: {_MOST_ROWS} rows wait"
            self._worker.outcomes.append(WorkOutcome(self._number, fault=fault, lost=True))
            return
        if self.waiting_bytes + size > _MOST_BYTES:
            self.dropped += sum(taken is not None for taken in row.images.values())
            row, size = replace(row, images={}), 0
        self._put_bytes += size
        self._put_rows += 1
        self.frames += 1
        self._worker.add(row, size)

    def finish(self, success: bool | None) -> Future[int] | None:
        """Commit the episode in progress; the future has its index once it is durable. None if
        there is none, or it has no rows."""
        was, self.recording = self.recording, False
        if not was or not self.frames:
            self._worker.drop()
            return None
        durable = self._worker.finish(success)
        self._saving.append(durable)
        return durable

    def discard(self) -> None:
        """Drop the episode in progress, if there is one."""
        if self.recording:
            self.recording = False
            self._worker.drop()

    def serve(self, now_ns: int) -> None:
        """Take note of what became of episodes; try a dataset again that could not be opened."""
        self._saving = [future for future in self._saving if not future.done()]
        while self._worker.outcomes:
            self._note(self._worker.outcomes.popleft(), now_ns)
        if self.reason and not self.recording and now_ns >= self._retry_ns:
            self._retry_ns = now_ns + _RETRY_NS
            self._worker.reopen()

    def close(self) -> None:
        """Keep the episode in progress, wait until all is on the disk, and give the dataset
        free."""
        self.finish(None)
        self._worker.close()
        self.serve(0)

    @property
    def _on_their_way(self) -> int:
        return sum(not future.done() for future in self._saving)

    def _note(self, outcome: WorkOutcome, now_ns: int) -> None:
        if outcome.fault:
            if outcome.fault != self.reason:
                self._log.error("%s", outcome.fault)
            self.reason, self._retry_ns = outcome.fault, now_ns + _RETRY_NS
            self._has_lost = outcome.lost
            if outcome.number == self._number and self.recording:
                self.discard()
            return
        if outcome.saved is not None:
            self.saved += 1
            self._log.info("episode %d is saved", outcome.saved)
        if self.reason and (outcome.saved is not None or not self._has_lost):
            self.reason = ""
            self._log.info("recording is possible again")
