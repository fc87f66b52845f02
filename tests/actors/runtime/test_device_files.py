"""Serial ports and cameras of a machine, as links and files of a folder that stands for /dev."""

from __future__ import annotations

import grp
import os
from pathlib import Path

import pytest

from holdfast.actors.runtime import device_files


def test_a_port_has_its_stable_name_where_it_has_one(tmp_path: Path) -> None:
    """Links of by-id lead to devices; a device without a link stands for itself."""
    links = tmp_path / "serial" / "by-id"
    links.mkdir(parents=True)
    for name in ("ttyACM0", "ttyUSB3", "ttyS0", "video0"):
        (tmp_path / name).touch()
    (links / "usb-Feetech_42-if00").symlink_to("../../ttyACM0")
    (links / "usb-unplugged-if00").symlink_to("../../ttyACM9")
    assert device_files.serial_ports(tmp_path) == {
        links / "usb-Feetech_42-if00": tmp_path / "ttyACM0",
        tmp_path / "ttyUSB3": tmp_path / "ttyUSB3",
    }
    assert device_files.cameras(tmp_path) == {tmp_path / "video0": tmp_path / "video0"}


def test_a_machine_without_devices_has_none(tmp_path: Path) -> None:
    """Neither folder needs to exist."""
    assert device_files.serial_ports(tmp_path / "dev") == {}
    assert device_files.cameras(tmp_path / "dev") == {}


def test_a_device_that_works_has_no_trouble() -> None:
    """Any character device that this user may read and write."""
    assert device_files.trouble(Path("/dev/null")) == ("", "")


@pytest.mark.parametrize(
    ("device", "found"),
    [("/dev/ttyACM97", "no /dev/ttyACM97 now; there are: "), ("/dev/sparkles", "no /dev/sparkles"),
     ("/dev/shm", "/dev/shm is no device"), ("/dev/a\0b", "there is no")],
)  # fmt: skip
def test_what_is_no_device_is_named(device: str, found: str) -> None:
    """With those of its kind that are there, where its name says its kind."""
    said, remedy = device_files.trouble(Path(device))
    assert found in said and remedy


def test_a_device_of_a_group_is_opened_to_the_user_by_joining_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The command names the device's own group; without a group that may use it, a udev rule."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    terminal = Path("/dev/tty0").stat()
    fields = list(terminal)
    fields[0], fields[5] = 0o020660, grp.getgrnam("dialout").gr_gid
    said = device_files.remedy(os.stat_result(fields))
    assert said == "`sudo usermod -aG dialout $USER`, then log in anew"
    fields[0] = 0o020600
    assert "udev rule" in device_files.remedy(os.stat_result(fields))
    found, remedy = device_files.trouble(Path("/dev/null"))
    assert found == "/dev/null is not accessible to this user" and "udev rule" in remedy
