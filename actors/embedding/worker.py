"""`Worker`: an actor in a thread of the program that embeds it, restarted when it fails.

Guarantees that closing it ends the actor in order and leaves no thread, socket or file behind. It
is no substitute for a process: an actor that hangs in foreign code hangs its thread, and shares the
program's interpreter lock.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from mmap import mmap
from pathlib import Path
from typing import Any

from ..runtime.actor import Actor, boot_in_memory
from .scratch import Scratch

_RESTART_S = 1.0
_CLOSE_S = 5.0


class Worker:
    """Runs one actor of class `actor`."""

    def __init__(
        self,
        actor: type[Actor],
        name: str,
        config: Callable[[Path], dict[str, Any]],
        segments: Mapping[str, int],
    ) -> None:
        """`config` gets the worker's private directory, where sockets may lie."""
        self._scratch = Scratch()
        self.directory = self._scratch.path
        self._make = actor
        self._name = name
        self._config = config(self.directory)
        self._segments = dict(segments)
        self.memory: dict[str, mmap] = {}
        # Tenths of a second since the machine's start: rises over restarts of the program too.
        self.incarnation = time.monotonic_ns() // 100_000_000
        self.failure = ""
        """Why the actor ended last, if it did."""
        self.closed = False
        self._started_s = float("-inf")
        self._start()

    def keep(self) -> None:
        """Start the actor again if it ended; call it now and then. Never blocks."""
        if not self._thread.is_alive() and time.monotonic() - self._started_s > _RESTART_S:
            self._release()
            self._start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        """End the actor and remove its directory. Idempotent."""
        self.closed = True
        if self.directory.exists():
            self._supervisor.command("stop")
            self._thread.join(_CLOSE_S)
            self._release()
            self._scratch.close()

    def _start(self) -> None:
        self.incarnation += 1
        self._started_s = time.monotonic()
        boot, self._link, self._supervisor = boot_in_memory(
            self._make.kind,
            self._name,
            self._config,
            self._segments,
            memory=self.memory,
            incarnation=self.incarnation,
            rundir=self.directory,
        )
        self.memory = dict(boot.memory)
        actor = self._make(boot, self._link)
        self._thread = threading.Thread(target=self._run, args=(actor,), daemon=True)
        self._thread.name = f"holdfast {self._name}"
        self._thread.start()

    def _run(self, actor: Actor) -> None:
        actor.main()
        # The actor reported why it ended over its link, whose supervisor's end this object holds.
        for message in self._supervisor.messages()[0]:
            if reason := getattr(message, "reason", ""):
                self.failure = reason

    def _release(self) -> None:
        with contextlib.suppress(OSError):
            self._supervisor.close()
            self._link.close()
