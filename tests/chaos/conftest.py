"""A fleet that is cheap to run, watched as its robots' recorder would: every tick, with the chunk
that its action is from."""

from __future__ import annotations

import json
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import pytest

from holdfast.actors.control.plan_memory import PLAN_BYTES
from holdfast.actors.control.tick_log import TickReader, TickRecord
from holdfast.actors.runtime.runtime_dir import SOCKET, runtime_base, state_dir
from holdfast.actors.supervision.control_socket import ask, attach
from holdfast.errors import ControlSocketError
from holdfast.policy.base import CameraFeature, PolicySpec
from holdfast.policy.checkpoint import CONFIG, Config
from holdfast.tests.chaos.witnesses import Witnesses
from holdfast.tests.e2e.conftest import FleetProcess, all_well

STATES = ("x", "y", "z", "wrist", "gripper", "belt_speed", "grip")
ACTIONS = STATES[:5]
MAX_ACTION_AGE_S = 3.0

FLEET = """
name: {name}
services:
  pick: {{policy: constant, checkpoint: {pick}, replicas: 2}}
  place: {{policy: constant, checkpoint: {place}}}
robots:
  - name: r1
    options: {{seed: 1}}
    service: pick
    cameras: {{overhead: {{width: 64, height: 48, fps: 15}}}}
    safety: {{max_action_age_s: {age}, request_timeout_s: 1.5, backoff_s: 0.2, max_backoff_s: 1.0}}
  - name: r2
    options: {{seed: 2}}
    service: place
    cameras: {{overhead: {{width: 64, height: 48, fps: 15}}}}
    safety: {{max_action_age_s: {age}, request_timeout_s: 1.5, backoff_s: 0.2, max_backoff_s: 1.0}}
supervision:
  rules:
    all: {{hang_timeout_s: 2.0, backoff_s: 0.1, max_backoff_s: 0.5}}
    inference: {{hang_timeout_s: 2.5, stop_timeout_s: 3.0, max_restarts: 4}}
{supervision}
"""


class Recorder(threading.Thread):
    """Reads the tick log of one robot, which outlives every actor; `faults` judges what it saw."""

    def __init__(self, console: Path, robot: str) -> None:
        super().__init__(daemon=True)
        self.robot = robot
        self.ticks: list[TickRecord] = []
        fd, size = attach(console, f"{robot}/plan")
        memory = memoryview(mmap.mmap(fd, size, prot=mmap.PROT_READ))
        os.close(fd)
        self.reader = TickReader(memory[PLAN_BYTES:], len(STATES), len(ACTIONS))
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.2):
            self.ticks += self.reader.read()
        self.ticks += self.reader.read()

    def end(self) -> None:
        self._ended.set()
        self.join(5)

    def faults(self, served: dict[int, set[int]]) -> list[str]:
        """Every action played that was stale, of another episode, played before or out of order, or
        of a chunk that no replica of this robot's service made for it. `served`: see `evidence`."""
        found, last = [], (0, -1)
        for tick in self.ticks:
            of = tick.provenance
            if of is None or tick.observed_ns is None:
                continue
            if tick.instant_ns - tick.observed_ns > MAX_ACTION_AGE_S * 1e9:
                found.append(f"stale: {tick}")
            if of.episode != tick.episode:
                found.append(f"of episode {of.episode} in {tick.episode}: {tick}")
            if (of.seq, of.step) <= last:
                found.append(f"played after {last}: {tick}")
            if of.episode not in served.get(_seed(self.robot, of.seq), ()):
                found.append(f"of a chunk that nobody made for this robot: {tick}")
            last = (of.seq, of.step)
        return found


def _seed(robot: str, seq: int) -> int:
    """Of the noise of a robot's request: no two requests of a fleet have the same."""
    return (crc32(robot.encode()) << 31) + (seq & 0x7FFFFFFF)


class ChaosFleet(FleetProcess):
    """A fleet that is asked at its console, which costs less than a command."""

    name = ""

    @property
    def console(self) -> Path:
        return runtime_base() / self.name / SOCKET

    def status(self) -> dict[str, Any]:
        try:
            return dict(ask(self.console, do="status")["status"])
        except ControlSocketError:
            return {}

    def record(self) -> list[Recorder]:
        """A recorder for each robot, from here on."""
        recorders = [Recorder(self.console, robot["name"]) for robot in self.status()["robots"]]
        for recorder in recorders:
            recorder.start()
        return recorders

    def evidence(self, service: str) -> dict[int, set[int]]:
        """What the replicas of `service` wrote down that they served: episodes by seed."""
        served: dict[int, set[int]] = {}
        for path in state_dir(self.name).rglob(f"audit/{service}.*.jsonl*"):
            for text in path.read_text().splitlines():
                line = json.loads(text)
                if line["outcome"] == "served":
                    served.setdefault(line["seed"], set()).add(line["episode"])
        return served

    def end_well(self, recorders: list[Recorder], services: dict[str, str]) -> dict[str, Any]:
        """Stop in order; nothing that was played was wrong. The report."""
        self.interrupt()
        for recorder in recorders:
            recorder.end()
        assert self.wait(10.0) == 0, self.said()
        for recorder in recorders:
            played = sum(tick.provenance is not None for tick in recorder.ticks)
            assert played > 30, f"{recorder.robot} played {played} actions"
            faults = recorder.faults(self.evidence(services[recorder.robot]))
            assert not faults, f"{len(faults)} wrong actions of {recorder.robot}: {faults[:3]}"
        return self.report()


def robot(status: dict[str, Any], name: str) -> dict[str, Any]:
    return next(r for r in status["robots"] if r["name"] == name)


def actor(status: dict[str, Any], name: str) -> dict[str, Any]:
    return next(a for a in status["actors"] if a["name"] == name)


def streams_again(before: dict[str, Any]) -> Callable[[dict[str, Any]], bool]:
    """All is well, and every robot has merged a chunk since `before`."""
    merged = {r["name"]: r["merged"] for r in before["robots"]}
    return lambda now: all_well(now) and all(r["merged"] > merged[r["name"]] for r in now["robots"])


@pytest.fixture
def witnesses(tmp_path: Path) -> Iterator[Witnesses]:
    """Whoever sees the machine pause, whatever is done to the fleet."""
    watching = Witnesses(tmp_path)
    yield watching
    watching.close()


@pytest.fixture
def start_chaos(tmp_path: Path) -> Iterator[Callable[..., ChaosFleet]]:
    """start_chaos(name, supervision=""): a fleet of two robots at two services, streaming."""
    started: list[ChaosFleet] = []

    def start(name: str, supervision: str = "") -> ChaosFleet:
        paths = {}
        for service in ("pick", "place"):
            spec = PolicySpec(
                model=service,
                revision="1",
                cameras=(CameraFeature("overhead", 64, 48),),
                state_names=STATES,
                action_names=ACTIONS,
                chunk_size=48,
                fps=30.0,
                prefix="trained",
                max_prefix_steps=24,
            )
            paths[service] = tmp_path / f"{name}-{service}"
            paths[service].mkdir()
            config = Config(kind="flow", spec=spec, network={})
            (paths[service] / CONFIG).write_bytes(msgspec.json.encode(config))
        file = tmp_path / f"{name}.yaml"
        file.write_text(
            FLEET.format(name=name, age=MAX_ACTION_AGE_S, supervision=supervision, **paths)
        )
        directory = tmp_path / f"{name}-out"
        directory.mkdir()
        fleet = ChaosFleet(file, directory)
        fleet.name = name
        started.append(fleet)
        fleet.streaming(60.0)
        return fleet

    yield start
    for fleet in started:
        fleet.end()
