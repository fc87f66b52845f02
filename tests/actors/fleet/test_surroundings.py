"""What a fleet needs of its machine: what is missing is said with its place, before the start."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from holdfast.actors.fleet import surroundings
from holdfast.actors.fleet.loading import load
from holdfast.actors.fleet.schema import FleetFile
from holdfast.actors.fleet.surroundings import devices_missing, faults_here, require
from holdfast.errors import FleetError
from holdfast.policy.checkpoint import FILES, SHIPPED
from holdfast.transport import keys
from holdfast.transport.keys import Role

WHOLE = SHIPPED / "conveyor-flow"


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    """A fleet in which everything is there: a video for a camera, a copy of a checkpoint."""
    shutil.copytree(WHOLE, tmp_path / "checkpoint")
    write_video(tmp_path / "clip.avi", (640, 480))
    return {
        "name": "test",
        "services": {"pick": {"policy": "flow", "checkpoint": "checkpoint"}},
        "robots": [
            {
                "name": "r1",
                "service": "pick",
                "cameras": {
                    "overhead": {},
                    "wrist": {"driver": "opencv", "options": {"source": "clip.avi"}},
                },
            }
        ],
    }


def write_video(path: Path, size: tuple[int, int]) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, size)
    writer.write(np.zeros((size[1], size[0], 3), np.uint8))
    writer.release()


def written(values: dict[str, Any], directory: Path) -> tuple[FleetFile, Path]:
    path = directory / "fleet.yaml"
    path.write_text(yaml.safe_dump(values))
    return load(path), path


def said(values: dict[str, Any], directory: Path) -> list[str]:
    fleet, _ = written(values, directory)
    return [str(fault) for fault in faults_here(fleet, None)]


def test_a_fleet_whose_files_and_devices_exist_has_no_fault(
    values: dict[str, Any], tmp_path: Path
) -> None:
    """Paths are relative to the file, wherever the command runs."""
    assert said(values, tmp_path) == []
    fleet, _ = written(values, tmp_path)
    assert fleet.robots[0].cameras["wrist"].options["source"] == str(tmp_path / "clip.avi")


@pytest.mark.parametrize("name", [name for name in FILES if name != "config.json"])
def test_a_checkpoint_without_one_of_its_files_is_no_checkpoint(
    values: dict[str, Any], tmp_path: Path, name: str
) -> None:
    """The fault is at the service's checkpoint and names the file."""
    (tmp_path / "checkpoint" / name).unlink()
    (found,) = said(values, tmp_path)
    assert "$.services.pick.checkpoint" in found and f"lacks {name}" in found


@pytest.mark.parametrize("keep", [0, 4, 100, 20_000])
def test_weights_that_were_cut_short_are_damaged(
    values: dict[str, Any], tmp_path: Path, keep: int
) -> None:
    """Known from the header, without reading the weights."""
    weights = tmp_path / "checkpoint" / "model.safetensors"
    os.truncate(weights, keep)
    (found,) = said(values, tmp_path)
    assert "$.services.pick.checkpoint" in found
    assert "no such header" in found or "its header says" in found


def test_a_policy_without_a_network_needs_no_weights(
    values: dict[str, Any], tmp_path: Path
) -> None:
    """A missing weights file is no fault of a service that computes nothing."""
    values["services"]["pick"]["policy"] = "constant"
    (tmp_path / "checkpoint" / "model.safetensors").unlink()
    assert said(values, tmp_path) == []


def test_a_need_of_another_host_is_not_checked_here(values: dict[str, Any], tmp_path: Path) -> None:
    """Faults of the machine are those of its own host."""
    values["hosts"] = {"here": {"address": "127.0.0.1"}, "there": {"address": "127.0.0.2"}}
    values["broker"] = {"host": "here"}
    values["services"]["pick"]["host"] = values["robots"][0]["host"] = "there"
    (tmp_path / "checkpoint" / "model.safetensors").unlink()
    (tmp_path / "clip.avi").unlink()
    fleet, _ = written(values, tmp_path)
    assert faults_here(fleet, "here") == []
    assert len(faults_here(fleet, "there")) == 2


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda path: path.unlink(), "cannot be read (No such file"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read (Is a directory"),
        (lambda path: path.write_text("no video"), "does not open as a file"),
        (lambda path: write_video(path, (320, 240)), "320 x 240 pixels, expected 640 x 480"),
    ],
)
def test_a_video_file_that_cannot_be_a_camera_is_named(
    values: dict[str, Any], tmp_path: Path, spoil: Any, expected: str
) -> None:
    """The fault is at the camera's source, with the reason."""
    spoil(tmp_path / "clip.avi")
    (found,) = said(values, tmp_path)
    assert "$.robots[0].cameras.wrist.options.source" in found and expected in found


@pytest.mark.parametrize("source", [987, "987", "/dev/video987", "/dev/shm"])
def test_a_device_that_is_not_there_fails_a_check_and_lets_a_start_wait_for_it(
    values: dict[str, Any], tmp_path: Path, source: int | str
) -> None:
    """An absent camera is a fault only for `strict`."""
    values["robots"][0]["cameras"]["wrist"]["options"] = {"source": source}
    fleet, path = written(values, tmp_path)
    assert faults_here(fleet, None) == []
    (fault,) = devices_missing(fleet, None)
    assert fault.path == "$.robots[0].cameras.wrist.options.source"
    (later,) = require(fleet, None, path)
    assert later.line > 0
    with pytest.raises(FleetError, match=r"line \d+: \$\.robots"):
        require(fleet, None, path, strict=True)


def test_a_processor_that_the_machine_lacks_is_named(
    values: dict[str, Any], tmp_path: Path
) -> None:
    """The fault is at the robot's affinity."""
    values["robots"][0]["timing"] = {"affinity": [min(os.sched_getaffinity(0)), 4095]}
    (found,) = said(values, tmp_path)
    assert "$.robots[0].timing.affinity" in found and "no processor 4095" in found


def test_keys_that_are_missing_damaged_or_anothers_are_named(
    values: dict[str, Any], tmp_path: Path
) -> None:
    """Each fault is at `security.keys` and names the file."""
    directory = tmp_path / "keys"
    values["security"] = {"keys": "keys"}
    for name, role in (("broker", Role.BROKER), ("other", Role.ROBOT), ("r1", Role.OPERATOR)):
        keys.new(name, role, directory)
    found = " | ".join(said(values, tmp_path))
    assert "lacks pick@0.key" in found
    assert "r1.key is the key of operator:r1; expected that of robot:r1" in found
    keys.new("pick/0", Role.REPLICA, directory)
    (directory / "r1.key").write_text("nothing\n")
    (directory / "r1.key").chmod(0o600)
    (found,) = said(values, tmp_path)
    assert "$.security.keys" in found and "r1.key" in found


TORCH = {"version": "2.9", "built": "12.8", "cuda": 2, "mps": False}


@pytest.mark.parametrize(
    ("device", "torch", "expected"),
    [
        ("cuda", TORCH, ""),
        ("cuda:1", TORCH, ""),
        ("cuda:2", TORCH, "cuda:0 to cuda:1"),
        ("cuda", TORCH | {"cuda": 0}, "sees no GPU"),
        ("cuda", TORCH | {"cuda": 0, "built": None}, "built without CUDA"),
        ("mps", TORCH, "Apple"),
        ("mps", TORCH | {"mps": True}, ""),
        ("cuda", "torch cannot be imported: OSError: libcudart", "libcudart"),
    ],
)
def test_a_device_that_torch_does_not_find_is_refused_with_what_it_finds(
    device: str, torch: Any, expected: str
) -> None:
    """No fault for a device that PyTorch has; else one with what it has."""
    found = [fault.message for fault in surroundings._device("$", device, torch)]
    assert [expected in message for message in found] == ([True] if expected else [])


def test_torch_is_asked_in_its_own_interpreter_and_only_for_other_devices(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor's process imports no torch for it."""
    asked = []

    def answer(python: str) -> dict[str, Any]:
        asked.append(python)
        return TORCH | {"cuda": 1}

    monkeypatch.setattr(surroundings, "_torch", answer)
    assert said(values, tmp_path) == [] and not asked
    values["services"]["pick"]["device"] = "cuda:3"
    values["services"]["again"] = dict(values["services"]["pick"], device="cuda:0")
    (found,) = said(values, tmp_path)
    assert "$.services.pick.device" in found and len(asked) == 1
    monkeypatch.undo()
    real = surroundings._torch(sys.executable)
    assert isinstance(real, dict) and real.keys() == TORCH.keys()


@pytest.mark.parametrize("options", [{"port": "/dev/tty97x"}, {"arms": [{"bus": "/dev/tty97x"}]}])
def test_a_port_that_is_not_there_fails_a_check_and_lets_a_start_wait_for_it(
    values: dict[str, Any], tmp_path: Path, options: dict[str, Any]
) -> None:
    """An option names a device by a path below /dev, however deep it stands."""
    (tmp_path / "arms.py").write_text(OWN_ARM)
    values["robots"][0] |= {"driver": "arms:Arm", "options": options}
    values["robots"][0]["cameras"]["overhead"] = {"driver": "arms:Eye"}
    fleet, path = written(values, tmp_path)
    (later,) = require(fleet, None, path)
    assert later.line > 0 and later.path.startswith("$.robots[0].options.")
    assert "there is no /dev/tty97x now" in later.found
    with pytest.raises(FleetError, match="no /dev/tty97x now"):
        require(fleet, None, path, strict=True)


def test_two_names_of_one_device_are_one_device(values: dict[str, Any], tmp_path: Path) -> None:
    """A link of /dev/serial/by-id and the port that it leads to are not two robots' own."""
    (tmp_path / "arms.py").write_text(OWN_ARM)
    values["robots"][0] |= {"driver": "arms:Arm", "options": {"port": "/dev/pts/../tty"}}
    values["robots"][0]["cameras"]["overhead"] = {"driver": "arms:Eye"}
    values["robots"].append(dict(values["robots"][0], name="r2", options={"port": "/dev/tty"}))
    with pytest.raises(FleetError) as caught:
        written(values, tmp_path)
    (fault,) = caught.value.faults
    assert fault.path == "$.robots[1].options.port"
    assert "is used at $.robots[0].options.port too" in fault.found


OWN_ARM = """
from holdfast import Camera, Robot, RobotSpec
from holdfast.robot.sim import SPEC

class Arm(Robot):
    spec = SPEC
    def __init__(self, **options): pass
    def connect(self): pass
    def read_state(self, out): pass
    def write_action(self, action): pass

class Eye(Camera):
    def __init__(self, width, height, fps): self.width, self.height = width, height
    def open(self): pass
    def read(self, out): pass
"""


@pytest.mark.parametrize("place", ["services.pick", "robots[0]", "robots[0].cameras.overhead"])
def test_an_interpreter_in_which_no_actor_can_run_is_refused_wherever_it_is_named(
    values: dict[str, Any], tmp_path: Path, place: str
) -> None:
    """A driver that needs no question, a sensor and a policy have theirs looked at too."""
    robot = values["robots"][0]
    section = {
        "services.pick": values["services"]["pick"],
        "robots[0]": robot,
        "robots[0].cameras.overhead": robot["cameras"]["overhead"],
    }[place]
    section["python"] = "/bin/true"
    (found,) = said(values, tmp_path)
    assert f"$.{place}.python: /bin/true is no Python interpreter" in found
    section["python"] = sys.executable
    assert said(values, tmp_path) == []
