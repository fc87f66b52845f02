"""A stateful policy at a replica: one robot at a time, and a reset for every episode."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.actors.inference.capture import CapturedBatch, read, replay
from holdfast.actors.inference.policy_runner import PolicyRunner
from holdfast.actors.inference.served_session import TaskRule
from holdfast.policy.base import Chunk, Observation
from holdfast.tests.actors.inference.bench import Bench, MakeBench
from holdfast.tests.actors.inference.diffusion import DiffusionPolicy, make
from holdfast.tests.actors.inference.robot_side import RobotSide, example
from holdfast.transport.bodies import Close
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import encode
from holdfast.transport.outbox import Outbox, OutboxReader

Alone = Callable[..., list[bytes]]


@pytest.fixture
def weights(checkpoint: Path, tmp_path: Path) -> Path:
    return make(tmp_path / "diffusion", checkpoint)


@pytest.fixture
def policy(weights: Path) -> DiffusionPolicy:
    return DiffusionPolicy(weights)


@pytest.fixture
def alone(weights: Path) -> Alone:
    """The chunks of a new instance in this process for consecutive observations."""

    def answers(*observations: Observation) -> list[bytes]:
        fresh = DiffusionPolicy(weights)
        return [_bytes(fresh.predict_chunk([o])[0]) for o in observations]

    return answers


class Asker:
    """One robot's consecutive requests, answered by the chunk's bytes in both spaces."""

    def __init__(self, bench: Bench, side: RobotSide) -> None:
        self.bench, self.side = bench, side
        self.seq = 0

    def ask(self, seed: int, episode: int = 0, epoch: int = 1) -> bytes:
        self.seq += 1
        given = seen(seed)
        frames = self.side.request(given, seq=self.seq, episode=episode, epoch=epoch)
        assert self.bench.receive(self.side.name, frames) == []
        [(name, reply)] = self.bench.work()
        assert (name, reply.header.kind) == (self.side.name, Kind.REPLY), reply.body
        assert reply.body.batch == 1
        return _bytes(Chunk(reply.array(reply.body.chunk_model), reply.array(reply.body.chunk)))


def seen(seed: int) -> Observation:
    """An observation without a plan to continue."""
    return example(seed, prefix=None, delay_steps=0)


def _bytes(chunk: Chunk) -> bytes:
    return chunk.model.tobytes() + chunk.robot.tobytes()


@pytest.mark.parametrize(
    ("admits_it", "reason"),
    [(True, "declares that it remembers"), (False, "two interleaved sessions")],
)
def test_a_stateful_policy_is_served_exclusively_with_or_without_its_declaration(
    admits_it: bool, reason: str, checkpoint: Path, tmp_path: Path, bench: MakeBench
) -> None:
    """Its declaration suffices, and without one the probe detects its state."""
    policy = DiffusionPolicy(make(tmp_path / "weights", checkpoint, stateful=admits_it))
    b = bench(policy, max_sessions=8, max_batch=4, buffer_time_s=0.1)
    b.runner.times[1] = 0.001
    status = b.service.status(0)
    assert status["mode"] == "exclusive"
    assert reason in status["mode_reason"]
    assert status["max_sessions"] == 1
    assert status["capacity"] == 1, "by its times alone it would carry many"


def test_a_second_robot_is_refused_with_the_reason_while_the_first_is_served(
    policy: DiffusionPolicy, bench: MakeBench, alone: Alone
) -> None:
    """A REJECT with reason, a retry time, and no effect on the first robot's chunks."""
    b = bench(policy, max_sessions=8)
    b.join("r1")
    first = Asker(b, RobotSide("r1"))
    expected = alone(*(seen(seed) for seed in (1, 2, 3)))
    got = [first.ask(1)]
    for seed in (2, 3):
        [refused] = b.receive("r2", RobotSide("r2").open(epoch=seed))
        assert refused.header.kind is Kind.REJECT and not refused.body.final
        assert refused.body.reason == "capacity" and refused.body.retry_after_s > 0
        assert "one robot at a time" in refused.body.message
        assert "remembers between calls" in refused.body.message
        [lost] = b.receive("r2", RobotSide("r2").request(seen(9), epoch=seed))
        assert lost.body.what == "lost", "a request without a session is not served"
        got.append(first.ask(seed))
    assert got == expected, "the second robot has no effect on the first one's chunks"


def test_a_served_chunk_depends_on_the_last_two_observations_only(
    policy: DiffusionPolicy, bench: MakeBench, alone: Alone
) -> None:
    """The chunks equal those of an instance in this process, which keeps one observation."""
    b = bench(policy)
    b.join("r1")
    robot = Asker(b, RobotSide("r1"))
    seeds = (1, 2, 3, 2, 3)
    served = [robot.ask(seed) for seed in seeds]
    assert served == alone(*(seen(seed) for seed in seeds))
    assert served[1] != alone(seen(2))[0], "the state has the first"
    assert served[2] == served[4], "the observation before is the same"
    assert served[1] != served[3]


def test_the_state_of_a_policy_is_not_overwritten_with_the_robots_memory(
    policy: DiffusionPolicy, bench: MakeBench, alone: Alone
) -> None:
    """Images that the policy keeps are copied from shared memory."""
    memory = bytearray(Outbox.size_for(64_000))
    outbox = Outbox(memory)
    b = bench(policy, {"r1": OutboxReader(memory)})
    side = RobotSide("r1", outbox)
    [accepted] = b.receive("r1", side.open())
    assert accepted.body.shm
    robot = Asker(b, side)
    first = robot.ask(1)
    for seed in range(2 * outbox.slots):
        outbox.put(seen(50 + seed).images)
    assert [first, robot.ask(2)] == alone(seen(1), seen(2))


@pytest.mark.parametrize("forgets", [True, False])
def test_a_new_episode_begins_with_a_reset_policy(
    forgets: bool,
    policy: DiffusionPolicy,
    bench: MakeBench,
    alone: Alone,
) -> None:
    """The first chunk of an episode equals that of a new instance if, and only if, reset clears."""
    b = bench(policy)
    b.join("r1")
    if not forgets:
        policy.forgets = False
    robot = Asker(b, RobotSide("r1"))
    robot.ask(1)
    robot.ask(2)
    b.receive("r1", RobotSide("r1").reset(episode=1))
    fresh = alone(seen(3), seen(4))
    assert (robot.ask(3, episode=1) == fresh[0]) is forgets
    assert robot.ask(4, episode=1) == fresh[1], "within an episode the state stays"
    assert (robot.ask(3, episode=2) == fresh[0]) is forgets, (
        "a request of a new episode implies the reset"
    )


@pytest.mark.parametrize("forgets", [True, False])
@pytest.mark.parametrize("who", ["the same robot", "another robot"])
def test_a_new_session_begins_with_a_reset_policy(
    who: str,
    forgets: bool,
    policy: DiffusionPolicy,
    bench: MakeBench,
    alone: Alone,
) -> None:
    """The first chunk of a session equals that of a new instance if, and only if, reset clears."""
    b = bench(policy)
    b.join("r1")
    if not forgets:
        policy.forgets = False
    Asker(b, RobotSide("r1")).ask(1)
    if who == "the same robot":
        following = RobotSide("r1")
    else:
        assert b.receive("r1", encode(Header(Kind.CLOSE, epoch=1), Close())) == []
        following = RobotSide("r2")
    [accepted] = b.receive(following.name, following.open(epoch=2))
    assert accepted.header.kind is Kind.ACCEPT, accepted.body
    got = Asker(b, following).ask(3, epoch=2)
    assert (got == alone(seen(3))[0]) is forgets


def test_the_observations_of_the_warm_up_are_cleared_before_the_first_robot(
    checkpoint: Path,
    tmp_path: Path,
    bench: MakeBench,
) -> None:
    """The first robot's first chunk equals that of a new instance."""
    directory = make(tmp_path / "weights", checkpoint, stateful=False)
    b = bench(DiffusionPolicy(directory))
    b.join("r1")
    [expected] = DiffusionPolicy(directory).predict_chunk([seen(1)])
    assert Asker(b, RobotSide("r1")).ask(1) == _bytes(expected)


def test_an_exclusive_policy_gets_batches_of_one_for_every_configuration(
    policy: DiffusionPolicy,
    bench: MakeBench,
) -> None:
    """`max_batch` and `max_wait_ms` have no effect on it."""
    b = bench(policy, max_sessions=8, max_batch=4, max_wait_ms=50.0)
    b.join("r1")
    assert b.service.waiting.max_batch == 1
    assert set(b.service.status(0)["batch_ms"]) == {"1"}
    robot = Asker(b, RobotSide("r1"))
    for seed in range(3):
        robot.ask(seed)
    assert set(policy.batches) == {1}


def test_a_capture_of_a_stateful_policy_is_replayed_byte_for_byte(
    policy: DiffusionPolicy,
    weights: Path,
    bench: MakeBench,
    tmp_path: Path,
) -> None:
    """The capture has the resets of new episodes, and the replay repeats them."""
    b = bench(policy, capture_bytes=10_000_000)
    b.join("r1")
    robot = Asker(b, RobotSide("r1"))
    for seed, episode in ((1, 0), (2, 0), (3, 1), (4, 1), (5, 1)):
        robot.ask(seed, episode=episode)
    b.service.close()
    batches = [r for r in read(tmp_path / "capture") if isinstance(r, CapturedBatch)]
    assert [batch.reset for batch in batches] == [True, False, True, False, False]
    again = PolicyRunner(DiffusionPolicy(weights))
    assert [replay(batch, again, TaskRule()) for batch in batches] == [[]] * 5
