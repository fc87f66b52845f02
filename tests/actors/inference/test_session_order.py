"""The epochs, episodes and numbers of a robot's messages at a replica."""

from __future__ import annotations

import pytest

from holdfast.errors import WireError
from holdfast.tests.actors.inference.bench import Echo, MakeBench
from holdfast.tests.actors.inference.robot_side import RobotSide, example
from holdfast.transport.header import Kind

SECOND_NS = 1_000_000_000


def test_a_reply_counts_the_requests_that_it_superseded(bench: MakeBench, echo: Echo) -> None:
    """The newest request is answered, and the count restarts after it."""
    b = bench(echo)
    b.join("r1")
    for seq in (1, 2, 3):
        b.receive("r1", RobotSide("r1").request(example(seq), seq=seq))
    [(_, reply)] = b.work()
    assert (reply.header.seq, reply.body.superseded) == (3, 2)
    b.receive("r1", RobotSide("r1").request(example(4), seq=4))
    [(_, reply)] = b.work()
    assert (reply.header.seq, reply.body.superseded) == (4, 0)


def test_a_message_of_an_earlier_epoch_request_or_episode_is_dropped(
    bench: MakeBench, echo: Echo
) -> None:
    """The newest request of the newest epoch is answered."""
    b = bench(echo)
    robot = RobotSide("r1")
    b.receive("r1", robot.open(epoch=3))
    b.receive("r1", robot.request(example(1), seq=9, episode=5, epoch=3))
    with pytest.raises(WireError, match="r1"):
        b.receive("r1", robot.request(example(1), seq=10, episode=5, epoch=2))
    b.receive("r1", robot.request(example(1), seq=8, episode=5, epoch=3))
    b.receive("r1", robot.reset(episode=4, epoch=3))
    [(_, reply)] = b.work()
    assert reply.header[1:4] == (9, 5, 3)


def test_a_robot_is_served_after_the_largest_epoch_episode_and_seq(
    bench: MakeBench, echo: Echo
) -> None:
    """The session is that of the last OPEN, the episode that of the last request."""
    b = bench(echo)
    robot = RobotSide("r1")
    b.receive("r1", robot.open(epoch=2**32 - 1))
    b.receive("r1", robot.open(epoch=3))
    b.receive("r1", robot.reset(episode=2**32 - 1, epoch=3))
    b.receive("r1", robot.request(example(1), seq=2**64 - 1, episode=2**32 - 1, epoch=3))
    b.work()
    b.receive("r1", robot.request(example(1), seq=9, episode=5, epoch=3))
    [(_, reply)] = b.work()
    assert reply.header[1:4] == (9, 5, 3)


def test_a_reset_drops_the_waiting_request_of_the_old_episode(bench: MakeBench, echo: Echo) -> None:
    """The reset is acknowledged, and a request of a later episode is served without one."""
    b = bench(echo)
    b.join("r1")
    b.receive("r1", RobotSide("r1").request(example(1), episode=0))
    [known] = b.receive("r1", RobotSide("r1").reset(episode=1))
    assert (known.body.what, known.header.episode) == ("reset", 1), "it is acknowledged"
    assert b.work() == []
    b.receive("r1", RobotSide("r1").request(example(1), seq=2, episode=2))
    [(_, reply)] = b.work()
    assert reply.header.episode == 2, "a lost reset costs nothing"


def test_a_request_without_a_session_is_answered_by_lost(bench: MakeBench, echo: Echo) -> None:
    """The EVENT has the request's epoch, so that the robot reconnects at once."""
    b = bench(echo)
    [answer] = b.receive("r1", RobotSide("r1").request(example(1), epoch=4))
    assert (answer.header.kind, answer.header.epoch, answer.body.what) == (Kind.EVENT, 4, "lost")


def test_a_repeated_open_is_accepted_again(bench: MakeBench, echo: Echo) -> None:
    """The session and its waiting request stay, and it needs no second place."""
    b = bench(echo, max_sessions=1)
    b.join("r1")
    b.receive("r1", RobotSide("r1").request(example(1)))
    b.join("r1")
    assert len(b.work()) == 1
    [refused] = b.receive("r2", RobotSide("r2").open())
    assert refused.body.reason == "capacity" and not refused.body.final


def test_a_robot_that_reconnects_replaces_its_own_session(bench: MakeBench, echo: Echo) -> None:
    """A full replica accepts its new epoch, and drops the request of the old one."""
    b = bench(echo, max_sessions=1)
    b.join("r1")
    b.receive("r1", RobotSide("r1").request(example(1)))
    [answer] = b.receive("r1", RobotSide("r1").open(epoch=2))
    assert answer.header.kind is Kind.ACCEPT
    assert b.work() == [], "the request of the old epoch is dropped"
