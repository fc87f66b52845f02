"""The broker on real sockets, in this process: what it passes on, drops and refuses."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable

from holdfast.actors.runtime.actor import EXIT_STOPPED
from holdfast.tests.actors.broker.live_broker import (
    PATIENCE_S,
    PATIENT,
    LiveBroker,
)
from holdfast.tests.actors.broker.live_sites import site
from holdfast.transport.bodies import Drain, Error, Heartbeat, Open
from holdfast.transport.header import Header, Kind

Start = Callable[..., LiveBroker]


def test_a_broker_that_has_ended_leaves_nothing_frozen(
    start_broker: Callable[..., LiveBroker],
) -> None:
    """What a program that goes on in its process had then is collected again."""
    broker = start_broker()
    broker.until(lambda status: "requests" in status)
    assert gc.get_freeze_count()
    broker.supervisor.command("stop")
    broker.thread.join(60)
    assert not gc.get_freeze_count()


def test_a_request_and_its_reply_pass_byte_for_byte(broker: LiveBroker) -> None:
    """The broker neither parses nor changes their bodies and blobs."""
    replica, (robot,) = site(broker)
    robot.ask(seq=1, nbytes=400_000)
    name, asked, frames = replica.get(Kind.REQUEST)
    assert name == "r1"
    assert asked.header.seq == 1
    assert len(frames[2]) == 400_000
    answer = [asked.header._replace(kind=Kind.REPLY).pack(), b"\x80", os.urandom(100), b""]
    replica.raw([b"r1", *answer])
    assert robot.socket.poll(60_000)
    received = robot.socket.recv_multipart()
    while Header.unpack(received[0]).kind is not Kind.REPLY:
        received = robot.socket.recv_multipart()
    assert received == answer, "the broker neither parses nor changes a body"


def test_heartbeats_are_answered_with_and_without_a_session(broker: LiveBroker) -> None:
    """The answer echoes the token, for robots and replicas."""
    robot = broker.robot("r1:1")
    robot.say(Heartbeat(progress=1), token=77)
    assert robot.get(Kind.HEARTBEAT)[1].header.token == 77
    replica = broker.replica("flow/0:1")
    replica.register()
    replica.say(Heartbeat(progress=1), token=78)
    tokens = {replica.get(Kind.HEARTBEAT)[1].header.token for _ in range(2)}
    assert 78 in tokens


def test_the_status_has_a_row_for_each_session_and_replica(broker: LiveBroker) -> None:
    """The rows name robot, replica and load, and requests are counted."""
    began_s = time.monotonic()
    replica, (robot,) = site(broker)
    robot.ask(seq=1)
    replica.answer()
    robot.get(Kind.REPLY)
    status = broker.until(lambda status: status.get("replies") and status)
    assert status["sessions"][0]["robot"] == "r1"
    assert status["sessions"][0]["replica"] == "flow/0"
    assert status["replicas"][0]["sessions"] == 1
    assert 0 <= status["replicas"][0]["progress_age_s"] < time.monotonic() - began_s
    assert status["requests"] == 1


def test_counters_survive_a_restart_and_sessions_do_not(broker: LiveBroker) -> None:
    """Its robots learn that they have no session, its replicas that they are not registered."""
    replica, (robot,) = site(broker)
    robot.ask(seq=1)
    replica.answer()
    robot.get(Kind.REPLY)
    broker.supervisor.command("stop")
    assert robot.get(Kind.EVENT)[1].body.what == "lost", "the broker notifies its robots"
    broker.stop()
    assert broker.code == EXIT_STOPPED
    broker.start()
    robot.ask(seq=2)
    lost = robot.get(Kind.EVENT)[1]
    assert (lost.body.what, lost.header.epoch) == ("lost", 1)
    replica.beat()
    welcome = replica.get(Kind.WELCOME)[1]
    assert welcome.header.token == 0
    assert welcome.body.broker == "broker:2"
    replica.register()
    robot.open(replica, epoch=2)
    assert broker.until(lambda status: status["counters"].get("replies")) == 1


def test_a_replica_whose_socket_is_closed_is_replaced_at_once(
    broker: LiveBroker,
) -> None:
    """Its request is replayed long before its silence would be noticed."""
    replica, (robot,) = site(broker)
    other = broker.replica("flow/1:1")
    other.register()
    robot.ask(seq=1)
    replica.get(Kind.REQUEST)
    replica.socket.close(linger=0)
    assert PATIENT["replica_lost_after_s"] > PATIENCE_S
    assert other.accept() == "r1"
    other.answer()
    robot.get(Kind.REPLY)
    event = robot.get(Kind.EVENT)[1]
    assert (event.body.what, event.header.seq) == ("replayed", 1)
    assert "ACCEPT" not in robot.kinds()


def test_a_draining_replica_gets_a_drain_when_nothing_is_left(broker: LiveBroker) -> None:
    """Its session moves once the request is answered, and goes on at the other."""
    replica, (robot,) = site(broker)
    other = broker.replica("flow/1:1")
    other.register()
    robot.ask(seq=1)
    name, asked, _ = replica.get(Kind.REQUEST)
    replica.say(Drain())
    replica.say(Error(reason="observation"), name, seq=asked.header.seq, epoch=1)
    robot.get(Kind.ERROR)
    assert other.accept() == "r1"
    replica.get(Kind.CLOSE)
    replica.get(Kind.DRAIN)
    robot.ask(seq=2)
    other.answer()
    assert robot.get(Kind.REPLY)[1].header.seq == 2


def test_a_robot_that_stops_reading_delays_no_other(broker: LiveBroker) -> None:
    """Its replies are dropped and counted; the other's arrive as if it were alone."""
    replica, (quick,) = site(broker)
    slow = broker.robot("slow:1", hwm=1)
    slow.open(replica)
    payload = [b"\x80", bytes(300_000)]
    delays: dict[bool, list[float]] = {False: [], True: []}
    for seq in range(1, 120):
        crowded = seq % 2 == 0
        if crowded:
            slow.ask(seq=seq)
            _, asked, _ = replica.get(Kind.REQUEST)
            replica.raw([b"slow", asked.header._replace(kind=Kind.REPLY).pack(), *payload])
        quick.ask(seq=seq)
        began_s = time.monotonic()
        replica.answer()
        assert quick.get(Kind.REPLY)[1].header.seq == seq
        delays[crowded].append(time.monotonic() - began_s)
    broker.until(lambda s: s["counters"].get("robot-full-reply", 0) > 10)
    alone_s, crowded_s = (statistics.median(delays[crowded]) for crowded in (False, True))
    assert crowded_s < 5 * alone_s + 0.01, (alone_s, crowded_s)


def test_a_replica_that_stops_reading_delays_no_other(broker: LiveBroker) -> None:
    """Its robot's newest request waits at the broker, and no other behind it."""
    stuck, (robot,) = site(broker)
    for seq in range(1, 400):
        robot.ask(seq=seq, nbytes=100_000)
    other = broker.replica("act/0:1")
    other.register()
    robot2 = broker.robot("r2:1")
    robot2.say(
        Open(
            robot="r2",
            service="act",
            action_names=("x",),
            state_names=("x",),
            cameras={},
            fps=30.0,
        ),
        epoch=1,
    )
    other.accept()
    robot2.get(Kind.ACCEPT)
    for seq in range(1, 20):
        robot2.ask(seq=seq)
        other.answer()
        robot2.get(Kind.REPLY)
    broker.until(lambda s: s["counters"].get("replica-full-request"))
    broker.until(lambda s: s["counters"].get("superseded"))
    last = 0
    while last != 399:
        last = stuck.get(Kind.REQUEST)[1].header.seq
