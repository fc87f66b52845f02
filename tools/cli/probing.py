"""Short-lived processes that look at a device and print what they see, as lines of JSON."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from ...actors.runtime.interpreters import PATIENCE_S, explain

T = TypeVar("T", bound=msgspec.Struct)
TURN_S = 0.2
_KILL_S = 2.0


class Probing(Generic[T]):
    """One such process. `readings` are what it said so far, oldest first; `fault` is why it said
    nothing, or no more."""

    def __init__(
        self,
        module: str,
        question: msgspec.Struct,
        answers: type[T],
        python: str | None,
        patience_s: float,
    ) -> None:
        """Start it, in the interpreter `python` (None: this one). Between two readings it may be
        silent for `patience_s`."""
        self.readings: list[T] = []
        self.fault = ""
        self._python = python or sys.executable
        self._decode = msgspec.json.Decoder(answers).decode
        self._patience_s = patience_s
        self._heard_s = time.monotonic()
        self._rest = b""
        self._errors = os.memfd_create("stderr", os.MFD_CLOEXEC)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                [self._python, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
            )
        except OSError as error:
            self.fault = explain(self._python, error)
            os.close(self._errors)
            return
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
            pipe.write(msgspec.json.encode(question))

    @property
    def running(self) -> bool:
        return self._process is not None

    def fileno(self) -> int:
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def receive(self) -> None:
        """Take what it has said; to be called when there is something to read."""
        packet = os.read(self.fileno(), 1 << 16)
        if not packet:
            self._ended()
            return
        self._heard_s = time.monotonic()
        *lines, self._rest = (self._rest + packet).split(b"\n")
        with contextlib.suppress(msgspec.DecodeError):
            self.readings += map(self._decode, lines)

    def watch(self) -> None:
        """End a process that has been silent for too long."""
        patience_s = self._patience_s if self.readings else PATIENCE_S
        if self.running and time.monotonic() - self._heard_s > patience_s:
            self.fault = f"its driver has been in one call for {patience_s:.0f} s"
            self.close()

    def close(self) -> None:
        """End it, if it has not ended: in order if it can."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_KILL_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()
        os.close(self._errors)

    def _ended(self) -> None:
        process = self._process
        assert process is not None
        code = process.wait()
        if code != 0:
            said = os.pread(self._errors, 1 << 20, 0)
            done = subprocess.CompletedProcess([], code, b"", said)
            self.fault = explain(self._python, done)
        self.close()


def watch_all(processes: Sequence[Probing[Any]], turn: Callable[[], object]) -> None:
    """Take what `processes` say until all have ended; `turn` is called several times a second."""
    try:
        while running := [process for process in processes if process.running]:
            with selectors.DefaultSelector() as ready:
                for process in running:
                    ready.register(process, selectors.EVENT_READ, process)
                for key, _ in ready.select(TURN_S):
                    key.data.receive()
            for process in running:
                process.watch()
            turn()
    finally:
        for process in processes:
            process.close()
