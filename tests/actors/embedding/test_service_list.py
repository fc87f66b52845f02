"""What a running fleet says about its services, from its status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from holdfast.actors.embedding.service_list import ServiceOffer, offers, services
from holdfast.actors.fleet.loading import loads
from holdfast.errors import FleetNotFoundError
from holdfast.tools.cli.services import text

WANTED = ServiceOffer(
    name="pick",
    replicas=1,
    capacity=8,
    listed=True,
    model="m",
    revision="1",
    checkpoint="0" * 64,
    cameras={"overhead": (96, 72), "observation.images.front": (1280, 720)},
    state_names=("a", "b.pos"),
    action_names=("a", "b.pos"),
    control_mode="velocity",
    chunk_size=40,
    fps=20.0,
)

MODULES = {
    "my_robot.py": """
from holdfast import ControlMode, Robot as Base, RobotSpec
class Robot(Base):
    def __init__(self):
        self.spec = RobotSpec(("a", "b.pos"), ("a", "b.pos"), ControlMode.VELOCITY)
    def connect(self): pass
    def read_state(self, out): return 0
    def write_action(self, action): pass
""",
    "my_policy.py": """
from holdfast import CameraFeature, PolicySpec
class Policy:
    spec = PolicySpec(
        model="m", revision="1", state_names=("a", "b.pos"), action_names=("a", "b.pos"),
        cameras=(CameraFeature("overhead", 96, 72),
                 CameraFeature("observation.images.front", 1280, 720)),
        chunk_size=40, fps=20, control_mode="velocity")
    def predict_chunk(self, batch): return []
""",
}


def test_the_lines_for_a_robot_make_a_fleet_that_is_right(tmp_path: Path) -> None:
    """As they are, with a driver that has the names: each camera, rate and renaming fits."""
    for name, content in MODULES.items():
        (tmp_path / name).write_text(content)
    (robot,) = yaml.safe_load(WANTED.robot_yaml)
    robot["safety"] = {"fallback": "zero"}  # the robot's own matter, not the service's
    values = {"services": {"pick": {"policy": "my_policy:Policy"}}, "robots": [robot]}
    fleet = loads(yaml.safe_dump(values), base=tmp_path)
    assert fleet.robots[0].fps == 20
    assert fleet.robots[0].rename == {"camera1": "observation.images.front"}
    assert fleet.robots[0].cameras["camera1"].width == 1280
    assert "# its actions, in order (velocity): a, b.pos" in WANTED.robot_yaml


def test_a_robot_for_a_policy_that_looks_back_keeps_its_frames() -> None:
    """For as many steps as the policy looks back."""
    offer = msgspec.structs.replace(WANTED, observation_steps=3, observation_stride_steps=4)
    (robot,) = yaml.safe_load(offer.robot_yaml)
    assert robot["images"] == {"history_steps": 8}
    assert "3 observations, 4 steps apart" in text([offer])


def test_a_task_rule_is_said_in_words_and_a_pinned_task_is_not_asked_of_the_robot() -> None:
    """The lines for a robot follow the rule."""

    def offer(**rule: Any) -> ServiceOffer:
        return ServiceOffer(name="s", listed=True, replicas=1, **rule)

    assert offer().task_rule == "the robot's"
    assert offer(default_task="pick").task_rule == "the robot's, else 'pick'"
    assert offer(pin_task="pick").task_rule == "always 'pick'"
    assert "task:" not in offer(pin_task="pick").robot_yaml
    assert yaml.safe_load(offer(default_task='say "hi"').robot_yaml)[0]["task"] == 'say "hi"'
    assert ServiceOffer(name="s").robot_yaml == ""


def broker(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"name": "broker", "kind": "broker", "report": {"services": list(rows)}}


def test_a_service_whose_replicas_are_not_ready_is_listed_too() -> None:
    """By the names of its actors; without a broker's report nothing is known."""
    loading = {"name": "place/0", "kind": "inference", "report": None}
    found = offers({"actors": [loading, broker({"name": "pick", "replicas": 1, "listed": True})]})
    assert found is not None
    assert [(each.name, each.replicas) for each in found] == [("pick", 1), ("place", 0)]
    assert offers({"actors": [loading]}) is None
    assert offers({"actors": [{**broker(), "report": None}]}) is None


def test_without_a_fleet_no_service_can_be_asked() -> None:
    """The error says how to start one."""
    with pytest.raises(FleetNotFoundError, match="supervisor start"):
        services()
