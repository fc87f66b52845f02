"""A replica in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from holdfast.actors.runtime.link_messages import BootMessage, SegmentEntry
from holdfast.actors.runtime.status_board import BOARD_SIZE
from holdfast.actors.runtime.supervisor_link import SupervisorLink, pair
from holdfast.transport import segment


class ReplicaProcess:
    """A replica as a process of its own, booted as by the supervisor, without its output."""

    def __init__(self, config: dict[str, Any], rundir: Path) -> None:
        ours, theirs = pair()
        self.link = SupervisorLink(ours)
        theirs.set_inheritable(True)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "holdfast.actors.runtime.main", "pick/0"],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "HOLDFAST_LINK": str(theirs.fileno())},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self.memory = segment.create(BOARD_SIZE, "pick/0/board")
        self.board = self.memory.map(writable=False)
        entries = (SegmentEntry("pick/0/board", BOARD_SIZE, True),)
        boot = BootMessage("inference", "pick/0", 1, str(rundir), config, entries)
        self.link.boot(boot, [self.memory.fd])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.wait()
        self.link.close()
        self.memory.close()
