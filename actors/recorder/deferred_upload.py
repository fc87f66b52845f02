"""`DeferredUpload`: a recorder's episodes go to the hub while none is recorded.

A process of its own sends them (upload_program.py), with the lowest priority. It is paused while an
episode is recorded or saved (not with `upload: continuous`), and begins again with the next
episode, after a failure with pauses that grow. What is not sent when the fleet stops is sent by the
next run of it.
"""

from __future__ import annotations

import logging
from typing import Any

from .idle_program import IdleProgram
from .record_settings import RecordSettings
from .upload_note import UploadNote, UploadTask

_PROGRAM = f"{__package__}.upload_program"
_RETRY_NS = 30_000_000_000
_LONGEST_RETRY_NS = 600_000_000_000


class DeferredUpload:
    """As `record` says; with `upload: never`, nothing is done."""

    def __init__(self, record: RecordSettings, log: logging.Logger) -> None:
        self._record, self._log = record, log
        self._enabled = record.upload != "never" and record.repo_id is not None
        self._program: IdleProgram[UploadNote] | None = None
        self._is_held = False
        self._note = UploadNote()
        self._episodes = self._begun_with = 0
        self._uploaded = 0
        """How many the hub has, as far as this process knows."""
        self._error = ""
        self._due_ns = 0
        self._pause_ns = _RETRY_NS

    def serve(self, now_ns: int, episodes: int, *, busy: bool, held: bool = False) -> None:
        """`episodes` are in the dataset; `busy`: one is in progress, or on its way to the disk;
        `held`: their videos are transcoded first."""
        if not self._enabled:
            return
        self._episodes, self._is_held = episodes, held
        busy = busy and self._record.upload == "deferred"
        if self._program is not None:
            ended = self._program.follow(paused=busy)
            self._note = self._program.note
            if ended is not None:
                self._end(ended, now_ns)
        elif (
            not (busy or held)
            and now_ns >= self._due_ns
            and self._waiting >= self._record.upload_every
        ):
            self._begin()

    @property
    def runs(self) -> bool:
        """Whether the dataset's files are being sent, or the transfer is paused."""
        return self._program is not None

    def close(self) -> None:
        """End the process; the next one continues."""
        program, self._program = self._program, None
        if program is not None:
            program.close()

    def report(self) -> dict[str, Any] | None:
        """For the status; None if nothing is to be uploaded."""
        if not self._enabled:
            return None
        state = "done" if not self._waiting else "waiting"
        if self._program is not None:
            state = "paused" if self._note.paused else "sending"
        return {
            "repo_id": self._record.repo_id,
            "state": state,
            "waiting": self._waiting,
            "waits_for": "transcoding" if state == "waiting" and self._is_held else "",
            "sent_mb": round(self._note.sent_bytes / 1e6, 1),
            "size_mb": round(self._note.size_bytes / 1e6, 1),
            "error": self._error,
        }

    @property
    def _waiting(self) -> int:
        return max(0, self._episodes - self._uploaded)

    def _begin(self) -> None:
        task = UploadTask(
            root=self._record.root,
            repo_id=self._record.repo_id or "",
            private=self._record.private,
            max_mbps=self._record.max_mbps,
        )
        self._note, self._begun_with = UploadNote(), self._episodes
        self._program = IdleProgram(_PROGRAM, task, UploadNote)

    def _end(self, status: int, now_ns: int) -> None:
        self.close()
        if self._note.done:
            # Of those that it began with, none is left, even if the dataset has lost one.
            self._uploaded = max(self._note.episodes, self._begun_with)
            self._error, self._pause_ns = "", _RETRY_NS
            self._log.info("%s has %d episodes", self._record.repo_id, self._note.episodes)
            return
        error = self._note.error or f"the upload ended with status {status}"
        if error != self._error:
            self._log.warning("%s", error)
        self._error = error
        self._due_ns = now_ns + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, _LONGEST_RETRY_NS)
