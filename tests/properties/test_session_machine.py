"""The network actor's session, against a model that knows only what was opened and answered."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from holdfast.actors.network.session import Action, Phase, Session
from holdfast.transport.header import Header, Kind

LOST_AFTER = 2_000
EPOCHS = st.integers(0, 4)


class SessionMachine(RuleBasedStateMachine):
    """Any order of messages of any epoch from either side, with any silence between them."""

    def __init__(self) -> None:
        super().__init__()
        self.session = Session(LOST_AFTER)
        self.now = 0
        self.epoch = 0
        self.asked = False
        self.open = False
        self.heard = 0

    @rule(by=st.integers(0, 3_000))
    def time_passes(self, by: int) -> None:
        self.now += by
        verdict = self.session.tick(self.now)
        silent = (self.asked or self.open) and self.now - self.heard > LOST_AFTER
        assert (verdict is not None) == silent, "the end of a session is told exactly once"
        if silent:
            self.asked = self.open = False

    @rule(epoch=EPOCHS)
    def control_opens(self, epoch: int) -> None:
        verdict = self.session.from_control(Header(Kind.OPEN, epoch=epoch), self.now)
        assert (verdict.action is Action.FORWARD) == (epoch >= self.epoch)
        if epoch >= self.epoch:
            self.epoch, self.asked, self.open, self.heard = epoch, True, False, self.now

    @rule(epoch=EPOCHS, kind=st.sampled_from([Kind.REQUEST, Kind.RESET, Kind.HEARTBEAT]))
    def control_speaks(self, epoch: int, kind: Kind) -> None:
        verdict = self.session.from_control(Header(kind, epoch=epoch), self.now)
        passes = self.open and epoch == self.epoch and kind is not Kind.HEARTBEAT
        assert (verdict.action is Action.FORWARD) == passes
        mistaken = epoch > self.epoch or (epoch == self.epoch and not (self.asked or self.open))
        assert (verdict.action is Action.LOST) == mistaken

    @rule(epoch=EPOCHS)
    def control_closes(self, epoch: int) -> None:
        verdict = self.session.from_control(Header(Kind.CLOSE, epoch=epoch), self.now)
        passes = epoch == self.epoch and (self.asked or self.open)
        assert (verdict.action is Action.FORWARD) == passes
        if passes:
            self.asked = self.open = False

    @rule(epoch=EPOCHS, kind=st.sampled_from([Kind.ACCEPT, Kind.REJECT]))
    def broker_answers_a_handshake(self, epoch: int, kind: Kind) -> None:
        self.heard = self.now
        verdict = self.session.from_broker(Header(kind, epoch=epoch), False, self.now)
        passes = self.asked and epoch == self.epoch
        assert (verdict.action is Action.FORWARD) == passes
        if passes:
            self.asked, self.open = False, kind is Kind.ACCEPT

    @rule(epoch=EPOCHS, kind=st.sampled_from([Kind.REPLY, Kind.ERROR]))
    def broker_replies(self, epoch: int, kind: Kind) -> None:
        self.heard = self.now
        verdict = self.session.from_broker(Header(kind, epoch=epoch), False, self.now)
        assert (verdict.action is Action.FORWARD) == (self.open and epoch == self.epoch)

    @rule(epoch=EPOCHS, lost=st.booleans())
    def broker_tells_an_event(self, epoch: int, lost: bool) -> None:
        self.heard = self.now
        verdict = self.session.from_broker(Header(Kind.EVENT, epoch=epoch), lost, self.now)
        passes = (self.asked or self.open) and epoch == self.epoch
        assert (verdict.action is Action.FORWARD) == passes
        if passes and lost:
            self.asked = self.open = False

    @rule()
    def broker_beats(self) -> None:
        self.heard = self.now
        header = Header(Kind.HEARTBEAT)
        assert self.session.from_broker(header, False, self.now).action is Action.DROP

    @invariant()
    def the_phase_is_what_was_agreed(self) -> None:
        expected = Phase.OPEN if self.open else Phase.OPENING if self.asked else Phase.CLOSED
        assert self.session.phase is expected


SessionMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestSessionMachine = SessionMachine.TestCase
