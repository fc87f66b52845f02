"""`PooledReplica`: a replica inside an actor of Ray's, which owns its life and its place.

It is the same replica as everywhere and dials the broker; Ray routes nothing. Its process ends when
the replica crashes, so that Ray starts another; a replica that cannot be started stays, with the
reason, and is tried again. Only its pool calls it. One that its pool has not visited for
`lease_s` drains and ends: its fleet is gone.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ...errors import RefusedError
from ..inference.replica import InferenceActor
from ..runtime.actor import EXIT_REFUSED, EXIT_STOPPED, boot_in_memory
from ..runtime.configs import InferenceConfig
from ..runtime.link_messages import ExitReason, ReadyMessage
from ..runtime.status_board import StatusBoardReader
from ..runtime.supervisor_link import SupervisorLink

LINES = 2000
"""Log lines that are kept for the pool."""
CRASHED_S = 2.0
"""Until a process ends whose replica crashed: Ray starts the next one at once."""
REFUSED_S = 30.0
"""Until a replica that refused to start is tried again: a person has to mend something."""


class LineKeeper(logging.Handler):
    """Keeps the newest log lines, numbered."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[tuple[int, int, str]] = deque(maxlen=LINES)
        self._count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep (number, level, text)."""
        self._count += 1
        self._lines.append((self._count, record.levelno, self.format(record)))

    def since(self, number: int) -> list[tuple[int, int, str]]:
        """The lines after that number; those before have been taken, and are dropped."""
        while self._lines and self._lines[0][0] <= number:
            self._lines.popleft()
        return list(self._lines)


class PooledReplica:
    """One replica. `config` is an `InferenceConfig`; `end` ends this actor for good."""

    def __init__(
        self,
        name: str,
        config: dict[str, Any],
        configuration: str,
        node: str,
        lease_s: float,
        end: Callable[[], None],
    ) -> None:
        self._name, self._configuration, self._node = name, configuration, node
        self._lease_s, self._end = lease_s, end
        host = f"{node} {socket.gethostname()}"[:64]
        self._config = msgspec.structs.replace(msgspec.convert(config, InferenceConfig), host=host)
        self._state, self._reason = "starting", "loads its policy"
        self._ended = threading.Event()
        self._leaving = threading.Event()
        self._lock = threading.Lock()
        self._supervisor: SupervisorLink | None = None
        self._board: StatusBoardReader | None = None
        self._hang_timeout_s = 0.0
        self._visited_s = time.monotonic()
        self._log = LineKeeper()
        logging.getLogger().addHandler(self._log)
        logging.getLogger().setLevel(logging.INFO)
        threading.Thread(target=self._serve, name="replica", daemon=True).start()
        threading.Thread(target=self._watch, name="lease", daemon=True).start()

    def visit(self, after: int) -> dict[str, Any]:
        """How it is, with the log lines after the number `after`."""
        self._visited_s = time.monotonic()
        self._read()
        age_s = 0.0
        if self._board is not None and self._state == "ready":
            age_s = (time.monotonic_ns() - self._board.progress()[1]) / 1e9
        return {
            "state": self._state,
            "reason": self._reason,
            "node": self._node,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "configuration": self._configuration,
            "progress_age_s": round(age_s, 3),
            "hang_timeout_s": self._hang_timeout_s,
            "lines": self._log.since(after),
        }

    def drain(self) -> None:
        """Hand the robots over and leave the service; `visit` says when that is done."""
        self._leaving.set()
        self._state, self._reason = "draining", "its robots move to other replicas"
        with self._lock:
            if self._supervisor is not None:
                self._supervisor.command("drain")

    def _serve(self) -> None:
        """Run the replica, again and again where it refuses to start."""
        while not self._leaving.is_set():
            code = self._run_once()
            self._read()
            if self._leaving.is_set() or code == EXIT_STOPPED:
                break
            self._state = "starting"
            if code != EXIT_REFUSED:
                self._leaving.wait(CRASHED_S)
                os._exit(1)
            self._leaving.wait(REFUSED_S)
        self._state, self._reason = "ended", "has left the service"
        self._ended.set()

    def _run_once(self) -> int:
        # Not monotonic: the next incarnation may be on another host.
        incarnation = time.time_ns() // 100_000_000
        boot, link, supervisor = boot_in_memory(
            "inference",
            self._name,
            msgspec.to_builtins(self._config),
            incarnation=incarnation,
            rundir=Path(tempfile.gettempdir()),
        )
        with self._lock:
            self._supervisor = supervisor
            self._board = StatusBoardReader(boot.memory[f"{self._name}/board"])
        try:
            code = InferenceActor(boot, link).main()
        except RefusedError as refused:
            self._reason, code = str(refused), EXIT_REFUSED
        self._read()
        with self._lock:
            self._supervisor = None
        supervisor.close()
        link.close()
        return code

    def _read(self) -> None:
        """What the replica has said to its supervisor, which this is."""
        with self._lock:
            messages = [] if self._supervisor is None else self._supervisor.messages()[0]
        for message in messages:
            match message:
                case ReadyMessage(hang_timeout_s=timeout_s):
                    self._hang_timeout_s = timeout_s
                    if not self._leaving.is_set():
                        self._state, self._reason = "ready", ""
                case ExitReason(reason=reason) if not self._leaving.is_set():
                    self._state, self._reason = "starting", reason

    def _watch(self) -> None:
        """End once the pool has not come for so long."""
        while time.monotonic() - self._visited_s < self._lease_s:
            if self._ended.wait(1.0):
                return  # the pool ends it
        logging.getLogger(self._name).warning("its pool has not asked for %g s", self._lease_s)
        self.drain()
        self._ended.wait(self._config.drain_s + REFUSED_S)
        self._end()
