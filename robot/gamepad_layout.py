"""`GamepadLayout`: the sticks, triggers and buttons of a gamepad by names, from its codes.

The names and codes are those of the kernel's gamepad specification (Documentation/input/gamepad.rst
and input-event-codes.h). Where a device has no ABS_RX and ABS_RY, its right stick is ABS_Z and
ABS_RZ, which otherwise are the analog triggers.
"""

from __future__ import annotations

from .input_device import Axis, InputDevice

_X, _Y, _Z, _RX, _RY, _RZ, _HAT_X, _HAT_Y = 0, 1, 2, 3, 4, 5, 16, 17
BUTTONS = {
    "south": 0x130,
    "east": 0x131,
    "north": 0x133,
    "west": 0x134,
    "left_shoulder": 0x136,
    "right_shoulder": 0x137,
    "select": 0x13A,
    "start": 0x13B,
    "mode": 0x13C,
    "left_stick": 0x13D,
    "right_stick": 0x13E,
    "dpad_up": 0x220,
    "dpad_down": 0x221,
    "dpad_left": 0x222,
    "dpad_right": 0x223,
}
_TRIGGER_BUTTONS = {"left_trigger": 0x138, "right_trigger": 0x139}
AXES = ("left_x", "left_y", "right_x", "right_y", "dpad_x", "dpad_y")
"""Each from -1 to 1; right and up are positive."""
TRIGGERS = ("left_trigger", "right_trigger")
"""From 0 to 1."""
_DOWNWARD = ("left_y", "right_y", "dpad_y")
"""The kernel's value is greater further down."""
_DPAD_KEYS = {"dpad_x": ("dpad_right", "dpad_left"), "dpad_y": ("dpad_up", "dpad_down")}


class GamepadLayout:
    """What each name is on `device`."""

    def __init__(self, device: InputDevice) -> None:
        self._device = device
        twin = _RX in device.axes and _RY in device.axes
        right = (_RX, _RY) if twin else (_Z, _RZ)
        self._axes = dict(zip(AXES, (_X, _Y, *right, _HAT_X, _HAT_Y), strict=True))
        if twin:
            self._axes |= {"left_trigger": _Z, "right_trigger": _RZ}

    def deflection(self, name: str, dead_zone: float) -> float:
        """Of an axis, a trigger or a button by name: within `dead_zone` of its rest 0, and from
        there in proportion to 1. What the device has not, is at rest."""
        axis = self._device.axes.get(self._axes.get(name, -1))
        if axis is None:
            return self._by_keys(name)
        value = _part(axis, name in TRIGGERS)
        # The kernel may know better how far this device is off at rest.
        zone = max(dead_zone, _flat(axis))
        beyond = max(0.0, abs(value) - zone) / (1 - zone) if zone < 1 else 0.0
        return beyond if (value > 0) is not (name in _DOWNWARD) else -beyond

    def _by_keys(self, name: str) -> float:
        if name in _DPAD_KEYS:
            plus, minus = _DPAD_KEYS[name]
            return self._by_keys(plus) - self._by_keys(minus)
        code = BUTTONS.get(name, _TRIGGER_BUTTONS.get(name, -1))
        return float(self._device.keys.get(code, False))


def button_name(code: int) -> str | None:
    """The name of a button; None for one without."""
    return _NAMES.get(code)


_NAMES = {code: name for name, code in (BUTTONS | _TRIGGER_BUTTONS).items()}


def _part(axis: Axis, one_sided: bool) -> float:
    """From -1 to 1 about the middle of its range, or from 0 to 1."""
    span = axis.maximum - axis.minimum
    if span <= 0:
        return 0.0
    share = min(1.0, max(0.0, (axis.value - axis.minimum) / span))
    return share if one_sided else 2 * share - 1


def _flat(axis: Axis) -> float:
    span = axis.maximum - axis.minimum
    return min(1.0, 2 * axis.flat / span) if span > 0 else 0.0
