"""How each robot's requests fared at this replica: pure, no clock.

Guarantees that a robot whose requests fail, or take much longer than others', costs the others
little: until one of its requests is served as usual again it is inferred alone, behind everybody
else, and while others are served it rests for `REST` times what its last request took, so that it
gets at most `1 / (1 + REST)` of the device's time. A robot whose request alone was at the device
when that was lost rests longer each time. What one request takes is not bounded.

Instants are monotonic ns of this host, so that the next incarnation can go on from `rows`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

REST = 4
SLOW_FACTOR, SLOW_S = 3.0, 0.05
"""A request is slow that takes longer than this factor of the usual, and this much longer."""
SLOW_IN_A_ROW = 3
"""Slow requests of one robot alone, until it is made to rest: a machine has its pauses."""
LOSS_REST_S, LOSS_REST_GROWTH, MAX_REST_S = 10.0, 4.0, 600.0
MAX_ROBOTS = 256
MAX_ROWS = 16
WORDS = 160


@dataclass
class History:
    """One robot's. `failing` and `slow` count in a row, the others from the beginning; `losses`
    counts devices that were lost at its requests."""

    failed: int = 0
    failing: int = 0
    slow: int = 0
    clipped: int = 0
    losses: int = 0
    reason: str = ""
    rests_until: int = 0
    said_at: int | None = None
    unsaid: int = 0

    @property
    def alone(self) -> bool:
        """Its requests are to be inferred alone, after those of others."""
        return self.failing > 0 or self.slow > 0


@dataclass
class Histories:
    """Those of all robots that were here, the longest unheard dropped first. They outlive sessions:
    a robot does not mend itself by connecting anew."""

    say_every_ns: int = 10_000_000_000
    _of: OrderedDict[str, History] = field(default_factory=OrderedDict)

    def of(self, robot: str) -> History:
        """The robot's history; a new one for a robot never heard of."""
        history = self._of.setdefault(robot, History())
        self._of.move_to_end(robot)
        if len(self._of) > MAX_ROBOTS:
            self._of.popitem(last=False)
        return history

    def failed(self, robot: str, reason: str, seconds: float, now: int, shared: bool) -> str:
        """A request failed after it took the device `seconds`; `shared`: others are served here.
        Returns what to write down about it, empty when that was said not long ago."""
        history = self.of(robot)
        history.failed += 1
        history.failing += 1
        history.reason = reason[:WORDS]
        self._rest(history, seconds, now, shared)
        if history.said_at is not None and now - history.said_at < self.say_every_ns:
            history.unsaid += 1
            return ""
        more = f" ({history.unsaid} more since it was last said)" if history.unsaid else ""
        history.said_at, history.unsaid = now, 0
        return f"a request of {robot} failed, {history.failing} in a row{more}: {reason}"

    def served(
        self, robot: str, seconds: float, usual_s: float, alone: bool, now: int, shared: bool
    ) -> str:
        """A request was answered by a chunk, in a batch that took `seconds` where `usual_s` is
        usual. Returns what to write down about it, mostly nothing."""
        history = self.of(robot)
        mended, history.failing = history.failing, 0
        if seconds <= max(SLOW_FACTOR * usual_s, usual_s + SLOW_S):
            history.slow = 0
        elif alone or history.slow == 0:
            history.slow += 1
            if history.slow >= SLOW_IN_A_ROW and not self.others_slow(robot):
                self._rest(history, seconds, now, shared)
        return f"a request of {robot} succeeded after {mended} that failed" if mended else ""

    def lost(self, robots: Sequence[str], reason: str, now: int) -> None:
        """The device was lost at a batch of these robots. Of several it is not known whose request
        it was: each is then inferred alone, and the next time it is known."""
        for robot in robots:
            history = self.of(robot)
            history.failed += 1
            history.failing += 1
            history.reason = reason[:WORDS]
            if len(robots) == 1:
                history.losses += 1
                rest_s = min(MAX_REST_S, LOSS_REST_S * LOSS_REST_GROWTH ** (history.losses - 1))
                history.rests_until = now + round(rest_s * 1e9)

    def clipped(self, robot: str, values: int) -> None:
        """Of a request's state so many values lay beyond what the policy lets in."""
        if values:
            self.of(robot).clipped += values

    def resting(self, robot: str, now: int) -> float:
        """For how many seconds no request of the robot is taken; 0 if one is."""
        return max(0, self.of(robot).rests_until - now) / 1e9

    def rows(self) -> dict[str, dict[str, Any]]:
        """For a report: of every robot whose requests failed, were slow or were clipped, at most
        `MAX_ROWS`, those in trouble now first."""
        troubled = [(r, h) for r, h in self._of.items() if h.failed or h.slow or h.clipped]
        troubled.sort(key=lambda row: (not row[1].alone, -row[1].failed))
        return {
            robot: {
                "failed": h.failed,
                "failing": h.failing,
                "slow": h.slow,
                "clipped": h.clipped,
                "losses": h.losses,
                "reason": h.reason,
                "rests_until": h.rests_until,
            }
            for robot, h in troubled[:MAX_ROWS]
        }

    def restore(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Go on from what an earlier incarnation's `rows` said; it may have been of another
        version."""
        known = {entry.name for entry in fields(History)}
        for robot, row in rows.items():
            self._of[robot] = History(**{key: row[key] for key in row if key in known})

    def others_slow(self, robot: str) -> bool:
        """Whether other robots' requests are slow too: then it is the machine."""
        return any(h.slow for name, h in self._of.items() if name != robot)

    def _rest(self, history: History, seconds: float, now: int, shared: bool) -> None:
        if shared:
            history.rests_until = now + round(REST * seconds * 1e9)
