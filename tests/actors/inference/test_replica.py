"""The inference actor in a thread, at a broker's socket."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast.actors.inference import replica as replica_module
from holdfast.actors.inference.replica import InferenceActor
from holdfast.actors.runtime.actor import EXIT_REFUSED, EXIT_STOPPED, boot_in_memory
from holdfast.actors.runtime.link_messages import ExitReason
from holdfast.actors.runtime.status_board import StatusBoardReader
from holdfast.actors.runtime.wakefulness import LONG_SLICE_NS
from holdfast.policy.kinds import load_policy
from holdfast.tests.actors.inference.broker_side import BrokerSide
from holdfast.tests.actors.inference.replica_thread import StartReplica
from holdfast.tests.actors.inference.robot_side import RobotSide, example
from holdfast.tests.waiting import wait_until
from holdfast.transport.arrays import Buffer
from holdfast.transport.bodies import Drain, Heartbeat
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import encode
from holdfast.transport.outbox import Outbox


@pytest.mark.parametrize("kind", ["constant", "flow"])
def test_a_chunk_served_through_sockets_is_byte_identical(
    kind: str,
    checkpoint: Path,
    replica: StartReplica,
    broker: BrokerSide,
) -> None:
    """The bytes are those of a policy in this process, with images in shared memory."""
    policy = load_policy(kind, checkpoint)
    size = Outbox.size_for(64_000)
    with replica({"r1/outbox": size}, policy=kind, outboxes={"r1": "r1/outbox"}) as it:
        offer = broker.welcome().body
        assert offer.checkpoint == policy.checkpoint_hash
        assert offer.action_names == policy.spec.action_names
        assert len(offer.batch_s) == 4 and min(offer.batch_s) > 0
        robot = RobotSide("r1", Outbox(it.boot.memory["r1/outbox"]))
        broker.send("r1", robot.open())
        name, accepted = broker.receive(Kind.ACCEPT, Kind.REJECT)
        assert (name, accepted.body.shm) == ("r1", True)
        for seq in (1, 2):
            given = example(seq)
            broker.send("r1", robot.request(given, seq=seq))
            name, reply = broker.receive(Kind.REPLY, Kind.ERROR)
            [expected] = policy.predict_chunk([given])
            assert name == "r1" and reply.header.seq == seq
            assert reply.array(reply.body.chunk).tobytes() == expected.robot.tobytes()
            assert reply.array(reply.body.chunk_model).tobytes() == expected.model.tobytes()
            assert reply.body.inference_s > 0


def test_robots_that_ask_together_are_served_in_one_batch(
    replica: StartReplica,
    broker: BrokerSide,
) -> None:
    """Three requests within max_wait_ms give one batch, and each robot gets its own chunk."""
    with replica(max_wait_ms=30_000.0, max_batch=3):
        broker.welcome()
        names = ("r1", "r2", "r3")
        for name in names:
            broker.send(name, RobotSide(name).open())
            broker.receive(Kind.ACCEPT)
        for i, name in enumerate(names, start=1):
            broker.send(name, RobotSide(name).request(example(i, prefix=None), slack_s=100))
        replies = dict(broker.receive(Kind.REPLY, Kind.ERROR) for _ in names)
        for i, name in enumerate(names, start=1):
            reply = replies[name]
            noise = np.random.default_rng(i).standard_normal((12, 2), np.float32)
            assert reply.array(reply.body.chunk).tobytes() == noise.tobytes(), (
                "each robot gets its own"
            )
            assert reply.body.batch == 3


def test_an_invalid_message_of_a_robot_is_dropped_and_counted(
    replica: StartReplica,
    broker: BrokerSide,
) -> None:
    """The counts have the reasons, and the next valid request is answered."""
    good = RobotSide("r1").request(example(1))
    invalid: list[tuple[str, Sequence[Buffer]]] = [
        ("r1", [b"", b""]),
        ("r1", [b"x" * 32, b"\x80"]),
        ("r1", [good[0][:4] + b"\xff" + good[0][5:], *good[1:]]),
        ("r1", encode(Header(Kind.HEARTBEAT, epoch=1), Heartbeat(progress=1))),
        ("r1", [good[0], b"\xff" * 100]),
        ("r1", [good[0], *[b""] * 70]),
    ]
    with replica() as it:
        broker.welcome()
        broker.send("r1", RobotSide("r1").open())
        broker.receive(Kind.ACCEPT)
        for robot, frames in invalid:
            broker.send(robot, frames)
        broker.send("r1", RobotSide("r1").request(example(1), seq=2))
        while True:
            _, answer = broker.receive(Kind.REPLY, Kind.ERROR)
            if answer.header.kind is Kind.REPLY:
                break
            assert answer.header.seq == 1 and answer.body.reason == "body"

        def counted() -> dict[str, int] | None:
            counts: dict[str, int] = it.status().get("counts", {})
            return counts if counts.get("served") else None

        counts = wait_until(counted, "the request is counted")
        assert counts is not None
        for reason in ("header", "version", "kind", "frames"):
            assert counts[f"dropped:{reason}"] >= 1, counts


def test_a_draining_replica_answers_its_requests_and_ends_when_released(
    replica: StartReplica,
    broker: BrokerSide,
) -> None:
    """It runs until the broker's DRAIN, and then exits with code 0."""
    options = {"delay_s": 0.05}
    with replica(options=options, drain_s=30.0, max_batch=1) as it:
        broker.welcome()
        for name in ("r1", "r2"):
            broker.send(name, RobotSide(name).open())
            broker.receive(Kind.ACCEPT)
        for name in ("r1", "r2"):
            broker.send(name, RobotSide(name).request(example(1)))
        it.supervisor.command("drain", id=5)
        answered = {broker.receive(Kind.REPLY)[0] for _ in range(2)}
        assert answered == {"r1", "r2"}
        broker.receive(Kind.DRAIN)
        assert it.thread.is_alive(), "the broker has not moved the sessions yet"
        broker.send("", encode(Header(Kind.DRAIN), Drain(reason="drained")))
        assert it.end() == EXIT_STOPPED


def test_a_replica_that_computes_for_long_takes_long_slices_if_the_process_is_its_own(
    replica: StartReplica, broker: BrokerSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A control loop gets its core sooner then; a program with one in a thread is left alone."""
    asked: list[int] = []
    monkeypatch.setattr(replica_module, "set_slices", asked.append)
    with replica(options={"delay_s": 0.05}, max_batch=1):
        broker.welcome()
    assert asked == []
    monkeypatch.setattr(replica_module, "main_thread", threading.current_thread)
    with replica(options={"delay_s": 0.05}, max_batch=1):
        broker.welcome()
    assert asked == [LONG_SLICE_NS]


def test_a_batch_that_outlasts_many_heartbeats_counts_as_progress(
    replica: StartReplica,
    broker: BrokerSide,
) -> None:
    """A heartbeat precedes the batch, and the one after it has a larger count."""
    with replica(options={"delay_s": 0.3}, max_batch=1):
        broker.welcome()
        broker.send("r1", RobotSide("r1").open())
        broker.receive(Kind.ACCEPT)
        for seq in (1, 2, 3):
            broker.send("r1", RobotSide("r1").request(example(seq), seq=seq))
            beats: list[int] = []
            kind = Kind.HEARTBEAT
            while kind is not Kind.REPLY:
                _, message = broker.receive(Kind.HEARTBEAT, Kind.REPLY)
                kind = message.header.kind
                if kind is Kind.HEARTBEAT:
                    beats.append(message.body.progress)
            after = broker.receive(Kind.HEARTBEAT)[1].body.progress
            assert beats, "one precedes the batch"
            assert after > beats[-1]


def test_a_stopping_replica_does_not_wait_for_a_silent_broker(
    replica: StartReplica,
    broker: BrokerSide,
) -> None:
    """With a session open it ends within drain_s."""
    with replica(drain_s=0.3) as it:
        broker.welcome()
        broker.send("r1", RobotSide("r1").open())
        broker.receive(Kind.ACCEPT)
        it.supervisor.command("stop")
        assert it.end() == EXIT_STOPPED


def test_a_replica_without_robots_stops_at_once(replica: StartReplica, broker: BrokerSide) -> None:
    """It does not wait for drain_s."""
    with replica(drain_s=60.0) as it:
        broker.welcome()
        it.supervisor.command("stop")
        assert it.end() == EXIT_STOPPED


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"checkpoint": None}, "names no checkpoint"),
        ({"checkpoint": "no-such-thing"}, "no-such-thing"),
        ({"policy": "no-such-kind"}, "no-such-kind"),
        ({"options": {"no_such": 1}}, "no_such"),
    ],
)
def test_a_policy_that_cannot_be_loaded_is_refused(
    config: dict[str, Any], says: str, replica: StartReplica
) -> None:
    """The exit code is that of a refusal, and the reason names the fault."""
    with replica(**config) as it:
        assert it.end() == EXIT_REFUSED
        [reason] = [m for m in it.supervisor.messages()[0] if isinstance(m, ExitReason)]
        assert says in reason.reason


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "eager: graphs need a cuda device, this one is cpu"),
        ({"graphs": False}, "switched off"),
    ],
)
def test_the_status_says_how_the_network_runs(
    options: dict[str, Any], says: str, replica: StartReplica, broker: BrokerSide
) -> None:
    """`graphs: off`, which YAML reads as false, reaches the policy."""
    with replica(policy="flow", max_batch=1, options=options) as it:
        broker.welcome()
        execution = wait_until(lambda: it.status().get("execution"), "a status")
        assert says in execution


def test_the_next_incarnation_continues_the_counts(
    replica: StartReplica,
    broker: BrokerSide,
) -> None:
    """The counts on the board are restored at its setup."""
    with replica(drain_s=0.1) as it:
        broker.welcome()
        broker.send("r1", RobotSide("r1").open())
        broker.receive(Kind.ACCEPT)
        it.supervisor.command("stop")
        it.end()
        boot, actor_link, supervisor = boot_in_memory(
            "inference", "pick/0", it.boot.config, memory=it.boot.memory, incarnation=2
        )
        again = InferenceActor(boot, actor_link)
        again.setup()
        again.teardown()
        report = StatusBoardReader(boot.memory["pick/0/board"]).report() or {}
        assert report["counts"]["accepted"] == 1
        supervisor.close()
        actor_link.close()
