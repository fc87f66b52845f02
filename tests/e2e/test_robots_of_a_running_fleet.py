"""`actorctl robots` while a fleet drives the robot: it is looked at through the fleet's driver."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from holdfast.tests.robots.cell import Cell

from .conftest import BIN, StartFleet


def robots(cell: Cell, *words: str) -> subprocess.CompletedProcess[str]:
    """`actorctl robots WORDS` in the folder of the fleet file."""
    return subprocess.run(
        [BIN / "actorctl", "robots", *words],
        cwd=cell.folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    """Its file delivers frames of one camera."""
    folder = tmp_path / "cell"
    folder.mkdir()
    return Cell(folder)


def test_a_robot_is_probed_through_the_driver_that_has_it(
    start_fleet: StartFleet, cell: Cell
) -> None:
    """A second one is started, and a calibration allowed, only after that one was stopped."""
    fleet = start_fleet(fleet=cell.file)
    fleet.streaming()
    done = robots(cell, "probe", "arm", "--seconds", "1", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    look = json.loads(done.stdout)
    assert look["by"] == "the running fleet's driver"
    assert look["values"].keys() == {"base", "elbow"} and look["measurements"] > 2
    assert look["rate_hz"] > 1 and look["reason"] == ""
    assert cell.done().count("connect") == 1

    done = robots(cell, "calibrate", "arm")
    assert done.returncode == 2
    assert "`actorctl stop arm/driver` first" in done.stderr
    assert "calibrated" not in cell.done()

    assert fleet.actorctl("stop", "arm/driver").returncode == 0
    done = robots(cell, "probe", "arm", "--seconds", "0.5", "--json")
    assert json.loads(done.stdout)["by"].startswith("a process of its own (arms:Arm")
    assert cell.done().count("connect") == 2


def test_a_driver_in_the_control_loop_is_not_probed_beside_it(
    start_fleet: StartFleet, cell: Cell
) -> None:
    """The refusal says where its state is shown."""
    cell.write(in_process=True)
    start_fleet(fleet=cell.file).streaming()
    done = robots(cell, "probe", "arm")
    assert done.returncode == 2 and "in the control loop's own process" in done.stderr
