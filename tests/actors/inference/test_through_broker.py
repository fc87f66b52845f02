"""Replicas behind a broker actor: chunks, drains, standbys and keys."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import zmq

from holdfast.actors.broker.broker import BrokerActor
from holdfast.actors.inference import policy_loading
from holdfast.actors.inference.replica import InferenceActor
from holdfast.actors.runtime.actor import Actor, boot_in_memory
from holdfast.actors.runtime.status_board import StatusBoardReader
from holdfast.policy.base import Observation
from holdfast.policy.kinds import load_policy
from holdfast.tests.actors.inference.diffusion import DiffusionPolicy, make
from holdfast.tests.actors.inference.replica_process import ReplicaProcess
from holdfast.tests.actors.inference.robot_side import RobotSide, example
from holdfast.tests.waiting import wait_until
from holdfast.transport import sockets
from holdfast.transport.arrays import Buffer
from holdfast.transport.bodies import Close
from holdfast.transport.header import Header, Kind
from holdfast.transport.keys import Role, load_public, new
from holdfast.transport.messages import Message, decode, encode


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
        """The last report."""
        return StatusBoardReader(self.boot.memory[f"{self.name}/board"]).report() or {}

    def until(self, condition: Callable[[dict[str, Any]], object], why: str) -> None:
        """Wait for a status that fulfils `condition`."""
        wait_until(lambda: condition(self.status()), f"{self.name}: {why}")

    def end(self) -> None:
        """End it as the end of its supervisor does."""
        self.supervisor.close()
        self.thread.join(60)
        assert not self.thread.is_alive()
        self.link.close()


class Wire:
    """A robot's DEALER at the broker."""

    def __init__(self, front: str, side: RobotSide, **security: Any) -> None:
        self.side = side
        self.context: sockets.Context = zmq.Context()
        self.socket = sockets.dealer(self.context, front, f"{side.name}:1", **security)

    def send(self, frames: Sequence[Buffer]) -> None:
        """Send one message."""
        wait_until(
            lambda: sockets.send(self.socket, frames),
            "the broker takes a message",
            every_s=0.001,
        )

    def receive(self, *kinds: Kind, within_s: float = 60.0) -> Message[Any]:
        """The next message of one of `kinds`; others are skipped."""
        deadline_s = time.monotonic() + within_s
        while self.socket.poll(max(0, int(1000 * (deadline_s - time.monotonic())))):
            message = decode(sockets.receive(self.socket) or [])
            if message.header.kind in kinds:
                return message
        raise AssertionError(f"none of {kinds} within {within_s} s")

    def join(self, epoch: int = 1) -> Message[Any]:
        """Open until a replica accepts; the ACCEPT."""

        def accepted() -> Message[Any] | None:
            self.send(self.side.open(epoch))
            answer = self.receive(Kind.ACCEPT, Kind.REJECT)
            if answer.header.kind is Kind.ACCEPT:
                return answer
            assert not answer.body.final, answer.body
            return None

        answer = wait_until(accepted, "a replica accepts", every_s=0.05)
        assert answer is not None
        return answer

    def ask(self, given: Observation, seq: int, epoch: int = 1) -> Message[Any]:
        """Send a request; its REPLY or ERROR."""
        self.send(self.side.request(given, seq=seq, epoch=epoch))
        while (
            answer := self.receive(Kind.REPLY, Kind.ERROR, Kind.EVENT)
        ).header.kind is Kind.EVENT:
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
        "brokers": [back],
        "policy": "flow",
        "checkpoint": str(checkpoint),
        "heartbeat_s": 0.05,
    }
    yield {"front": front, "rundir": tmp_path, "replica": replica}
    broker.end()
    for endpoint in (front, back):
        sockets.unlink_stale(endpoint)


def start(site: dict[str, Any], k: int, **config: Any) -> Running:
    whole = {**site["replica"], "replica": k, **config}
    return Running(InferenceActor, f"pick/{k}", whole, site["rundir"])


@pytest.mark.parametrize("kind", ["constant", "flow"])
def test_a_chunk_served_through_the_broker_is_byte_identical(
    kind: str,
    site: dict[str, Any],
    checkpoint: Path,
) -> None:
    """The bytes are those of a policy in this process, in both spaces."""
    policy = load_policy(kind, checkpoint)
    replica = start(site, 0, policy=kind)
    wire = Wire(site["front"], RobotSide("r1"))
    assert wire.join().body.checkpoint == policy.checkpoint_hash
    for seq in (1, 2, 3):
        given = example(seq)
        reply = wire.ask(given, seq)
        [expected] = policy.predict_chunk([given])
        assert reply.array(reply.body.chunk).tobytes() == expected.robot.tobytes()
        assert reply.array(reply.body.chunk_model).tobytes() == expected.model.tobytes()
    wire.context.destroy(linger=0)
    replica.end()


def test_a_stateful_policy_serves_the_next_robot_after_the_first_has_left(
    site: dict[str, Any],
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second robot is refused until then, and gets the chunks of a new instance after."""
    weights = make(tmp_path / "diffusion", checkpoint)
    monkeypatch.setattr(
        policy_loading, "load_policy", lambda *given, **options: DiffusionPolicy(weights)
    )
    replica = start(site, 0, max_sessions=8)
    first, second = (Wire(site["front"], RobotSide(name)) for name in ("r1", "r2"))
    first.join()
    first.ask(example(1, prefix=None), seq=1)
    second.send(second.side.open(1))
    refused = second.receive(Kind.ACCEPT, Kind.REJECT)
    assert (refused.header.kind, refused.body.reason) == (Kind.REJECT, "capacity")
    assert "room for 1" in refused.body.message
    assert "one robot at a time" in refused.body.message
    assert first.ask(example(2, prefix=None), seq=2).header.kind is Kind.REPLY
    first.send(encode(Header(Kind.CLOSE, epoch=1), Close()))
    replica.until(lambda status: status["sessions"] == [], "no session")
    second.join(epoch=2)
    given = example(3, prefix=None)
    reply = second.ask(given, seq=1, epoch=2)
    [expected] = DiffusionPolicy(weights).predict_chunk([given])
    assert reply.array(reply.body.chunk_model).tobytes() == expected.model.tobytes()
    assert reply.array(reply.body.chunk).tobytes() == expected.robot.tobytes()
    for wire in (first, second):
        wire.context.destroy(linger=0)
    replica.end()


def test_the_robots_of_a_drained_replica_are_served_by_the_standby(
    site: dict[str, Any],
) -> None:
    """The same weights and seeds give the same bytes, without a new handshake of the robot."""
    first = start(site, 0, drain_s=60.0)
    wire = Wire(site["front"], RobotSide("r1"))
    assert wire.join().body.replica == "pick/0"
    before = wire.ask(example(1, prefix=None), seq=1)
    standby = start(site, 1)
    standby.until(lambda status: status.get("registered"), "registered")
    first.supervisor.command("drain")
    first.thread.join(60)
    assert not first.thread.is_alive(), "released once its robot has moved"
    after = wire.ask(example(1, prefix=None), seq=2)
    assert after.header.kind is Kind.REPLY
    assert after.array(after.body.chunk).tobytes() == before.array(before.body.chunk).tobytes()
    standby.until(lambda status: status["sessions"] == ["r1"], "the session of r1")
    wire.context.destroy(linger=0)
    first.end()
    standby.end()


def test_the_only_replica_stops_as_soon_as_it_has_answered(
    site: dict[str, Any],
) -> None:
    """A stop does not wait for the rest of the time that a drain gives a successor."""
    replica = start(site, 0, drain_s=60.0)
    wire = Wire(site["front"], RobotSide("r1"))
    wire.join()
    wire.ask(example(1, prefix=None), seq=1)
    replica.supervisor.command("drain")
    replica.until(lambda status: status["draining"], "draining")
    assert wire.ask(example(2, prefix=None), seq=2).header.kind is Kind.REPLY
    began_s = time.monotonic()
    replica.supervisor.command("stop")
    replica.thread.join(60)
    assert time.monotonic() - began_s < 20
    wire.context.destroy(linger=0)
    replica.end()


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
def test_a_request_whose_replica_dies_or_hangs_is_answered_by_the_standby(
    fault: signal.Signals,
    site: dict[str, Any],
) -> None:
    """The answer has the bytes that the lost replica would have sent."""
    policy = {"policy": "shape-only", "options": {}}
    wire = Wire(site["front"], RobotSide("r1"))
    with ReplicaProcess({**site["replica"], **policy, "replica": 0}, site["rundir"]) as it:
        assert wire.join().body.replica == "pick/0"
        standby = start(site, 1, **policy)
        standby.until(lambda status: status.get("registered"), "registered")
        expected = wire.ask(example(5), seq=1)
        it.process.send_signal(fault)
        reply = wire.ask(example(5), seq=2)
        assert reply.header.kind is Kind.REPLY
        assert (
            reply.array(reply.body.chunk).tobytes() == expected.array(expected.body.chunk).tobytes()
        )
        standby.until(lambda status: status["sessions"] == ["r1"], "the session of r1")
        standby.end()
    wire.context.destroy(linger=0)


def test_a_replica_without_a_key_is_not_registered_by_a_broker_with_keys(
    tmp_path: Path,
    checkpoint: Path,
) -> None:
    """A replica with its key serves beside it."""
    keys = tmp_path / "keys"
    new("broker", Role.BROKER, keys)
    robot_key = new("r1", Role.ROBOT, keys)
    new("pick/0", Role.REPLICA, keys)
    front, back = f"ipc://{tmp_path}/front", f"ipc://{tmp_path}/back"
    config = {"front": front, "back": back, "key": f"{keys}/broker.key", "keyring": str(keys)}
    broker = Running(BrokerActor, "broker", config, tmp_path)
    replica = {
        "service": "pick",
        "brokers": [back],
        "policy": "shape-only",
        "checkpoint": str(checkpoint),
        "heartbeat_s": 0.05,
    }
    mine = {"keys": {"key": f"{keys}/pick@0.key", "brokers": [f"{keys}/broker.pub"]}}
    keyless = Running(InferenceActor, "pick/1", {**replica, "replica": 1}, tmp_path)
    served = Running(InferenceActor, "pick/0", {**replica, "replica": 0, **mine}, tmp_path)
    security = {"key": robot_key, "server": load_public(keys / "broker.pub")}
    wire = Wire(front, RobotSide("r1"), **security)
    assert wire.join().body.replica == "pick/0"
    assert wire.ask(example(1), seq=1).header.kind is Kind.REPLY
    assert not keyless.status().get("registered")
    wire.context.destroy(linger=0)
    for actor in (served, keyless, broker):
        actor.end()
    for endpoint in (front, back):
        sockets.unlink_stale(endpoint)
