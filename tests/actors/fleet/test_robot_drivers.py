"""Robots with a driver of the user's own: what fleet.yaml says of them, right and wrong."""

from __future__ import annotations

import os
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.actors.driver.describe import Asked, describe, has_own
from holdfast.actors.fleet.expand import expand
from holdfast.actors.fleet.loading import loads
from holdfast.actors.runtime.spec import ActorSpec
from holdfast.errors import FleetError
from holdfast.robot.sim import SPEC
from holdfast.robot.sim.devices import SimRobot

ARMS = f"""
from holdfast import ControlMode, Robot, RobotSpec

ACTIONS, STATES = {SPEC.action_names!r}, {SPEC.state_names!r}

class Arm(Robot):
    cameras = ("wrist",)
    def __init__(self, port="/dev/null", mode="position", actions=ACTIONS):
        print("something that a library says")
        self.spec = RobotSpec(actions, STATES, mode, max_rate=(1,) * len(actions))
    def connect(self): raise AssertionError("a check touches no hardware")
    def read_state(self, out): raise AssertionError
    def write_action(self, action): raise AssertionError
    def read_frame(self, camera, out): raise AssertionError

class Resting(Arm):
    def safe_stop(self): return True
    def release(self): pass

class Broken(Arm):
    def __init__(self):
        self.port = open("/dev/no_such_port")
"""

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the fleet file and the user's modules are."""
    path = tmp_path_factory.mktemp("cell")
    (path / "my_arms.py").write_text(ARMS)
    return path


@pytest.fixture
def own(good: dict[str, Any]) -> dict[str, Any]:
    """A fleet whose robots have the user's driver, which delivers one of their cameras."""
    for k, robot in enumerate(good["robots"]):
        robot |= {"driver": "my_arms:Arm", "options": {"port": f"/dev/arm{k}"}}
        robot["cameras"] = {
            "overhead": {"driver": "opencv", "options": {"source": k}, "width": 640},
            "wrist": {"driver": "robot"},
        }
    return good


def expanded(values: dict[str, Any], folder: Path) -> dict[str, ActorSpec]:
    fleet = loads(yaml.safe_dump(values), base=folder)
    return {actor.name: actor for actor in expand(fleet, None, Path("/run/x"))}


def test_a_class_beside_the_file_gives_the_robot_its_names_and_limits(
    own: dict[str, Any], folder: Path
) -> None:
    """Its constructor runs, in a process of its own; nothing is connected."""
    own["robots"][0]["limits"] = {"x": {"lower": -2, "max_rate": 0.5}, "gripper": {"upper": 1}}
    made = expanded(own, folder)
    driver, control = made["r1/driver"].config, made["r1/control"].config
    assert driver["driver"] == "my_arms:Arm" and driver["import_path"] == str(folder)
    assert driver["spec"]["action_names"] == list(SPEC.action_names)
    assert driver["spec"]["lower"] == [-2, None, None, None, None]
    assert driver["spec"]["upper"] == [None, None, None, None, 1]
    assert driver["spec"]["max_rate"] == [0.5, 1, 1, 1, 1]
    assert control["spec"] == driver["spec"]
    assert "my_arms" not in sys.modules


def test_a_camera_of_the_robots_driver_has_no_actor_of_its_own(
    own: dict[str, Any], folder: Path
) -> None:
    """The driver writes its ring; network and gateway read it as any other."""
    made = expanded(own, folder)
    assert "r1/overhead" in made and "r1/wrist" not in made
    ring = {"segment": "r1/wrist", "width": 640, "height": 480, "fps": 30.0}
    assert made["r1/driver"].config["cameras"]["wrist"].items() >= ring.items()
    uses = {use.name: use.writable for use in made["r1/driver"].segments}
    assert uses["r1/wrist"]
    assert "r1/wrist" in {use.name for use in made["r1/network"].segments}


def test_a_driver_in_process_has_no_actor_and_is_made_by_control(
    own: dict[str, Any], folder: Path
) -> None:
    """Control gets the driver, its import path and no register of its state."""
    for robot in own["robots"]:
        robot["in_process"] = True
        robot["cameras"]["wrist"] = {
            "driver": "opencv",
            "options": {"source": f"/dev/{robot['name']}"},
        }
    made = expanded(own, folder)
    assert "r1/driver" not in made
    control = made["r1/control"]
    assert control.config["driver"] == "my_arms:Arm" and control.config["in_process"]
    assert control.config["import_path"] == str(folder)
    assert "r1/state" not in {use.name for use in control.segments}


def test_a_robot_camera_and_service_may_run_in_another_interpreter(
    own: dict[str, Any], folder: Path
) -> None:
    """A path relative to the file, or to the home; such an actor has no spare."""
    own["robots"][0]["python"] = os.path.relpath(sys.executable, folder)
    own["robots"][0]["cameras"]["overhead"]["python"] = sys.executable
    own["services"]["pick"]["python"] = "~/nowhere/python"
    made = expanded(own, folder)
    assert made["r1/driver"].python == sys.executable
    assert made["r1/overhead"].python == sys.executable
    assert made["pick/0"].python == str(Path.home() / "nowhere/python")
    assert {made[name].warm for name in ("r1/driver", "r1/overhead", "pick/0")} == {None}
    assert made["r2/driver"].python is None and made["r2/driver"].warm


def test_a_driver_is_asked_once_until_its_file_is_edited(
    own: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload of the fleet sees a driver that was changed since."""
    expanded(own, folder)
    with monkeypatch.context() as without:
        without.setattr(
            "holdfast.actors.runtime.questions.subprocess.run", None
        )  # no process is started
        expanded(own, folder)
    module = folder / "my_arms.py"
    module.write_text(ARMS.replace("(1,)", "(3,)"))
    os.utime(module, (0, 0))
    assert expanded(own, folder)["r1/driver"].config["spec"]["max_rate"] == [3] * 5


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda r: r.update(driver="my_legs:Leg"),
            ["robots[0].driver: driver 'my_legs:Leg' cannot be imported", "it is looked for in"],
        ),
        (
            lambda r: r.update(driver="my_arms:Leg"),
            ["robots[0].driver: driver 'my_arms:Leg'", "my_arms.py has no 'Leg'"],
        ),
        (
            lambda r: r.update(driver="my_arms:Broken", options={}),
            ["robots[0].driver: my_arms:Broken() raised FileNotFoundError", "my_arms.py:22 in"],
        ),
        (
            lambda r: r["options"].update(actions=["x", "y"]),
            ["robots[0].rename: the action of r1 is x, y; the policy of service", "has x, y, z"],
        ),
        (
            lambda r: r["options"].update(actions=[*reversed(SPEC.action_names)]),
            ["robots[0].rename: the action of r1 is gripper, wrist", "in that order"],
        ),
        (
            lambda r: r["cameras"].update(overhead={"driver": "robot"}),
            ["cameras.overhead.driver: 'robot', but the driver my_arms:Arm delivers no camera 'ov"],
        ),
        (
            lambda r: r["cameras"].update(overhead={"driver": "webcam"}),
            ["cameras.overhead.driver: no camera driver 'webcam'", "module:Class"],
        ),
        (
            lambda r: r.update(python="/usr/bin/no-such-python"),
            ["robots[0].python: /usr/bin/no-such-python cannot be run (No such file"],
        ),
        (
            lambda r: r.update(limits={"elbow": {"upper": 1}}),
            ["robots[0].limits.elbow: no action 'elbow'; expected one of: x, y, z"],
        ),
        (
            lambda r: r.update(limits={"x": {"lower": 3, "upper": 1}}),
            ["robots[0].limits: x: lower 3, upper 1", "expected lower <= upper"],
        ),
        (lambda r: r.update(limits={"x": {"max_rate": 0}}), ["limits.x.max_rate", "more than 0"]),
        (
            lambda r: r["options"].update(port="/dev/arm1"),
            ["robots[1].options.port: '/dev/arm1' is used at $.robots[0].options.port too"],
        ),
        (lambda r: r["options"].update(speed=3), ["unexpected keyword argument 'speed'"]),
        (
            lambda r: r.update(in_process=True, python=sys.executable),
            ["robots[0].python: has no effect"],
        ),
        (
            lambda r: r.update(rename={"overhead": "overhaed"}),
            ["rename.overhead: no feature of", "'overhaed'; did you mean 'overhead'?"],
        ),
        (
            lambda r: r.update(rename={"q": "x"}),
            ["rename.q: nothing is called 'q'; expected one of: overhead, wrist, x, y, z, gripper"],
        ),
        (lambda r: r.update(driver="simm"), ["robots[0].driver: there is no driver 'simm'"]),
    ],
)
def test_a_wrong_robot_is_one_line_with_its_place_what_was_found_and_what_to_do(
    own: dict[str, Any], folder: Path, spoil: Change, said: list[str]
) -> None:
    """Each mistake in a robot of the file is one fault at its place."""
    spoil(own["robots"][0])
    with pytest.raises(FleetError) as caught:
        loads(yaml.safe_dump(own), base=folder)
    found = [str(fault) for fault in caught.value.faults]
    assert any(all(part in fault for part in said) for fault in found), found
    assert not [fault for fault in found if "\n" in fault]


def test_an_interpreter_without_holdfast_is_refused_with_the_command_to_install_it(
    own: dict[str, Any], folder: Path
) -> None:
    """The fault stands at `python` and names the interpreter."""
    venv.create(folder / "bare", symlinks=True)
    own["robots"][0]["python"] = "bare/bin/python"
    with pytest.raises(FleetError) as caught:
        loads(yaml.safe_dump(own), base=folder)
    (fault,) = [f for f in caught.value.faults if f.path == "$.robots[0].python"]
    assert f"{folder}/bare/bin/python has no holdfast: " in str(fault)
    assert f"`{folder}/bare/bin/python -m pip install " in str(fault)


def test_a_driver_of_another_machine_need_not_be_here(own: dict[str, Any], folder: Path) -> None:
    """The file is loaded on every host; there, the robot's driver is asked before it starts."""
    own["hosts"] = {"elsewhere": {"address": "127.0.0.1"}}
    own["broker"] = {"host": "elsewhere"}
    own["services"]["pick"]["host"] = "elsewhere"
    for robot in own["robots"]:
        robot |= {"host": "elsewhere", "driver": "not_here:Arm"}
    fleet = loads(yaml.safe_dump(own), base=folder)
    with pytest.raises(FleetError, match="'not_here:Arm' cannot be imported"):
        expand(fleet, "elsewhere", Path("/run/x"))


@pytest.mark.parametrize(("at_stop", "method"), [("torque_off", "release"), ("park", "safe_stop")])
def test_a_rest_that_the_driver_does_not_have_is_refused(
    own: dict[str, Any], folder: Path, at_stop: str, method: str
) -> None:
    """The default of `Robot` would leave it as `hold` does; a driver with the method may."""
    own["robots"][0]["safety"] = {"at_stop": at_stop}
    with pytest.raises(FleetError, match=rf"at_stop.*{at_stop}.* has no `{method}`"):
        expanded(own, folder)
    own["robots"][0]["driver"] = "my_arms:Resting"
    assert expanded(own, folder)["r1/driver"].config["at_stop"] == at_stop


def test_the_simulated_robots_description_is_what_its_class_has() -> None:
    """It is described without being made."""
    said = describe(Asked("sim", {}))
    assert said.has_release is has_own(SimRobot, "release")
    assert said.has_safe_stop is has_own(SimRobot, "safe_stop")


def test_a_misspelt_renaming_is_one_fault(own: dict[str, Any], folder: Path) -> None:
    """The camera that the policy then misses is not a second one."""
    own["robots"][0]["rename"] = {"overhead": "overhaed"}
    with pytest.raises(FleetError) as caught:
        loads(yaml.safe_dump(own), base=folder)
    assert [fault.path for fault in caught.value.faults] == ["$.robots[0].rename.overhead"]


def test_a_renaming_of_what_is_not_there_is_one_fault(own: dict[str, Any], folder: Path) -> None:
    """That the camera, or the joint, has not the policy's name is no second one."""
    robot = own["robots"][0]
    robot["cameras"]["top"] = robot["cameras"].pop("overhead")
    robot["options"]["actions"] = ["base", *SPEC.action_names[1:]]
    robot["rename"] = {"tpo": "overhead", "bsae": "x"}
    with pytest.raises(FleetError) as caught:
        loads(yaml.safe_dump(own), base=folder)
    found = {fault.path for fault in caught.value.faults}
    assert found == {"$.robots[0].rename.tpo", "$.robots[0].rename.bsae"}, caught.value.faults
