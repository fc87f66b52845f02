"""Two robots of one name: whose it is; `test_routing_machine` mixes it."""

from __future__ import annotations

import pytest

from holdfast.actors.broker.effects import ToReplica, ToRobot
from holdfast.tests.actors.broker.desk import Desk, Sent, asking, rejection
from holdfast.transport.header import Kind


def test_the_newest_claim_to_a_name_holds_it(desk: Desk, sent: Sent) -> None:
    """By epoch, then by incarnation; the older one gets `lost` for its next message."""
    desk.register("flow/0:1")
    desk.opened("r1:1", epoch=5)
    desk.opened("r1:2", epoch=5)
    (told,) = sent(desk.robot("r1:1", Kind.REQUEST, epoch=5, seq=1), ToRobot, Kind.EVENT)
    assert told.payload.what == "lost"
    assert told.identity == b"r1:1"
    assert desk.routing.status(desk.now_ns)["session_count"] == 1


def test_the_highest_epoch_does_not_lock_its_robot_out(desk: Desk, sent: Sent) -> None:
    """Of one identity the later claim is the newer."""
    desk.register("flow/0:1")
    desk.opened("r1:2", epoch=2**32 - 1)
    effects = desk.robot("r1:2", asking("r1"), epoch=6)
    assert [(e.header.kind, e.header.epoch) for e in effects if isinstance(e, ToReplica)] == [
        (Kind.CLOSE, 2**32 - 1),
        (Kind.OPEN, 6),
    ]
    assert not sent(effects, ToRobot, Kind.REJECT)


@pytest.mark.parametrize(("identity", "epoch"), [("r1:1", 4), ("r1:9", 4), ("r1:1", 5)])
def test_an_older_claim_is_refused_while_the_holder_is_heard_of(
    desk: Desk, identity: str, epoch: int
) -> None:
    """The REJECT is `name-taken` and not final."""
    desk.register("flow/0:1")
    desk.opened("r1:2", epoch=5)
    answer = rejection(desk.robot(identity, asking("r1"), epoch=epoch))
    assert answer.reason == "name-taken"
    assert not answer.final
    desk.wait(1.25, beats=("flow/0:1",), robots=("r1:2",))
    assert rejection(desk.robot(identity, asking("r1"), epoch=epoch)).reason == "name-taken"


def test_a_robot_whose_whole_computer_restarted_gets_its_name_back(desk: Desk) -> None:
    """A lower claim is accepted once the holder is silent."""
    desk.register("flow/0:1")
    desk.opened("r1:7", epoch=31)
    desk.wait(1.5, beats=("flow/0:1",))
    desk.opened("r1:1", epoch=1)
    assert desk.routing.status(desk.now_ns)["sessions"][0]["epoch"] == 1


def test_an_unreachable_holder_gives_its_name_up_at_once(desk: Desk, sent: Sent) -> None:
    """A failed send replaces the wait for its silence."""
    desk.register("flow/0:1")
    desk.opened("r1:7", epoch=31)
    (probe,) = sent(desk.routing.disconnected(desk.now_ns), ToRobot, Kind.HEARTBEAT)
    desk.routing.undelivered(probe, "unreachable", desk.now_ns)
    desk.opened("r1:1", epoch=1)
    assert desk.routing.status(desk.now_ns)["sessions"][0]["epoch"] == 1


def test_a_replaced_session_cannot_be_removed_again(desk: Desk) -> None:
    """The session that replaced it stays."""
    desk.register("flow/0:1")
    desk.opened("r1:1", epoch=1)
    sessions = desk.routing._state.sessions
    old = sessions.of("r1")
    assert old is not None
    desk.opened("r1:1", epoch=2)
    assert not sessions.remove(old)
    assert len(sessions) == 1
