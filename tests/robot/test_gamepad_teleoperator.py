"""A gamepad moves joints as long as it is deflected, from where the robot is at the take-over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import RobotError
from holdfast.robot import input_device
from holdfast.robot.base import ControlMode, RobotSpec
from holdfast.robot.gamepad_layout import GamepadLayout
from holdfast.robot.gamepad_teleoperator import GamepadOptions, GamepadTeleoperator
from holdfast.robot.input_device import Axis, Described
from holdfast.tests.robot.gamepads import FILE, STICK, TRIGGER, XBOX, Pad, plug

SPEC = RobotSpec(
    ("a", "b", "c"), ("a", "b"), ControlMode.POSITION, (-1, -1, -1), (1, 1, 1), (2, np.inf, 1)
)
WHEELS = RobotSpec(("left", "right"), (), ControlMode.VELOCITY, (-3, -3), (3, 3))


@pytest.fixture
def pad(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pad]:
    made = Pad()
    plug(monkeypatch, made)
    yield made
    made.unplug()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Time passes only by this."""
    now_ns = [10**9]
    monkeypatch.setattr(time, "monotonic_ns", lambda: now_ns[0])

    def passes(seconds: float) -> None:
        now_ns[0] += round(seconds * 1e9)

    return passes


def opened(spec: RobotSpec = SPEC, **options: Any) -> GamepadTeleoperator:
    device = GamepadTeleoperator(spec, GamepadOptions(**options))
    device.connect()
    device.locate(np.zeros(len(spec.action_names), np.float32), in_command=True)
    return device


def reading(device: GamepadTeleoperator) -> list[float]:
    out = np.zeros(len(device.action_names), np.float32)
    device.get_action(out)
    return [round(float(value), 3) for value in out]


def test_a_joint_moves_at_its_speed_while_its_axis_is_deflected(
    pad: Pad, clock: Callable[[float], None]
) -> None:
    """By its rate, else by its range in 4 s, or as `speed` says; never beyond its range."""
    device = opened(speed={"c": 0.5})
    pad.move(1, -32768)  # the left stick up: the first joint
    pad.move(4, 32767)  # the right one down: the third
    clock(0.05)
    assert reading(device) == [0.1, 0, -0.025]
    pad.move(1, 0)
    pad.move(0, 32767)
    clock(0.1)
    assert reading(device) == [0.1, 0.05, -0.075]
    for _ in range(40):
        clock(0.1)
        reading(device)
    assert reading(device) == [0.1, 1, -1]
    device.close()


def test_a_long_pause_between_two_readings_moves_no_joint_far(
    pad: Pad, clock: Callable[[float], None]
) -> None:
    """The step is that of 0.1 s."""
    device = opened()
    pad.move(1, -32768)
    clock(60)
    assert reading(device) == [0.2, 0, 0]
    device.close()


@given(st.integers(-32768, 32767), st.floats(0, 0.9))
def test_within_the_dead_zone_nothing_moves_and_from_there_in_proportion(
    value: int, dead_zone: float
) -> None:
    """Of an axis that goes both ways; its end is 1."""
    pad = Pad({0: STICK._replace(value=value)})
    device = pad.open()
    found = GamepadLayout(device).deflection("left_x", dead_zone)
    part = 2 * (value + 32768) / 65535 - 1
    assert abs(found) <= 1
    if abs(part) <= dead_zone:
        assert found == 0
    else:
        assert found == pytest.approx((abs(part) - dead_zone) / (1 - dead_zone) * np.sign(part))
    device.close()
    pad.unplug()


def test_controls_are_axes_turned_round_and_pairs_of_buttons_or_triggers(
    pad: Pad, clock: Callable[[float], None]
) -> None:
    """A joint that is not named stays."""
    device = opened(
        controls={"a": "-left_x", "b": "right_trigger/left_trigger"},
        speed={"a": 1.0, "b": 1.0},
        presses={"take_over": "mode"},
    )
    pad.move(0, 32767)
    pad.move(2, 255)
    clock(0.1)
    assert reading(device) == [-0.1, -0.1, 0]
    pad.move(2, 0)
    pad.move(5, 255)
    pad.press("start")
    pad.press("mode")
    clock(0.1)
    assert reading(device) == [-0.2, 0, 0]
    assert device.pressed() == ("take_over",)
    assert device.pressed() == ()
    device.close()


def test_the_usual_buttons_say_what_a_person_can_say(pad: Pad) -> None:
    """Once each, in order, however long they are held; null takes one away."""
    device = opened(presses={"stop": None})
    for button in ("start", "south", "east", "north", "select", "west"):
        pad.press(button)
    reading(device)
    assert device.pressed() == ("take_over", "success", "failure", "rerecord")
    device.close()


def test_a_robot_of_velocities_gets_the_deflection_as_velocity(pad: Pad) -> None:
    """Zero when the sticks are let go."""
    device = opened(WHEELS)
    pad.move(1, -32768)
    assert reading(device) == [3, 0]
    pad.move(1, 0)
    assert reading(device) == [0, 0]
    device.close()


def test_without_a_second_pair_of_axes_z_and_rz_are_the_right_stick() -> None:
    """And the triggers are buttons, as the directions may be."""
    for axes, right in ((XBOX, 3), ({0: STICK, 1: STICK, 2: TRIGGER, 5: TRIGGER}, 2)):
        pad = Pad(axes)
        pad.axes[right] = pad.axes[right]._replace(value=pad.axes[right].maximum)
        pad.keys[0x139] = True
        pad.keys[0x223] = True
        device = pad.open()
        layout = GamepadLayout(device)
        assert layout.deflection("right_x", 0.1) == 1
        assert layout.deflection("right_trigger", 0.1) == (0 if axes is XBOX else 1)
        assert layout.deflection("dpad_x", 0.1) == (0 if axes is XBOX else 1)
        device.close()
        pad.unplug()


def test_the_kernels_own_flat_zone_counts_where_it_is_wider() -> None:
    """A worn stick is at rest."""
    pad = Pad({0: Axis(6000, -32768, 32767, flat=8000)})
    device = pad.open()
    assert GamepadLayout(device).deflection("left_x", 0.1) == 0
    device.close()
    pad.unplug()


def test_an_unplugged_pad_fails_and_begins_where_the_robot_is_when_it_is_back(pad: Pad) -> None:
    """The pose from before is not commanded."""
    device = opened()
    pad.unplug()
    with pytest.raises(RobotError, match="Test Pad was unplugged"):
        reading(device)
    with pytest.raises(RobotError):
        device.close()
        reading(device)
    device.connect()
    device.locate(np.array([0.5, 0.25, -0.5], np.float32), in_command=True)
    assert reading(device) == [0.5, 0.25, -0.5]
    device.close()


@pytest.mark.parametrize(
    ("wanted", "there", "why"),
    [
        (None, [], "no gamepad is plugged in; there are no input devices at all"),
        (None, [("AT Keyboard", False)], "none a gamepad: /dev/input/event0 (AT Keyboard)"),
        (None, [("A", True), ("B", True)], "several are a gamepad: name one by `device`"),
        ("xbox", [("A", True)], "no gamepad called 'xbox' is plugged in; there are gamepads: "),
        ("/dev/input/by-id/x", [("A", True)], "there is no /dev/input/by-id/x now; there are"),
    ],
)
def test_a_pad_that_is_not_there_is_named_beside_what_is(
    monkeypatch: pytest.MonkeyPatch,
    wanted: str | None,
    there: list[tuple[str, bool]],
    why: str,
) -> None:
    """One sentence for the status."""
    paths = [Path(f"/dev/input/event{k}") for k in range(len(there))]
    found = {p: Described(p, *each) for p, each in zip(paths, there, strict=True)}
    monkeypatch.setattr(input_device, "plugged_in", lambda: found)
    with pytest.raises(RobotError) as caught:
        GamepadTeleoperator(SPEC, GamepadOptions(device=wanted)).connect()
    assert why in str(caught.value)


def test_a_pad_is_found_by_a_part_of_its_name(pad: Pad, monkeypatch: pytest.MonkeyPatch) -> None:
    """Upper and lower case count as equal."""
    opened_paths = []
    real = pad.open

    def noted(path: Path) -> input_device.InputDevice:
        opened_paths.append(path)
        return real(path)

    monkeypatch.setattr(input_device, "open_device", noted)
    opened(device="test p").close()
    assert opened_paths == [FILE]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"controls": {"a": "left_z"}}, "'left_z': expected an axis (left_x"),
        ({"controls": {"a": "left_x/left_y"}}, "PLUS/MINUS of two of"),
        ({"controls": {"a": "left_x", "b": "-left_x"}}, "left_x moves a already"),
        ({"controls": {"a": "south/east"}, "presses": {"failure": "west"}}, "south is success"),
        ({"presses": {"take_over": "south"}}, "south is take_over and success"),
        ({"presses": {"go": "south"}}, "expected one of take_over"),
        ({"presses": {"stop": "banana"}}, "no button 'banana'"),
    ],
)
def test_options_that_contradict_themselves_are_faults(options: dict[str, Any], why: str) -> None:
    """Each says which key and what would be right."""
    found = list(msgspec.convert(options, GamepadOptions).conflicts())
    assert any(why in f"{fault.path}: {fault.found} {fault.remedy}" for fault in found), found
