"""`actorctl doctor` about what robots are plugged into, and the interpreters that run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from holdfast.tests.installed import INTERPRETER
from holdfast.tests.robots.cell import Cell
from holdfast.tools.cli import doctor_devices
from holdfast.tools.cli.doctor import Finding


def doctor(folder: Path, *words: str) -> list[Finding]:
    """The findings of the command, run in `folder`."""
    done = subprocess.run(
        [Path(sys.executable).parent / "actorctl", "doctor", "--json", *words],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.stdout, done.stderr
    findings = [Finding(**row) for row in json.loads(done.stdout)]
    assert done.returncode == any(finding.verdict == "bad" for finding in findings)
    return findings


def test_a_machine_without_devices_and_without_a_file_is_told_so(tmp_path: Path) -> None:
    """Each of the four findings is good."""
    assert doctor_devices.examine(tmp_path / "fleet.yaml", tmp_path) == [
        Finding("serial ports", "good", f"none below {tmp_path}"),
        Finding("cameras", "good", f"none below {tmp_path} (simulated ones need none)"),
        Finding("gamepads", "good", f"none below {tmp_path}"),
        Finding(
            "fleet file",
            "good",
            f"no {tmp_path}/fleet.yaml here: `actorctl doctor FILE` looks at what one names",
        ),
    ]


def test_ports_and_cameras_have_their_stable_names(tmp_path: Path) -> None:
    """One that cannot be used has its remedy; the null device stands for a port that can."""
    links = tmp_path / "serial" / "by-id"
    links.mkdir(parents=True)
    (tmp_path / "ttyACM0").symlink_to("/dev/null")
    (tmp_path / "ttyUSB1").touch()
    (tmp_path / "video0").symlink_to("/dev/null")
    (links / "usb-arm").symlink_to(tmp_path / "ttyACM0")
    arm, adapter, camera, *_ = doctor_devices.examine(tmp_path / "none.yaml", tmp_path)
    assert arm == Finding("serial port", "good", f"{links}/usb-arm (ttyACM0)")
    assert adapter.verdict == "poor" and f"{tmp_path}/ttyUSB1 is no device" in adapter.found
    assert adapter.remedy
    assert camera == Finding("camera", "good", f"{tmp_path}/video0")


def test_gamepads_are_listed_by_their_names_beside_other_input_devices(tmp_path: Path) -> None:
    """Without opening them; with none, it is said how many other devices there are."""
    dev, sys = tmp_path / "dev", tmp_path / "sys"
    (dev / "input").mkdir(parents=True)
    for number, keys in (("1", "3803078f800d001"), ("2", "7cdb000000000000 0 0 0 0")):
        (dev / "input" / f"event{number}").symlink_to("/dev/null")
        about = sys / "class" / "input" / f"event{number}" / "device"
        (about / "capabilities").mkdir(parents=True)
        (about / "name").write_text(f"Device {number}\n")
        (about / "capabilities" / "key").write_text(f"{keys}\n")
    (pad,) = doctor_devices.gamepads(dev, sys)
    assert pad == Finding("gamepad", "good", f"{dev}/input/event2: Device 2")
    (dev / "input" / "event2").unlink()
    (none,) = doctor_devices.gamepads(dev, sys)
    assert none == Finding("gamepads", "good", f"none of 1 input devices below {dev}")


def test_a_port_that_this_user_may_not_use_has_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a device of root's group a udev rule; else the group to join."""
    (tmp_path / "ttyACM0").symlink_to("/dev/null")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    (finding,) = doctor_devices.serial_ports(tmp_path)
    assert finding.verdict == "poor" and "not accessible to this user" in finding.found
    assert "udev rule" in finding.remedy


def test_interpreters_and_drivers_of_the_file_are_looked_at(tmp_path: Path) -> None:
    """Each with its version and whom it runs; one without holdfast with the command to install."""
    cell = Cell(tmp_path)
    venv.create(tmp_path / "bare", symlinks=True)
    bare = f"{tmp_path}/bare/bin/python"
    cell.write(cameras={"front": {"driver": "arms:Camera", "python": bare}})
    findings = doctor(tmp_path)
    own, other = (each for each in findings if each.what == "interpreter")
    version = ".".join(map(str, sys.version_info[:3]))
    assert own.verdict == "good"
    assert own.found == f"{INTERPRETER}: Python {version} with holdfast, for hold, arm/driver"
    assert other.verdict == "bad" and other.found == f"{bare} has no holdfast, for arm/front"
    assert other.remedy.startswith(f"`{bare} -m pip install ")
    (driver,) = (each for each in findings if each.what == "driver")
    assert driver == Finding("driver", "good", "arm: arms:Arm can be made (2 actions, 2 states)")
    cell.write(driver="arms:Leg")
    (driver,) = (each for each in doctor(tmp_path, "fleet.yaml") if each.what == "driver")
    assert driver.verdict == "bad" and "has no 'Leg'" in driver.found and driver.remedy


def test_a_file_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    """The rest is looked at all the same."""
    (tmp_path / "fleet.yaml").write_text("robots: [")
    (finding,) = (each for each in doctor(tmp_path) if each.what == "fleet file")
    assert finding.verdict == "bad" and "supervisor check" in finding.remedy


def test_a_fleet_file_that_is_named_and_is_not_there_ends_the_doctor(tmp_path: Path) -> None:
    """A misspelt name is not a machine without a fleet."""
    done = subprocess.run(
        [Path(sys.executable).parent / "actorctl", "doctor", "nofile.yaml"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert "there is no nofile.yaml: `supervisor init`" in done.stderr
