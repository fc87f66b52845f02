"""A robot whose requests fail or are slow, at a replica that serves others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from holdfast.actors.inference.policy_runner import DOUBTFUL_FAILURES
from holdfast.errors import DeviceLostError, PolicyBrokenError
from holdfast.policy.base import Chunk, Observation
from holdfast.tests.actors.inference.bench import Bench, Echo, MakeBench
from holdfast.tests.actors.inference.robot_side import RobotSide, example
from holdfast.tests.waiting import wait_until
from holdfast.transport.header import Kind
from holdfast.transport.messages import Message


class Picky:
    """Knows one task; records the states of every batch; `takes_s` is a duration by state."""

    checkpoint_hash = "picky"

    def __init__(self, echo: Echo) -> None:
        self.spec, self._echo = echo.spec, echo
        self.batches: list[list[float]] = []
        self.takes_s: dict[float, float] = {}
        self.fails: Callable[[Sequence[Observation]], list[Chunk]] | None = None

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        if self.fails is not None:
            return self.fails(batch)
        self.batches.append([float(o.state[0]) for o in batch])
        time.sleep(max(self.takes_s.get(float(o.state[0]), 0.0) for o in batch))
        return [{"pick": self._echo.chunk(o)}[o.task] for o in batch]


class Crowd:
    """Robots r0, r1, ... that send requests together; `of[i]` changes those of r`i`."""

    def __init__(self, bench: Bench, robots: int) -> None:
        self.bench = bench
        self.names = [f"r{i}" for i in range(robots)]
        bench.join(*self.names)
        self.of: dict[int, dict[str, Any]] = {}
        self.seq = 0

    def ask(self) -> dict[str, Message[Any]]:
        """One request of each, and the answers by robot."""
        self.seq += 1
        answers: dict[str, Message[Any]] = {}
        now_ns = time.monotonic_ns()
        for i, name in enumerate(self.names):
            state = np.array([i, 0, 0], np.float32)
            seen = example(self.seq, **{"state": state, "task": "pick", **self.of.get(i, {})})
            request = RobotSide(name).request(seen, self.seq)
            for answer in self.bench.receive(name, request, now_ns):
                answers[name] = answer
        while self.bench.service.due_ns(now_ns) is not None:
            answers.update(dict(self.bench.work(time.monotonic_ns())))
        return answers


MakeCrowd = Callable[[int], tuple[Crowd, Picky]]


@pytest.fixture
def crowd(bench: MakeBench, echo: Echo) -> MakeCrowd:
    def make(robots: int) -> tuple[Crowd, Picky]:
        policy = Picky(echo)
        made = bench(policy, max_batch=robots, default_task="pick")
        policy.batches.clear()
        return Crowd(made, robots), policy

    return make


def test_a_robot_whose_requests_keep_failing_affects_one_batch_of_the_others(
    crowd: MakeCrowd,
) -> None:
    """It is inferred alone, its errors have the policy's reason, a success ends that."""
    robots, policy = crowd(3)
    robots.of[2] = {"task": "pick up the cup"}
    for _ in range(20):
        answers = robots.ask()
        assert [answers[r].header.kind for r in ("r0", "r1")] == [Kind.REPLY] * 2
        assert answers["r2"].header.kind is Kind.ERROR
        if answers["r2"].body.reason != "resting":
            assert "KeyError: 'pick up the cup'" in answers["r2"].body.message
        else:
            assert "failed: the policy failed" in answers["r2"].body.message
    mixed = [batch for batch in policy.batches if 2 in batch and len(batch) > 1]
    assert len(mixed) == 1
    row = robots.bench.service.status(time.monotonic_ns())["robots"]["r2"]
    assert row["failed"] == row["failing"] > 1
    robots.of.clear()
    wait_until(lambda: robots.ask()["r2"].header.kind is Kind.REPLY, "r2 is served again")
    robots.ask()
    assert sorted(policy.batches[-1]) == [0, 1, 2]


def test_a_robot_whose_requests_fail_slowly_gets_a_fifth_of_the_device(crowd: MakeCrowd) -> None:
    """Its batches take at most 1 / (1 + REST_FACTOR) of the time."""
    robots, policy = crowd(2)
    robots.of[1] = {"task": "unknown"}
    policy.takes_s[1.0] = 0.05
    robots.ask()
    began_s, asked = time.monotonic(), len(policy.batches)

    def alone() -> int:
        return policy.batches[asked:].count([1.0])

    def asked_for_a_second() -> bool:
        assert robots.ask()["r0"].header.kind is Kind.REPLY
        return time.monotonic() >= began_s + 1.0 and alone() > 0

    wait_until(asked_for_a_second, "a second in which it is asked too", every_s=0)
    took_s = time.monotonic() - began_s
    assert alone() * 0.05 <= took_s / 5 + 0.1


def test_a_robot_whose_requests_fail_comes_after_all_others(crowd: MakeCrowd) -> None:
    """Its slack has no effect on the order."""
    robots, policy = crowd(3)
    robots.of[0] = {"task": "unknown"}
    robots.ask()
    wait_until(lambda: robots.ask()["r0"].body.reason != "resting", "r0 has rested")
    order = [batch for batch in policy.batches if batch]
    assert order[-1] == [0.0] and sorted(order[-2]) == [1.0, 2.0]


def test_a_robot_at_whose_request_the_device_was_lost_rests(
    crowd: MakeCrowd,
) -> None:
    """The next request gets the reason `resting` with the number of new processes."""
    robots, policy = crowd(1)

    def lost(batch: Sequence[Observation]) -> list[Chunk]:
        raise RuntimeError("CUDA error: device-side assert triggered")

    policy.fails = lost
    with pytest.raises(DeviceLostError, match="device-side assert"):
        robots.ask()
    answer = robots.ask()["r0"]
    assert answer.body.reason == "resting"
    assert "the policy was restarted after its requests 1 time: " in answer.body.message
    assert "RuntimeError: CUDA error: device-side assert" in answer.body.message


def test_a_robot_rests_for_the_policys_own_exception_by_its_name(crowd: MakeCrowd) -> None:
    """PolicyBrokenError and `resting` name the exception and no device; the rest is bounded."""
    robots, policy = crowd(1)

    def broken(batch: Sequence[Observation]) -> list[Chunk]:
        raise ValueError("policy broke")

    policy.fails = broken
    with pytest.raises(PolicyBrokenError, match="ValueError: policy broke") as raised:
        for _ in range(DOUBTFUL_FAILURES):
            robots.ask()
    assert not isinstance(raised.value, DeviceLostError)
    answer = robots.ask()["r0"]
    assert answer.body.reason == "resting"
    assert "ValueError: policy broke" in answer.body.message
    assert "device" not in answer.body.message
