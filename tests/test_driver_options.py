"""The options of drivers and cameras in docs/your-robot.md, and of policies in docs/training.md and
docs/pi0.md, are those that these take."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from holdfast.policy.pi0.pi_options import PiOptions
from holdfast.policy.policy_options import ActOptions, FlowOptions
from holdfast.robot.cameras.opencv_camera import OpenCVCamera
from holdfast.robot.cameras.source import OpenCVOptions
from holdfast.robot.gym import GymRobot
from holdfast.robot.sim.devices import SimCameraOptions, SimOptions, SimRobot
from holdfast.tests.fleet_schema import default_shown
from holdfast.tests.peers.environments import ROOT

PAGE = (ROOT / "docs" / "your-robot.md").read_text()


def table(after: str) -> dict[str, str]:
    """The default of each option, in the first table that stands after a text of the page."""
    assert PAGE.count(after) == 1
    rows = PAGE.partition(after)[2].partition("\n\n")[2].lstrip("\n").partition("\n\n")[0]
    if not rows.startswith("| "):
        rows = after + rows
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \| .+ \|$", rows, re.MULTILINE))


def keywords(kind: type) -> dict[str, Any]:
    """What a class is made with, and the defaults."""
    return {p.name: p.default for p in inspect.signature(kind).parameters.values()}


def defaults(taken: Mapping[str, Any], names: set[str]) -> dict[str, str]:
    """Those of `names`, as a page shows them."""
    return {
        name: "required" if taken[name] is inspect.Parameter.empty else default_shown(taken[name])
        for name in names
    }


def fields(options: type[msgspec.Struct]) -> set[str]:
    return {field.name for field in msgspec.structs.fields(options)}


@pytest.mark.parametrize(
    ("after", "options", "taken"),
    [
        ("Options of `driver: opencv`:", OpenCVOptions, OpenCVCamera),
        ("with cameras of `driver: sim`:", SimOptions, SimRobot),
    ],
)
def test_the_options_of_a_kind_are_those_of_its_struct(
    after: str, options: type[msgspec.Struct], taken: type
) -> None:
    """With the defaults of the class that is made with them."""
    assert table(after) == defaults(keywords(taken), fields(options))


def test_the_options_of_a_simulated_camera_are_those_of_its_struct() -> None:
    """`view` is by the camera's name unless it is set."""
    (row,) = re.findall(r"^\| option of a camera .*\n.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert set(re.findall(r"^\| `(\w+)` \| none \|", row, re.MULTILINE)) == fields(SimCameraOptions)


def test_the_options_of_an_environment_are_those_that_its_driver_takes() -> None:
    """It has no struct: its keywords are checked when it is made."""
    taken = keywords(GymRobot)
    assert table("Options of `driver: gym`:") == defaults(taken, set(taken))


def named(page: str, header: str) -> dict[str, str]:
    """The options in the table under `header`, with its second column."""
    rows = (ROOT / "docs" / page).read_text().partition(header)[2].partition("\n\n")[0]
    found = re.findall(r"^\| (`.*?`) \| (.*?) \|", rows, re.MULTILINE)
    return {name: second for names, second in found for name in re.findall(r"`(\w+)`", names)}


def test_the_options_of_flow_and_act_are_those_of_their_structs() -> None:
    """What is not of `flow` alone is of both."""
    listed = named("training.md", "| option | of | meaning |\n")
    assert set(listed) == fields(FlowOptions)
    assert {name for name, of in listed.items() if of == "both"} == fields(ActOptions)


def test_the_options_of_the_pi_policies_are_those_of_their_struct() -> None:
    """Those that it shares with flow included."""
    assert set(named("pi0.md", "| option | meaning |\n")) == fields(PiOptions)
