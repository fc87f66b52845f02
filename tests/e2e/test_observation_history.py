"""A policy that sees several observations, in a running fleet of one host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.tests.e2e.conftest import FleetProcess, StartFleet, row
from holdfast.tests.waiting import wait_until

STRIDE, PERIOD_MS = 5, 20

FLEET = """
name: back
services: {back: {policy: "recorded:LooksBack", options: {path: PATH}}}
robots:
  - name: r1
    service: back
    driver: recorded:Arm
    in_process: true
    fps: 50
    limits: {a: {lower: -1, upper: 1}}
    cameras: {eye: {driver: "recorded:Eye", width: 16, height: 12, fps: 50}}
gateway: {enabled: false}
"""

MODULE = '''
import json, time
import numpy as np
from holdfast import Camera, CameraFeature, Chunk, PolicySpec, Robot, RobotSpec


def now_ms():
    """Exact as float32, and in three bytes."""
    return time.monotonic_ns() // 1_000_000 % 10_000_000


class Arm(Robot):
    """Its state: how often it was read, and when."""

    def __init__(self):
        self.spec = RobotSpec(("a",), ("reads", "ms"))
        self.reads = 0

    def connect(self): pass
    def write_action(self, action): pass

    def read_state(self, out):
        self.reads += 1
        out[:] = self.reads, now_ms()
        return time.monotonic_ns()


class Eye(Camera):
    """Its image: when it was captured."""

    has_noise = False

    def __init__(self, width, height, fps):
        self.width, self.height, self.period_s = width, height, 1 / fps

    def open(self): pass

    def read(self, out):
        time.sleep(self.period_s)
        captured_ns, ms = time.monotonic_ns(), now_ms()
        out[:] = ms >> 16, ms >> 8 & 255, ms & 255
        return captured_ns


class LooksBack:
    """Writes what it sees to a file."""

    def __init__(self, path):
        self.spec = PolicySpec(
            model="back", revision="1", cameras=(CameraFeature("eye", 16, 12),),
            state_names=("reads", "ms"), action_names=("a",), chunk_size=40, fps=50,
            observation_steps=3, observation_stride_steps=5,
        )
        self.file = open(path, "w", buffering=1)

    def predict_chunk(self, batch):
        chunk = np.zeros((40, 1), np.float32)
        for o in batch:
            eye = o.image_history["eye"][:, 0, 0].astype(int) @ (65536, 256, 1)
            row = {"reads": o.state_history[:, 0].tolist(), "ms": o.state_history[:, 1].tolist()}
            print(json.dumps({**row, "eye": eye.tolist()}), file=self.file)
        return [Chunk(chunk, chunk) for _ in batch]
'''


@pytest.fixture
def started(start_fleet: StartFleet, tmp_path: Path) -> tuple[FleetProcess, Path]:
    """The fleet, streaming, and the file of what its policy sees."""
    path = tmp_path / "seen.jsonl"
    (tmp_path / "fleet.yaml").write_text(FLEET.replace("PATH", str(path)))
    (tmp_path / "recorded.py").write_text(MODULE)
    fleet = start_fleet(fleet=tmp_path / "fleet.yaml")
    fleet.streaming()
    return fleet, path


def lines(path: Path) -> list[dict[str, Any]]:
    """What the policy saw of the robot; the examples of its warm-up are random."""
    rows = [
        json.loads(line) for line in path.read_text().splitlines(keepends=True) if line[-1:] == "\n"
    ]
    return [row for row in rows if all(n == int(n) and n > 0 for n in row["reads"])]


def reported(status: dict[str, Any], actor: str, value: str) -> Any:
    """A value of the actor's report; None before there is one."""
    return (row(status["actors"], actor)["report"] or {}).get(value)


@pytest.mark.timeout(600)
def test_the_observations_are_those_of_the_stride_on_the_robots_clock(
    started: tuple[FleetProcess, Path],
) -> None:
    """By shared memory, after a reset, and after the network actor was killed."""
    fleet, path = started
    wait_until(lambda: len(lines(path)) >= 4, "four requests")
    fleet.wait_for(lambda now: reported(now, "r1/network", "shm"), 60)
    fleet.wait_for(lambda now: reported(now, "back/0", "mode") == "shared", 60)
    before, resets = len(lines(path)), 0

    def begun() -> dict[str, Any] | None:
        """Reset; the first request of the new episode, unless it came when the episode was so many
        steps old that nothing is repeated, as it may on a busy machine."""
        nonlocal resets
        resets += 1
        assert fleet.actorctl("reset", "r1").returncode == 0
        known = len(lines(path))
        wait_until(lambda: len(lines(path)) >= known + 3, "requests of the next episode")
        rows = lines(path)[before:]
        return next((row for row in rows if row["reads"][0] == row["reads"][1]), None)

    first = wait_until(begun, "an episode's first request", 100.0)
    assert first is not None
    assert first["reads"][2] - first["reads"][0] < 2 * STRIDE, (
        "the first of the episode is repeated"
    )
    in_step(path, 0, 5)
    killed = len(lines(path))
    assert fleet.actorctl("kill", "r1/network").returncode == 0
    in_step(path, killed, 4)
    begins = 0
    for observation in lines(path):
        reads, ms, eye = observation["reads"], observation["ms"], observation["eye"]
        begins += reads[0] == reads[1]
        ages = [instant - captured for instant, captured in zip(ms[:-1], eye[:-1], strict=True)]
        # The newest frame of that tick; an episode's first may have been captured after it.
        assert min(ages) >= (-1000 if reads[0] == reads[1] else -1)
    assert begins <= 3 * (1 + resets), "of the episodes"


def in_step(path: Path, since: int, count: int) -> None:
    """Wait until so many requests since the line `since` have observations of exactly the stride,
    in steps and in time. The machine may have taken ticks away from others."""

    def exact(observation: dict[str, Any]) -> bool:
        reads, ms, eye = observation["reads"], observation["ms"], observation["eye"]
        ages = [instant - captured for instant, captured in zip(ms[:-1], eye[:-1], strict=True)]
        return (
            [reads[2] - n for n in reads] == [2 * STRIDE, STRIDE, 0]
            and abs(ms[2] - ms[1] - STRIDE * PERIOD_MS) < 60
            and max(ages) < 500
        )

    wait_until(lambda: sum(map(exact, lines(path)[since:])) >= count, f"{count} requests in step")
