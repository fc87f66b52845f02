"""`actorctl robots` without a running fleet: drivers are processes of their own for as long."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.tests.robots.cell import JOINTS, Cell
from holdfast.tests.waiting import wait_until

ACTORCTL = Path(sys.executable).parent / "actorctl"
CAMERAS = {
    "wrist": {"driver": "robot", "width": 32, "height": 24},
    "front": {"driver": "arms:Camera", "width": 32, "height": 24, "fps": 20},
}


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    folder = tmp_path / "cell"
    folder.mkdir()
    return Cell(folder)


def robots(cell: Cell, *words: str) -> subprocess.CompletedProcess[str]:
    """`actorctl robots WORDS` in the folder of the fleet file."""
    return subprocess.run(
        [ACTORCTL, "robots", *words],
        cwd=cell.folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
        stdin=subprocess.DEVNULL,
    )


def test_robots_alone_lists_those_of_the_file_here(cell: Cell) -> None:
    """Driver, interpreter, names and cameras; nothing is connected."""
    cell.write(python=sys.executable, cameras=CAMERAS)
    done = robots(cell)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"arm: arms:Arm in {sys.executable}, service hold",
        "  action and state: base, elbow",
        "  cameras: front (arms:Camera), wrist (robot)",
    ]
    (row,) = json.loads(robots(cell, "list", "fleet.yaml", "--json").stdout)
    assert row["actions"] == row["states"] == list(JOINTS) and row["error"] == ""
    assert cell.done() == []


def test_a_robot_whose_driver_cannot_be_made_is_listed_with_the_reason(cell: Cell) -> None:
    """The others are listed too."""
    cell.write(driver="legs:Leg")
    done = robots(cell, "list")
    assert done.returncode == 0
    assert "driver 'legs:Leg' cannot be imported" in done.stdout


def test_a_probe_connects_measures_and_closes_and_does_nothing_else(cell: Cell) -> None:
    """State by name, its rate, and the frame rates of cameras of both kinds."""
    cell.write(cameras=CAMERAS)
    done = robots(cell, "probe", "arm", "--seconds", "1.5", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    look = json.loads(done.stdout)
    assert look["values"] == dict.fromkeys(JOINTS, 0.0)
    assert look["low"] == look["high"] == look["values"]
    # At most what they are asked for; a busy machine has less of it.
    assert look["measurements"] > 2 and 1 < look["rate_hz"] < 60
    assert look["state_age_ms"] < 1500 and look["errors"] == {} and look["reason"] == ""
    assert look["cameras"].keys() == CAMERAS.keys()
    assert look["cameras"]["wrist"]["fps"] > 1
    assert 1 < look["cameras"]["front"]["fps"] < 25
    assert cell.done() == ["close", "connect", "close"]


def test_a_probe_for_a_person_is_a_table(cell: Cell) -> None:
    """It says that nothing is commanded."""
    done = robots(cell, "probe", "arm", "--seconds", "0.6")
    assert done.returncode == 0, done.stderr
    assert "arm, by a process of its own (arms:Arm); commands nothing" in done.stdout
    assert "per second, the newest" in done.stdout and "errors: none" in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines() if "0" in line][:2] == list(JOINTS)


def test_a_robot_that_does_not_answer_is_said_with_its_reason(cell: Cell) -> None:
    """Exit status 1, and the failed calls are counted."""
    (cell.folder / "unplugged").touch()
    done = robots(cell, "probe", "arm", "--seconds", "0.5")
    assert done.returncode == 1
    assert "connect: the bus is silent" in done.stdout and "of connect" in done.stdout


def test_a_driver_that_stays_in_a_call_is_ended(cell: Cell) -> None:
    """After the patience that the fleet's supervisor would have; no process is left."""
    cell.write(driver="arms:Stuck", safety={"connect_timeout_s": 0.5, "io_timeout_s": 0.5})
    done = robots(cell, "probe", "arm", "--seconds", "0.5")
    assert done.returncode == 1
    assert "its driver has been in one call for 1 s" in done.stdout


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"driver": "arms:Leg"}, "arms.py has no 'Leg'"),
        ({"python": "/no/python"}, "/no/python cannot be run (No such file or directory)"),
        ({"python": "/bin/false"}, "/bin/false failed: exit status 1"),
    ],
)
def test_a_driver_that_cannot_run_is_said_with_its_reason(
    cell: Cell, entry: dict[str, str], said: str
) -> None:
    """A module without the class, a path without an interpreter, a program that is none."""
    cell.write(**entry)
    done = robots(cell, "probe", "arm", "--seconds", "0.5")
    assert done.returncode == 1 and said in done.stdout.replace("\n", " ")


@pytest.mark.parametrize("command", ["probe", "calibrate"])
def test_a_name_that_is_not_in_the_file_is_refused(cell: Cell, command: str) -> None:
    """The error suggests the name that was meant."""
    done = robots(cell, command, "amr")
    assert done.returncode == 2
    assert done.stderr == "no robot 'amr' in fleet.yaml; did you mean 'arm'?\n"


def test_a_file_that_is_not_there_is_refused(cell: Cell) -> None:
    """The error is that of `supervisor check`."""
    done = robots(cell, "probe", "arm", "cell.yaml")
    assert done.returncode == 2 and "there is no such file" in done.stderr


def test_calibrate_hands_the_terminal_to_the_drivers_own_procedure(cell: Cell) -> None:
    """It asks there and reads there; the exit status is its own."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    process = subprocess.Popen(
        [ACTORCTL, "robots", "calibrate", "arm"],
        cwd=cell.folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    said = b""

    def asked() -> bool:
        nonlocal said
        with contextlib.suppress(BlockingIOError):
            said += os.read(ours, 1000)
        return b"middle of its range: " in said

    try:
        wait_until(asked, "it asks")
        os.write(ours, b"done it\n")
        assert process.wait(60) == 0, said
    finally:
        process.kill()
        process.wait()
        os.close(theirs)
        os.close(ours)
    assert cell.done() == ["calibrated"] and '"done it"' in cell.journal.read_text()


@pytest.mark.parametrize("driver", ["arms:Stuck", "sim", "fake_arm:FakeArm"])
def test_a_driver_without_a_calibration_is_said_so(cell: Cell, driver: str) -> None:
    """With what it would have to have. Exit status 2."""
    cell.write(driver=driver)
    done = robots(cell, "calibrate", "arm")
    assert done.returncode == 2
    assert f"the driver {driver} has no calibration of its own: `calibrate(**opt" in done.stderr


def test_a_calibration_of_an_instance_is_none(cell: Cell) -> None:
    """It is called before anything is made."""
    with (cell.folder / "arms.py").open("a") as module:
        module.write("class Late(Arm):\n    def calibrate(self): pass\n")
    cell.write(driver="arms:Late")
    done = robots(cell, "calibrate", "arm")
    assert done.returncode == 2 and "expected a class or static method" in done.stderr
