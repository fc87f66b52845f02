"""A gamepad without hardware: the kernel's stream of events through a pipe.

This machine may have no /dev/uinput, which would make a real device. What is not covered so is
`open_device`'s requests to the kernel; their codes are compared with those of linux/input.h.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.robot import input_device
from holdfast.robot.gamepad_layout import BUTTONS
from holdfast.robot.input_device import (
    EV_ABS,
    EV_KEY,
    EV_SYN,
    EVENT,
    SYN_DROPPED,
    SYN_REPORT,
    Axis,
    Described,
    InputDevice,
)

STICK = Axis(0, -32768, 32767)
TRIGGER = Axis(0, 0, 255)
XBOX = {0: STICK, 1: STICK, 2: TRIGGER, 3: STICK, 4: STICK, 5: TRIGGER, 16: Axis(0, -1, 1)}
FILE = Path("/dev/input/event7")


class Pad:
    """What a person does with it, and the device that it is for the one who reads."""

    name = "Test Pad"

    def __init__(self, axes: dict[int, Axis] | None = None) -> None:
        self.axes = dict(XBOX if axes is None else axes)
        self.keys = dict.fromkeys([*BUTTONS.values(), 0x138, 0x139], False)
        self._writing = -1

    def open(self, path: Path = FILE) -> InputDevice:
        del path
        self.unplug()
        reading, self._writing = os.pipe()
        os.set_blocking(reading, False)
        return InputDevice(
            reading, self.name, self.axes, self.keys, lambda: (dict(self.axes), dict(self.keys))
        )

    def send(self, kind: int, code: int, value: int) -> None:
        os.write(self._writing, EVENT.pack(1, 2, kind, code, value))

    def move(self, code: int, value: int) -> None:
        self.axes[code] = self.axes[code]._replace(value=value)
        self.send(EV_ABS, code, value)
        self.send(EV_SYN, SYN_REPORT, 0)

    def press(self, button: str, down: bool = True) -> None:
        self.keys[BUTTONS[button]] = down
        self.send(EV_KEY, BUTTONS[button], int(down))
        self.send(EV_SYN, SYN_REPORT, 0)

    def drop(self) -> None:
        """The kernel's buffer was full: what comes up to the next report is incomplete."""
        self.send(EV_SYN, SYN_DROPPED, 0)

    def write(self, data: bytes) -> None:
        os.write(self._writing, data)

    def unplug(self) -> None:
        if self._writing >= 0:
            os.close(self._writing)
            self._writing = -1


def plug(monkeypatch: pytest.MonkeyPatch, pad: Pad | None) -> None:
    """This machine has `pad` and a keyboard, or the keyboard only."""
    found = {Path("/dev/input/event0"): Described(Path("/dev/input/event0"), "AT Keyboard", False)}
    if pad is not None:
        found[FILE] = Described(FILE, pad.name, True)
        monkeypatch.setattr(input_device, "open_device", pad.open)
    monkeypatch.setattr(input_device, "plugged_in", lambda: found)
