"""`FailSafe`: the state of a control loop's supply of actions, as a machine over `TABLE`.

Guarantees: the machine moves only along the table; DEAD is never left; an event that the table does
not have for a state changes nothing. It is pure: instants come from the caller, and it neither
sends nor sleeps.
"""

from __future__ import annotations

from dataclasses import dataclass

from .config import SafetySettings
from .supply_state import TABLE, SupplyEvent, SupplyState


@dataclass(frozen=True, slots=True)
class Bounds:
    """The time bounds, in ns; `config.SafetySettings` says what each is for. `max_offline_ns`
    None: the robot waits without an end."""

    degraded_after_ns: int = 1_000_000_000
    request_timeout_ns: int = 5_000_000_000
    resume_within_ns: int = 500_000_000
    max_offline_ns: int | None = 60_000_000_000
    open_timeout_ns: int = 2_000_000_000
    backoff_ns: int = 500_000_000
    max_backoff_ns: int = 10_000_000_000

    @classmethod
    def of(cls, safety: SafetySettings) -> Bounds:
        return cls(
            degraded_after_ns=round(safety.degraded_after_s * 1e9),
            request_timeout_ns=round(safety.request_timeout_s * 1e9),
            resume_within_ns=round(safety.resume_within_s * 1e9),
            max_offline_ns=safety.max_offline_ns,
            open_timeout_ns=round(safety.open_timeout_s * 1e9),
            backoff_ns=round(safety.backoff_s * 1e9),
            max_backoff_ns=round(safety.max_backoff_s * 1e9),
        )


class FailSafe:
    """The machine. Report what happens with `on`, the passing of time with `elapse`.

    `supplied_ns` is since when the robot has been offline: the last merge, or the first accepted
    handshake before one. It moves on with the clock while paused, and while no chunk is due and no
    request in flight. 0 until then: a robot that was never enabled does not give up.
    """

    def __init__(self, bounds: Bounds, supplied_ns: int = 0, paused_ns: int = 0):
        self._bounds = bounds
        self.state = SupplyState.CONNECTING
        self.cause: SupplyEvent | None = None
        """What led to the present state."""
        self.supplied_ns = supplied_ns
        self.paused_ns = paused_ns
        """Since when it is paused; 0 when it is not."""
        self.stalled_ns = 0
        """Since when it is STALLED, or was last."""
        self.session_open = False
        self._due_ns = 0
        self._asked_ns = 0
        self._unanswered_ns = 0
        self._opening_ns = 0
        self._next_open_ns = 0
        self._elapsed_ns = 0
        self._backoff_ns = bounds.backoff_ns
        self._begun = not supplied_ns
        """Whether an episode has begun whose first chunk has neither come nor become late."""

    @property
    def action_due(self) -> bool:
        """Whether a tick without an action of the plan counts as stalled. It does not while paused,
        nor from a start or a reset until the first chunk came or was late by `degraded_after`."""
        return not (self.paused or self._begun)

    @property
    def paused(self) -> bool:
        return self.paused_ns != 0

    @property
    def may_request(self) -> bool:
        """Whether supply and pausing allow a request."""
        return self.session_open and not self.paused and self.state is not SupplyState.DEAD

    def on(self, event: SupplyEvent, now_ns: int) -> SupplyState:
        """Take one event; the state afterwards."""
        if self.state is SupplyState.DEAD:
            return self.state
        following = TABLE[self.state].get(event)
        if event is SupplyEvent.MERGED and self.state is not SupplyState.RECONNECTING:
            self.supplied_ns = self.paused_ns or now_ns
            self._due_ns = self._backoff_ns = 0
            self._begun = False
        elif event is SupplyEvent.ACCEPTED:
            self._opening_ns = self._unanswered_ns = 0
            self.session_open = True
            if not self.supplied_ns:  # enabled now: until here nothing could have been due
                self._begun, self._due_ns = True, 0
            self.supplied_ns = self.supplied_ns or self.paused_ns or now_ns
        if following is not None:
            self._enter(following, event, now_ns)
        return self.state

    def elapse(self, now_ns: int, *, dry: bool, due: bool) -> SupplyState:
        """Let time pass up to now. `dry`: the plan has no action that may be played; `due`: it
        holds less than it should, so that a chunk is wanted. While paused nothing passes.

        After a reset the plan is dry by intention: it counts as DRY once its first chunk is late.
        """
        if self.paused or self.state is SupplyState.DEAD:
            return self.state
        bounds = self._bounds
        if self.supplied_ns and not (self._due_ns or self._asked_ns):
            idle_ns = now_ns - (self._elapsed_ns or now_ns)
            self.supplied_ns = min(self.supplied_ns + idle_ns, now_ns)
        self._elapsed_ns = now_ns
        if not due:
            self._due_ns = 0
        elif not self._due_ns:
            self._due_ns = now_ns
        most_ns = bounds.max_offline_ns
        if most_ns is not None and self.supplied_ns and now_ns - self.supplied_ns > most_ns:
            return self.on(SupplyEvent.OFFLINE, now_ns)
        if self._unanswered_ns and now_ns - self._unanswered_ns >= 2 * bounds.request_timeout_ns:
            return self.on(SupplyEvent.UNANSWERED, now_ns)
        late = self._due_ns != 0 and now_ns - self._due_ns >= bounds.degraded_after_ns
        if late:
            self._begun = False
        if dry and not self._begun:
            return self.on(SupplyEvent.DRY, now_ns)
        if late:
            return self.on(SupplyEvent.LATE, now_ns)
        return self.state

    def asked(self, now_ns: int) -> None:
        """A request went out."""
        self._asked_ns = now_ns
        self._unanswered_ns = self._unanswered_ns or now_ns

    def answered(self) -> None:
        """The request was answered, by whatever answer: the server works. Or its answer is of no
        use any more."""
        self._asked_ns = self._unanswered_ns = 0

    def withdrawn(self) -> None:
        """The request in flight is given up for another one and does not time out. Whether the
        server works is as unknown as before."""
        self._asked_ns = 0

    def request_timed_out(self, now_ns: int) -> bool:
        """Whether the request in flight has waited for longer than `request_timeout`. It is then no
        longer in flight, and counts as TIMEOUT."""
        if not self._asked_ns or self.paused:
            return False
        if now_ns - self._asked_ns < self._bounds.request_timeout_ns:
            return False
        self._asked_ns = 0
        self.on(SupplyEvent.TIMEOUT, now_ns)
        return True

    def motion_has_ended(self, asked_ns: int, usual_ns: int, now_ns: int) -> bool:
        """Whether it has been STALLED for so long that the answer to a request that was made at
        `asked_ns`, before that, is not to be played. One that takes no longer than the others,
        `usual_ns`, and the bound is."""
        # A service that is always slower than its chunks are long would have half of its work
        # dropped.
        most_ns = self._bounds.resume_within_ns
        return (
            self.state is SupplyState.STALLED
            and asked_ns < self.stalled_ns < now_ns - most_ns
            and now_ns - asked_ns > usual_ns + most_ns
        )

    @property
    def handshake_open(self) -> bool:
        """Whether a handshake was sent and awaits its answer."""
        return self._opening_ns != 0

    def should_open(self, now_ns: int) -> bool:
        """Whether it is time for a handshake: none is open or under way, and the pause is over."""
        if self.session_open or self.state is SupplyState.DEAD:
            return False
        if self._opening_ns:
            if now_ns - self._opening_ns < self._bounds.open_timeout_ns:
                return False
            self.open_failed(now_ns)
        return now_ns >= self._next_open_ns

    def opening(self, now_ns: int) -> None:
        """A handshake was sent."""
        self._opening_ns = now_ns

    def open_failed(self, now_ns: int, retry_after_ns: int = 0) -> None:
        """The handshake was refused for now, or not answered: pause before the next one."""
        self._opening_ns = 0
        self._backoff_ns = max(self._backoff_ns, self._bounds.backoff_ns)
        self._wait(now_ns, retry_after_ns)

    def available(self, now_ns: int) -> None:
        """The service is there (again): the pause before the next handshake is over, and the one
        after that is short."""
        self._next_open_ns, self._backoff_ns = now_ns, self._bounds.backoff_ns

    def pause(self, now_ns: int) -> None:
        """Stop requests and playing; every deadline stands still from now on."""
        if not self.paused and self.state is not SupplyState.DEAD:
            self.paused_ns = now_ns

    def resume(self, now_ns: int) -> None:
        """Go on: the deadlines move by as long as the pause was."""
        if not self.paused:
            return
        pause_ns = max(now_ns - self.paused_ns, 0)
        self.paused_ns = 0
        self._elapsed_ns = now_ns
        if self.supplied_ns:
            self.supplied_ns += pause_ns
        if self._due_ns:
            self._due_ns += pause_ns
        if self.stalled_ns:
            self.stalled_ns += pause_ns
        if self._asked_ns:
            self._asked_ns += pause_ns
        if self._unanswered_ns:
            self._unanswered_ns += pause_ns

    def reset(self) -> None:
        """An episode begins: what was due or asked belongs to the one before."""
        self._due_ns = self._asked_ns = self._unanswered_ns = 0
        self._begun = True

    def _wait(self, now_ns: int, at_least_ns: int = 0) -> None:
        """Schedule the next handshake after the present pause, and double the pause. A robot that
        was never enabled has no plan to bridge it: it asks at least every second."""
        bounds = self._bounds
        self._next_open_ns = now_ns + max(self._backoff_ns, at_least_ns)
        most_ns = bounds.max_backoff_ns if self.supplied_ns else 2 * bounds.backoff_ns
        self._backoff_ns = min(max(2 * self._backoff_ns, bounds.backoff_ns), most_ns)

    def _enter(self, state: SupplyState, cause: SupplyEvent, now_ns: int) -> None:
        self.state, self.cause = state, cause
        if state in (SupplyState.RECONNECTING, SupplyState.DEAD):
            self.session_open = False
            self._asked_ns = self._unanswered_ns = self._opening_ns = 0
        if state is SupplyState.STALLED:
            self.stalled_ns = now_ns
        if state is SupplyState.RECONNECTING:
            # No pause after a chunk came; but a server that was lost before it sent one waits.
            self._wait(now_ns)
