"""A client's session with a service, against a broker that the test plays."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.actors.clients.service_session import OPEN_TIMEOUT_NS, ServiceSession, Standing
from holdfast.errors import PolicyLostError, WireError
from holdfast.transport import messages
from holdfast.transport.bodies import (
    KINDS,
    Accept,
    Body,
    Error,
    Event,
    Heartbeat,
    Open,
    Reject,
    Reply,
    Request,
    Vitals,
)
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import Blobs

OPENING = Open(
    robot="openpi/1", service="pick", action_names=("a",), state_names=("s",), cameras={}, fps=10
)
TERMS = Accept(
    session="openpi/1:1",
    replica="pick/0",
    model="m",
    revision="1",
    checkpoint="c",
    chunk_size=4,
    fps=10,
    action_names=("a",),
    cameras={},
)


class Played:
    """A session, a clock, and the broker at its other end."""

    def __init__(self) -> None:
        self.session = ServiceSession(OPENING, itertools.count(1))
        self.now_ns = 10**12
        self.sent: list[tuple[Header, Body]] = []

    def ask(self) -> None:
        blobs = Blobs()
        self.session.ask(Request(state=blobs.array(np.zeros(1, np.float32))), list(blobs))
        self.pump()

    def pump(self, passed_s: float = 0.0) -> list[Kind]:
        """Let time pass; the kinds of what the session sends, but for heartbeats."""
        self.now_ns += round(passed_s * 1e9)
        kinds = []
        while (frames := self.session.due(self.now_ns, Vitals())) is not None:
            message = messages.decode(frames)
            if not isinstance(message.body, Heartbeat):
                self.sent.append((message.header, message.body))
                kinds.append(message.header.kind)
        return kinds

    def last(self, kind: Kind) -> Header:
        return next(header for header, _ in reversed(self.sent) if header.kind is kind)

    def answer(self, body: Body, to: Header) -> float | None:
        """Answer the message with the header `to`; the first action, if that was a reply."""
        kind = KINDS[type(body)]
        frames = messages.encode(to._replace(kind=kind), body)
        message = self.session.receive(frames, self.now_ns)
        return None if message is None else float(message.array(message.body.chunk)[0, 0])

    def reply(self, to: Header) -> float | None:
        blobs = Blobs()
        chunk = np.full((4, 1), to.seq, np.float32)
        body = Reply(chunk_model=blobs.array(chunk), chunk=blobs.array(chunk))
        frames = messages.encode(to._replace(kind=Kind.REPLY), body, blobs)
        message = self.session.receive(frames, self.now_ns)
        return None if message is None else float(message.array(message.body.chunk)[0, 0])


def opened() -> Played:
    """A session that was accepted and has one request on its way."""
    played = Played()
    played.ask()
    played.answer(TERMS, played.last(Kind.OPEN))
    assert played.pump() == [Kind.REQUEST]
    return played


def test_a_session_begins_with_the_first_request() -> None:
    """A client that only connects costs the broker nothing but heartbeats."""
    played = Played()
    assert played.pump(5.0) == []
    played.ask()
    assert [header.kind for header, _ in played.sent] == [Kind.OPEN]


def test_a_reply_is_taken_once_and_only_for_the_request_that_waits() -> None:
    """Replies to earlier requests, of earlier epochs, and repeated ones are none."""
    played = opened()
    asked = played.last(Kind.REQUEST)
    assert played.reply(asked._replace(seq=asked.seq - 1)) is None
    assert played.reply(asked._replace(epoch=asked.epoch + 1)) is None
    assert played.reply(asked) == 1.0
    assert played.reply(asked) is None


def test_a_request_whose_session_is_lost_is_asked_again_in_the_next() -> None:
    """The broker restarted: the client waits a little longer, and gets its chunk."""
    played = opened()
    played.answer(Event(what="lost", message="restarted"), played.last(Kind.REQUEST))
    assert played.pump() == [Kind.OPEN]
    played.answer(TERMS, played.last(Kind.OPEN))
    assert played.pump() == [Kind.REQUEST]
    assert played.last(Kind.REQUEST).epoch > 1
    assert played.reply(played.last(Kind.REQUEST)) == 1.0


def test_a_refusal_that_is_not_final_is_asked_again_after_its_time() -> None:
    """Or as soon as the broker says that there is room."""
    played = Played()
    played.ask()
    refusal = Reject(reason="capacity", message="full", retry_after_s=2.0)
    played.answer(refusal, played.last(Kind.OPEN))
    assert played.pump(1.9) == []
    assert "full" in str(played.session.overdue(10.0))
    assert played.pump(0.2) == [Kind.OPEN]
    played.answer(refusal, played.last(Kind.OPEN))
    played.answer(Event(what="available", message="pick"), played.last(Kind.OPEN))
    assert played.pump() == [Kind.OPEN]


def test_a_refusal_stays_the_reason_when_its_session_is_said_to_be_lost() -> None:
    """The broker answers the heartbeat that was sent between the handshake and its refusal."""
    played = Played()
    played.ask()
    asked = played.last(Kind.OPEN)
    played.answer(Reject(reason="capacity", message="full", retry_after_s=2.0), asked)
    played.answer(Event(what="lost", message="unknown session"), asked)
    assert "full" in str(played.session.overdue(10.0))
    assert played.pump(1.9) == [] and played.pump(0.2) == [Kind.OPEN]


def test_a_final_refusal_and_an_error_are_raised() -> None:
    """The client gets the reason at once instead of waiting for a chunk."""
    played = Played()
    played.ask()
    with pytest.raises(PolicyLostError, match="cameras: none"):
        played.answer(Reject(reason="cameras", message="none", final=True), played.last(Kind.OPEN))
    played = opened()
    with pytest.raises(WireError, match="too dark"):
        played.answer(Error(reason="observation", message="too dark"), played.last(Kind.REQUEST))
    assert played.reply(played.last(Kind.REQUEST)) is None


def test_a_service_that_changed_its_model_is_not_used() -> None:
    """Other weights after a reconnection are another policy than the metadata spoke of."""
    played = opened()
    played.answer(Event(what="lost", message=""), played.last(Kind.REQUEST))
    played.pump()
    changed = msgspec.structs.replace(TERMS, checkpoint="other")
    with pytest.raises(PolicyLostError, match="changed its model"):
        played.answer(changed, played.last(Kind.OPEN))


def test_a_handshake_without_an_answer_is_repeated() -> None:
    """It may have been lost with the broker."""
    played = Played()
    played.ask()
    assert played.pump(OPEN_TIMEOUT_NS / 1e9 - 0.1) == []
    assert played.pump(0.2) == [Kind.OPEN]


def test_a_new_episode_is_told_with_the_next_request() -> None:
    """A RESET goes before the request, which carries the episode too; the first has none."""
    played = opened()
    played.reply(played.last(Kind.REQUEST))
    played.session.new_episode()
    assert played.pump() == []
    played.ask()
    assert [header.kind for header, _ in played.sent[-2:]] == [Kind.RESET, Kind.REQUEST]
    assert [header.episode for header, _ in played.sent[-2:]] == [1, 1]
    played.reply(played.last(Kind.REQUEST))
    played.ask()
    assert played.sent[-2][0].kind is Kind.REQUEST


class SessionMachine(RuleBasedStateMachine):
    """Whatever is lost, late or repeated: with a broker that answers, each request gets its own
    reply, and one at most."""

    def __init__(self) -> None:
        super().__init__()
        self.played = Played()
        self.asked = self.got = 0
        self.waits = False

    @precondition(lambda self: not self.waits)
    @rule()
    def the_client_asks(self) -> None:
        self.played.ask()
        self.asked += 1
        self.waits = True

    @rule(seconds=st.floats(0, 5))
    def time_passes(self, seconds: float) -> None:
        self.played.pump(seconds)

    @precondition(lambda self: self.played.sent)
    @rule(which=st.integers(0, 5), final=st.booleans())
    def the_broker_answers(self, which: int, final: bool) -> None:
        header, body = self.played.sent[-1 - which % len(self.played.sent)]
        if isinstance(body, Open):
            self.played.answer(TERMS, header)
        elif isinstance(body, Request):
            value = self.played.reply(header)
            if value is not None:
                assert self.waits
                assert value == self.asked
                self.waits = False

    @precondition(lambda self: self.played.sent)
    @rule()
    def the_session_is_lost(self) -> None:
        header, _ = self.played.sent[-1]
        self.played.answer(Event(what="lost", message="gone"), header)

    @rule()
    def a_message_cannot_be_sent(self) -> None:
        if self.played.session.due(self.played.now_ns, Vitals()) is not None:
            self.played.session.unsent("full", self.played.now_ns)

    @invariant()
    def a_broker_that_answers_serves_it(self) -> None:
        if self.played.session.standing is Standing.HELD:
            assert self.played.session.terms == TERMS

    def teardown(self) -> None:
        for _ in range(4):
            if not self.waits:
                return
            self.played.pump(3.0)
            for kind in (Kind.OPEN, Kind.REQUEST):
                if any(header.kind is kind for header, _ in self.played.sent):
                    header = self.played.last(kind)
                    if kind is Kind.OPEN:
                        self.played.answer(TERMS, header)
                        self.played.pump()
                    elif self.played.reply(header) is not None:
                        self.waits = False
        assert not self.waits


TestSessionMachine = SessionMachine.TestCase
