"""A driver by its name, and what is said of one that cannot be used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from holdfast.actors.driver import resolve
from holdfast.errors import RobotError
from holdfast.robot.sim.devices import SimRobot

ARMS = '''
import time
from holdfast import Robot, RobotSpec

class Arm(Robot):
    def __init__(self, port, joints=("a",)):
        if not port.startswith("/dev/"):
            raise KeyError(port)
        self.spec = RobotSpec(tuple(joints), tuple(joints))
    def connect(self): pass
    def read_state(self, out): return time.monotonic_ns()
    def write_action(self, action): pass

class Plain:
    """Has the methods, and inherits nothing."""
    def __init__(self): self.spec = RobotSpec(("a",), ("a",))
    connect = Arm.connect
    read_state = Arm.read_state
    write_action = Arm.write_action

class Slotted(Plain):
    __slots__ = ()

class Half:
    spec = RobotSpec(("a",), ("a",))
    def connect(self): pass

class Specless(Arm):
    def __init__(self): self.spec = {"names": ["a"]}

class Contradictory(Arm):
    def __init__(self): self.spec = RobotSpec(("a", "a"), ("a",))

class Sightless(Plain):
    cameras = ("wrist",)

class Lettered(Sightless):
    cameras = ("wrist")
    def read_frame(self, camera, out): return None

class Outless(Arm):
    def read_state(self): return 0

class Lacking(Robot):
    def connect(self): pass
    def read_state(self, out): return 0

class Later(Arm):
    async def hold(self): pass

class Bare:
    pass

class Heir(Robot):
    connect, read_state, write_action = Arm.connect, Arm.read_state, Arm.write_action

class Leaving(Arm):
    def __init__(self): raise SystemExit(4)

class Free(Plain):
    """Takes what it is called with in ways of its own."""
    cameras = ("wrist",)
    def read_frame(self, *args, **more): return None
    @staticmethod
    def hold(): pass
    read_state = staticmethod(lambda out, *, fast=True: 0)

def make(**options):
    return Arm("/dev/" + options["name"])

number = 3
'''


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[str]:
    """The directory of a fleet file, with modules of a user's own."""
    (tmp_path / "my_arms.py").write_text(ARMS)
    (tmp_path / "torn_arms.py").write_text("class Arm:\n  def (\n")
    (tmp_path / "ending_arms.py").write_text("import sys\nsys.exit(3)\n")
    (tmp_path / "needy_arms.py").write_text("import a_library_that_is_not_there\n")
    yield str(tmp_path)
    for name in ("my_arms", "torn_arms", "needy_arms"):
        sys.modules.pop(name, None)
    if str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))


def test_a_built_in_driver_needs_no_module() -> None:
    """It is found by its short name."""
    assert isinstance(resolve.create("sim", {"seed": 3}), SimRobot)


def test_a_class_beside_the_fleet_file_is_called_with_its_options(folder: str) -> None:
    """`module:Class` is imported from the folder of the file."""
    robot = resolve.create("my_arms:Arm", {"port": "/dev/x", "joints": ["p", "q"]}, folder)
    assert robot.spec.action_names == ("p", "q")


def test_a_function_may_make_the_robot(folder: str) -> None:
    """What it returns is the robot."""
    assert resolve.create("my_arms:make", {"name": "x"}, folder).spec.state_names == ("a",)


def test_a_class_that_only_has_the_methods_gets_the_defaults_of_the_others(folder: str) -> None:
    """It need not inherit anything to hold, to park and to be closed."""
    robot = resolve.create("my_arms:Plain", {}, folder)
    assert (robot.cameras, robot.period_s, robot.episode()) == ((), None, None)
    assert robot.safe_stop() and robot.report() == {}
    robot.flush()
    robot.close()
    robot.hold()
    robot.write_action(np.zeros(1, np.float32))


def test_a_method_with_further_defaults_or_of_any_arguments_can_be_called(folder: str) -> None:
    """Only a call that would fail is refused."""
    assert resolve.create("my_arms:Free", {}, folder).cameras == ("wrist",)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("simm", {}, r"there is no driver 'simm': built in are sim"),
        (":Arm", {}, "there is no driver"),
        ("my_arms:", {}, "there is no driver"),
        ("my_arms.py:Arm", {}, "there is no driver 'my_arms.py:Arm': did you mean 'my_arms:Arm'"),
        ("./my_arms.py:Arm", {}, "did you mean 'my_arms:Arm'"),
        ("/lab/my_arms.py:Arm", {}, "did you mean 'my_arms:Arm'"),
        ("lab/arms.py:Arm", {}, "did you mean 'lab.arms:Arm'"),
        ("my_arms.Arm", {}, "did you mean 'my_arms:Arm'"),
        ("my_arms:Sightless", {}, r"has cameras \(wrist\) and no read_frame: define read_f"),
        ("my_arms:Lettered", {}, r"cameras: a str \('wrist'\), expected a sequence of names"),
        ("my_arms:Outless", {"port": "/dev/x"}, r"read_state\(\) cannot be called as read_"),
        ("my_arms:Outless", {"port": "/dev/x"}, r"arguments\): define read_state\(self, out\)"),
        ("my_arms:Lacking", {}, r"no write_action: define write_action\(self, action\)$"),
        ("my_arms:Later", {"port": "/dev/x"}, "hold is `async`"),
        ("my_arms:Bare", {"port": 3}, r"inherit holdfast.Robot and define __init__\(self, port\)"),
        ("my_arms:Heir", {"port": 3}, r"; define __init__\(self, port\), which takes"),
        ("my_arms:Leaving", {}, r"SystemExit by sys.exit\(4\) \(.*my_arms.py:\d+ in __init__\)"),
        ("ending_arms:Arm", {}, r"sys.exit\(3\) \(.*ending_arms.py:2 in <module>\)"),
        ("no_arms:Arm", {}, r"cannot be imported: ModuleNotFoundError.*looked for in .*installed"),
        ("my_arms:Leg", {}, r"my_arms.py has no 'Leg'"),
        ("my_arms:number", {}, "is a int, expected a class"),
        ("my_arms:Arm", {}, r"my_arms:Arm: it needs port: add `options: \{port: \.\.\.\}`"),
        ("my_arms:Arm", {"port": "COM3"}, r"KeyError: 'COM3' \(.*my_arms.py:8 in __init__\)"),
        ("my_arms:Half", {}, "made a Half without read_state, write_action"),
        ("my_arms:Specless", {}, r"`spec` is \{'names': \['a'\]\}, expected a holdfast.RobotSpec"),
        ("my_arms:Contradictory", {}, r"each of them once \(.*my_arms.py:32 in __init__\)"),
        ("torn_arms:Arm", {}, r"SyntaxError: .*\(.*torn_arms.py:2\)"),
        ("needy_arms:Arm", {}, r"No module named .*needy_arms.py:1"),
    ],
)  # fmt: skip
def test_an_unusable_driver_is_named_with_the_file_and_line_of_the_users_code(
    folder: str, name: str, options: dict[str, object], said: str
) -> None:
    """In one line: what was found, and where."""
    with pytest.raises(RobotError, match=said) as refused:
        resolve.create(name, options, folder)
    assert "\n" not in str(refused.value)
