"""`TransitionLog`: the lines of a control actor's log about its supply of actions."""

from __future__ import annotations

from logging import INFO, WARNING, Logger

from .command_source import CommandSource
from .losses import Losses
from .request_cycle import RequestCycle

_REPEAT_NS = 1_000_000_000
"""Between two lines about one state."""
_REFUSING_S = 1.0
"""From which on refused commands are logged: a single one is counted only."""


class TransitionLog:
    """Logs a state when it is entered, and again when its cause changes, at most once a second;
    each warning of a session once; what was not played, at most once a minute."""

    def __init__(
        self, log: Logger, cycle: RequestCycle, source: CommandSource, now_ns: int
    ) -> None:
        self._log, self._cycle, self._source = log, cycle, source
        self._losses = Losses(cycle.buffer.dropped, source.refused, now_ns)
        self._state = ""
        self._logged = ("", "", False)
        self._logged_ns = 0
        self._warnings: list[str] = []

    def entered(self, now_ns: int) -> bool:
        """Whether the state is another one than at the last call; it is logged then."""
        state = self._cycle.state.value
        if state == self._state:
            return False
        self._state = state
        self._write(now_ns)
        return True

    def update(self, now_ns: int) -> None:
        """Log what has changed, unless the last line is too recent."""
        if now_ns - self._logged_ns >= _REPEAT_NS:
            self._write(now_ns)

    def _write(self, now_ns: int) -> None:
        source = self._source
        refusing_s = source.refusing_s
        refusing = source.refusing if refusing_s >= _REFUSING_S else ""
        cause = self._cycle.why.cause(self._cycle.state)
        line = f"{self._state} {cause}".rstrip()
        if refusing:
            line += f"; every command is refused for {refusing_s:.0f} s: {refusing}"
        if (self._state, cause, bool(refusing)) != self._logged:
            self._logged, self._logged_ns = (self._state, cause, bool(refusing)), now_ns
            self._log.log(WARNING if refusing else INFO, line)
        self._warn(now_ns)

    def _warn(self, now_ns: int) -> None:
        warnings = self._cycle.warnings
        for text in warnings:
            if text not in self._warnings:
                self._log.warning("the session warns: %s", text)
        self._warnings = warnings
        lost = self._losses.added(self._cycle.buffer.dropped, self._source.refused, now_ns)
        if lost:
            self._log.warning("not played since the last such line: %s", lost)
