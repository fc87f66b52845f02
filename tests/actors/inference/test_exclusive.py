"""A policy that remembers, served: to one robot at a time, and fresh for every episode."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.actors.inference.capture import CapturedBatch, read, replay
from holdfast.actors.inference.policy_runner import PolicyRunner
from holdfast.actors.inference.served_session import TaskRule
from holdfast.policy.base import Chunk, Observation
from holdfast.tests.actors.inference.diffusion import DiffusionPolicy, make
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import Close, encode
from holdfast.transport.outbox import Outbox, OutboxReader

Example = Callable[..., Observation]


@pytest.fixture
def weights(checkpoint: Path, tmp_path: Path) -> Path:
    return make(tmp_path / "diffusion", checkpoint)


@pytest.fixture
def policy(weights: Path) -> DiffusionPolicy:
    return DiffusionPolicy(weights)


@pytest.fixture
def alone(weights: Path) -> Callable[..., list[bytes]]:
    """What a fresh policy in this process answers to observations in a row."""

    def answers(*observations: Observation) -> list[bytes]:
        fresh = DiffusionPolicy(weights)
        return [_bytes(fresh.predict_chunk([o])[0]) for o in observations]

    return answers


class Asker:
    """One robot's requests in a row; what it gets is the chunk's bytes in both spaces."""

    def __init__(self, bench: Any, side: Any, example: Example) -> None:
        self.bench, self.side, self.example = bench, side, example
        self.seq = 0

    def ask(self, seed: int, episode: int = 0, epoch: int = 1) -> bytes:
        self.seq += 1
        given = seen(self.example, seed)
        frames = self.side.request(given, seq=self.seq, episode=episode, epoch=epoch)
        assert self.bench.receive(self.side.name, frames) == []
        [(name, reply)] = self.bench.work()
        assert (name, reply.header.kind) == (self.side.name, Kind.REPLY), reply.body
        assert reply.body.batch == 1
        return _bytes(Chunk(reply.array(reply.body.chunk_model), reply.array(reply.body.chunk)))


def seen(example: Example, seed: int) -> Observation:
    """Its chunks continue no plan."""
    return example(seed, prefix=None, delay_steps=0)


def _bytes(chunk: Chunk) -> bytes:
    return chunk.model.tobytes() + chunk.robot.tobytes()


@pytest.mark.parametrize(
    ("admits_it", "reason"),
    [(True, "declares that it remembers"), (False, "two interleaved sessions")],
)
def test_a_policy_that_remembers_is_served_exclusively_whether_it_says_so_or_not(
    admits_it: bool, reason: str, checkpoint: Path, tmp_path: Path, bench: Any
) -> None:
    """Its own word is enough, and where it says nothing the probe finds out."""
    policy = DiffusionPolicy(make(tmp_path / "weights", checkpoint, stateful=admits_it))
    status = bench(policy, max_sessions=8, max_batch=4, buffer_time_s=0.1).service.status(0)
    assert status["mode"] == "exclusive"
    assert reason in status["mode_reason"]
    assert status["max_sessions"] == 1
    assert status["capacity"] == 1, "by its times alone it would carry many"


def test_a_second_robot_is_refused_with_the_reason_while_the_first_is_served(
    policy: DiffusionPolicy, bench: Any, robot_side: Any, example: Example, alone: Any
) -> None:
    b = bench(policy, max_sessions=8)
    b.join("r1")
    first = Asker(b, robot_side("r1"), example)
    expected = alone(*(seen(example, seed) for seed in (1, 2, 3)))
    got = [first.ask(1)]
    for seed in (2, 3):
        [refused] = b.receive("r2", robot_side("r2").open(epoch=seed))
        assert refused.header.kind is Kind.REJECT and not refused.body.final
        assert refused.body.reason == "capacity" and refused.body.retry_after_s > 0
        assert "one robot at a time" in refused.body.message
        assert "remembers between calls" in refused.body.message
        [lost] = b.receive("r2", robot_side("r2").request(seen(example, 9), epoch=seed))
        assert lost.body.what == "lost", "it is not served by insisting"
        got.append(first.ask(seed))
    assert got == expected, "nothing of the second robot's came into the first one's chunks"


def test_a_chunk_depends_on_the_observation_before_and_on_none_earlier(
    policy: DiffusionPolicy, bench: Any, robot_side: Any, example: Example, alone: Any
) -> None:
    """The same bytes as in one process, and that memory is really there: two observations long."""
    b = bench(policy)
    b.join("r1")
    robot = Asker(b, robot_side("r1"), example)
    told = (1, 2, 3, 2, 3)
    served = [robot.ask(seed) for seed in told]
    assert served == alone(*(seen(example, seed) for seed in told))
    assert served[1] != alone(seen(example, 2))[0], "it remembers the first"
    assert served[2] == served[4], "with the same before it, whatever came earlier"
    assert served[1] != served[3]


def test_what_it_remembers_is_not_overwritten_with_the_robots_memory(
    policy: DiffusionPolicy, bench: Any, robot_side: Any, example: Example, alone: Any
) -> None:
    """Its images lay in shared memory, which the robot has used again since."""
    memory = bytearray(Outbox.size_for(64_000))
    outbox = Outbox(memory)
    b = bench(policy, {"r1": OutboxReader(memory)})
    side = robot_side("r1", outbox)
    [accepted] = b.receive("r1", side.open())
    assert accepted.body.shm
    robot = Asker(b, side, example)
    first = robot.ask(1)
    for seed in range(2 * outbox.slots):
        outbox.put(seen(example, 50 + seed).images)
    assert [first, robot.ask(2)] == alone(seen(example, 1), seen(example, 2))


@pytest.mark.parametrize("forgets", [True, False])
def test_a_new_episode_begins_as_a_fresh_policy_would(
    forgets: bool,
    policy: DiffusionPolicy,
    bench: Any,
    robot_side: Any,
    example: Example,
    alone: Any,
) -> None:
    """And would not, if the policy were not reset: the comparison can tell."""
    b = bench(policy)
    b.join("r1")
    if not forgets:
        policy.reset = lambda: None
    robot = Asker(b, robot_side("r1"), example)
    robot.ask(1)
    robot.ask(2)
    b.receive("r1", robot_side("r1").reset(episode=1))
    fresh = alone(seen(example, 3), seen(example, 4))
    assert (robot.ask(3, episode=1) == fresh[0]) is forgets
    assert robot.ask(4, episode=1) == fresh[1], "within an episode it goes on remembering"
    assert (robot.ask(3, episode=2) == fresh[0]) is forgets, "a lost reset is made up for"


@pytest.mark.parametrize("forgets", [True, False])
@pytest.mark.parametrize("who", ["the same robot", "another robot"])
def test_a_new_session_begins_as_a_fresh_policy_would(
    who: str,
    forgets: bool,
    policy: DiffusionPolicy,
    bench: Any,
    robot_side: Any,
    example: Example,
    alone: Any,
) -> None:
    b = bench(policy)
    b.join("r1")
    if not forgets:
        policy.reset = lambda: None
    Asker(b, robot_side("r1"), example).ask(1)
    if who == "the same robot":
        following = robot_side("r1")
    else:
        assert b.receive("r1", encode(Header(Kind.CLOSE, epoch=1), Close())) == []
        following = robot_side("r2")
    [accepted] = b.receive(following.name, following.open(epoch=2))
    assert accepted.header.kind is Kind.ACCEPT, accepted.body
    got = Asker(b, following, example).ask(3, epoch=2)
    assert (got == alone(seen(example, 3))[0]) is forgets


def test_what_warming_up_showed_it_is_forgotten_before_anybody_is_served(
    checkpoint: Path, tmp_path: Path, bench: Any, robot_side: Any, example: Example
) -> None:
    """The probe of one that hides its memory leaves some behind."""
    directory = make(tmp_path / "weights", checkpoint, stateful=False)
    b = bench(DiffusionPolicy(directory))
    b.join("r1")
    [expected] = DiffusionPolicy(directory).predict_chunk([seen(example, 1)])
    assert Asker(b, robot_side("r1"), example).ask(1) == _bytes(expected)


def test_its_batches_hold_one_observation_whatever_is_configured(
    policy: DiffusionPolicy, bench: Any, robot_side: Any, example: Example
) -> None:
    b = bench(policy, max_sessions=8, max_batch=4, max_wait_ms=50.0)
    b.join("r1")
    assert b.service.waiting.max_batch == 1
    assert set(b.service.status(0)["batch_ms"]) == {"1"}
    robot = Asker(b, robot_side("r1"), example)
    for seed in range(3):
        robot.ask(seed)
    assert set(policy.batches) == {1}


def test_its_capture_runs_again_byte_for_byte_over_episodes(
    policy: DiffusionPolicy,
    weights: Path,
    bench: Any,
    robot_side: Any,
    example: Example,
    tmp_path: Path,
) -> None:
    """The resets are in the capture, where they were."""
    b = bench(policy, capture_bytes=10_000_000)
    b.join("r1")
    robot = Asker(b, robot_side("r1"), example)
    for seed, episode in ((1, 0), (2, 0), (3, 1), (4, 1), (5, 1)):
        robot.ask(seed, episode=episode)
    b.service.close()
    batches = [r for r in read(tmp_path / "capture") if isinstance(r, CapturedBatch)]
    assert [batch.reset for batch in batches] == [True, False, True, False, False]
    again = PolicyRunner(DiffusionPolicy(weights))
    assert [replay(batch, again, TaskRule()) for batch in batches] == [[]] * 5
