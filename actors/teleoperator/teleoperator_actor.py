"""The teleoperator actor: one person's input device, read at the robot's rate into a register.

Guarantees that a reading carries the instant at which it was made: to the control loop a device, or
a process, that is gone is a silence and not an old pose. A device that fails is closed and opened
again, each time after a longer pause. Buttons are counted up over all incarnations.

Does not guarantee: that a device which hangs in a call is noticed here; the supervisor ends the
process by its missing progress.
"""

from __future__ import annotations

import select
import time
from typing import Any

import msgspec
import numpy as np

from ...errors import RefusedError, RobotError
from ...robot.replay_teleoperator import ReplayTeleoperator
from ...robot.teleoperator import BUTTONS, Teleoperator
from ...transport.layout import own
from ...transport.seqlock import Seqlock, SteadyReader
from ..control.handover import taken_over
from ..control.teleop_register import Presses, TeleopReading, pack_reading, unpack_reading
from ..driver import registers
from ..runtime.actor import Actor
from ..runtime.device_configs import TeleopConfig
from ..runtime.link_messages import Command
from ..runtime.outage import Outage
from ..runtime.user_code import blame
from . import make_teleoperator

_REPORT_NS = 250_000_000


class AskedEpisode(msgspec.Struct, frozen=True):
    """What `play` is to load: see `ReplayTeleoperator.load`."""

    dataset: str
    episode: int
    speed: float = 1.0


class TeleoperatorActor(Actor):
    """One robot's teleoperator."""

    kind = "teleoperator"
    Config = TeleopConfig
    verbs = ("key", "play")

    def setup(self) -> None:
        config: TeleopConfig = self.config
        self._spec = spec = config.spec.spec()
        self._register = own(self.segment(config.register), Seqlock)
        self._robot = SteadyReader(self.segment(config.state)) if config.state else None
        self._plan = memoryview(self.segment(config.plan))
        self._joints, self._sources = spec.measured_actions
        self._position = np.full(len(spec.action_names), np.nan, np.float32)
        self.phase(f"loads the driver {config.driver} of the teleoperator of {config.robot}")
        try:
            self._device = self._make()
            replays = isinstance(self._device, ReplayTeleoperator)  # has the robot's own names
            rename = {} if replays else config.rename
            names = [rename.get(name, name) for name in self._device.action_names]
            self._places = make_teleoperator.places(names, spec)
        except RobotError as error:
            raise RefusedError(f"teleoperator of {config.robot}: {error}") from error
        self._inverse = np.argsort(self._places)
        self._raw = np.zeros(len(names), np.float32)
        self._presses = self._before()
        self._outage = Outage()
        self._open = False
        self._retry_ns = self._report_ns = 0
        self._readings = 0
        self.resources.callback(self._device.close)

    def run(self) -> None:
        self.ready()
        due_ns = time.monotonic_ns()
        while not self.stopping:
            now_ns = time.monotonic_ns()
            if self._open or now_ns >= self._retry_ns:
                try:
                    self._turn()
                except Exception as error:  # noqa: BLE001  a device's own code may raise anything
                    said = str(error) if isinstance(error, RobotError) else blame(error)
                    self._failed(said, time.monotonic_ns())
            due_ns = max(due_ns + self.config.period_ns, time.monotonic_ns())
            self._serve(due_ns)

    def _turn(self) -> None:
        """Read the device once, opening it first where it is not open."""
        device = self._device
        if not self._open:
            device.connect()
            self._open = True
        self._locate()
        instant_ns = device.get_action(self._raw)
        for name in device.pressed():
            count = getattr(self._presses, name) + 1
            self._presses = self._presses._replace(**{name: count})
        self._write(instant_ns, self._raw[list(self._places)])
        self._readings += 1
        if (lost_s := self._outage.ended(time.monotonic_ns())) is not None:
            self.log.info("the teleoperator is back, after %.1f s", lost_s)

    def _locate(self) -> None:
        block = self._robot.read() if self._robot is not None else None
        if block is not None:
            try:
                state = registers.unpack_state(block, len(self._spec.state_names)).state
            except RobotError:
                return  # of a driver of another version, which control reports
            self._position[self._joints] = state[self._sources]
        self._device.locate(self._position[self._inverse], taken_over(self._plan))

    def _failed(self, why: str, now_ns: int) -> None:
        self._device.close()
        self._open = False
        if self._outage.failed(why, now_ns):
            self.log.warning("the teleoperator does not work: %s", why)
        self._retry_ns = now_ns + round(self._outage.pause_s * 1e9)

    def _serve(self, due_ns: int) -> None:
        """Count progress, report, and take commands, until the next reading is due."""
        while True:
            self.board.progress()
            now_ns = time.monotonic_ns()
            if now_ns >= self._report_ns:
                self.board.report(self._status())
                self._report_ns = now_ns + _REPORT_NS
            if (
                self.stopping
                or not select.select([self.link], [], [], max(0.0, (due_ns - now_ns) / 1e9))[0]
            ):
                return
            for command in self.link.commands():
                if command.verb not in self.verbs:
                    self.link.acknowledge(command.id, error=self.refusal(command))
                    continue
                if command.verb == "play":
                    self._play(command)
                    continue
                keys = str(command.args.get("keys", ""))
                for key in keys:
                    self._device.key(key)
                self.link.acknowledge(command.id, self._about_keys())

    def _play(self, command: Command) -> None:
        """Load the episode that is named, if one is; the answer says how far the present one is."""
        device = self._device
        if not isinstance(device, ReplayTeleoperator):
            why = "its teleoperator plays no episodes: that is for `teleop: {driver: replay}`"
            self.link.acknowledge(command.id, error=why)
            return
        pose: dict[str, float] | None = None
        try:
            if command.args:
                asked = msgspec.convert(command.args, AskedEpisode)
                pose = device.load(asked.dataset, asked.episode, asked.speed)
        except (RobotError, msgspec.ValidationError) as error:
            self.link.acknowledge(command.id, error=str(error))
        else:
            said = {**device.progress(), "pose": pose, "in_command": taken_over(self._plan)}
            self.link.acknowledge(command.id, said)

    def _about_keys(self) -> dict[str, Any]:
        return {
            "actions": list(self._spec.action_names),
            "has_keys": type(self._device).key is not Teleoperator.key,
            "in_command": taken_over(self._plan),
        }

    def _write(self, instant_ns: int, action: registers.Floats) -> None:
        said = TeleopReading(self.incarnation, instant_ns, action, self._presses)
        self._register.write(pack_reading(said))

    def _before(self) -> Presses:
        """The counts of the incarnation before."""
        block = self._register.read()
        if block is None:
            return Presses()
        try:
            return unpack_reading(block, len(self._spec.action_names)).presses
        except RobotError:
            return Presses()

    def _make(self) -> Teleoperator:
        config: TeleopConfig = self.config
        if config.driver == "expert":
            if config.scene is None:
                raise RobotError("the expert knows the simulated cell only: `driver: sim`")
            from ...robot.sim.expert_teleoperator import ExpertTeleoperator

            return ExpertTeleoperator(SteadyReader(self.segment(config.scene)))
        if config.driver == "replay":
            return ReplayTeleoperator(self._spec, config.fps, config.rename)
        return make_teleoperator.create(
            config.driver, config.options, self._spec, config.import_path, config.rename
        )

    def _status(self) -> dict[str, Any]:
        return {
            "reason": self._outage.reason,
            "outages": self._outage.count,
            "readings": self._readings,
            "in_command": taken_over(self._plan),
            "presses": dict(zip(BUTTONS, self._presses, strict=True)),
        }
