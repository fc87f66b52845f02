"""The inference actor against a broker's socket: in this process, and as a real one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import zmq

from holdfast.actors.inference.replica import InferenceActor
from holdfast.actors.runtime import actor as actors
from holdfast.actors.runtime.status_board import BOARD_SIZE, StatusBoardReader
from holdfast.actors.runtime.supervisor_link import (
    BootMessage,
    ExitReason,
    ReadyMessage,
    SegmentEntry,
    SupervisorLink,
    pair,
)
from holdfast.policy.base import Observation
from holdfast.policy.kinds import load_policy
from holdfast.transport import segment, sockets
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import Drain, Heartbeat, Message, Reject, Welcome, decode, encode
from holdfast.transport.outbox import Outbox

Example = Callable[..., Observation]


class BrokerSide:
    """A broker's back door, played by hand."""

    def __init__(self, endpoint: str) -> None:
        self.context: sockets.Context = zmq.Context()
        self.socket = sockets.router(self.context, endpoint)
        self.identity = b""

    def send(self, robot: str, frames: list[Any]) -> None:
        deadline = time.monotonic() + 30
        while not sockets.send(self.socket, [self.identity, robot.encode(), *frames]):
            assert time.monotonic() < deadline, "the replica takes no message"
            time.sleep(0.001)

    def hear(self, *kinds: Kind, deadline_s: float = 30) -> tuple[str, Message[Any]]:
        """The next message of one of `kinds`; others are skipped."""
        deadline = time.monotonic() + deadline_s
        while self.socket.poll(max(0, int(1000 * (deadline - time.monotonic())))):
            frames = sockets.receive(self.socket)
            assert frames is not None
            self.identity = bytes(frames[0])
            message = decode(frames[2:])
            if message.header.kind in kinds:
                return bytes(frames[1]).decode(), message
        raise AssertionError(f"none of {kinds} within {deadline_s} s")

    def welcome(self) -> Message[Any]:
        """Wait for a registration and answer it; a process may have torch to import before."""
        _, registration = self.hear(Kind.REGISTER, deadline_s=90)
        header = registration.header._replace(kind=Kind.WELCOME)
        self.send("", encode(header, Welcome(broker="b", heartbeat_s=0.5)))
        return registration

    def close(self) -> None:
        self.context.destroy(linger=0)


class Replica:
    """An InferenceActor in a thread of this process, and its supervisor's end."""

    def __init__(self, boot: Any, link: Any, supervisor: SupervisorLink) -> None:
        self.boot, self.link, self.supervisor = boot, link, supervisor
        self.actor = InferenceActor(boot, link)
        self.codes: list[int] = []
        self.thread = threading.Thread(
            target=lambda: self.codes.append(self.actor.main()), daemon=True
        )

    def status(self) -> dict[str, Any]:
        return StatusBoardReader(self.boot.memory["pick/0/board"]).report() or {}

    def progress(self) -> int:
        return StatusBoardReader(self.boot.memory["pick/0/board"]).progress()[0]

    def end(self) -> int:
        """Wait for its end; its exit code."""
        self.thread.join(30)
        assert not self.thread.is_alive()
        return self.codes[0]


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    where = f"ipc://{tmp_path}/back"
    yield where
    sockets.unlink_stale(where)


@pytest.fixture
def broker(endpoint: str) -> Iterator[BrokerSide]:
    side = BrokerSide(endpoint)
    yield side
    side.close()


@pytest.fixture
def replica(checkpoint: Path, endpoint: str, tmp_path: Path) -> Callable[..., Any]:
    @contextmanager
    def running(segments: dict[str, int] | None = None, **config: Any) -> Iterator[Replica]:
        told = {
            "service": "pick",
            "replica": 0,
            "broker": endpoint,
            "policy": "shape-only",
            "checkpoint": str(checkpoint),
            "heartbeat_s": 0.05,
            "max_wait_ms": 1.0,
            **config,
        }
        made = actors.boot_in_memory("inference", "pick/0", told, segments, rundir=tmp_path)
        it = Replica(*made)
        it.thread.start()
        try:
            yield it
        finally:
            it.supervisor.close()
            it.end()
            it.link.close()

    return running


def until(condition: Callable[[], object], deadline_s: float = 30.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.005)


@pytest.mark.parametrize("kind", ["constant", "flow"])
def test_a_chunk_that_travelled_through_sockets_is_byte_identical(
    kind: str,
    checkpoint: Path,
    replica: Any,
    broker: BrokerSide,
    robot_side: Any,
    example: Example,
) -> None:
    policy = load_policy(kind, checkpoint)
    size = Outbox.size_for(64_000)
    with replica({"r1/outbox": size}, policy=kind, outboxes={"r1": "r1/outbox"}) as it:
        offer = broker.welcome().body
        assert offer.checkpoint == policy.checkpoint_hash
        assert offer.action_names == policy.spec.action_names
        assert len(offer.batch_s) == 4 and min(offer.batch_s) > 0
        robot = robot_side("r1", Outbox(it.boot.memory["r1/outbox"]))
        broker.send("r1", robot.open())
        name, accepted = broker.hear(Kind.ACCEPT, Kind.REJECT)
        assert (name, accepted.body.shm) == ("r1", True)
        for seq in (1, 2):
            given = example(seq)
            broker.send("r1", robot.request(given, seq=seq))
            name, reply = broker.hear(Kind.REPLY, Kind.ERROR)
            [expected] = policy.predict_chunk([given])
            assert name == "r1" and reply.header.seq == seq
            assert reply.array(reply.body.chunk).tobytes() == expected.robot.tobytes()
            assert reply.array(reply.body.chunk_model).tobytes() == expected.model.tobytes()
            assert reply.body.inference_s > 0


def test_robots_that_ask_together_are_served_in_one_batch(
    replica: Any, broker: BrokerSide, robot_side: Any, example: Example
) -> None:
    with replica(max_wait_ms=2000.0, max_batch=3):
        broker.welcome()
        names = ("r1", "r2", "r3")
        for name in names:
            broker.send(name, robot_side(name).open())
            broker.hear(Kind.ACCEPT)
        for i, name in enumerate(names, start=1):
            broker.send(name, robot_side(name).request(example(i, prefix=None), slack_s=100))
        replies = dict(broker.hear(Kind.REPLY, Kind.ERROR) for _ in names)
        for i, name in enumerate(names, start=1):
            reply = replies[name]
            noise = np.random.default_rng(i).standard_normal((12, 2), np.float32)
            assert reply.array(reply.body.chunk).tobytes() == noise.tobytes(), "never another's"
            assert reply.body.batch == 3


def test_it_registers_until_it_is_welcome_and_then_beats_with_progress(
    replica: Any, broker: BrokerSide
) -> None:
    with replica():
        first = broker.hear(Kind.REGISTER)[1].header.token
        assert broker.hear(Kind.REGISTER)[1].header.token == first, "the same offer, repeated"
        broker.welcome()
        beats = [broker.hear(Kind.HEARTBEAT)[1].body.progress for _ in range(4)]
        assert beats == sorted(set(beats)), "each beat shows that the loop itself went on"


def test_a_broker_that_does_not_know_it_is_registered_with_anew(
    replica: Any, broker: BrokerSide, robot_side: Any, example: Example
) -> None:
    """It thought that this replica hung, and moved its sessions: they are void here too."""
    with replica():
        token = broker.welcome().header.token
        broker.send("r1", robot_side("r1").open())
        broker.hear(Kind.ACCEPT)
        broker.send("", encode(Header(Kind.WELCOME), Welcome(broker="b", heartbeat_s=0.5)))
        assert broker.welcome().header.token != token
        broker.send("r1", robot_side("r1").request(example(1)))
        assert broker.hear(Kind.EVENT, Kind.REPLY)[1].body.what == "lost"


def test_it_finds_a_restarted_broker_by_itself(
    replica: Any, endpoint: str, robot_side: Any, example: Example
) -> None:
    before = BrokerSide(endpoint)
    with replica():
        before.welcome()
        before.send("r1", robot_side("r1").open())
        before.hear(Kind.ACCEPT)
        before.close()
        after = BrokerSide(endpoint)
        after.welcome()
        after.send("r1", robot_side("r1").open(epoch=2))
        after.hear(Kind.ACCEPT)
        after.send("r1", robot_side("r1").request(example(1), epoch=2))
        assert after.hear(Kind.REPLY, Kind.EVENT)[1].header.kind is Kind.REPLY
        after.close()


def test_what_no_robot_should_send_is_dropped_and_counted(
    replica: Any, broker: BrokerSide, robot_side: Any, example: Example
) -> None:
    """Whatever comes, the next good request is answered."""
    good = robot_side("r1").request(example(1))
    junk: list[tuple[str, list[bytes]]] = [
        ("r1", [b"", b""]),
        ("r1", [b"x" * 32, b"\x80"]),
        ("r1", [good[0][:4] + b"\xff" + good[0][5:], *good[1:]]),
        ("r1", encode(Header(Kind.HEARTBEAT, epoch=1), Heartbeat(progress=1))),
        ("r1", [good[0], b"\xff" * 100]),
        ("r1", [good[0], *[b""] * 70]),
    ]
    with replica() as it:
        broker.welcome()
        broker.send("r1", robot_side("r1").open())
        broker.hear(Kind.ACCEPT)
        for robot, frames in junk:
            broker.send(robot, frames)
        broker.send("r1", robot_side("r1").request(example(1), seq=2))
        while True:
            _, answer = broker.hear(Kind.REPLY, Kind.ERROR)
            if answer.header.kind is Kind.REPLY:
                break
            assert answer.header.seq == 1 and answer.body.reason == "body"
        counts = {}

        def counted() -> bool:
            counts.update(it.status().get("counts", {}))
            return counts.get("served", 0) == 1

        until(counted)
        for reason in ("header", "version", "kind", "frames"):
            assert counts[f"dropped:{reason}"] >= 1, counts


def test_a_replica_that_the_broker_refuses_ends_with_the_brokers_words(
    replica: Any, broker: BrokerSide
) -> None:
    """It would be refused again: a person must decide which of the two is meant."""
    with replica() as it:
        token = broker.hear(Kind.REGISTER)[1].header.token
        refusal = Reject(reason="contract", message="weights a instead of b", final=True)
        broker.send("", encode(Header(Kind.REJECT, token=token), refusal))
        assert it.end() == actors.EXIT_REFUSED
        [farewell] = [m for m in it.supervisor.messages()[0] if isinstance(m, ExitReason)]
        assert "weights a instead of b" in farewell.reason


def test_asked_to_drain_it_answers_what_it_has_and_leaves_when_released(
    replica: Any, broker: BrokerSide, robot_side: Any, example: Example
) -> None:
    options = {"delay_s": 0.05}
    with replica(options=options, drain_s=30.0, max_batch=1) as it:
        broker.welcome()
        for name in ("r1", "r2"):
            broker.send(name, robot_side(name).open())
            broker.hear(Kind.ACCEPT)
        for name in ("r1", "r2"):
            broker.send(name, robot_side(name).request(example(1)))
        it.supervisor.command("drain", id=5)
        answered = {broker.hear(Kind.REPLY)[0] for _ in range(2)}
        assert answered == {"r1", "r2"}
        broker.hear(Kind.DRAIN)
        assert it.thread.is_alive(), "the broker has not moved the sessions yet"
        broker.send("", encode(Header(Kind.DRAIN), Drain(reason="drained")))
        assert it.end() == actors.EXIT_STOPPED


def test_a_batch_that_lasts_longer_than_many_heartbeats_is_progress(
    replica: Any, broker: BrokerSide, robot_side: Any, example: Example
) -> None:
    """The heartbeat after it says another count than the one before it."""
    with replica(options={"delay_s": 0.3}, max_batch=1):
        broker.welcome()
        broker.send("r1", robot_side("r1").open())
        broker.hear(Kind.ACCEPT)
        for seq in (1, 2, 3):
            broker.send("r1", robot_side("r1").request(example(seq), seq=seq))
            beats: list[int] = []
            heard = Kind.HEARTBEAT
            while heard is not Kind.REPLY:
                _, message = broker.hear(Kind.HEARTBEAT, Kind.REPLY)
                heard = message.header.kind
                if heard is Kind.HEARTBEAT:
                    beats.append(message.body.progress)
            after = broker.hear(Kind.HEARTBEAT)[1].body.progress
            assert beats, "one goes out ahead of the batch"
            assert after > beats[-1]


def test_asked_to_stop_it_does_not_wait_for_a_broker_that_does_not_answer(
    replica: Any, broker: BrokerSide, robot_side: Any
) -> None:
    with replica(drain_s=0.3) as it:
        broker.welcome()
        broker.send("r1", robot_side("r1").open())
        broker.hear(Kind.ACCEPT)
        it.supervisor.command("stop")
        assert it.end() == actors.EXIT_STOPPED


def test_without_robots_it_stops_at_once(replica: Any, broker: BrokerSide) -> None:
    with replica(drain_s=60.0) as it:
        broker.welcome()
        it.supervisor.command("stop")
        assert it.end() == actors.EXIT_STOPPED


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"checkpoint": None}, "names no checkpoint"),
        ({"checkpoint": "no-such-thing"}, "no-such-thing"),
        ({"policy": "no-such-kind"}, "no-such-kind"),
        ({"options": {"no_such": 1}}, "no_such"),
    ],
)
def test_a_policy_that_cannot_be_loaded_is_refused_before_anybody_is_served(
    config: dict[str, Any], says: str, replica: Any
) -> None:
    with replica(**config) as it:
        assert it.end() == actors.EXIT_REFUSED
        [farewell] = [m for m in it.supervisor.messages()[0] if isinstance(m, ExitReason)]
        assert says in farewell.reason


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "eager: graphs need a cuda device, this one is cpu"),
        ({"graphs": False}, "switched off"),
    ],
)
def test_how_the_network_runs_is_in_the_status(
    options: dict[str, Any], says: str, replica: Any, broker: BrokerSide
) -> None:
    """And `graphs: off`, which YAML reads as false, reaches the policy through `options`."""
    with replica(policy="flow", max_batch=1, options=options) as it:
        broker.welcome()
        until(lambda: "execution" in it.status())
        assert says in it.status()["execution"]


def test_counts_go_on_in_the_next_incarnation(
    replica: Any, broker: BrokerSide, robot_side: Any, example: Example
) -> None:
    with replica(drain_s=0.1) as it:
        broker.welcome()
        broker.send("r1", robot_side("r1").open())
        broker.hear(Kind.ACCEPT)
        it.supervisor.command("stop")
        it.end()
        boot, actor_link, supervisor = actors.boot_in_memory(
            "inference", "pick/0", it.boot.config, memory=it.boot.memory, incarnation=2
        )
        again = InferenceActor(boot, actor_link)
        again.setup()
        assert again._status(time.monotonic_ns())["counts"]["accepted"] == 1
        again.teardown()
        supervisor.close()
        actor_link.close()


class Process:
    """A replica as the supervisor starts it."""

    def __init__(self, config: dict[str, Any], rundir: Path) -> None:
        ours, theirs = pair()
        self.link = SupervisorLink(ours)
        theirs.set_inheritable(True)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "holdfast.actors.runtime.main", "pick/0"],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "HOLDFAST_LINK": str(theirs.fileno())},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        theirs.close()
        self.memory = segment.create(BOARD_SIZE, "pick/0/board")
        self.board = self.memory.map(writable=False)
        entries = (SegmentEntry("pick/0/board", BOARD_SIZE, True),)
        boot = BootMessage("inference", "pick/0", 1, str(rundir), config, entries)
        self.link.boot(boot, [self.memory.fd])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.communicate()
        self.link.close()
        self.memory.close()


def test_a_real_process_makes_progress_while_it_loads_serves_and_leaves_on_sigterm(
    checkpoint: Path,
    broker: BrokerSide,
    endpoint: str,
    tmp_path: Path,
    robot_side: Any,
    example: Example,
) -> None:
    config = {
        "service": "pick",
        "replica": 0,
        "broker": endpoint,
        "policy": "flow",
        "checkpoint": str(checkpoint),
        "heartbeat_s": 0.05,
        "capture_bytes": 1_000_000,
    }
    policy = load_policy("flow", checkpoint)
    with Process(config, tmp_path) as it:
        board = StatusBoardReader(it.board)
        registration = broker.welcome().body
        assert registration.pid == it.process.pid
        assert board.progress()[0] > 10, "warming up counts as progress"
        said: list[Any] = []
        until(
            lambda: (
                said.extend(it.link.messages()[0]) or any(isinstance(m, ReadyMessage) for m in said)
            )
        )
        [ready] = [m for m in said if isinstance(m, ReadyMessage)]
        assert ready.hang_timeout_s == 3 * max(registration.batch_s) > 0
        broker.send("r1", robot_side("r1").open())
        broker.hear(Kind.ACCEPT)
        broker.send("r1", robot_side("r1").request(example(1)))
        _, reply = broker.hear(Kind.REPLY, Kind.ERROR)
        [expected] = policy.predict_chunk([example(1)])
        assert reply.array(reply.body.chunk).tobytes() == expected.robot.tobytes()
        it.process.send_signal(signal.SIGTERM)
        broker.hear(Kind.DRAIN)
        broker.send("", encode(Header(Kind.DRAIN), Drain(reason="drained")))
        released = time.monotonic()
        assert it.process.wait(30) == 0
        assert time.monotonic() - released < 1.5, "its successor waits for this"
    line = json.loads((tmp_path / "audit" / "pick.0.jsonl").read_text())
    assert (line["session"], line["seq"], line["outcome"]) == ("r1:1", 1, "served")


def test_a_killed_replicas_last_status_stays_readable(
    checkpoint: Path, broker: BrokerSide, endpoint: str, tmp_path: Path
) -> None:
    config = {
        "service": "pick",
        "replica": 0,
        "broker": endpoint,
        "policy": "shape-only",
        "checkpoint": str(checkpoint),
    }
    with Process(config, tmp_path) as it:
        broker.welcome()
        board = StatusBoardReader(it.board)
        until(lambda: (board.report() or {}).get("model") == "tiny")
        it.process.kill()
        it.process.wait(30)
        assert (board.report() or {})["mode"] == "shared"


def test_late_answers_to_earlier_offers_start_nothing(
    replica: Any, broker: BrokerSide, robot_side: Any, example: Example
) -> None:
    """Otherwise each would be answered by a new offer, and the two would never come to rest."""
    with replica():
        token = broker.welcome().header.token
        broker.send("r1", robot_side("r1").open())
        broker.hear(Kind.ACCEPT)
        for late in (token - 5, token, token + 7):
            broker.send("", encode(Header(Kind.WELCOME, token=late), Welcome(broker="b")))
        broker.send("r1", robot_side("r1").request(example(1)))
        assert broker.hear(Kind.REPLY, Kind.EVENT, Kind.REGISTER)[1].header.kind is Kind.REPLY
