"""`GamepadTeleoperator`: sticks, triggers and buttons that move the joints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from ..errors import Fault, RobotError
from . import input_device
from .base import ControlMode, Options, RobotSpec
from .gamepad_layout import AXES, BUTTONS, TRIGGERS, GamepadLayout, button_name
from .input_device import Described, InputDevice
from .steered_pose import Positive, SteeredTeleoperator
from .teleoperator import BUTTONS as PRESSES

CONTROLS = (
    "left_y",
    "left_x",
    "right_y",
    "right_x",
    "right_trigger/left_trigger",
    "right_shoulder/left_shoulder",
    "dpad_y",
    "dpad_x",
)
"""What moves the joints, in their order, unless `controls` says otherwise."""
USUAL_PRESSES = {
    "take_over": "start",
    "success": "south",
    "failure": "east",
    "rerecord": "north",
    "stop": "select",
}
_RANGE_S = 4.0
"""How long a joint's range takes at full deflection, for one without a rate."""
_PLAIN_SPEED = 0.25
"""For a joint that has neither, in its units a second."""
_LONGEST_S = 0.1
"""A pose moves by no more than this much time between two readings."""


class GamepadOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a gamepad. `device` is its file or a part of its name; without it there has to be exactly
    one. `controls` say what moves each joint, by its name, in place of all the usual ones: an axis
    (`left_x`, `-left_x` for the other direction), or two buttons or triggers as `PLUS/MINUS`; a
    joint that is not named stays. `speed` is that of a joint at full deflection, in its units a
    second. `presses` name the buttons of what a person says; null for none."""

    device: str | None = None
    controls: dict[str, str] | None = None
    speed: dict[str, Positive] = msgspec.field(default_factory=dict)
    dead_zone: Annotated[float, Meta(ge=0, lt=1, description="from 0 to less than 1")] = 0.1
    presses: dict[str, str | None] = msgspec.field(default_factory=dict)

    def conflicts(self) -> Iterator[Fault]:
        """See `Options.conflicts`."""
        used: dict[str, str] = {}
        for joint, said in (self.controls or {}).items():
            for name in _parts(said):
                if name not in _NAMES or (name in AXES and "/" in said):
                    yield Fault(f"controls.{joint}", _unknown(said))
                elif name in used:
                    yield Fault(f"controls.{joint}", f"{name} moves {used[name]} already")
                used.setdefault(name, joint)
        for press, button in self.presses.items():
            if press not in PRESSES:
                yield Fault(f"presses.{press}", f"expected one of {', '.join(PRESSES)}")
            elif button is not None and button not in BUTTONS:
                expected = f"expected one of {', '.join(BUTTONS)}"
                yield Fault(f"presses.{press}", f"no button {button!r}", remedy=expected)
        buttons: dict[str, str] = {}
        for press, button in (USUAL_PRESSES | self.presses).items():
            if button is None:
                continue
            if button in used:
                yield Fault("presses", f"{button} is {press}, and moves {used[button]}")
            elif button in buttons:
                yield Fault("presses", f"{button} is {buttons[button]} and {press}")
            buttons[button] = press


_NAMES = (*AXES, *TRIGGERS, *BUTTONS)


class GamepadTeleoperator(SteeredTeleoperator):
    """A pose that the gamepad moves, from where the robot is when the person takes over; for a
    robot that is commanded by velocities: these."""

    def __init__(self, spec: RobotSpec, options: GamepadOptions) -> None:
        super().__init__(spec)
        names = spec.action_names
        self._options = options
        self._velocity = spec.control_mode is ControlMode.VELOCITY
        self._speed = np.array([options.speed.get(n, _speed(spec, k)) for k, n in enumerate(names)])
        usual = dict(zip(names, CONTROLS, strict=False))
        said = usual if options.controls is None else options.controls
        self._controls = [said.get(name) for name in names]
        presses = (USUAL_PRESSES | options.presses).items()
        self._presses: dict[str | None, str] = {
            button: press for press, button in presses if button is not None
        }
        self._device: InputDevice | None = None
        self._before_ns = 0

    def connect(self) -> None:
        """Open the device. Raises RobotError when it is absent, and says which there are."""
        self._device = input_device.open_device(_choose(self._options.device))
        self._layout = GamepadLayout(self._device)
        self._before_ns = time.monotonic_ns()

    def get_action(self, out: NDArray[np.float32]) -> int:
        """See `Teleoperator.get_action`."""
        if self._device is None:
            raise RobotError("the gamepad is not open")
        for code in self._device.read():
            name = button_name(code)
            if name in self._presses:
                self._pressed.append(self._presses[name])
        now_ns = time.monotonic_ns()
        passed_s = min((now_ns - self._before_ns) / 1e9, _LONGEST_S)
        self._before_ns = now_ns
        wanted = np.array([self._deflection(said) for said in self._controls]) * self._speed
        if self._velocity:
            out[:] = np.clip(wanted, self._lower, self._upper)
            return now_ns
        # A joint that is at rest beyond its range is not moved by that.
        moved = np.clip(self._pose + wanted * passed_s, self._lower, self._upper)
        self._pose = np.where(wanted == 0, self._pose, moved)
        out[:] = self._pose
        return now_ns

    def close(self) -> None:
        """See `Teleoperator.close`. A device that comes back begins where the robot then is."""
        if self._device is not None:
            self._device.close()
        self._device, self._placed, self._pressed = None, False, []

    def _deflection(self, said: str | None) -> float:
        if said is None:
            return 0.0
        dead_zone = self._options.dead_zone
        plus, _, minus = said.removeprefix("-").partition("/")
        value = self._layout.deflection(plus, dead_zone)
        if minus:
            value -= self._layout.deflection(minus, dead_zone)
        return -value if said.startswith("-") else value


def _choose(wanted: str | None) -> Path:
    """The file of the device. Raises RobotError."""
    found = input_device.plugged_in()
    pads = {path: each for path, each in found.items() if each.is_gamepad}
    if wanted is not None and wanted.startswith("/"):
        if Path(wanted).exists():
            return Path(wanted)
        raise RobotError(f"there is no {wanted} now; {listed(pads, found)}")
    fitting = [
        path for path, each in pads.items() if (wanted or "").casefold() in each.name.casefold()
    ]
    if len(fitting) == 1:
        return fitting[0]
    what = "gamepad" if wanted is None else f"gamepad called {wanted!r}"
    if not fitting:
        raise RobotError(f"no {what} is plugged in; {listed(pads, found)}")
    raise RobotError(f"several are a {what}: name one by `device`; {listed(pads, found)}")


def listed(pads: dict[Path, Described], all_of_them: dict[Path, Described]) -> str:
    """Which gamepads there are, else which input devices."""
    shown = pads or all_of_them
    what = "gamepads" if pads else "input devices, none a gamepad"
    if not shown:
        return "there are no input devices at all"
    return f"there are {what}: " + ", ".join(
        f"{path} ({each.name})" for path, each in shown.items()
    )


def _parts(said: str) -> list[str]:
    return said.removeprefix("-").split("/", 1)


def _unknown(said: str) -> str:
    return (
        f"{said!r}: expected an axis ({', '.join(AXES)}), or PLUS/MINUS of two of "
        f"{', '.join((*TRIGGERS, *BUTTONS))}"
    )


def _speed(spec: RobotSpec, joint: int) -> float:
    low, high, rate = spec.lower[joint], spec.upper[joint], spec.max_rate[joint]
    if spec.control_mode is ControlMode.VELOCITY:
        return max(abs(low), abs(high)) if np.isfinite(high - low) else 1.0
    if np.isfinite(rate):
        return rate
    return (high - low) / _RANGE_S if np.isfinite(high - low) else _PLAIN_SPEED
