"""A broker as the supervisor starts it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from holdfast.actors.runtime.link_messages import BootMessage, SegmentEntry
from holdfast.actors.runtime.status_board import BOARD_SIZE
from holdfast.actors.runtime.supervisor_link import SupervisorLink, pair
from holdfast.transport import segment, sockets


class BrokerProcess:
    """A broker as the supervisor starts it: exec, a boot over the link, a shared board."""

    def __init__(self, directory: Path, log: Path | None = None, **config: Any) -> None:
        """`log`: the file that gets its stderr; the test's own without."""
        self.front, self.back = sockets.ipc(directory, "front"), sockets.ipc(directory, "back")
        self.directory, self.log, self.incarnation = directory, log, 0
        # Peers here are silent while the test waits for something else.
        patient = {"robot_lost_after_s": 600.0, "replica_lost_after_s": 600.0}
        self.config = {"front": self.front, "back": self.back, **patient, **config}
        self.board = segment.create(BOARD_SIZE, "broker/board")
        self.links: list[SupervisorLink] = []
        self.launch()

    def launch(self) -> None:
        """Start its next incarnation."""
        self.incarnation += 1
        ours, theirs = pair()
        self.link = SupervisorLink(ours)
        self.links.append(self.link)
        self.process = _spawn(
            [sys.executable, "-P", "-m", "holdfast.actors.runtime.main", "broker"],
            self.log,
            HOLDFAST_LINK=theirs,
        )
        entries = (SegmentEntry("broker/board", BOARD_SIZE, True),)
        rundir = str(self.directory)
        boot = BootMessage("broker", "broker", self.incarnation, rundir, self.config, entries)
        self.link.boot(boot, [self.board.fd])

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for each in self.links:
            each.close()
        self.board.close()


def _spawn(
    command: list[str], log: Path | None, **inherited: socket.socket
) -> subprocess.Popen[bytes]:
    """Start a process group of its own that inherits sockets, each named in its environment."""
    for theirs in inherited.values():
        theirs.set_inheritable(True)
    numbers = {name: str(theirs.fileno()) for name, theirs in inherited.items()}
    with Path(log or os.devnull).open("ab") as file:
        process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno() for theirs in inherited.values()],
            env={**os.environ, **numbers},
            start_new_session=True,
            stderr=None if log is None else file,
        )
    for theirs in inherited.values():
        theirs.close()
    return process
