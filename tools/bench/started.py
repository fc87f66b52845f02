"""`Started`: actors that a benchmark starts as the supervisor does, with their shared memory."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path as Directory
from typing import Any

import msgspec

from ...actors.runtime.link_messages import BootMessage, ReadyMessage, SegmentEntry
from ...actors.runtime.status_board import BOARD_SIZE, BROKER_BOARD_SIZE, StatusBoardReader
from ...actors.supervision.process import Process
from ...transport import segment

_PATIENCE_S = 300.0
_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Started:
    """Actors that were started here, and the memory they share."""

    def __init__(
        self, directory: Directory, python: str | None = None, path: str | None = None
    ) -> None:
        """`python`: the interpreter of replicas, which finds holdfast by `path`; None: this one."""
        self.directory = directory
        self._python, self._path = python, path
        self.segments: dict[str, segment.Segment] = {}
        self._processes: dict[str, Process] = {}

    def memory(self, name: str, size: int) -> None:
        self.segments[name] = segment.create(size, name)

    def start(
        self, kind: str, name: str, config: msgspec.Struct, uses: Mapping[str, bool]
    ) -> Process:
        """Exec and boot an actor, wait until it is ready. `uses`: segments, and whether it writes.

        Raises RuntimeError with what it said if it ends instead.
        """
        self.memory(f"{name}/board", BROKER_BOARD_SIZE if kind == "broker" else BOARD_SIZE)
        table = {f"{name}/board": True, **uses}
        entries = tuple(SegmentEntry(s, self.segments[s].size, w) for s, w in table.items())
        elsewhere = kind == "inference" and self._python is not None
        there = {"PYTHONPATH": self._path} if elsewhere and self._path else {}
        process = Process(
            name, {**_ENVIRONMENT, **there}, python=self._python if elsewhere else None
        )
        self._processes[name] = process
        content = msgspec.to_builtins(config)
        message = BootMessage(kind, name, 1, str(self.directory), content, entries)
        fds = [
            os.dup(self.segments[s].fd) if w else self.segments[s].read_only_fd()
            for s, w in table.items()
        ]
        process.link.boot(message, fds)
        for fd in fds:
            os.close(fd)
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            said, ended = process.link.messages()
            if any(isinstance(message, ReadyMessage) for message in said):
                return process
            if ended or time.monotonic() > deadline:
                if not ended:
                    raise RuntimeError(f"{name} was not ready within {_PATIENCE_S:g} s: {said}")
                words = os.read(process.err, 1 << 16).decode(errors="replace")
                raise RuntimeError(f"{name} ended before it was ready: {said} {words}")
            time.sleep(0.005)

    def status(self, name: str) -> dict[str, Any]:
        memory = self.segments[f"{name}/board"].map(writable=False)
        return StatusBoardReader(memory).report() or {}

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def turns(self, name: str) -> int:
        """How many turns the actor's loop has made."""
        memory = self.segments[f"{name}/board"].map(writable=False)
        return StatusBoardReader(memory).progress()[0]

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes.values()]

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
            os.close(process.out)
            os.close(process.err)
            process.close()
        for memory in self.segments.values():
            memory.close()
