"""Each robot's record of failed and slow requests at this replica: pure, no clock.

Guarantees that a robot whose requests fail, or take much longer than others', costs the others
little: until one of its requests is served as usual it is inferred alone, after all others, and
while others are served it rests for `REST_FACTOR` times the duration of its last request, so that
it gets at most `1 / (1 + REST_FACTOR)` of the device's time. A robot whose request was alone on the
device when the policy needed a new process rests longer each time. The duration of one request is
not bounded.

Instants are monotonic ns of this host, so that the next incarnation can continue from `rows`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

REST_FACTOR = 4
SLOW_FACTOR, SLOW_S = 3.0, 0.05
"""A request is slow that takes longer than this factor of the usual time, and this much longer."""
SLOW_IN_A_ROW = 3
"""Consecutive slow requests of one robot alone before it rests; single ones are the machine's."""
LOSS_REST_S, LOSS_REST_GROWTH, MAX_REST_S = 10.0, 4.0, 600.0
MAX_LONE_REST_S = 30.0
"""The longest rest of the only robot: it protects no other one, only the restarts that the replica
has within the default window (`Rules`), so that it is not given up."""
MAX_ROBOTS = 256
MAX_ROWS = 16
MAX_REASON_CHARS = 160
_REPORTED = ("failed", "failing", "slow", "clipped", "losses", "reason")


@dataclass
class History:
    """One robot's counts. `failing` and `slow` are consecutive, the others total; `losses` counts
    the new processes that the policy needed after its requests."""

    failed: int = 0
    failing: int = 0
    slow: int = 0
    clipped: int = 0
    losses: int = 0
    reason: str = ""
    rests_until_ns: int = 0
    logged_ns: int | None = None
    unlogged: int = 0

    @property
    def alone(self) -> bool:
        """Whether its requests are inferred alone, after those of others."""
        return self.failing > 0 or self.slow > 0


@dataclass
class Histories:
    """The histories of the `MAX_ROBOTS` robots seen last. They outlive sessions, because a new
    connection does not repair a robot."""

    log_every_ns: int = 10_000_000_000
    _of: OrderedDict[str, History] = field(default_factory=OrderedDict)

    def of(self, robot: str) -> History:
        """The robot's history; an empty one for an unknown robot."""
        history = self._of.setdefault(robot, History())
        self._of.move_to_end(robot)
        if len(self._of) > MAX_ROBOTS:
            self._of.popitem(last=False)
        return history

    def failed(self, robot: str, reason: str, seconds: float, now_ns: int, shared: bool) -> str:
        """Record a request that failed after `seconds` on the device; `shared`: others are served
        here. Returns what to log, empty within `log_every_ns` of the last failure logged."""
        history = self.of(robot)
        history.failed += 1
        history.failing += 1
        history.reason = reason[:MAX_REASON_CHARS]
        self._rest(history, seconds, now_ns, shared)
        if history.logged_ns is not None and now_ns - history.logged_ns < self.log_every_ns:
            history.unlogged += 1
            return ""
        more = f" ({history.unlogged} more since it was last said)" if history.unlogged else ""
        history.logged_ns, history.unlogged = now_ns, 0
        return f"a request of {robot} failed, {history.failing} in a row{more}: {reason}"

    def served(
        self, robot: str, seconds: float, usual_s: float, alone: bool, now_ns: int, shared: bool
    ) -> str:
        """Record a chunk, from a batch that took `seconds` where `usual_s` is usual; `alone`: a
        batch of one. Returns what to log, mostly empty."""
        history = self.of(robot)
        failed, history.failing = history.failing, 0
        if seconds <= max(SLOW_FACTOR * usual_s, usual_s + SLOW_S):
            history.slow = 0
        elif alone or history.slow == 0:
            history.slow += 1
            if history.slow >= SLOW_IN_A_ROW and not self.others_slow(robot):
                self._rest(history, seconds, now_ns, shared)
        return f"a request of {robot} succeeded after {failed} that failed" if failed else ""

    def lost(self, robots: Sequence[str], reason: str, now_ns: int, shared: bool) -> None:
        """Record that the policy needs a new process after a batch of these robots; `shared`:
        others are served here. Which of several requests was the cause is unknown: each robot is
        then inferred alone, and a next loss has one cause."""
        longest_s = MAX_REST_S if shared else MAX_LONE_REST_S
        for robot in robots:
            history = self.of(robot)
            history.failed += 1
            history.failing += 1
            history.reason = reason[:MAX_REASON_CHARS]
            if len(robots) == 1:
                history.losses += 1
                rest_s = min(longest_s, LOSS_REST_S * LOSS_REST_GROWTH ** (history.losses - 1))
                history.rests_until_ns = now_ns + round(rest_s * 1e9)

    def clipped(self, robot: str, values: int) -> None:
        """Record how many values of a request's state the policy bounded."""
        if values:
            self.of(robot).clipped += values

    def rest_s(self, robot: str, now_ns: int) -> float:
        """For how many seconds no request of the robot is accepted; 0 if one is."""
        return max(0, self.of(robot).rests_until_ns - now_ns) / 1e9

    def rows(self) -> dict[str, dict[str, Any]]:
        """For the status: the robots whose requests failed, were slow or were clipped, at most
        `MAX_ROWS`, those with failing or slow requests first."""
        troubled = [(r, h) for r, h in self._of.items() if h.failed or h.slow or h.clipped]
        troubled.sort(key=lambda row: (not row[1].alone, -row[1].failed))
        return {
            robot: {
                **{name: getattr(h, name) for name in _REPORTED},
                "rests_until": h.rests_until_ns,
            }
            for robot, h in troubled[:MAX_ROWS]
        }

    def restore(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Continue from an earlier incarnation's `rows`, which may be of another version."""
        for robot, row in rows.items():
            known = {name: row[name] for name in _REPORTED if name in row}
            self._of[robot] = History(**known, rests_until_ns=row.get("rests_until", 0))

    def others_slow(self, robot: str) -> bool:
        """Whether other robots' requests are slow too, so that the machine is the cause."""
        return any(h.slow for name, h in self._of.items() if name != robot)

    def _rest(self, history: History, seconds: float, now_ns: int, shared: bool) -> None:
        if shared:
            history.rests_until_ns = now_ns + round(REST_FACTOR * seconds * 1e9)
