"""The kernel's event interface, from a pipe and from folders that look like /dev and /sys."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.errors import RobotError
from holdfast.robot import input_device
from holdfast.robot.gamepad_layout import BUTTONS
from holdfast.robot.input_device import EV_KEY, EVENT, InputDevice
from holdfast.tests.robot.gamepads import Pad


@pytest.fixture
def pad() -> Iterator[Pad]:
    made = Pad()
    yield made
    made.unplug()


@pytest.fixture
def device(pad: Pad) -> Iterator[InputDevice]:
    opened = pad.open()
    yield opened
    opened.close()
    opened.close()


def test_events_become_the_state_and_the_keys_that_went_down(pad: Pad, device: InputDevice) -> None:
    """A key that is held (value 2) goes down once."""
    pad.move(0, 1200)
    pad.press("south")
    pad.send(EV_KEY, BUTTONS["south"], 2)
    pad.press("east")
    assert device.read() == [BUTTONS["south"], BUTTONS["east"]]
    assert device.axes[0].value == 1200 and device.keys[BUTTONS["south"]]
    pad.press("south", down=False)
    assert device.read() == [] and not device.keys[BUTTONS["south"]]
    assert device.read() == [], "nothing happened: it does not wait"


def test_an_event_may_come_in_parts(pad: Pad, device: InputDevice) -> None:
    """What is there of it is kept for the next call."""
    event = EVENT.pack(1, 2, EV_KEY, BUTTONS["west"], 1)
    pad.write(event[:7])
    assert device.read() == []
    pad.write(event[7:])
    assert device.read() == [BUTTONS["west"]]


def test_the_state_is_asked_for_after_events_were_lost(pad: Pad, device: InputDevice) -> None:
    """Those up to the next report do not count."""
    pad.axes[1] = pad.axes[1]._replace(value=-99)
    pad.drop()
    pad.send(EV_KEY, BUTTONS["mode"], 1)
    pad.move(0, 5)
    pad.keys[BUTTONS["mode"]] = False
    assert device.read() == []
    assert device.axes[1].value == -99 and not device.keys[BUTTONS["mode"]]


def test_a_device_that_is_gone_says_its_name(pad: Pad, device: InputDevice) -> None:
    """The events before that still count."""
    pad.unplug()
    with pytest.raises(RobotError, match="Test Pad was unplugged"):
        device.read()


def test_what_is_no_device_is_refused(tmp_path: Path) -> None:
    """A file, a path that is not there, and one that this user may not read."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RobotError, match="is no input device"):
        input_device.open_device(tmp_path / "file")
    with pytest.raises(RobotError, match="cannot be opened: No such file"):
        input_device.open_device(tmp_path / "none")
    if os.getuid():
        (tmp_path / "file").chmod(0)
        with pytest.raises(RobotError, match="usermod -aG input"):
            input_device.open_device(tmp_path / "file")


def test_requests_have_the_codes_of_the_kernels_header() -> None:
    """EVIOCGNAME(256), EVIOCGKEY(96), EVIOCGBIT(EV_ABS, 8), EVIOCGABS(ABS_RZ), by a C compiler."""
    asked = ((0x06, 256), (0x18, 96), (0x23, 8), (0x45, 24))
    codes = [input_device.request_code(*each) for each in asked]
    assert codes == [0x81004506, 0x80604518, 0x80084523, 0x80184545]


def test_devices_are_listed_by_their_stable_names_and_by_what_they_are(tmp_path: Path) -> None:
    """A gamepad is one with buttons of a gamepad or a joystick; /sys needs no permission."""
    dev, sys = tmp_path / "dev", tmp_path / "sys"
    (dev / "input" / "by-id").mkdir(parents=True)
    for number, name, keys in (
        (3, "AT Keyboard", "402000000 3803078f800d001 feffffdfffefffff fffffffffffffffe"),
        (12, "Xbox Wireless Controller", "7cdb000000000000 0 0 0 0"),
        (4, "Flight Stick", "ffff00000000 0 0 0 0"),
    ):
        (dev / "input" / f"event{number}").touch()
        about = sys / "class" / "input" / f"event{number}" / "device"
        (about / "capabilities").mkdir(parents=True)
        (about / "name").write_text(f"{name}\n")
        (about / "capabilities" / "key").write_text(f"{keys}\n")
    link = dev / "input" / "by-id" / "usb-Microsoft-event-joystick"
    link.symlink_to("../event12")
    found = input_device.plugged_in(dev, sys)
    assert {path.name: each.is_gamepad for path, each in found.items()} == {
        "event3": False,
        "event4": True,
        link.name: True,
    }
    assert found[link].name == "Xbox Wireless Controller"
    assert found[link].path == dev / "input" / "event12"
    assert input_device.plugged_in(tmp_path / "none", sys) == {}
