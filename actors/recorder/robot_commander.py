"""`RobotCommander`: a strategy's commands to its robot, by way of the supervisor.

They go out one after the other in a thread of their own, because the recorder waits for nothing: a
fleet that is busy delays the command and no row.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ...errors import ControlSocketError
from ..supervision.control_socket import ask
from .strategy import ControlVerb


class RobotCommander:
    """Of one robot of the fleet whose control socket is at `socket`."""

    def __init__(self, socket: Path, robot: str, log: logging.Logger) -> None:
        self._socket, self._robot, self._log = socket, robot, log
        self._pool = ThreadPoolExecutor(1, "command")
        self.fault = ""
        """Why the last command was not carried out; empty if it was."""

    def send(self, command: ControlVerb) -> None:
        """Carry out `command` after those before it."""
        self._pool.submit(self._send, command)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _send(self, command: ControlVerb) -> None:
        try:
            ask(self._socket, do=command.verb, names=[self._robot], args=command.args)
        except ControlSocketError as error:
            if str(error) != self.fault:
                self._log.warning("%s is not done: %s", command.verb, error)
            self.fault = str(error)
        else:
            self.fault = ""
