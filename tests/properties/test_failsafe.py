"""The fail-safe machine: it moves along its table only, and DEAD is never left."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.actors.control.failsafe import Bounds, FailSafe
from holdfast.actors.control.supply_state import TABLE, SupplyEvent, SupplyState

S = 1_000_000_000
MAX_OFFLINE_NS = 60 * S
BOUNDS = Bounds(max_offline_ns=MAX_OFFLINE_NS)


class SupplyMachine(RuleBasedStateMachine):
    """Any order of events and of time, paused or not."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = FailSafe(BOUNDS)
        self.now_ns = 1000 * S
        self.before = self.machine.state
        self.offline_ns = 0
        self.counting = False
        self.wanted = self.asked = False
        self.elapsed_ns: int | None = None
        self.path: list[SupplyState] = [self.machine.state]

    def _note(self, event: SupplyEvent | None) -> None:
        after = self.machine.state
        if event is not None:
            assert after is TABLE[self.before].get(event, self.before)
        elif after is not self.before:
            assert after in TABLE[self.before].values()
        if after in (SupplyState.RECONNECTING, SupplyState.DEAD):
            self.asked = False
        self.before = after
        self.path.append(after)

    @rule(event=st.sampled_from(list(SupplyEvent)))
    def happens(self, event: SupplyEvent) -> None:
        dead = self.machine.state is SupplyState.DEAD
        if (
            event is SupplyEvent.MERGED
            and self.machine.state is not SupplyState.RECONNECTING
            and not dead
        ):
            self.offline_ns, self.counting, self.wanted = 0, True, False
        if event is SupplyEvent.ACCEPTED and not dead and not self.counting:
            self.offline_ns, self.counting, self.wanted = 0, True, False
        self.machine.on(event, self.now_ns)
        self._note(event)

    @rule(ms=st.integers(1, 90_000), dry=st.booleans(), due=st.booleans())
    def time_passes(self, ms: int, dry: bool, due: bool) -> None:
        paused, dead = self.machine.paused, self.machine.state is SupplyState.DEAD
        self.now_ns += ms * S // 1000
        if not paused:
            # What was due or in flight when it was last looked at has been so since.
            if self.wanted or self.asked or self.elapsed_ns is None:
                self.offline_ns += ms * S // 1000
            self.wanted, self.elapsed_ns = due, self.now_ns
        after = self.machine.elapse(self.now_ns, dry=dry, due=due)
        if paused:
            assert after is self.before, "while paused nothing passes"
        elif self.counting and self.offline_ns > MAX_OFFLINE_NS:
            assert after is SupplyState.DEAD
        elif not dead:
            assert after is not SupplyState.DEAD, "time kills only after max_offline_s"
        self._note(None)

    @rule(s=st.integers(1, 600), ms=st.integers(1, 2000))
    def is_paused_for_a_while(self, s: int, ms: int) -> None:
        self.pauses()
        self.time_passes(1000 * s, True, True)
        self.resumes()
        self.time_passes(ms, False, False)

    @rule()
    def pauses(self) -> None:
        self.machine.pause(self.now_ns)
        assert self.machine.paused or self.machine.state is SupplyState.DEAD

    @rule()
    def resumes(self) -> None:
        if self.machine.paused:
            self.elapsed_ns = self.now_ns
        self.machine.resume(self.now_ns)
        assert not self.machine.paused
        self._note(None)

    @precondition(lambda self: self.machine.may_request)
    @rule()
    def asks(self) -> None:
        self.machine.asked(self.now_ns)
        self.asked = True

    @rule()
    def is_answered(self) -> None:
        self.machine.answered()
        self.asked = False

    @rule()
    def looks_for_a_time_out(self) -> None:
        if self.machine.request_timed_out(self.now_ns):
            self.asked = False
        self._note(None)

    @rule()
    def resets(self) -> None:
        self.machine.reset()
        self.wanted = self.asked = False
        self._note(None)

    @rule(s=st.integers(100, 1000))
    def it_is_paused_for_long(self, s: int) -> None:
        """Nothing is due and nothing in flight: that is not a loss, however long it lasts."""
        self.resets()
        self.time_passes(1000 * s, True, False)
        self.time_passes(1000 * s, True, False)

    @rule(answered=st.booleans())
    def opens(self, answered: bool) -> None:
        if self.machine.should_open(self.now_ns):
            assert not self.machine.session_open
            self.machine.opening(self.now_ns)
            assert not self.machine.should_open(self.now_ns), "one handshake at a time"
            if answered:
                self.machine.open_failed(self.now_ns)
                assert not self.machine.should_open(self.now_ns), "a pause after a refusal"
                assert self.machine.should_open(self.now_ns + BOUNDS.max_backoff_ns)

    @invariant()
    def dead_is_final(self) -> None:
        if SupplyState.DEAD in self.path:
            assert self.machine.state is SupplyState.DEAD
            assert not self.machine.may_request
            assert not self.machine.should_open(self.now_ns + 1000 * S)

    @invariant()
    def nothing_is_asked_while_paused_or_without_a_session(self) -> None:
        if self.machine.paused or not self.machine.session_open:
            assert not self.machine.may_request
        if self.machine.state is SupplyState.RECONNECTING:
            assert not self.machine.session_open


TestFailSafe = SupplyMachine.TestCase
TestFailSafe.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)


steps = st.lists(
    st.tuples(
        st.integers(1, 15),  # tenths of a second until this step
        st.sampled_from(["elapse", "dry", "asked", "answered", "timed out", "merged", "reset"]),
        st.booleans(),  # whether a chunk is due
        st.integers(0, 30),  # and for how many one of the two is paused before it
    ),
    min_size=5,
    max_size=30,
)


@given(steps)
def test_a_pause_moves_every_deadline_by_its_length_and_changes_nothing_else(
    taken: list[tuple[int, str, bool, int]],
) -> None:
    """A machine that is paused agrees with one that is not, each by its own clock."""
    bounds = Bounds(request_timeout_ns=2 * S)
    twins = [FailSafe(bounds), FailSafe(bounds)]
    now_ns, paused = S, 0
    for machine in twins:
        machine.on(SupplyEvent.ACCEPTED, now_ns)
        machine.on(SupplyEvent.MERGED, now_ns)
    for wait, what, due, tenths in taken:
        now_ns, pause = now_ns + wait * S // 10, tenths * S // 10
        if pause:
            twins[1].pause(now_ns + paused)
            assert not twins[1].request_timed_out(now_ns + paused + pause)
            twins[1].elapse(now_ns + paused + pause, dry=True, due=True)
            paused += pause
            twins[1].resume(now_ns + paused)
        results = [
            _take(m, what, due, at) for m, at in zip(twins, (now_ns, now_ns + paused), strict=True)
        ]
        assert results[0] == results[1]
        assert twins[0].action_due is twins[1].action_due


def _take(machine: FailSafe, what: str, due: bool, now_ns: int) -> object:
    match what:
        case "elapse" | "dry":
            return machine.elapse(now_ns, dry=what == "dry", due=due)
        case "asked":
            if machine.may_request:
                machine.asked(now_ns)
        case "answered":
            machine.answered()
        case "timed out":
            return machine.request_timed_out(now_ns)
        case "merged":
            return machine.on(SupplyEvent.MERGED, now_ns)
        case _:
            machine.reset()
    return None
