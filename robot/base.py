"""What a robot is, to the actors that drive it. What a camera is, is in cameras/base.py.

A robot of your own is a class that inherits `Robot`, in a module beside fleet.yaml, and its line
there is `driver: my_arm:MyArm`:

    class MyArm(Robot):
        def __init__(self, port: str) -> None:  # `options` of fleet.yaml, by name
            joints = ("base", "elbow")
            self.spec = RobotSpec(joints, joints, lower=(-9, 0), upper=(9, 4), max_rate=(6, 6))
            self.bus = Bus(port)  # opens nothing yet

        def connect(self) -> None:
            self.bus.open()

        def read_state(self, out: NDArray[np.float32]) -> int:
            out[:] = self.bus.degrees()
            return time.monotonic_ns()

        def write_action(self, action: NDArray[np.float32]) -> None:
            self.bus.go(action)

A driver is called by one thread of one process, which serves this robot alone: every call may
block for as long as its bus takes, and may raise `RobotError` or `OSError`. The process counts
that, closes the driver after two in a row of one method and connects again; a failing `read_frame`
or `report` costs its result alone. A call that never returns is ended with the process.
Nothing here knows about plans, policies or processes.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import Fault, RobotError


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what fleet.yaml may say about a driver or a camera beside its name: each kind has its
    own, frozen and typed, beside the class that takes them."""

    def conflicts(self) -> Iterator[Fault]:
        """The options that would have no effect on what the others name; their paths are keys."""
        return iter(())


class ControlMode(StrEnum):
    """What one action commands. It decides what an absent action means: a position-controlled arm
    holds by itself, a velocity-controlled one keeps moving until zero is commanded."""

    POSITION = "position"
    VELOCITY = "velocity"


@dataclass(frozen=True)
class RobotSpec:
    """The contract between a robot and the policies that may drive it.

    `lower`, `upper` and `max_rate` have one entry per action, in `action_names`' order and units,
    or none at all for a robot without limits. `max_rate` is in units per second and `inf` where a
    jump is harmless (a gripper). `home` is where `safe_stop` may move, or None to hold in place.

    Raises ValueError for a spec that contradicts itself, TypeError for a text in place of names.
    """

    action_names: tuple[str, ...]
    state_names: tuple[str, ...]
    control_mode: ControlMode = ControlMode.POSITION
    lower: tuple[float, ...] = ()
    upper: tuple[float, ...] = ()
    max_rate: tuple[float, ...] = ()
    home: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        def become(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        become("control_mode", ControlMode(self.control_mode))
        for name in ("action_names", "state_names"):
            if isinstance(given := getattr(self, name), str):
                raise TypeError(f"{name} {given!r}: expected a tuple of names, e.g. ({given!r},)")
            names = tuple(getattr(self, name))
            become(name, names)
            if not names and name == "action_names":
                raise ValueError(f"{name} is empty: name each value, in the order of the array")
            if len(set(names)) < len(names) or not all(isinstance(n, str) and n for n in names):
                raise ValueError(f"{name} {names}: expected texts, each of them once")
        unlimited = {"lower": -math.inf, "upper": math.inf, "max_rate": math.inf}
        for name in (*unlimited, "home"):
            given = getattr(self, name)
            if given is None:
                continue
            values = tuple(map(float, given))
            if not values and name in unlimited:
                values = (unlimited[name],) * len(self.action_names)
            if len(values) != len(self.action_names) or any(map(math.isnan, values)):
                raise ValueError(
                    f"{name} {values}: expected a number for each of {len(self.action_names)} "
                    f"actions ({', '.join(self.action_names)})"
                )
            become(name, values)
        for action, low, high, rate in zip(
            self.action_names, self.lower, self.upper, self.max_rate, strict=True
        ):
            if not (low <= high and rate > 0):
                raise ValueError(
                    f"{action}: lower {low:g}, upper {high:g}, max_rate {rate:g}: expected lower "
                    "<= upper and a max_rate of more than 0"
                )

    @property
    def measured_actions(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The actions whose own value is measured, and where in the state each of them is."""
        own = [n for n, name in enumerate(self.action_names) if name in self.state_names]
        sources = [self.state_names.index(self.action_names[n]) for n in own]
        return np.array(own, np.intp), np.array(sources, np.intp)

    @property
    def unlimited(self) -> tuple[str, ...]:
        """The actions that have neither a range nor a rate."""
        limits = zip(self.lower, self.upper, self.max_rate, strict=True)
        pairs = zip(self.action_names, limits, strict=True)
        return tuple(name for name, values in pairs if all(map(math.isinf, values)))


@dataclass(frozen=True)
class Episode:
    """One attempt at a task, as the robot's surroundings count it (a simulator, a person).

    `number` counts up; a change of it is an episode boundary: everything planned for the one
    before is void. `task` is the sentence the policy gets.
    """

    number: int
    task: str


class Robot(Protocol):
    """One arm, base or environment. Made with the options of fleet.yaml by name, which touches no
    hardware: `spec` and `cameras` are there right after it. `connect` comes first and `close` last;
    after a failure `close` and `connect` follow each other until it works.

    Inherit it for the defaults; only `connect`, `read_state` and `write_action` have none. There
    are three ways to rest, and a driver has them apart: `hold`, `safe_stop` and `release`.

    A class may have `calibrate(**options)` too, a class or static method: the procedure that
    `actorctl robots calibrate` hands its terminal to. Nothing else calls it.
    """

    spec: RobotSpec
    cameras: tuple[str, ...] = ()
    """The cameras whose frames the driver itself delivers, by `read_frame`."""
    period_s: float | None = None
    """How often a simulator that runs in real time wants `read_state` to be called; None: as often
    as the robot is commanded."""

    @abstractmethod
    def connect(self) -> None:
        """Open the hardware and attach to it. A robot that is holding goes on holding: on the way
        there is no state without torque, and nothing is commanded. Raises RobotError when it is
        absent or not what `spec` says."""

    @abstractmethod
    def read_state(self, out: NDArray[np.float32]) -> int:
        """Fill `out` [S] in `state_names`' order; return when it was measured, monotonic ns."""
        raise NotImplementedError

    @abstractmethod
    def write_action(self, action: NDArray[np.float32]) -> None:
        """Command `action` [A], already checked against the limits."""

    def episode(self) -> Episode | None:
        """The attempt under way, or None where only a person can tell (`actorctl episode`)."""
        return None

    def begin_episode(self) -> None:
        """Break off the attempt under way, which is not counted, and begin the next: `episode` has
        another number at the next `read_state`. For surroundings that can, as a simulator. Those
        that cannot have no such method; an attempt is then recorded from the next one on that they
        begin by themselves."""
        raise RobotError(f"{type(self).__name__} cannot begin an episode")

    @property
    def begins_episodes(self) -> bool:
        """Whether the class has a `begin_episode` of its own."""
        return type(self).begin_episode is not Robot.begin_episode

    def read_frame(self, camera: str, out: NDArray[np.uint8]) -> int | None:
        """Fill `out` [H, W, 3] RGB with the newest frame of one of `cameras`; return the instant of
        its capture, monotonic ns, or None when there is no new one."""
        raise RobotError(f"{type(self).__name__} delivers no frames of camera {camera!r}")

    def hold(self) -> None:
        """Stop moving and keep the pose, with torque. Returns once the device has confirmed that;
        raises RobotError when it does not. Unless overridden: the measured position is commanded,
        and zeros to a velocity-controlled robot."""
        spec = self.spec
        action = np.zeros(len(spec.action_names), np.float32)
        if spec.control_mode is ControlMode.POSITION:
            unknown = [name for name in spec.action_names if name not in spec.state_names]
            if unknown:
                raise RobotError(
                    f"{type(self).__name__} cannot hold: {', '.join(unknown)} is not measured; "
                    "override `hold`"
                )
            state = np.zeros(len(spec.state_names), np.float32)
            self.read_state(state)
            action[:] = state[[spec.state_names.index(name) for name in spec.action_names]]
        self.write_action(action)

    def safe_stop(self) -> bool:
        """Take one step towards a parked pose (called at the control rate); True when it is
        reached. Unless overridden: the robot stays where it is."""
        if self.spec.control_mode is ControlMode.VELOCITY:
            self.hold()
        return True

    def release(self) -> None:
        """Cut the torque. Raises RobotError where a driver cannot."""
        raise RobotError(f"{type(self).__name__} cannot cut the torque: it has no `release`")

    def report(self) -> dict[str, Any]:
        """What else the status is to show, a few times a second, without touching the hardware:
        MessagePack types. `tried` and `successes` count the episodes that have ended."""
        return {}

    def flush(self) -> None:
        """Discard what is queued on the way to and from the device: this process stood still, and
        what waits there is old."""
        return

    def close(self) -> None:
        """Close the port. The torque stays as it is. Never raises."""
        return
