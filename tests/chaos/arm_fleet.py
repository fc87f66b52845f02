"""`ArmFleet`: a fleet whose robot is an arm behind a bad bus, with a driver of the user's own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.actors.driver import latch
from holdfast.actors.driver.wake import ask
from holdfast.actors.runtime.runtime_dir import runtime_base, state_dir
from holdfast.policy.synthetic import write_spec
from holdfast.tests.chaos.conftest import ChaosFleet
from holdfast.tests.e2e.conftest import all_well, row
from holdfast.tests.robots.cell import JOINTS, holding
from holdfast.tests.waiting import wait_until

FPS = 50.0
STEP = 0.1
FAKE_ARM = Path(__file__).parents[1] / "robots" / "fake_arm.py"


class ArmFleet(ChaosFleet):
    """The fleet, and the journal of its arm."""

    journal = Path()

    def __init__(self, file: Path, directory: Path) -> None:
        super().__init__(file, directory)
        self._rows: list[dict[str, Any]] = []
        self._read_bytes = 0

    def rows(self, what: str = "") -> list[dict[str, Any]]:
        """What was done to the arm; only `what` of it."""
        if self.journal.exists():
            with self.journal.open("rb") as file:
                file.seek(self._read_bytes)
                lines, end, _ = file.read().rpartition(b"\n")  # the last may be being written
            self._read_bytes += len(lines + end)
            self._rows += map(json.loads, lines.splitlines())
        return [row for row in self._rows if what in ("", row["what"])]

    def written(self, after_ns: int) -> list[dict[str, Any]]:
        """The commands since an instant."""
        return [row for row in self.rows("write") if row["at_ns"] > after_ns]

    def held(self, after_ns: int) -> list[dict[str, Any]]:
        """The calls of `hold` since an instant."""
        return [row for row in self.rows("hold") if row["at_ns"] > after_ns]

    def move_by_hand(self, by: float) -> None:
        place = self.journal.with_name("pose.json")
        pose = [value + by for value in json.loads(place.read_text())]
        draft = place.with_suffix(".hand")
        draft.write_text(json.dumps(pose))
        draft.replace(place)

    def commanded(self, within_s: float = 60.0) -> None:
        """Wait until the arm is commanded (again)."""
        since_ns = time.monotonic_ns()
        wait_until(lambda: len(self.written(since_ns)) > 5, within_s=within_s)

    def first_after(self, after_ns: int) -> tuple[list[float], list[float]]:
        """The first command after an instant, and where the arm was then."""
        wait_until(lambda: self.written(after_ns))
        first = self.written(after_ns)[0]
        return first["values"], first["pose"]

    def ask_driver(self, do: str, **more: object) -> dict[str, Any]:
        path = runtime_base() / self.name / "arm.driver"
        answer = wait_until(lambda: ask(path, {"do": do, **more}), "the driver answers")
        assert answer is not None
        return answer


@contextmanager
def arm_fleet(
    folder: Path, options: dict[str, Any], fleet: dict[str, Any] | None = None, **entry: Any
) -> Iterator[ArmFleet]:
    """A fleet of one fake arm, streaming. `options` are the driver's, `entry` is for the robot's
    section of the fleet file, `fleet` for the file."""
    cell = folder / "cell"
    cell.mkdir(exist_ok=True)
    shutil.copy(FAKE_ARM, cell)
    write_spec(cell / "policy", holding(FPS, options.get("mode", "position")))
    journal = cell / "journal.jsonl"
    given = {"joints": list(JOINTS), "max_rate": STEP * FPS, "journal": str(journal)}
    robot = {"name": "arm", "driver": "fake_arm:FakeArm", "service": "hold", "fps": FPS}
    values = {
        "name": "arm",
        "services": {"hold": {"policy": "constant", "checkpoint": "policy"}},
        "robots": [{**robot, "options": {**given, **options}, **entry}],
        "gateway": {"enabled": False},
        **(fleet or {}),
    }
    (cell / "fleet.yaml").write_text(yaml.safe_dump(values))
    made = ArmFleet(cell / "fleet.yaml", folder)
    made.name, made.journal = "arm", journal
    try:
        made.streaming()
        made.commanded()
        yield made
    finally:
        made.end()
        latch.release(state_dir("arm"), "arm")


def near(command: list[float], pose: list[float], step: float = STEP) -> bool:
    return all(abs(c - p) <= step * 1.01 for c, p in zip(command, pose, strict=True))


@pytest.fixture
def start_arm(tmp_path: Path) -> Iterator[Callable[..., ArmFleet]]:
    """start_arm(options, fleet={}, **entry): an `arm_fleet`, ended after the test."""
    with ExitStack() as started:
        yield lambda *how, **entry: started.enter_context(arm_fleet(tmp_path, *how, **entry))


def kill_and_await(fleet: ArmFleet, name: str) -> None:
    """Kill an actor, and wait until its next process is READY."""
    before = row(fleet.status()["actors"], name)
    os.kill(before["pid"], signal.SIGKILL)

    def again(now: dict[str, Any]) -> bool:
        after = row(now["actors"], name)
        return bool(after["restarts"] > before["restarts"] and after["state"] == "READY")

    fleet.wait_for(again, 60)


def estop(fleet: ArmFleet, *words: str, status: int = 0) -> dict[str, Any]:
    """What `actorctl estop` says about the arm. It waits a second for the device: on a busy machine
    it may have to be asked again."""
    until_s = time.monotonic() + 60
    while (done := fleet.actorctl("estop", "arm", "--json", *words)).returncode != status:
        assert time.monotonic() < until_s, done.stdout + done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def stopped(status: dict[str, Any]) -> bool:
    return bool(row(status["robots"], "arm")["state"] == "STOPPED")


def release_and_judge(fleet: ArmFleet, *words: str) -> None:
    """A hand moves the arm; once it is released it is commanded from where it is."""
    fleet.move_by_hand(0.75)
    released_ns = time.monotonic_ns()
    assert not estop(fleet, "--release", *words)["latched"]
    command, pose = fleet.first_after(released_ns)
    assert near(command, pose), f"{command} from {pose}"
    fleet.wait_for(lambda now: all_well(now) and row(now["robots"], "arm")["estop"] is None, 120)
