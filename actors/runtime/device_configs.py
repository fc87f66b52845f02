"""The configuration of the actors of devices (a robot, a camera, a teleoperator): frozen, and
complete.

As in `configs`, the supervisor derives it from fleet.yaml and checks it there.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

from ...robot.base import ControlMode, RobotSpec

AtStop = Literal["hold", "park", "torque_off"]
"""How a driver leaves its robot when it is stopped."""


class SpecConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `RobotSpec` as it travels: JSON has no infinity, so None stands for no limit."""

    action_names: tuple[str, ...]
    state_names: tuple[str, ...]
    control_mode: ControlMode = ControlMode.POSITION
    lower: tuple[float | None, ...] = ()
    upper: tuple[float | None, ...] = ()
    max_rate: tuple[float | None, ...] = ()
    home: tuple[float, ...] | None = None

    @classmethod
    def of(cls, spec: RobotSpec) -> SpecConfig:
        def finite(values: tuple[float, ...]) -> tuple[float | None, ...]:
            return tuple(value if math.isfinite(value) else None for value in values)

        return cls(
            action_names=spec.action_names,
            state_names=spec.state_names,
            control_mode=spec.control_mode,
            lower=finite(spec.lower),
            upper=finite(spec.upper),
            max_rate=finite(spec.max_rate),
            home=spec.home,
        )

    def spec(self) -> RobotSpec:
        """Raises ValueError for one that contradicts itself."""

        def endless(values: tuple[float | None, ...], limit: float) -> tuple[float, ...]:
            return tuple(limit if value is None else value for value in values)

        return RobotSpec(
            self.action_names,
            self.state_names,
            self.control_mode,
            endless(self.lower, -math.inf),
            endless(self.upper, math.inf),
            endless(self.max_rate, math.inf),
            self.home,
        )


class DriverFrames(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A camera whose frames the robot's driver delivers: its ring, its size and its rate, and the
    rest as in `SensorConfig`."""

    segment: str
    width: int
    height: int
    fps: float
    offset_ms: float = 0.0
    frozen_after_s: float | None = None


class DriverConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One robot's driver.

    `state` and `command` name the registers that it writes and reads, `scene` that of a simulated
    one, and `cameras` the frame rings of those cameras whose frames the driver delivers. `wake` is
    the path of its socket. `spec` is what the driver says about the robot, with the limits of the
    fleet file. `import_path` is the fleet file's directory, where a user's own driver lies.
    """

    robot: str
    driver: str
    spec: SpecConfig
    state: str
    command: str
    wake: str
    state_dir: str
    tick_ns: int
    interpolate: int = 1
    """Ticks in a policy step, which the first command may be away from where the robot is."""
    options: dict[str, Any] = {}
    import_path: str | None = None
    scene: str | None = None
    cameras: dict[str, DriverFrames] = {}
    io_timeout_s: float = 2.0
    connect_timeout_s: float = 15.0
    at_stop: AtStop = "hold"
    park_timeout_s: float = 5.0
    keyring: str | None = None
    """The directory of public keys: with one, the emergency stop is lifted by an operator only."""


class SensorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One camera. `segment` is its frame ring; `scene` what a simulated one draws from.

    `offset_ms` is subtracted from the instant of every frame. `frozen_after_s` is how long its
    frames may be the same one; 0: without a bound; None: as suits the camera.
    """

    robot: str
    camera: str
    driver: str
    width: int
    height: int
    fps: float
    segment: str
    scene: str | None = None
    options: dict[str, Any] = {}
    import_path: str | None = None
    offset_ms: float = 0.0
    frozen_after_s: float | None = None


class TeleopConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One robot's teleoperator, read every `period_ns`.

    `register` is what it writes, `state` the register of the robot's driver (None: the driver is in
    control's process), `plan` the robot's plan, which says whether the person is in command, and
    `scene` that of a simulated robot. `fps` is the number of the robot's actions per second.
    `rename` maps the device's action names to the robot's.
    """

    robot: str
    driver: str
    spec: SpecConfig
    register: str
    plan: str
    period_ns: int
    fps: float = 30.0
    state: str | None = None
    scene: str | None = None
    options: dict[str, Any] = {}
    rename: dict[str, str] = {}
    import_path: str | None = None
