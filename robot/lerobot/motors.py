"""`HeldMotors`: the motors of one serial bus of a LeRobot robot, taken over without a drop.

The library's `connect` runs `configure` with the torque off, so that an arm that holds its pose
falls. Here the bus is opened, the motors are compared with what `configure` would write, and a
motor whose torque is on keeps it: what differs is written if its register is in RAM, which motors
take at any time; a difference in the EPROM is refused. A motor whose torque is off is configured,
its goal becomes its present position, and then its torque is switched on.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ...errors import RobotError
from .library import calibrated, said
from .servo_bus import RETRIES, TORQUE, ServoBus, Values

HELD_SHARE = 0.01
"""Of a revolution: a joint that is no further from its goal is held there. A loaded STS3215 stands
20 to 30 of its 4096 steps beside its goal (https://github.com/TheRobotStudio/SO-ARM100/issues/134);
its present position as the new goal would let it sag by as much again."""
_GOAL, _PRESENT, _SPEED = "Goal_Position", "Present_Position", "Goal_Velocity"
_HEALTH = ("Status", "Hardware_Error_Status")
_OVERLOAD = 32
"""In both families. A gripper that holds something reports it, and goes on with less torque."""
_FEETECH_ERRORS = {1: "voltage", 2: "sensor", 4: "overheated", 8: "current", _OVERLOAD: "overload"}
_DYNAMIXEL_ERRORS = {
    1: "voltage",
    4: "overheated",
    8: "encoder",
    16: "electrical shock",
    _OVERLOAD: "overload",
}
_VELOCITY_MODE = 1


class HeldMotors:
    """`owner` is the library's robot that has the `bus` and configures it."""

    def __init__(self, owner: Any) -> None:
        self.owner, self.bus = owner, owner.bus
        self.where = f"{owner.id or owner.name} on {self.bus.port}"
        self.servos = ServoBus(self.bus, self.where)
        self.names = self.servos.names
        self.warning = ""
        """What a motor reports that does not keep it from moving."""
        self._released = False

    def attach(self) -> None:
        """Open the bus and take the motors over. Raises RobotError when one is absent, is not what
        the calibration file says, reports a fault, or holds with another configuration."""
        calibrated(self.owner)
        with said(self.where):
            self.servos.open()
            self._check_models()
            self._check_health()
            self._check_calibration()
            self._configure(self.servos.read(TORQUE))
        self._released = False

    def watch(self) -> None:
        """Raises RobotError when a motor has a fault or has lost its torque: its power was cut, or
        it protects itself."""
        with said(self.where):
            self._check_health()
            limp = [name for name, on in self.servos.read(TORQUE).items() if not on]
        if limp and not self._released:
            raise RobotError(f"{self.where}: the torque of {', '.join(limp)} is off; its power?")

    def hold(self) -> None:
        """Each joint that is on its way stops where it is; read back. The others keep their
        goal."""
        with said(self.where):
            on, moving = self.servos.read(TORQUE), self._moving()
            goals, present = self.servos.read(_GOAL), self.servos.read(_PRESENT)
            stops = {
                name: present[name]
                for name in self.names
                if on[name] and name not in moving and self._far(name, goals[name], present[name])
            }
            spins = {name: 0 for name in moving if on[name]}
            for register, values in ((_GOAL, stops), (_SPEED, spins)):
                if values:
                    self.bus.sync_write(register, values, normalize=False)
                    self.servos.confirm(register, values)

    def release(self) -> None:
        """Switch the torque off, for good: the next `attach` switches it on again."""
        self._released = True
        with said(self.where):
            self.servos.flush()
            self.bus.disable_torque(num_retry=RETRIES)
            self.servos.confirm(TORQUE, dict.fromkeys(self.names, 0))

    def limits(self, name: str) -> tuple[float, float] | None:
        """The calibrated range of a motor in the unit of its actions; None without calibration."""
        motor = self.bus.motors[name]
        match motor.norm_mode.value:
            case "range_m100_100":
                return -100.0, 100.0
            case "range_0_100":
                return 0.0, 100.0
            case "degrees" if name in self.owner.calibration:
                entry = self.owner.calibration[name]
                steps = self.bus.model_resolution_table[motor.model] - 1
                half = (entry.range_max - entry.range_min) * 180 / steps
                return -half, half
        return None

    def _check_models(self) -> None:
        try:
            found = self.servos.read("Model_Number")
        except ConnectionError as error:
            port, packets = self.bus.port_handler, self.bus.packet_handler
            silent = [
                f"{name} ({motor.id})"
                for name, motor in self.bus.motors.items()
                if not self.bus._is_comm_success(packets.ping(port, motor.id)[1])  # noqa: SLF001
            ]
            if not silent:
                raise
            who = "no motor answers" if len(silent) == len(self.names) else "no answer from "
            which = "" if len(silent) == len(self.names) else ", ".join(silent)
            raise RobotError(
                f"{self.where}: {who}{which}: look at the power supply and the cables"
            ) from error
        for name, number in found.items():
            model = self.bus.motors[name].model
            if number != self.bus.model_number_table[model]:
                raise RobotError(
                    f"{self.where}: {name} is a motor of model {number}, expected "
                    f"{self.bus.model_number_table[model]} ({model})"
                )

    def _check_calibration(self) -> None:
        bus = self.servos.tolerant()
        if bus.is_calibrated:
            return
        in_motors, in_file = bus.read_calibration(), self.owner.calibration
        differing = [
            f"{name}: {what} is {getattr(in_motors[name], what)}, the file says "
            f"{getattr(in_file.get(name), what, 'nothing')}"
            for name in in_motors
            for what in ("homing_offset", "range_min", "range_max")
            if getattr(in_motors[name], what) != getattr(in_file.get(name), what, None)
        ]
        raise RobotError(
            f"{self.where}: the calibration in the motors is not that of "
            f"{self.owner.calibration_fpath} ({'; '.join(differing)}): "
            "`actorctl robots calibrate NAME`"
        )

    def _check_health(self) -> None:
        register = next((name for name in _HEALTH if self.servos.has(name)), None)
        if register is None:
            return
        errors = _FEETECH_ERRORS if register == "Status" else _DYNAMIXEL_ERRORS
        faults: list[str] = []
        warnings: list[str] = []
        for name, bits in self.servos.read(register).items():
            words = [word for bit, word in errors.items() if bits & bit]
            if words:
                motor = f"{name} ({self.bus.motors[name].id}): {', '.join(words)}"
                (faults if bits & ~_OVERLOAD else warnings).append(motor)
        self.warning = "; ".join(warnings)
        if faults:
            raise RobotError(f"{self.where}: {'; '.join(faults)}")

    def _configure(self, torque: Values) -> None:
        """Make every motor what `configure` would make it; then all have their torque."""
        limp = [name for name in self.names if not torque[name]]
        todo = []
        for register, values in self._wanted().items():
            found = self.servos.read(register, list(values))
            todo += [
                (register, name, value, found[name])
                for name, value in values.items()
                if value != found[name]
            ]
        stuck = [
            f"{name}: {register} is {found}, {self.owner.name} is driven with {value}"
            for register, name, value, found in todo
            if torque[name] and not self.servos.in_ram(register, name)
        ]
        if stuck:
            raise RobotError(
                f"{self.where}: it holds its pose with another configuration ({'; '.join(stuck)}), "
                "which changes with the torque off only: support it, switch its power off and on"
            )
        for name in limp:
            if self.servos.has("Lock", name):
                self.servos.write("Lock", name, 0)
        for register, name, value, _ in todo:
            self.servos.write(register, name, value)
        if limp:
            self._enable(limp)

    def _enable(self, limp: list[str]) -> None:
        """Switch the torque of motors on that hold nothing. They stay where they are: the library
        alone would let them go to the goal of their last run."""
        moving = self._moving()
        for name, position in self.servos.read(_PRESENT, limp).items():
            if name in moving:
                self.servos.write(_SPEED, name, 0)
            else:
                self.servos.write(_GOAL, name, position)
        with suppress(RuntimeError):  # see ServoBus.write
            self.bus.enable_torque(limp, num_retry=RETRIES)
        self.servos.confirm(TORQUE, dict.fromkeys(limp, 1))

    def _wanted(self) -> dict[str, Values]:
        """What `configure` of the library's robot writes: it runs on a bus that notes the writes,
        and that reads from the motors."""
        wanted: dict[str, Values] = {}
        ours = {TORQUE, "Lock", *self.bus.normalized_data}

        def note(register: str, motor: str, value: float, **_: object) -> None:
            if register not in ours:
                wanted.setdefault(register, {})[motor] = int(value)

        def note_all(register: str, values: Any, **_: object) -> None:
            each = values if isinstance(values, dict) else dict.fromkeys(self.names, values)
            for motor, value in each.items():
                note(register, motor, value)

        twin = self.servos.tolerant()
        twin.write, twin.sync_write = note, note_all
        twin.enable_torque = twin.disable_torque = lambda *_, **__: None
        self.owner.bus = twin
        try:
            self.owner.configure()
        finally:
            self.owner.bus = self.bus
        return wanted

    def _moving(self) -> list[str]:
        """The motors that are controlled by velocity: wheels."""
        if not self.servos.has("Operating_Mode"):
            return []
        return [
            n for n, mode in self.servos.read("Operating_Mode").items() if mode == _VELOCITY_MODE
        ]

    def _far(self, name: str, goal: int, present: int) -> bool:
        steps = self.bus.model_resolution_table[self.bus.motors[name].model]
        return abs(goal - present) > HELD_SHARE * float(steps)
