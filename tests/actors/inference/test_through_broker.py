"""Replicas behind the real broker: what a robot gets, and what it does not notice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from holdfast.actors.broker.broker import BrokerActor
from holdfast.actors.inference import policy_loading
from holdfast.actors.inference.replica import InferenceActor
from holdfast.actors.runtime.actor import Actor, boot_in_memory
from holdfast.actors.runtime.status_board import BOARD_SIZE, StatusBoardReader
from holdfast.actors.runtime.supervisor_link import BootMessage, SegmentEntry, SupervisorLink, pair
from holdfast.policy.base import Observation
from holdfast.policy.kinds import load_policy
from holdfast.tests.actors.inference.diffusion import DiffusionPolicy, make
from holdfast.transport import segment, sockets
from holdfast.transport.header import Header, Kind
from holdfast.transport.keys import Role, load_public, new
from holdfast.transport.messages import Close, Message, decode, encode

Example = Callable[..., Observation]


class Running:
    """An actor in a thread of this process."""

    def __init__(self, cls: type[Actor], name: str, config: dict[str, Any], rundir: Path) -> None:
        self.boot, self.link, self.supervisor = boot_in_memory(
            cls.kind, name, config, rundir=rundir
        )
        self.name = name
        self.thread = threading.Thread(target=cls(self.boot, self.link).main, daemon=True)
        self.thread.start()

    def status(self) -> dict[str, Any]:
        return StatusBoardReader(self.boot.memory[f"{self.name}/board"]).report() or {}

    def until(self, condition: Callable[[dict[str, Any]], Any]) -> None:
        """Wait for the status to say so."""
        deadline = time.monotonic() + 30
        while not condition(self.status()):
            assert time.monotonic() < deadline, self.status()
            time.sleep(0.01)

    def end(self) -> None:
        self.supervisor.close()
        self.thread.join(30)
        assert not self.thread.is_alive()
        self.link.close()


class Wire:
    """A robot's DEALER at the broker's front."""

    def __init__(self, front: str, side: Any, **security: Any) -> None:
        self.side = side
        self.context: sockets.Context = zmq.Context()
        self.socket = sockets.dealer(self.context, front, f"{side.name}:1", **security)

    def send(self, frames: list[Any]) -> None:
        deadline = time.monotonic() + 30
        while not sockets.send(self.socket, frames):
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def hear(self, *kinds: Kind, deadline_s: float = 30) -> Message[Any]:
        deadline = time.monotonic() + deadline_s
        while self.socket.poll(max(0, int(1000 * (deadline - time.monotonic())))):
            message = decode(sockets.receive(self.socket) or [])
            if message.header.kind in kinds:
                return message
        raise AssertionError(f"none of {kinds} within {deadline_s} s")

    def join(self, epoch: int = 1) -> Message[Any]:
        """Open, again and again until a replica serves."""
        deadline = time.monotonic() + 30
        while True:
            self.send(self.side.open(epoch))
            answer = self.hear(Kind.ACCEPT, Kind.REJECT)
            if answer.header.kind is Kind.ACCEPT:
                return answer
            assert not answer.body.final and time.monotonic() < deadline, answer.body
            time.sleep(0.05)

    def ask(self, given: Observation, seq: int, epoch: int = 1) -> Message[Any]:
        self.send(self.side.request(given, seq=seq, epoch=epoch))
        while (answer := self.hear(Kind.REPLY, Kind.ERROR, Kind.EVENT)).header.kind is Kind.EVENT:
            assert answer.body.what != "lost", answer.body.message
        return answer


@pytest.fixture
def site(tmp_path: Path, checkpoint: Path) -> Iterator[dict[str, Any]]:
    """A broker, and the configuration of replicas that find it."""
    front, back = f"ipc://{tmp_path}/front", f"ipc://{tmp_path}/back"
    config = {"front": front, "back": back, "heartbeat_s": 0.1, "replica_lost_after_s": 3.0}
    broker = Running(BrokerActor, "broker", config, tmp_path)
    replica = {
        "service": "pick",
        "broker": back,
        "policy": "flow",
        "checkpoint": str(checkpoint),
        "heartbeat_s": 0.05,
    }
    yield {"front": front, "rundir": tmp_path, "replica": replica}
    broker.end()
    for endpoint in (front, back):
        sockets.unlink_stale(endpoint)


def start(site: dict[str, Any], k: int, **config: Any) -> Running:
    told = {**site["replica"], "replica": k, **config}
    return Running(InferenceActor, f"pick/{k}", told, site["rundir"])


@pytest.mark.parametrize("kind", ["constant", "flow"])
def test_a_chunk_that_came_through_the_broker_is_byte_identical(
    kind: str, site: dict[str, Any], checkpoint: Path, robot_side: Any, example: Example
) -> None:
    policy = load_policy(kind, checkpoint)
    replica = start(site, 0, policy=kind)
    wire = Wire(site["front"], robot_side("r1"))
    assert wire.join().body.checkpoint == policy.checkpoint_hash
    for seq in (1, 2, 3):
        given = example(seq)
        reply = wire.ask(given, seq)
        [expected] = policy.predict_chunk([given])
        assert reply.array(reply.body.chunk).tobytes() == expected.robot.tobytes()
        assert reply.array(reply.body.chunk_model).tobytes() == expected.model.tobytes()
    wire.context.destroy(linger=0)
    replica.end()


def test_a_policy_that_remembers_serves_the_next_robot_when_the_first_has_left(
    site: dict[str, Any],
    checkpoint: Path,
    robot_side: Any,
    example: Example,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Meanwhile the next one is told why it is not served; it then finds nothing of the first."""
    weights = make(tmp_path / "diffusion", checkpoint)
    monkeypatch.setattr(
        policy_loading, "load_policy", lambda *told, **options: DiffusionPolicy(weights)
    )
    replica = start(site, 0, max_sessions=8)
    first, second = (Wire(site["front"], robot_side(name)) for name in ("r1", "r2"))
    first.join()
    first.ask(example(1, prefix=None), seq=1)
    second.send(second.side.open(1))
    refused = second.hear(Kind.ACCEPT, Kind.REJECT)
    assert (refused.header.kind, refused.body.reason) == (Kind.REJECT, "capacity")
    assert "room for 1" in refused.body.message
    assert "one robot at a time" in refused.body.message
    assert first.ask(example(2, prefix=None), seq=2).header.kind is Kind.REPLY
    first.send(encode(Header(Kind.CLOSE, epoch=1), Close()))
    replica.until(lambda status: status["sessions"] == [])
    second.join(epoch=2)
    given = example(3, prefix=None)
    reply = second.ask(given, seq=1, epoch=2)
    [expected] = DiffusionPolicy(weights).predict_chunk([given])
    assert reply.array(reply.body.chunk_model).tobytes() == expected.model.tobytes()
    assert reply.array(reply.body.chunk).tobytes() == expected.robot.tobytes()
    for wire in (first, second):
        wire.context.destroy(linger=0)
    replica.end()


def test_a_drained_replicas_robots_go_on_at_the_standby_without_noticing(
    site: dict[str, Any], robot_side: Any, example: Example
) -> None:
    """A second replica, already loaded: same weights, same seeds, same bytes."""
    first = start(site, 0, drain_s=30.0)
    wire = Wire(site["front"], robot_side("r1"))
    assert wire.join().body.replica == "pick/0"
    before = wire.ask(example(1, prefix=None), seq=1)
    standby = start(site, 1)
    standby.until(lambda status: status.get("registered"))
    first.supervisor.command("drain")
    first.thread.join(30)
    assert not first.thread.is_alive(), "released once its robot has moved"
    after = wire.ask(example(1, prefix=None), seq=2)
    assert after.header.kind is Kind.REPLY
    assert after.array(after.body.chunk).tobytes() == before.array(before.body.chunk).tobytes()
    standby.until(lambda status: status["sessions"] == ["r1"])
    wire.context.destroy(linger=0)
    first.end()
    standby.end()


def test_the_only_replica_stops_as_soon_as_it_has_answered(
    site: dict[str, Any], robot_side: Any, example: Example
) -> None:
    """Its robot can go nowhere: an orderly stop is no slower for it than a kill. Drained, it waits
    for a successor."""
    replica = start(site, 0, drain_s=30.0)
    wire = Wire(site["front"], robot_side("r1"))
    wire.join()
    wire.ask(example(1, prefix=None), seq=1)
    replica.supervisor.command("drain")
    replica.until(lambda status: status["draining"])
    assert wire.ask(example(2, prefix=None), seq=2).header.kind is Kind.REPLY
    began = time.monotonic()
    replica.supervisor.command("stop")
    replica.thread.join(20)
    assert time.monotonic() - began < 1.0
    wire.context.destroy(linger=0)
    replica.end()


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_a_request_in_flight_is_answered_by_the_standby_when_its_replica_dies_or_hangs(
    blow: signal.Signals, site: dict[str, Any], robot_side: Any, example: Example
) -> None:
    ours, theirs = pair()
    theirs.set_inheritable(True)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "holdfast.actors.runtime.main", "pick/0"],
        pass_fds=[theirs.fileno()],
        env={**os.environ, "HOLDFAST_LINK": str(theirs.fileno())},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    theirs.close()
    supervisor = SupervisorLink(ours)
    policy = {"policy": "shape-only", "options": {}}
    with segment.create(BOARD_SIZE, "pick/0/board") as board:
        config = {**site["replica"], **policy, "replica": 0}
        entries = (SegmentEntry("pick/0/board", BOARD_SIZE, True),)
        boot = BootMessage("inference", "pick/0", 1, str(site["rundir"]), config, entries)
        supervisor.boot(boot, [board.fd])
    wire = Wire(site["front"], robot_side("r1"))
    try:
        assert wire.join().body.replica == "pick/0"
        standby = start(site, 1, **policy)
        standby.until(lambda status: status.get("registered"))
        expected = wire.ask(example(5), seq=1)
        process.send_signal(blow)
        reply = wire.ask(example(5), seq=2)
        assert reply.header.kind is Kind.REPLY
        assert (
            reply.array(reply.body.chunk).tobytes() == expected.array(expected.body.chunk).tobytes()
        )
        standby.until(lambda status: status["sessions"] == ["r1"])
        standby.end()
    finally:
        process.kill()
        process.wait()
        supervisor.close()
        wire.context.destroy(linger=0)


def test_with_keys_a_replica_serves_and_without_its_key_it_is_not_let_in(
    tmp_path: Path, checkpoint: Path, robot_side: Any, example: Example
) -> None:
    keys = tmp_path / "keys"
    new("broker", Role.BROKER, keys)
    robot_key = new("r1", Role.ROBOT, keys)
    new("pick/0", Role.REPLICA, keys)
    front, back = f"ipc://{tmp_path}/front", f"ipc://{tmp_path}/back"
    config = {"front": front, "back": back, "key": f"{keys}/broker.key", "keyring": str(keys)}
    broker = Running(BrokerActor, "broker", config, tmp_path)
    replica = {
        "service": "pick",
        "broker": back,
        "policy": "shape-only",
        "checkpoint": str(checkpoint),
        "heartbeat_s": 0.05,
    }
    mine = {"key": f"{keys}/pick@0.key", "broker_key": f"{keys}/broker.pub"}
    stranger = Running(InferenceActor, "pick/1", {**replica, "replica": 1}, tmp_path)
    served = Running(InferenceActor, "pick/0", {**replica, "replica": 0, **mine}, tmp_path)
    security = {"key": robot_key, "server": load_public(keys / "broker.pub")}
    wire = Wire(front, robot_side("r1"), **security)
    assert wire.join().body.replica == "pick/0"
    assert wire.ask(example(1), seq=1).header.kind is Kind.REPLY
    assert not stranger.status().get("registered")
    wire.context.destroy(linger=0)
    for actor in (served, stranger, broker):
        actor.end()
    for endpoint in (front, back):
        sockets.unlink_stale(endpoint)
