"""LeRobot's policies in a running fleet: a robot gets what the library itself gives."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from holdfast.actors.inference.capture import CapturedBatch, read
from holdfast.actors.inference.served_session import TaskRule, observe
from holdfast.policy.base import Observation
from holdfast.policy.lerobot import files
from holdfast.robot.sim import SPEC
from holdfast.tests.e2e.conftest import StartFleet, row
from holdfast.tests.peers.lerobot_checkpoints import Direct, EnvironmentFor, MakeCheckpoints
from holdfast.tests.waiting import wait_until
from holdfast.transport.arrays import resolve
from holdfast.transport.bodies import Reply
from holdfast.transport.messages import decode

FLEET = """
name: {family}
services:
  pick:
    policy: lerobot
    checkpoint: {checkpoint}
    python: {python}
    options: {options}
    capture_bytes: 60000000
robots:
  - name: r1
    driver: sim
    service: pick
    fps: 30
    cameras:
      overhead: {{width: 96, height: 72, fps: 30}}
      wrist: {{width: 96, height: 72, fps: 30}}
    # Random weights want anything: a plan that the robot's own limits refuse is not continued.
    limits:
      x: &any {{lower: -1.0e+6, upper: 1.0e+6, max_rate: 1.0e+9}}
      y: *any
      z: *any
      wrist: *any
      gripper: *any
    plan: {{merge: replace, buffer_time_s: 0.3}}
    safety: {{request_timeout_s: 20.0, max_action_age_s: 20.0}}
gateway: {{enabled: false}}
"""
WANTED = 3


def stepped(seen: Observation) -> list[Observation]:
    """The observations that a policy sees with a request, one by one."""
    if seen.state_history is None:
        return [seen]
    return [
        replace(seen, state=state, images={n: f[place] for n, f in seen.image_history.items()})
        for place, state in enumerate(seen.state_history)
    ]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("family", "mode", "named", "guided"),
    [
        ("act", "shared", True, False),
        ("diffusion", "shared", False, False),
        ("smolvla", "shared", True, True),
        ("pi0-relative", "shared", True, True),
    ],
)
def test_a_robot_receives_the_bytes_of_the_librarys_own_call(
    start_fleet: StartFleet,
    checkpoints_of: MakeCheckpoints,
    direct: Direct,
    lerobot: Path,
    lerobot_environment: EnvironmentFor,
    tmp_path: Path,
    family: str,
    mode: str,
    named: bool,
    guided: bool,
) -> None:
    """Encode, broker, replica, processors: the chunk is the library's, the plan continued."""
    [checkpoint], names = checkpoints_of(family), list(SPEC.action_names)
    options = {"action_names": names, "state_names": list(SPEC.state_names)} if named else {}
    (tmp_path / "fleet.yaml").write_text(
        FLEET.format(
            family=family, checkpoint=checkpoint, python=lerobot, options=json.dumps(options)
        )
    )
    evidence = tmp_path / "state"
    environment = {**lerobot_environment(family), "HOLDFAST_STATE": str(evidence)}
    fleet = start_fleet(fleet=tmp_path / "fleet.yaml", environment=environment)
    status = fleet.streaming(120.0)
    report = row(status["actors"], "pick/0")["report"]
    assert (report["model"], report["mode"]) == (family, mode)
    assert len(report["checkpoint"]) == 64
    warnings = " ".join(row(status["robots"], "r1")["warnings"])
    assert ("names no motors" in warnings and "x, y, z" in warnings) is not named

    def batches() -> list[CapturedBatch]:
        return [
            record
            for path in evidence.rglob("capture/**/*")
            if path.is_file() and path.suffix != ".1"
            for record in read(path)
            if isinstance(record, CapturedBatch)
        ]

    def asked() -> bool:
        """Whether there are enough requests, with one that continues a plan among them."""
        requests = [each.request for batch in batches() for each in batch.exchanges]
        continues = [decode(list(request)).body.prefix is not None for request in requests]
        return len(requests) >= WANTED and any(continues) >= guided

    wait_until(asked, "the robot asks", within_s=120.0, every_s=0.2)
    fleet.interrupt()
    fleet.wait(60)
    spec = files.spec_of(checkpoint, str(checkpoint), None, files.options_of(options))
    exchanges = [each for batch in batches() for each in batch.exchanges]
    observations = [
        observe(decode(list(each.request)), "r1", spec, TaskRule(None, ""), None)
        for each in exchanges
    ]
    # The library steps through the observations of each request; the last gives the chunk.
    steps = [step for each in observations for step in stepped(each)]
    [expected] = direct([(checkpoint, steps)])
    expected = expected[spec.observation_steps - 1 :: spec.observation_steps]
    assert exchanges
    assert any(each.prefix is not None for each in observations) is guided
    for each, wanted in zip(exchanges, expected, strict=True):
        message = decode(list(each.reply))
        assert isinstance(message.body, Reply)
        got = resolve(message.body.chunk, message.blobs)
        assert np.asarray(got).tobytes() == wanted.tobytes()
