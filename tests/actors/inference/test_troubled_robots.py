"""A robot whose requests fail, or take long, at a replica that serves others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from holdfast.errors import DeviceLostError
from holdfast.policy.base import Chunk, Observation
from holdfast.transport.header import Kind


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.005)


class Picky:
    """Knows one task; remembers the states of every batch it was given; may take its time."""

    checkpoint_hash = "picky"

    def __init__(self, echo: Any) -> None:
        self.spec, self._echo = echo.spec, echo
        self.batches: list[list[float]] = []
        self.takes_s: dict[float, float] = {}

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        self.batches.append([float(o.state[0]) for o in batch])
        time.sleep(max(self.takes_s.get(float(o.state[0]), 0.0) for o in batch))
        return [{"pick": self._echo.chunk(o)}[o.task] for o in batch]


class Crowd:
    """Robots r0, r1, ... that ask at once, again and again; `of[i]` changes what r`i` asks."""

    def __init__(self, bench: Any, robot_side: Any, example: Any, robots: int) -> None:
        self.bench, self.side, self.example = bench, robot_side, example
        self.names = [f"r{i}" for i in range(robots)]
        bench.join(*self.names)
        self.of: dict[int, dict[str, Any]] = {}
        self.seq = 0

    def ask(self) -> dict[str, Any]:
        """One request of each, and the answers by robot."""
        self.seq += 1
        answers: dict[str, Any] = {}
        now = time.monotonic_ns()
        for i, name in enumerate(self.names):
            state = np.array([i, 0, 0], np.float32)
            seen = self.example(self.seq, **{"state": state, "task": "pick", **self.of.get(i, {})})
            for at_once in self.bench.receive(name, self.side(name).request(seen, self.seq), now):
                answers[name] = at_once
        while self.bench.service.due_ns(now) is not None:
            answers.update(dict(self.bench.work(time.monotonic_ns())))
        return answers


@pytest.fixture
def crowd(
    bench: Any, robot_side: Any, example: Any, echo: Any
) -> Callable[..., tuple[Crowd, Picky]]:
    def make(robots: int) -> tuple[Crowd, Picky]:
        policy = Picky(echo)
        made = bench(policy, max_batch=robots, default_task="pick")
        policy.batches.clear()
        return Crowd(made, robot_side, example, robots), policy

    return make


def test_a_robot_whose_requests_keep_failing_costs_the_others_one_batch_once(crowd: Any) -> None:
    """It is told why in the policy's words, inferred alone from then on, and counted; one success
    brings it back."""
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
    wait_until(lambda: robots.ask()["r2"].header.kind is Kind.REPLY)
    robots.ask()
    assert sorted(policy.batches[-1]) == [0, 1, 2]


def test_a_robot_whose_requests_fail_slowly_gets_a_fifth_of_the_device(crowd: Any) -> None:
    robots, policy = crowd(2)
    robots.of[1] = {"task": "unknown"}
    policy.takes_s[1.0] = 0.05
    robots.ask()
    began, asked = time.monotonic(), len(policy.batches)
    while time.monotonic() < began + 1.0:
        assert robots.ask()["r0"].header.kind is Kind.REPLY
    alone = policy.batches[asked:].count([1.0])
    assert 0 < alone * 0.05 <= 1.0 / 5 + 0.1


def test_a_robot_in_trouble_comes_after_all_others(crowd: Any) -> None:
    """However urgent it says that it is."""
    robots, policy = crowd(3)
    robots.of[0] = {"task": "unknown"}
    robots.ask()
    wait_until(lambda: robots.ask()["r0"].body.reason != "resting")
    order = [batch for batch in policy.batches if batch]
    assert order[-1] == [0.0] and sorted(order[-2]) == [1.0, 2.0]


def test_a_device_that_is_lost_is_remembered_against_the_robot_that_it_was_lost_at(
    crowd: Any,
) -> None:
    robots, policy = crowd(1)

    def lost(batch: Sequence[Observation]) -> list[Chunk]:
        raise RuntimeError("CUDA error: device-side assert triggered")

    policy.predict_chunk = lost
    with pytest.raises(DeviceLostError, match="device-side assert"):
        robots.ask()
    answer = robots.ask()["r0"]
    assert answer.body.reason == "resting"
    assert "device was lost at its requests 1 times" in answer.body.message
