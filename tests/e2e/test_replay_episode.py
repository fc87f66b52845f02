"""A recorded episode in a running fleet: to a policy, and on a robot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.robot.dataset.dataset_writer import DatasetWriter
from holdfast.robot.dataset.recording_schema import RecordingSchema, Row
from holdfast.robot.sim import SPEC
from holdfast.tests.e2e.conftest import FleetProcess, StartFleet, row

FILE = """
name: replayed
services:
  echo: {{policy: "echo_policy:Echo"}}
robots:
  - name: seen
    driver: replay
    options: {{dataset: {given}, episode: 0}}
    service: echo
    cameras: {{overhead: {{driver: robot, width: 64, height: 48, fps: 30}}}}
  - name: played
    teleop: {{driver: replay}}
    options: {{seed: 1}}
    record: {{root: {kept}}}
    cameras: {{overhead: {{width: 64, height: 48, fps: 30}}}}
gateway: {{enabled: false}}
"""

POLICY = """
import numpy as np
from holdfast import CameraFeature, Chunk, PolicySpec
from holdfast.robot.sim import SPEC


class Echo:
    spec = PolicySpec(
        model="echo", revision="1", cameras=(CameraFeature("overhead", 64, 48),),
        state_names=SPEC.state_names,
        action_names=SPEC.action_names, chunk_size=30, fps=30,
    )

    def predict_chunk(self, batch):
        chunks = []
        for observation in batch:
            action = observation.state[:5].astype(np.float32).copy()
            action[1] = observation.images["overhead"].mean() / 255
            actions = np.tile(action, (30, 1))
            chunks.append(Chunk(model=actions, robot=actions))
        return chunks
"""

GREY = 102
STILL = (0.1, 0.1, 0.15, 0.2, 1.0)
"""The recorded action of episode 0, whose state is the same but for x."""
FRAMES = 30


START = 0.05
"""Where the robot does not begin."""
END = START + 0.004 * (FRAMES - 1)


def record(root: Path) -> None:
    """Episode 0: nothing moves for 1.5 s. Episode 1: x goes from START to END."""
    schema = RecordingSchema(30, SPEC.state_names, SPEC.action_names, {"overhead": (48, 64)})
    writer = DatasetWriter(root, "r1", schema)
    picture = np.full((48, 64, 3), GREY, np.uint8)
    for moves, length in ((False, 45), (True, FRAMES)):
        recording = writer.begin()
        for frame in range(length):
            action = np.array(STILL, np.float32)
            state = np.array([0.3, *STILL[1:], 0.0, 0.0], np.float32)
            if moves:
                action[0] = START + 0.004 * frame
            images: dict[str, Any] = {"overhead": (picture, frame + 1)}
            recording.add(Row(state=state, action=action, task="pick", images=images))
        writer.commit(recording, success=None)
    writer.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_recorded_episode_is_seen_by_a_policy_and_played_on_a_robot(
    start_fleet: StartFleet, tmp_path: Path
) -> None:
    """Answers are compared with the recorded actions, after a reset too; a robot plays these."""
    given, kept, file = tmp_path / "given", tmp_path / "kept", tmp_path / "f.yaml"
    record(given)
    (tmp_path / "echo_policy.py").write_text(POLICY)
    file.write_text(FILE.format(given=given, kept=kept))
    fleet: FleetProcess = start_fleet(fleet=file)

    def driver(status: dict[str, Any]) -> dict[str, Any]:
        found = row(status["actors"], "seen/driver")["report"] or {}
        return found if found.get("ended") else {}

    said = driver(fleet.wait_for(driver, 60.0))
    assert said["commands"] > 20 and said["frame"] == 44
    far = {name: said["difference"][name]["mean"] for name in SPEC.action_names}
    assert far["x"] == pytest.approx(0.2, abs=1e-3)  # the state's x in place of the action's
    assert far["y"] == pytest.approx(GREY / 255 - STILL[1], abs=0.02)  # what the picture says
    assert far["z"] == pytest.approx(0.0, abs=1e-3)
    assert fleet.actorctl("reset", "seen").returncode == 0
    fleet.wait_for(lambda now: driver(now).get("episode", 0) > said["episode"], 60.0)

    play = ("replay-episode", "played", "--dataset", str(given))
    refused = fleet.actorctl(*play, "--episode", "2")
    assert refused.returncode == 2 and "no episode 2: it has 2" in refused.stderr
    assert fleet.actorctl("estop", "played").returncode == 0
    stopped = fleet.actorctl(*play, "--episode", "1")
    assert stopped.returncode == 2 and "played does not move: stopped by" in stopped.stderr
    assert fleet.actorctl("estop", "--release", "played").returncode == 0
    assert fleet.actorctl("episode", "start", "played").returncode == 0
    done = fleet.actorctl(*play, "--episode", "1")
    assert done.returncode == 0, done.stderr + fleet.said()
    assert row(fleet.asked()["robots"], "played")["state"] == "PAUSED"
    fleet.interrupt()  # which keeps what was recorded
    assert fleet.wait(60) == 0, fleet.said()

    # The cell may have begun another attempt, and so another episode, meanwhile.
    episodes = list(Dataset(kept))
    by_hand = np.concatenate([episode.column("intervention") for episode in episodes])
    followed = np.concatenate([episode.actions for episode in episodes])[by_hand]
    assert followed[:, 1:] == pytest.approx(np.tile(STILL[1:], (len(followed), 1)), abs=0.02)
    assert followed[-1].tolist() == pytest.approx([END, *STILL[1:]], abs=1e-4)
    x = followed[:, 0]
    assert x[0] == pytest.approx(START, abs=0.02)  # where the arm trailed behind
    moved = np.diff(x)
    # No jump, and at its rate, not at half or twice of it; a busy machine misses ticks.
    assert moved.max() < 0.04
    assert 0.6 * FRAMES < int((moved > 1e-3).sum()) < 1.6 * FRAMES
