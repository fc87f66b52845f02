"""The robot of a control loop by the name of its driver."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.actors.control import drivers
from holdfast.actors.control.config import ControlConfig
from holdfast.errors import RefusedError


def config(driver: str, **options: Any) -> ControlConfig:
    return ControlConfig(
        robot="r1", driver=driver, service="pick", endpoint="", plan="r1/plan", fps=30.0,
        options=options,
    )  # fmt: skip


def unused(name: str) -> Any:
    raise AssertionError(f"segment {name} is not this driver's")


@pytest.mark.parametrize(
    ("driver", "options", "said"),
    [
        ("simm", {}, "no driver 'simm'; built in are sim"),
        ("sim", {}, "needs the segments scene and command"),
        ("no_such_module:Arm", {}, "cannot be imported"),
        ("fractions:Arm", {}, "cannot be imported"),
        ("fractions:Fraction", {"speed": 1}, "does not take the options"),
    ],
)
def test_an_unusable_driver_is_refused_with_the_reason(
    driver: str, options: dict[str, Any], said: str
) -> None:
    """The refusal names the robot and what is wrong with its driver."""
    with pytest.raises(RefusedError, match=said) as refused:
        drivers.create(config(driver, **options), unused, unused)
    assert "robot r1" in str(refused.value)


def test_a_driver_of_a_users_own_is_called_with_its_options() -> None:
    """`module:Class` is imported and gets the robot's options as keyword arguments."""
    made: Any = drivers.create(config("fractions:Fraction", numerator=3), unused, unused)
    assert made.numerator == 3
