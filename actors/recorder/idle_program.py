"""`IdleProgram`: a recorder's process of the lowest priority, which works when nothing is recorded.

Its task is its argument, as JSON; each line on its stdout is a note. "p" on its stdin pauses it,
"r" lets it go on, and it ends with its stdin, so that it never outlives its recorder. The other end
is `RecorderPipes`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Generic, TypeVar

import msgspec

Note = TypeVar("Note", bound=msgspec.Struct)

_ENDS_WITHIN_S = 1.0


class IdleProgram(Generic[Note]):
    """One run of the module `program`. `note` is the newest, an empty one at first."""

    def __init__(self, program: str, task: msgspec.Struct, kind: type[Note]) -> None:
        self._kind, self.note = kind, kind()
        self._is_to_pause = False
        self._left = b""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", program, msgspec.json.encode(task).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a traceback may quote a header, which has a token
            start_new_session=True,
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def follow(self, *, paused: bool) -> int | None:
        """Take its notes; have it paused, or not. Its exit status once it has ended; `close` it
        then."""
        self._pause(paused)
        ended = self._process.poll()  # before its last notes are read
        self._read()
        return ended

    def close(self) -> None:
        """End the process."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def _pause(self, paused: bool) -> None:
        assert self._process.stdin is not None
        if paused == self._is_to_pause:
            return
        self._is_to_pause = paused
        try:
            os.write(self._process.stdin.fileno(), b"p" if paused else b"r")
        except BrokenPipeError:
            return  # it has ended

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            while block := os.read(self._process.stdout.fileno(), 1 << 16):
                self._left += block
        except BlockingIOError:
            pass  # all that is there was read
        *lines, self._left = self._left.split(b"\n")
        for line in lines:
            self.note = msgspec.json.decode(line, type=self._kind)
