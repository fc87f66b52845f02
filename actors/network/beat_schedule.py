"""`BeatSchedule`: when a robot's next heartbeat to its broker is due. Pure.

A request and its answer show what a heartbeat and its answer show: that both ends live. While they
follow each other, a heartbeat only brings the vitals, and goes out at a third of the rate. At a
broker with hundreds of robots heartbeats are most of the messages.

No heartbeat is left out where the silence that follows could be taken for a loss: of the connection
at the robot, or of the robot at the broker.
"""

from __future__ import annotations

from ..runtime.configs import ROBOT_TAKEOVER_NS

QUIET_BEATS = 2
"""For so many heartbeats' time after a request that was answered none is needed. The broker hears
of its robot as often as that."""
MOST_BEATS = 3
"""So many heartbeats' time after the last one the next is due in any case."""


class BeatSchedule:
    """That of one robot at one broker; instants are monotonic ns. `dead_after_ns`: after how much
    silence of the broker the connection to it is made anew."""

    def __init__(self, heartbeat_ns: int, dead_after_ns: int) -> None:
        self._heartbeat_ns = heartbeat_ns
        silent_ns = QUIET_BEATS * heartbeat_ns
        # Half of the bound is for the answer's way, and for processes that are paused.
        self._thins = silent_ns <= dead_after_ns // 2 and silent_ns < ROBOT_TAKEOVER_NS
        self._beaten_ns: int | None = None
        self._asked_ns: int | None = None
        self._awaited: int | None = None
        """The seq of the last request, if the broker has not answered it."""
        self._state = ""

    def asked(self, seq: int, now_ns: int) -> None:
        """The request `seq` was sent to the broker."""
        self._asked_ns, self._awaited = now_ns, seq

    def answered(self, seq: int) -> None:
        """The broker answered the request `seq`; only the last one's answer is awaited."""
        if seq == self._awaited:
            self._awaited = None

    def beaten(self, state: str, now_ns: int) -> None:
        """A heartbeat was sent, by which the robot is in `state`."""
        self._beaten_ns, self._state = now_ns, state

    def due(self, state: str, now_ns: int) -> bool:
        """Whether a heartbeat is to be sent now. The robot is in `state`: a new one is reported as
        soon as without requests, and a request that is not answered is asked about as soon."""
        if self._beaten_ns is None:
            return True
        since_ns = now_ns - self._beaten_ns
        if since_ns < self._heartbeat_ns or self._asked_ns is None or not self._thins:
            return since_ns >= self._heartbeat_ns
        quiet_ns = self._heartbeat_ns * (QUIET_BEATS if self._awaited is None else 1)
        is_quiet = now_ns - self._asked_ns < quiet_ns and state == self._state
        return not is_quiet or since_ns >= MOST_BEATS * self._heartbeat_ns
