"""Recording as a user does it: `record:` in fleet.yaml, `actorctl episode`, `actorctl dataset`."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.robot.dataset.verification import verify
from holdfast.robot.dataset.video_transcoding import codec_of
from holdfast.tests.e2e.conftest import FleetProcess, row
from holdfast.tests.e2e.scripts import ARM
from holdfast.tests.robot.dataset.upload_hub import TOKEN, UploadHub, upload_hub
from holdfast.tests.waiting import wait_until

FLEET = """
name: recorded
services:
  wave: {policy: "lab:Wave"}
robots:
  - name: r1
    driver: "lab:Arm"
    service: wave
    fps: 30
    task: wave
    cameras: {top: {driver: "lab:Eye", width: 64, height: 48}}
    record: {root: data/wave, upload: deferred, repo_id: lab/wave, archive_codec: av1}
  - name: r2
    driver: "lab:Arm"
    service: wave
    fps: 30
    cameras: {top: {driver: "lab:Eye", width: 64, height: 48}}
gateway: {enabled: false}
"""

LAB = f"""
{ARM}

from holdfast import Camera, CameraFeature, Chunk, PolicySpec


class Eye(Camera):
    def __init__(self, width, height, fps):
        self.width, self.height, self.fps, self.number = width, height, fps, 0

    def open(self):
        self.number = 0

    def read(self, out):
        time.sleep(1 / self.fps)
        self.number += 1
        out[:] = self.number % 200
        return time.monotonic_ns()

    def close(self):
        pass


class Wave:
    spec = PolicySpec(
        model="wave", revision="1", cameras=(CameraFeature("top", 64, 48),),
        state_names=JOINTS, action_names=JOINTS, chunk_size=100, fps=30.0,
    )

    def predict_chunk(self, requests):
        ramp = np.linspace(0, 0.1, 100, dtype=np.float32)[:, None]
        return [Chunk(r.state + ramp, r.state + ramp) for r in requests]
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[UploadHub]:
    with upload_hub() as hub:
        yield hub


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, hub: UploadHub) -> Iterator[FleetProcess]:
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "fleet.yaml").write_text(FLEET)
    (folder / "lab.py").write_text(LAB)
    environment = {
        "COLUMNS": "400",
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(folder / "huggingface"),
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": TOKEN,
        "NO_PROXY": "127.0.0.1",
    }
    fleet = FleetProcess(folder / "fleet.yaml", folder, environment=environment)
    try:
        fleet.streaming()
        yield fleet
    finally:
        fleet.end()


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> None:
    """The fleet outlives its tests; the module's end ends it."""


def ctl(fleet: FleetProcess, *words: str) -> str:
    done = fleet.actorctl(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def recorded(fleet: FleetProcess, frames: int) -> None:
    """Wait until an episode has so many frames."""
    fleet.wait_for(
        lambda status: (
            row(status["robots"], "r1")["recording"]["state"] == "recording"
            and row(status["robots"], "r1")["recording"]["frames"] >= frames
        ),
        60,
    )


def test_a_stopped_episode_is_on_the_disk_with_what_was_executed(fleet: FleetProcess) -> None:
    """Rows are commands of the policy with their provenance, and a picture each; status tells."""
    root = fleet.file.parent / "data" / "wave"
    assert "recording episode" in ctl(fleet, "episode", "start", "r1", "--task", "wave twice")
    recorded(fleet, 45)
    assert "recording episode" in fleet.actorctl("status").stdout
    saved = ctl(fleet, "episode", "stop", "r1", "--success")
    assert f"is saved in {root}" in saved
    assert "all whole" in ctl(fleet, "dataset", "verify", str(root))
    dataset = Dataset(root)
    episode = dataset.episode(len(dataset) - 1)
    assert len(episode) >= 30
    assert set(episode.tasks) == {"wave twice"}
    assert episode.entry.extra["success"] is True
    assert dataset.names("action") == ("base", "elbow")
    # The arm is where the command before has put it, or its driver was late.
    np.testing.assert_allclose(episode.states[1:], episode.actions[:-1], atol=0.01)
    # A robot whose plan ran out on a busy machine holds: such rows have no request.
    planned = episode.column("provenance")[:, 0] > 0
    assert planned.sum() >= 30
    assert (episode.column("provenance")[planned, 1] > 0).all()
    latencies_s = episode.column("latency_s")[planned]
    assert 0 < np.median(latencies_s) < 3.0, "in seconds"
    pictures = list(episode.frames("observation.images.top"))
    assert len(pictures) == len(episode)
    shown = json.loads(ctl(fleet, "dataset", "show", str(root), "--json"))
    assert shown["episodes"][-1]["frames"] == len(episode)


def uploading(status: dict[str, Any]) -> str:
    """The state of the upload of r1's recorder."""
    state: str = row(status["robots"], "r1")["recording"]["upload"]["state"]
    return state


def test_a_saved_episode_is_uploaded_while_none_is_recorded(
    fleet: FleetProcess, hub: UploadHub
) -> None:
    """The hub gets all of it, its videos in AV1; the status says so, and no token is in the log."""
    ctl(fleet, "episode", "start", "r1")
    recorded(fleet, 5)
    fleet.wait_for(lambda status: uploading(status) in {"waiting", "paused", "done"}, 60.0)
    ctl(fleet, "episode", "stop", "r1")
    root = fleet.file.parent / "data" / "wave"

    def all_is_there() -> bool:
        """Whether the hub has the dataset as it is, which the status says some time later."""
        trees = hub.repositories["lab/wave"].tagged if "lab/wave" in hub.repositories else []
        content = (root / "meta" / "info.json").read_bytes()
        return bool(trees) and trees[-1].get("meta/info.json") == content

    wait_until(all_is_there, "the hub has the dataset", 240.0, every_s=0.2)
    words = "transcoding to av1 done; upload to lab/wave done"
    wait_until(lambda: words in fleet.actorctl("status").stdout, words, 120.0)
    assert all_is_there()
    assert {codec_of(path) for path in root.glob("videos/*/*/*.mp4")} == {"av1"}
    assert TOKEN not in fleet.said()
    wait_until(lambda: "lab/wave has" in ctl(fleet, "logs", "r1/recorder"), "the record")


def test_a_discarded_episode_leaves_the_dataset_as_it_was(fleet: FleetProcess) -> None:
    """Its frames are gone, and no number is used up."""
    root = fleet.file.parent / "data" / "wave"
    before = len(Dataset(root)) if root.exists() else 0
    ctl(fleet, "episode", "start", "r1")
    recorded(fleet, 5)
    assert "dropped" in ctl(fleet, "episode", "discard", "r1")
    refused = fleet.actorctl("episode", "stop", "r1")
    assert refused.returncode == 2
    assert "no episode is being recorded" in refused.stderr
    assert len(Dataset(root)) == before


def test_a_robot_without_record_says_how_to_get_it(fleet: FleetProcess) -> None:
    """The refusal has the line for fleet.yaml."""
    refused = fleet.actorctl("episode", "stop", "r2")
    assert refused.returncode == 2
    assert "r2 is not recorded: give it `record: {root: FOLDER}`" in refused.stderr


def test_a_killed_recorder_costs_its_episode_and_no_tick(fleet: FleetProcess) -> None:
    """It is started again, what was finished is whole, and control has missed nothing more."""
    root = fleet.file.parent / "data" / "wave"
    ctl(fleet, "episode", "start", "r1")
    recorded(fleet, 5)
    ctl(fleet, "episode", "stop", "r1")
    finished = len(Dataset(root))
    ctl(fleet, "episode", "start", "r1")
    recorded(fleet, 10)
    before = row(fleet.asked()["actors"], "r1/recorder")
    control = row(fleet.asked()["actors"], "r1/control")["pid"]
    os.kill(before["pid"], signal.SIGKILL)
    fleet.wait_for(
        lambda status: (
            row(status["actors"], "r1/recorder")["incarnation"] > before["incarnation"]
            and row(status["actors"], "r1/recorder")["state"] == "READY"
        ),
        60,
    )
    assert len(Dataset(root)) == finished
    assert verify(root).whole
    ctl(fleet, "episode", "start", "r1")
    recorded(fleet, 3)
    ctl(fleet, "episode", "stop", "r1", "--failure")
    assert len(Dataset(root)) == finished + 1
    fleet.wait_for(lambda now: row(now["robots"], "r1")["state"] == "STREAMING", 60)
    assert row(fleet.asked()["actors"], "r1/control")["pid"] == control


@pytest.mark.slow
def test_a_dataset_deleted_while_recording_is_one_line_in_the_status(fleet: FleetProcess) -> None:
    """The robot goes on, the fleet is not healthy until the next episode is saved."""
    root = fleet.file.parent / "data" / "wave"
    ctl(fleet, "episode", "start", "r1")
    recorded(fleet, 3)
    shutil.rmtree(root)
    fleet.wait_for(lambda status: row(status["robots"], "r1")["recording"]["reason"], 60)

    def said() -> bool:
        done = fleet.actorctl("status")
        lines = [line for line in done.stdout.splitlines() if "was deleted or moved" in line]
        words = "r1/recorder: does not record: an episode of"
        return done.returncode == 1 and len(lines) == 1 and lines[0].startswith(words)

    wait_until(said, "one line of the dataset, and exit status 1")
    fleet.wait_for(lambda now: row(now["robots"], "r1")["state"] == "STREAMING", 60)
    ctl(fleet, "episode", "start", "r1")
    recorded(fleet, 3)
    words = "is recording, but an episode of"
    wait_until(lambda: words in fleet.actorctl("status").stdout, words)
    ctl(fleet, "episode", "stop", "r1")
    fleet.wait_for(lambda now: row(now["robots"], "r1")["recording"]["reason"] == "", 60)
    assert verify(root).whole
