"""`DeferredUpload`: a recorder's episodes go to the hub while none is recorded.

A process of its own sends them (upload_program.py), with the lowest priority. It is paused while an
episode is recorded or saved (not with `upload: continuous`), and begins again with the next
episode, after a failure with pauses that grow. What is not sent when the fleet stops is sent by the
next run of it.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import Any

import msgspec

from .record_settings import RecordSettings
from .upload_note import UploadNote, UploadTask

_PROGRAM = f"{__package__}.upload_program"
_RETRY_NS = 30_000_000_000
_LONGEST_RETRY_NS = 600_000_000_000
_ENDS_WITHIN_S = 1.0


class DeferredUpload:
    """As `record` says; with `upload: never`, nothing is done."""

    def __init__(self, record: RecordSettings, log: logging.Logger) -> None:
        self._record, self._log = record, log
        self._enabled = record.upload != "never" and record.repo_id is not None
        self._process: subprocess.Popen[bytes] | None = None
        self._is_to_pause = False
        self._left = b""
        self._note = UploadNote()
        self._episodes = self._begun_with = 0
        self._uploaded = 0
        """How many the hub has, as far as this process knows."""
        self._error = ""
        self._due_ns = 0
        self._pause_ns = _RETRY_NS

    def serve(self, now_ns: int, episodes: int, *, busy: bool) -> None:
        """`episodes` are in the dataset; `busy`: one is in progress, or on its way to the
        disk."""
        if not self._enabled:
            return
        self._episodes = episodes
        busy = busy and self._record.upload == "deferred"
        if self._process is not None:
            self._pause(busy)
            self._read()
            if self._process.poll() is not None:
                self._read()
                self._end(now_ns)
        elif not busy and now_ns >= self._due_ns and self._waiting >= self._record.upload_every:
            self._begin()

    def close(self) -> None:
        """End the process; the next one continues."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def report(self) -> dict[str, Any] | None:
        """For the status; None if nothing is to be uploaded."""
        if not self._enabled:
            return None
        state = "done" if not self._waiting else "waiting"
        if self._process is not None:
            state = "paused" if self._note.paused else "sending"
        return {
            "repo_id": self._record.repo_id,
            "state": state,
            "waiting": self._waiting,
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
        self._note, self._left, self._is_to_pause = UploadNote(), b"", False
        self._begun_with = self._episodes
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", _PROGRAM, msgspec.json.encode(task).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a traceback may quote a header, which has the token
            start_new_session=True,
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def _pause(self, paused: bool) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        if paused == self._is_to_pause:
            return
        self._is_to_pause = paused
        try:
            os.write(self._process.stdin.fileno(), b"p" if paused else b"r")
        except BrokenPipeError:
            return  # it has ended, which the next call of `serve` notices

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            self._left += os.read(self._process.stdout.fileno(), 1 << 16)
        except BlockingIOError:
            return
        *lines, self._left = self._left.split(b"\n")
        for line in lines:
            self._note = msgspec.json.decode(line, type=UploadNote)

    def _end(self, now_ns: int) -> None:
        assert self._process is not None
        status = self._process.returncode
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
