"""What the broker counts and logs. People find a fault by these names: each situation has one, and
says whose doing it was."""

from __future__ import annotations

import logging
from unittest.mock import ANY

import pytest

from holdfast.actors.broker.effects import Log, ToReplica, ToRobot
from holdfast.actors.broker.quarantine import TOLERATED
from holdfast.actors.broker.replicas import MAX_REPLICAS
from holdfast.actors.broker.routing import Routing
from holdfast.actors.runtime.configs import BrokerConfig
from holdfast.tests.actors.broker.desk import Desk, asking, granting, offering
from holdfast.tests.actors.broker.situations import (
    NO_PEER,
    Situation,
    a_request_of_a_dead_replica,
    be_away,
    break_rules,
    die,
    fail,
    nothing,
    one_replica,
    one_request,
    one_session,
    overdue,
    two_replicas,
)
from holdfast.transport.bodies import Close, Drain, Event, Heartbeat, Reject
from holdfast.transport.header import Kind

WARNING, ERROR, INFO = logging.WARNING, logging.ERROR, logging.INFO
SITUATIONS = {
    # Robots
    "a robot opens under another's name": Situation(
        one_replica,
        lambda desk: desk.robot("r1:1", asking("r2"), epoch=1),
        {"wrong-name": "r1"},
        (WARNING, "rule broken", {"peer": "r1", "reason": "wrong-name"}),
    ),
    "a robot breaks one rule too many": Situation(
        nothing,
        lambda desk: break_rules(desk, TOLERATED + 1),
        {"quarantines": "r1"},
        (ERROR, "peer quarantined", {"peer": "r1", "reason": "frames"}),
    ),
    "a robot says what only replicas say": Situation(
        nothing,
        lambda desk: desk.robot("r1:1", Kind.REGISTER),
        {"kind-from-robot": "r1"},
        (WARNING, "rule broken", {"peer": "r1", "reason": "kind-from-robot"}),
    ),
    "a replica says what only robots say": Situation(
        one_session,
        lambda desk: desk.replica("flow/0:1", Kind.REQUEST, "r1", epoch=1),
        {"kind-from-replica": "flow/0"},
        (WARNING, "rule broken", {"peer": "flow/0", "reason": "kind-from-replica"}),
    ),
    "an older claim to a name": Situation(
        lambda desk: (desk.register("flow/0:1"), desk.opened("r1:2", epoch=9)),
        lambda desk: desk.robot("r1:1", asking("r1"), epoch=1),
        {"name-taken": "r1"},
        (WARNING, "robot name taken", {"robot": "r1"}),
    ),
    "no replica": Situation(
        nothing,
        lambda desk: desk.robot("r1:1", asking("r1"), epoch=1),
        {"rejected-no-replica": "r1"},
    ),
    "no room": Situation(
        lambda desk: (desk.register("flow/0:1", capacity=1), desk.opened("r0:1")),
        lambda desk: desk.robot("r1:1", asking("r1"), epoch=1),
        {"rejected-capacity": "r1"},
    ),
    "room for a waiting robot": Situation(
        lambda desk: desk.robot("r1:1", asking("r1"), epoch=1),
        lambda desk: desk.register("flow/0:1"),
        {"called": NO_PEER},
        (INFO, "replica registered", {"replica": "flow/0"}),
    ),
    "an end": Situation(
        one_session, lambda desk: desk.robot("r1:1", Close(), epoch=1), {"ended-closed": NO_PEER}
    ),
    "an end of what ended": Situation(
        one_replica, lambda desk: desk.robot("r1:1", Close(), epoch=1), {"late-close": "r1"}
    ),
    "silence of a robot": Situation(
        one_session,
        lambda desk: desk.wait(6, beats=("flow/0:1",)),
        {"ended-robot-silent": NO_PEER},
    ),
    "a request before the ACCEPT": Situation(
        lambda desk: (desk.register("flow/0:1"), desk.robot("r1:1", asking("r1"), epoch=1)),
        lambda desk: desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1),
        {"request-before-accept": "r1"},
    ),
    "a request": Situation(
        one_session,
        lambda desk: desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1),
        {"requests": NO_PEER},
    ),
    "a request again": Situation(
        one_request,
        lambda desk: desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=5),
        {"request-repeated": "r1"},
    ),
    "a request in place of another": Situation(
        one_request,
        lambda desk: desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=6),
        {"superseded": "r1"},
    ),
    "a session in place of one with a request": Situation(
        one_request,
        lambda desk: desk.robot("r1:1", asking("r1"), epoch=2),
        {"superseded": "r1"},
    ),
    "a request of an unknown session": Situation(
        one_replica,
        lambda desk: desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1),
        {"unknown-session": "r1"},
    ),
    "a key of a robot is revoked": Situation(
        one_session,
        lambda desk: desk.routing.revoked({""}, desk.now_ns),
        {"ended-revoked": NO_PEER, "replica-revoked": "flow/0"},
        (WARNING, "key revoked", {"robot": "r1"}),
    ),
    # Replicas
    "a replica registers under another's name": Situation(
        nothing,
        lambda desk: desk.replica("flow/0:1", offering("flow/1"), token=1),
        {"wrong-name": "flow/0"},
        (WARNING, "rule broken", {"peer": "flow/0", "reason": "wrong-name"}),
    ),
    "an older incarnation": Situation(
        lambda desk: desk.register("flow/0:2"),
        lambda desk: desk.register("flow/0:1"),
        {"register-older": "flow/0"},
    ),
    "a replica too many": Situation(
        lambda desk: [desk.register(f"flow/{k}:1") for k in range(MAX_REPLICAS)],
        lambda desk: desk.register("act/0:1"),
        {"too-many-replicas": "act/0"},
    ),
    "a replica unlike the others": Situation(
        one_replica,
        lambda desk: desk.register("flow/1:1", fps=60.0),
        {"replica-refused": "flow/1"},
        (WARNING, "replica refused", {"replica": "flow/1", "why": ANY}),
    ),
    "a replica that offers something else than before": Situation(
        lambda desk: [desk.register(f"flow/{k}:1") for k in range(2)],
        lambda desk: desk.replica("flow/1:1", offering("flow/1", fps=60.0), token=7),
        {"replica-refused": "flow/1", "replica-replaced": "flow/1"},
        (WARNING, "replica replaced", {"replica": "flow/1"}),
    ),
    "the next incarnation": Situation(
        one_replica, lambda desk: desk.register("flow/0:2"), {"replica-replaced": "flow/0"}
    ),
    "a heartbeat of an unknown replica": Situation(
        nothing,
        lambda desk: desk.replica("flow/0:1", Heartbeat(progress=1)),
        {"unregistered": "flow/0"},
    ),
    "a DRAIN of an unknown replica": Situation(
        nothing,
        lambda desk: desk.replica("flow/0:1", Drain(reason="stopping")),
        {"unregistered": "flow/0"},
    ),
    "a DRAIN": Situation(
        one_replica,
        lambda desk: desk.replica("flow/0:1", Drain(reason="stopping")),
        {},
        (INFO, "replica drains", {"replica": "flow/0"}),
    ),
    "a refusal": Situation(
        lambda desk: (desk.register("flow/0:1"), desk.robot("r1:1", asking("r1"), epoch=1)),
        lambda desk: desk.replica("flow/0:1", Reject(reason="no", message="no"), "r1", epoch=1),
        {"rejected-by-replica": "r1", "ended-rejected": NO_PEER},
    ),
    "a second ACCEPT": Situation(
        one_session,
        lambda desk: desk.replica("flow/0:1", granting("flow/0"), "r1", epoch=1),
        {"accept-repeated": "r1"},
    ),
    "an answer": Situation(
        one_request,
        lambda desk: desk.replica("flow/0:1", Kind.REPLY, "r1", epoch=1, seq=5),
        {"replies": NO_PEER},
    ),
    "an error": Situation(
        one_request,
        lambda desk: desk.replica("flow/0:1", Kind.ERROR, "r1", epoch=1, seq=5),
        {"errors": NO_PEER},
    ),
    "an answer to nothing": Situation(
        one_session,
        lambda desk: desk.replica("flow/0:1", Kind.REPLY, "r1", epoch=1, seq=5),
        {"reply-unexpected": "r1"},
    ),
    "an answer of another session": Situation(
        one_request,
        lambda desk: desk.replica("flow/0:1", Kind.REPLY, "r1", epoch=2, seq=5),
        {"late-reply": "flow/0"},
    ),
    "a session that its replica lost": Situation(
        one_session,
        lambda desk: desk.replica("flow/0:1", Event(what="lost"), "r1", epoch=1),
        {"ended-lost-at-replica": NO_PEER},
    ),
    "a replica falls silent": Situation(
        one_replica,
        lambda desk: desk.wait(3),
        {"replica-silent": "flow/0"},
        (WARNING, "replica silent", {"replica": "flow/0"}),
    ),
    "an answer is overdue": Situation(
        two_replicas,
        overdue,
        {"replica-overdue": "flow/0", "replica-failed-with-request": "r1"},
        (WARNING, "replica overdue", {"replica": "flow/0"}),
    ),
    "a request goes on elsewhere": Situation(
        two_replicas,
        lambda desk: die(desk, "flow/0"),
        {"replays": "r1", "moves": "r1"},
        (INFO, "replayed", {"robot": "r1", "seq": 5, "to": "flow/1"}),
    ),
    "a session is lost": Situation(
        one_session,
        lambda desk: die(desk, "flow/0"),
        {"lost": "r1", "replica-unreachable": "flow/0"},
        (WARNING, "session lost", {"robot": "r1", "why": ANY}),
    ),
    "two replicas died with one request": Situation(
        a_request_of_a_dead_replica,
        lambda desk: die(desk, "flow/1"),
        {"requests-given-up": "r1"},
        (
            ERROR,
            "request given up",
            {"robot": "r1", "seq": 5, "replicas": "flow/0 and flow/1"},
        ),
    ),
    # The broker's own
    "a robot's socket is full": Situation(
        one_session,
        lambda desk: fail(
            desk,
            desk.robot("r1:1", Heartbeat(progress=1), epoch=1),
            ToRobot,
            Kind.HEARTBEAT,
            "full",
        ),
        {"robot-full-heartbeat": "r1"},
    ),
    "a replica's socket is full": Situation(
        one_session,
        lambda desk: fail(
            desk,
            desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1),
            ToReplica,
            Kind.REQUEST,
            "full",
        ),
        {"replica-full-request": "flow/0"},
    ),
    "the broker was stopped": Situation(one_session, be_away, {"broker-absences": NO_PEER}),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_each_situation_is_counted_and_logged_under_its_name_and_its_peers(
    desk: Desk, name: str
) -> None:
    """Once each; what concerns no peer in particular is counted against none."""
    case = SITUATIONS[name]
    case.arrange(desk)
    counters = desk.routing.counters
    before, peers = dict(counters.reasons), {peer: counters.of(peer) for peer in ("r1", "flow/0")}
    effects = case.act(desk)
    for reason, peer in case.counts.items():
        assert counters.reasons[reason] == before.get(reason, 0) + 1, counters.reasons
        if peer == NO_PEER:
            assert not any(reason in counters.of(known) for known in peers)
        else:
            assert counters.of(peer)[reason] >= 1, "it is counted against its peer"
    assert None not in counters.reasons
    lines = [e for e in effects if isinstance(e, Log)]
    assert all(None not in line.fields.values() for line in lines)
    if case.log is not None:
        level, event, fields = case.log
        (line,) = [line for line in lines if line.event == event]
        assert line.level == level
        assert {name: line.fields[name] for name in fields} == fields


def test_counts_go_on_from_those_of_the_broker_before() -> None:
    """A restart of the broker loses no count."""
    routing = Routing(BrokerConfig(front="", back=""), "broker:2", 0, {"requests": 7})
    assert routing.status(0)["requests"] == 7
