"""A fleet that is cheap to run, whose every tick is recorded and judged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.actors.runtime.runtime_dir import state_dir
from holdfast.policy.base import CameraFeature, PolicySpec
from holdfast.policy.synthetic import write_spec
from holdfast.robot.sim.arm import SPEC
from holdfast.tests.chaos.recorder import MAX_ACTION_AGE_S, Recorder, seed_of
from holdfast.tests.chaos.witnesses import Witnesses
from holdfast.tests.e2e.conftest import FleetProcess, all_well, row

# A second of plan is left when a robot asks: a busy machine has that long to answer.
FLEET = """
name: {name}
services:
  pick: {{policy: constant, checkpoint: {pick}, replicas: 2}}
  place: {{policy: constant, checkpoint: {place}}}
robots:
  - name: r1
    options: {{seed: 1}}
    teleop: {{driver: expert}}
    service: pick
    cameras: {{overhead: {{width: 64, height: 48, fps: 15}}}}
    plan: {{buffer_time_s: 1.0}}
    safety: {{max_action_age_s: {age}, request_timeout_s: 1.5, backoff_s: 0.2, max_backoff_s: 1.0}}
  - name: r2
    options: {{seed: 2}}
    service: place
    cameras: {{overhead: {{width: 64, height: 48, fps: 15}}}}
    plan: {{buffer_time_s: 1.0}}
    safety: {{max_action_age_s: {age}, request_timeout_s: 1.5, backoff_s: 0.2, max_backoff_s: 1.0}}
supervision:
  rules:
    all: {{hang_timeout_s: {hang_s}, start_timeout_s: 120, backoff_s: 0.1, max_backoff_s: 0.5}}
    inference: {{stop_timeout_s: 3.0, max_restarts: 4, settle_s: 600}}
{supervision}
"""


class ChaosFleet(FleetProcess):
    """A fleet that is asked at its control socket, which costs less than a command."""

    name = ""

    def status(self) -> dict[str, Any]:
        return self.asked()

    def record(self) -> list[Recorder]:
        """A recorder for each robot, from here on."""
        recorders = [
            Recorder(self.control_socket, robot["name"]) for robot in self.status()["robots"]
        ]
        for recorder in recorders:
            recorder.start()
        return recorders

    def evidence(self, service: str, robot: str) -> dict[int, set[int]]:
        """What replicas of `service` served to `robot`: episodes by seed.

        As they wrote it down, and as its network actor did: a line is written a moment after its
        request, and one of the two may have been killed in between.
        """
        served: dict[int, set[int]] = {}
        for line in self._audited(f"{service}.*"):
            if line["outcome"] == "served":
                served.setdefault(line["seed"], set()).add(line["episode"])
        for line in self._audited(f"{robot}.network"):
            if line["outcome"] == "reply" and line["replica"].startswith(f"{service}/"):
                served.setdefault(seed_of(robot, line["seq"]), set()).add(line["episode"])
        return served

    def _audited(self, name: str) -> Iterator[dict[str, Any]]:
        for path in state_dir(self.name).rglob(f"audit/{name}.jsonl*"):
            yield from map(json.loads, path.read_text().splitlines())

    def end_well(self, recorders: list[Recorder], services: dict[str, str]) -> dict[str, Any]:
        """Stop in order; nothing that was played was wrong. The report."""
        self.interrupt()
        for recorder in recorders:
            recorder.end()
        assert self.wait(60) == 0, self.said()
        for recorder in recorders:
            played = sum(tick.provenance is not None for tick in recorder.ticks)
            assert played > 30, f"{recorder.robot} played {played} actions"
            faults = recorder.faults(self.evidence(services[recorder.robot], recorder.robot))
            assert not faults, f"{len(faults)} wrong actions of {recorder.robot}: {faults[:3]}"
        return self.report()


def robot(status: dict[str, Any], name: str) -> dict[str, Any]:
    return row(status["robots"], name)


def actor(status: dict[str, Any], name: str) -> dict[str, Any]:
    return row(status["actors"], name)


def streams_again(before: dict[str, Any]) -> Callable[[dict[str, Any]], bool]:
    """All is well, and every robot has merged a chunk since `before`."""
    merged = {r["name"]: r["merged"] for r in before["robots"]}
    return lambda status: (
        all_well(status) and all(r["merged"] > merged[r["name"]] for r in status["robots"])
    )


@pytest.fixture
def witnesses(tmp_path: Path) -> Iterator[Witnesses]:
    """Processes outside the fleet that record when the machine pauses."""
    watching = Witnesses(tmp_path)
    yield watching
    watching.close()


@pytest.fixture
def start_chaos(tmp_path: Path) -> Iterator[Callable[..., ChaosFleet]]:
    """start_chaos(name, supervision="", hang_s=30.0): a fleet of two robots at two services,
    streaming, whose actors may make no progress for so long: a busy machine hangs none of them."""
    started: list[ChaosFleet] = []

    def start(name: str, supervision: str = "", hang_s: float = 30.0) -> ChaosFleet:
        paths = {}
        for service in ("pick", "place"):
            spec = PolicySpec(
                model=service,
                revision="1",
                cameras=(CameraFeature("overhead", 64, 48),),
                state_names=SPEC.state_names,
                action_names=SPEC.action_names,
                chunk_size=48,
                fps=30.0,
                prefix="trained",
                max_prefix_steps=24,
            )
            paths[service] = tmp_path / f"{name}-{service}"
            write_spec(paths[service], spec)
        file = tmp_path / f"{name}.yaml"
        values = {"age": MAX_ACTION_AGE_S, "supervision": supervision, "hang_s": hang_s}
        file.write_text(FLEET.format(name=name, **values, **paths))
        directory = tmp_path / f"{name}-out"
        directory.mkdir()
        fleet = ChaosFleet(file, directory)
        fleet.name = name
        started.append(fleet)
        fleet.streaming()
        return fleet

    yield start
    for fleet in started:
        fleet.end()
