"""The network actor's session, against a model that knows only what was claimed and answered."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from holdfast.actors.network.session_relay import (
    MAX_JUMP,
    TAKEOVER_NS,
    Disposition,
    Phase,
    SessionRelay,
)
from holdfast.transport.header import Header, Kind

LOST_AFTER_NS = TAKEOVER_NS // 2
EPOCHS = st.one_of(st.integers(0, 4), st.sampled_from([MAX_JUMP, MAX_JUMP + 3, 2**32 - 1]))
INCARNATIONS = st.integers(1, 3)
SILENCES = st.one_of(
    st.integers(0, 16).map(lambda parts: parts * TAKEOVER_NS // 64), st.just(TAKEOVER_NS)
)


class SessionMachine(RuleBasedStateMachine):
    """Any order of messages of any epoch from either side, with any silence between them."""

    def __init__(self) -> None:
        super().__init__()
        self.session = SessionRelay(LOST_AFTER_NS)
        self.now_ns = 10 * TAKEOVER_NS
        self.claim: tuple[int, int] | None = None
        """(incarnation, epoch) of the present claim."""
        self.claimant_heard_ns = 0
        self.asked = False
        self.open = False
        self.heard_ns = 0

    @property
    def epoch(self) -> int:
        return self.claim[1] if self.claim else 0

    @rule(by=SILENCES)
    def time_passes(self, by: int) -> None:
        self.now_ns += by
        verdict = self.session.tick(self.now_ns)
        silent = (self.asked or self.open) and self.now_ns - self.heard_ns > LOST_AFTER_NS
        assert (verdict is not None) == silent, "the end of a session is reported exactly once"
        if silent:
            self.asked = self.open = False

    @rule(epoch=EPOCHS, incarnation=INCARNATIONS)
    def control_opens(self, epoch: int, incarnation: int) -> None:
        verdict = self.session.from_control(
            Header(Kind.OPEN, epoch=epoch), incarnation, self.now_ns
        )
        claim = incarnation, epoch
        free = self.claim is None or self.now_ns - self.claimant_heard_ns >= TAKEOVER_NS
        newer = self.claim is None or (claim >= self.claim and epoch <= self.epoch + MAX_JUMP)
        expected = Disposition.FORWARD if free or newer else Disposition.REFUSE
        assert verdict.action is expected
        if expected is Disposition.FORWARD:
            self.claim, self.asked, self.open = claim, True, False
            self.heard_ns = self.claimant_heard_ns = self.now_ns

    @rule(
        epoch=EPOCHS,
        incarnation=INCARNATIONS,
        kind=st.sampled_from([Kind.REQUEST, Kind.RESET, Kind.HEARTBEAT]),
    )
    def control_speaks(self, epoch: int, incarnation: int, kind: Kind) -> None:
        verdict = self.session.from_control(Header(kind, epoch=epoch), incarnation, self.now_ns)
        holds = (incarnation, epoch) == self.claim
        assert (verdict.action is Disposition.FORWARD) == (
            self.open and holds and kind is not Kind.HEARTBEAT
        )
        newer = self.claim is None or (incarnation, epoch) > self.claim
        mistaken = newer or (holds and not (self.asked or self.open))
        assert (verdict.action is Disposition.LOST) == mistaken
        if holds:
            self.claimant_heard_ns = self.now_ns

    @rule(epoch=EPOCHS, incarnation=INCARNATIONS)
    def control_closes(self, epoch: int, incarnation: int) -> None:
        header = Header(Kind.CLOSE, epoch=epoch)
        verdict = self.session.from_control(header, incarnation, self.now_ns)
        holds = (incarnation, epoch) == self.claim
        passes = holds and (self.asked or self.open)
        assert (verdict.action is Disposition.FORWARD) == passes
        if holds:
            self.claimant_heard_ns = self.now_ns
        if passes:
            self.asked = self.open = False

    @rule(epoch=EPOCHS, kind=st.sampled_from([Kind.ACCEPT, Kind.REJECT]))
    def broker_answers_a_handshake(self, epoch: int, kind: Kind) -> None:
        self.heard_ns = self.now_ns
        verdict = self.session.from_broker(Header(kind, epoch=epoch), "", self.now_ns)
        passes = self.asked and epoch == self.epoch
        assert (verdict.action is Disposition.FORWARD) == passes
        if passes:
            self.asked, self.open = False, kind is Kind.ACCEPT

    @rule(epoch=EPOCHS, kind=st.sampled_from([Kind.REPLY, Kind.ERROR]))
    def broker_replies(self, epoch: int, kind: Kind) -> None:
        self.heard_ns = self.now_ns
        verdict = self.session.from_broker(Header(kind, epoch=epoch), "", self.now_ns)
        assert (verdict.action is Disposition.FORWARD) == (self.open and epoch == self.epoch)

    @rule(epoch=EPOCHS, what=st.sampled_from(["lost", "replayed", "available"]))
    def broker_tells_an_event(self, epoch: int, what: str) -> None:
        self.heard_ns = self.now_ns
        verdict = self.session.from_broker(Header(Kind.EVENT, epoch=epoch), what, self.now_ns)
        ours = (self.asked or self.open) and epoch == self.epoch
        assert (verdict.action is Disposition.FORWARD) == (ours or what == "available")
        if ours and what == "lost":
            self.asked = self.open = False

    @rule()
    def broker_beats(self) -> None:
        self.heard_ns = self.now_ns
        header = Header(Kind.HEARTBEAT)
        assert self.session.from_broker(header, "", self.now_ns).action is Disposition.DROP

    @invariant()
    def the_phase_is_what_was_agreed(self) -> None:
        expected = Phase.OPEN if self.open else Phase.OPENING if self.asked else Phase.CLOSED
        assert self.session.phase is expected


SessionMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestSessionMachine = SessionMachine.TestCase

messages = st.tuples(
    st.sampled_from([Kind.OPEN, Kind.REQUEST, Kind.CLOSE, Kind.HEARTBEAT, Kind.RESET]),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**63),
)


@given(before=st.lists(messages), epoch=st.integers(0, 2**32 - 1), incarnation=st.integers(0, 99))
def test_a_control_actor_opens_a_session_once_the_claimant_is_silent(
    before: list[tuple[Kind, int, int]], epoch: int, incarnation: int
) -> None:
    """After TAKEOVER_NS of silence an OPEN is forwarded, whatever epochs were seen before."""
    session, now_ns = SessionRelay(LOST_AFTER_NS), 10 * TAKEOVER_NS
    for kind, sent_epoch, sender in before:
        session.from_control(Header(kind, epoch=sent_epoch), sender, now_ns)
    header = Header(Kind.OPEN, epoch=epoch)
    now_ns += TAKEOVER_NS
    assert session.from_control(header, incarnation, now_ns).action is Disposition.FORWARD
    assert session.epoch == epoch


@given(
    before=st.lists(messages),
    stray=messages,
    epoch=st.integers(0, 2**31),
    incarnation=st.integers(1, 9),
)
def test_a_control_actor_that_is_heard_keeps_its_session_against_leaping_epochs(
    before: list[tuple[Kind, int, int]], stray: tuple[Kind, int, int], epoch: int, incarnation: int
) -> None:
    """A message whose epoch is beyond MAX_JUMP changes nothing for the session's holder."""
    session, now_ns = SessionRelay(LOST_AFTER_NS), 10 * TAKEOVER_NS
    for kind, sent_epoch, sender in before:
        session.from_control(Header(kind, epoch=sent_epoch), sender, 0)
    session.from_control(Header(Kind.OPEN, epoch=epoch), incarnation, now_ns)
    session.from_broker(Header(Kind.ACCEPT, epoch=epoch), "", now_ns)
    kind, sent_epoch, sender = stray
    if sent_epoch <= epoch + MAX_JUMP:
        sent_epoch += MAX_JUMP + epoch + 1
    session.from_control(Header(kind, epoch=sent_epoch), sender, now_ns)
    assert (session.phase, session.epoch) == (Phase.OPEN, epoch)
    header = Header(Kind.REQUEST, epoch=epoch)
    assert session.from_control(header, incarnation, now_ns).action is Disposition.FORWARD
