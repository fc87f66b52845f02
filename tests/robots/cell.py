"""A folder with a fleet file of one `FakeArm`, its module and a policy that holds it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal

import yaml

from holdfast.policy.base import PolicySpec
from holdfast.policy.synthetic import write_spec

JOINTS = ("base", "elbow")

MODULE = """
import sys
import time

from fake_arm import FakeArm


class Arm(FakeArm):
    cameras = ("wrist",)

    def read_frame(self, camera, out):
        out[:] = 7
        return time.monotonic_ns()

    @classmethod
    def calibrate(cls, journal, **options):
        assert sys.stdin.isatty() and sys.stdout.isatty()
        answer = input("move the arm to the middle of its range: ")
        with open(journal, "a") as file:
            file.write('{"what": "calibrated", "said": "%s"}\\n' % answer)


class Stuck(Arm):
    calibrate = None

    def connect(self):
        time.sleep(60)


class Camera:
    patience_s = 1.0

    def __init__(self, width, height, fps):
        self.width, self.height, self.fps = width, height, fps

    def open(self):
        pass

    def read(self, out):
        time.sleep(1 / self.fps)
        out[:] = 9
        return time.monotonic_ns()

    def close(self):
        pass
"""


def holding(fps: float, control_mode: Literal["position", "velocity"] = "position") -> PolicySpec:
    """The spec of a policy of the arm, for `policy: constant`."""
    return PolicySpec(
        model="hold",
        revision="1",
        cameras=(),
        state_names=JOINTS,
        action_names=JOINTS,
        chunk_size=60,
        fps=fps,
        control_mode=control_mode,
    )


class Cell:
    """The folder. `file` is its fleet.yaml, `journal` what was done to the arm."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "fleet.yaml"
        self.journal = folder / "journal.jsonl"
        shutil.copy(Path(__file__).with_name("fake_arm.py"), folder)
        (folder / "arms.py").write_text(MODULE)
        write_spec(folder / "policy", holding(fps=50))
        self.write()

    def write(self, **entry: Any) -> None:
        """Write the file, with `entry` in that of the robot `arm`."""
        options = {"joints": list(JOINTS), "journal": str(self.journal)}
        robot: dict[str, Any] = {
            "name": "arm",
            "driver": "arms:Arm",
            "options": options,
            "service": "hold",
        }
        robot |= {"fps": 50.0, **entry}
        values = {
            "name": self.folder.name,
            "services": {"hold": {"policy": "constant", "checkpoint": "policy"}},
            "robots": [robot],
            "gateway": {"enabled": False},
        }
        self.file.write_text(yaml.safe_dump(values))

    def done(self) -> list[str]:
        """What was done to the arm, in order."""
        if not self.journal.exists():
            return []
        lines = self.journal.read_text().splitlines(keepends=True)
        return [json.loads(line)["what"] for line in lines if line.endswith("\n")]
