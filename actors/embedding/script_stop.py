"""`ScriptStop`: the emergency stop of a script's robot, in the loop that commands it.

The script's network actor, or the fleet of this machine, writes the stops of the site into a
directory; each step looks there, which costs some microseconds and no message. A robot's own latch
is its driver's, which a script's robot does not have.
"""

from __future__ import annotations

import logging
from pathlib import Path

from ..control.request_cycle import RequestCycle
from ..driver.stop_keeper import StopKeeper

_log = logging.getLogger(__name__)


class ScriptStop:
    """That of `robot`, whose plan `cycle` fills: it is paused while the robot is stopped, and void
    afterwards. `keyring` is the directory of public keys by which lifts are checked, if there is
    one."""

    def __init__(
        self, robot: str, directory: Path, keyring: str | None, cycle: RequestCycle
    ) -> None:
        self._keeper = StopKeeper(
            robot,
            directory,
            None if keyring is None else Path(keyring),
            _log,
            has_latch=False,
        )
        self._cycle = cycle
        self._paused = False
        """Whether the script has paused it too."""

    @property
    def why(self) -> str:
        """`stopped by ...`; empty if it is not."""
        return self._keeper.why

    def heed(self, now_ns: int) -> None:
        """Look whether it is stopped: to be called before each step."""
        keeper = self._keeper
        keeper.look()
        if keeper.stop is not None:
            self._cycle.pause(now_ns)
            keeper.confirm()
        elif keeper.freed():
            self._cycle.void_plan()
            if not self._paused:
                self._cycle.resume(now_ns)

    def pause(self, now_ns: int) -> None:
        """The script pauses the plan."""
        self._paused = True
        self._cycle.pause(now_ns)

    def resume(self, now_ns: int) -> None:
        """The script goes on, as soon as no stop holds the robot."""
        self._paused = False
        if self._keeper.stop is None:
            self._cycle.resume(now_ns)
