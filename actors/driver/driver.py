"""The driver actor: one robot's hardware, simulator or environment. Shell of `DriverCore`.

Whatever it takes to talk to the robot is waited for here and nowhere else: the control loop reads
the state from one register and writes its commands to another. A command wakes this process by an
empty datagram; it is checked, given to the robot, and the state is measured right after it, so that
the bus is idle when the next one comes. Without commands the robot is measured all the same.

The process is ready before the device is open, and stays so without one: its report says why. The
device is closed and opened again after failures; a call that never returns is ended with the
process, and the next process attaches to a robot that holds. What the emergency stop does is said
in latch.py.

The socket that wakes it takes the requests of driver_answers.py too, and answers them to the
sender's address.
"""

from __future__ import annotations

import select
from functools import partial
from pathlib import Path
from time import monotonic_ns

from ...errors import RobotError
from ...robot.base import ControlMode, Episode, Robot, RobotSpec
from ...transport.frame_ring import FrameRing
from ...transport.layout import own
from ...transport.seqlock import Seqlock, SteadyReader
from ..runtime.actor import Actor
from ..runtime.device_configs import DriverConfig, DriverFrames
from ..runtime.wakefulness import set_slice
from . import registers, resolve
from .core import DriverCore
from .delivered_camera import DeliveredCamera
from .device import Device
from .driver_answers import DriverAnswers
from .registers import CommandKind, DriverPhase, RobotState
from .stop_keeper import StopKeeper
from .wake import DriverRequest, WakeSocket

_REPORT_NS = 250_000_000
_IDLE_S = 0.2
"""The longest rest: so often the process makes progress and looks at the latch."""
_IDLE_TICKS = 1.5
"""After a command, until the robot is measured without another one: the next command is due before,
and shall not find the bus busy."""
_SLICE_NS = 1_000_000
"""From the scheduler: shorter ones than others' wake a process sooner; from a command to the device
it takes half of this, in which it is not to be interrupted."""


class DriverActor(Actor):
    """One robot's hardware, simulator or environment, in a process of its own."""

    kind = "driver"
    Config = DriverConfig

    def setup(self) -> None:
        config: DriverConfig = self.config
        self._spec = spec = config.spec.spec()
        self.phase(f"loads the driver {config.driver}")
        self._device = Device(self._make(spec), self.log, self._calls)
        self.resources.callback(self._device.close)
        self._core = DriverCore(spec, config.tick_ns, config.interpolate)
        self._state = Seqlock.owned(self.segment(config.state))
        self._commands = SteadyReader(self.segment(config.command))
        self._cameras = {
            name: DeliveredCamera(name, self._ring(camera), camera)
            for name, camera in config.cameras.items()
        }
        self._wake = WakeSocket(Path(config.wake))
        self.resources.callback(self._wake.close)
        period_s = self._device.robot.period_s
        self._period_ns = config.tick_ns if period_s is None else round(period_s * 1e9)
        self._own_pace = period_s is not None
        self._command: bytes | None = None
        self._read_ns = self._report_ns = self._turned_ns = 0
        self._published: tuple[object, ...] = ()
        self._episode: Episode | None = None
        keyring = None if config.keyring is None else Path(config.keyring)
        self._stop = StopKeeper(config.robot, Path(config.state_dir), keyring, self.log)
        self._answers = DriverAnswers(
            self._device,
            self._core,
            self._stop,
            self._commands,
            list(self._cameras.values()),
            spec.unlimited,
        )

    def run(self) -> None:
        set_slice(_SLICE_NS)
        self.ready(hang_timeout_s=self.config.io_timeout_s)
        self._check_latch([])  # before the device is opened
        while not self.stopping:
            self._open()
            requests = self._rest()
            self._check_latch(requests)
            self._take_command()
            self._hold()
            self._measure()
            self._show()
            self._publish()
            self._answer(requests)
        self.unfinished = self._settle()

    # The loop's parts

    def _open(self) -> None:
        now_ns = monotonic_ns()
        if self._device.open:
            return
        if self._core.open:
            self._core.lost()
            self._publish()
        if now_ns < self._device.retry_ns:
            return
        self.patience(self.config.connect_timeout_s)
        if self._device.connect():
            self._core.opened(monotonic_ns())
            self._read_ns = 0
        self.patience(self.config.io_timeout_s)

    def _rest(self) -> list[DriverRequest]:
        """Wait for a command, a request, the supervisor, or the next thing that is due."""
        now_ns = monotonic_ns()
        rest_s = min(max(0, self._due_ns - now_ns) / 1e9, _IDLE_S)
        wake, link = self._wake.fileno(), self.link.fileno()
        readable, _, _ = select.select([wake, link], [], [], rest_s)
        self.board.progress()
        overslept_ns = monotonic_ns() - now_ns - round(rest_s * 1e9)
        if overslept_ns > max(self.config.tick_ns, 50_000_000) or self._device.stood_still:
            self._device.stood_still = False
            self._core.stood_still(monotonic_ns())
            if self._device.open:
                self._device.flush()
        if link in readable:
            self.refuse_commands()
        return self._wake.receive() if wake in readable else []

    @property
    def _due_ns(self) -> int:
        """When something is to be done without being asked."""
        if not self._device.open:
            return self._device.retry_ns
        return min([self._read_ns, *(camera.due_ns for camera in self._cameras.values())])

    def _check_latch(self, requests: list[DriverRequest]) -> None:
        stopped = self._stop.look()
        if self._stop.freed():
            self._core.release(monotonic_ns())  # commands made from here on count
        for request in requests:
            if request.body.get("do") == "estop":
                stopped = self._stop.asked(request.body) or stopped
        if stopped:
            self._core.stop()

    def _take_command(self) -> None:
        block = self._commands.read()
        if block is None or block == self._command:
            return
        self._command = block
        try:
            command = registers.unpack_command(block, len(self._spec.action_names))
        except RobotError as error:
            self.log.error("%s", error)
            return
        match self._core.take(command, monotonic_ns()):
            case CommandKind.ACTION:
                self._answers.delayed((monotonic_ns() - command.instant_ns) / 1e6)
                if self._device.write(self._core.action):
                    self._core.written(monotonic_ns())
            case CommandKind.PARK:
                if (there := self._device.park()) is not None:
                    self._core.parked(there)
        if not self._own_pace:
            self._read_ns = 0

    def _hold(self) -> None:
        if self._device.open and self._core.must_hold(monotonic_ns()) and self._device.hold():
            self._core.held()
            self._stop.confirm()

    def _measure(self) -> None:
        now_ns = monotonic_ns()
        if not self._device.open or now_ns < self._read_ns:
            return
        if self._device.read():
            self._core.measured(self._device.state)
        if self._own_pace:
            self._read_ns = max(self._read_ns + self._period_ns, now_ns)
        else:
            flowing = self._core.phase is DriverPhase.ENABLED
            self._read_ns = now_ns + round(self._period_ns * (_IDLE_TICKS if flowing else 1.0))

    def _show(self) -> None:
        """Frames that the driver itself delivers."""
        if not self._device.open:
            return
        for name, camera in self._cameras.items():
            camera.show(partial(self._device.read_frame, name), monotonic_ns())

    def _publish(self) -> None:
        device, core = self._device, self._core
        said = (device.measured_ns, core.phase, core.refused, self._answers.reason)
        if said == self._published:
            return
        self._published = said
        if device.episode != self._episode:
            # Who sees the next episode finds in the report how the one before ended.
            self._episode = device.episode
            self.board.report(self._answers.status(monotonic_ns()))
        state = RobotState(
            self.incarnation,
            device.measured_ns,
            monotonic_ns(),
            core.phase,
            device.state,
            sum(device.errors.values()),
            core.refused,
            device.episode,
            self._answers.reason,
        )
        self._state.write(registers.pack_state(state))

    def _answer(self, requests: list[DriverRequest]) -> None:
        now_ns = monotonic_ns()
        if requests or now_ns >= self._report_ns:
            self.board.report(self._answers.status(now_ns))
            self._report_ns = now_ns + _REPORT_NS
        for request in requests:
            answer = self._answers.answer(request.body, now_ns)
            if request.body.get("do") == "episode":
                self._read_ns = 0  # control waits to see it
            self._publish()  # a release is to be seen before its answer
            self._wake.answer(request, answer)

    def _settle(self) -> str:
        """Bring the robot to the rest that its entry names; to a stand if it is stopped. Why that
        failed; empty if it did not."""
        device = self._device
        at_stop = "hold" if self.link.orphaned else self.config.at_stop
        until_ns = monotonic_ns() + round(self.config.park_timeout_s * 1e9)
        while at_stop == "park" and device.open and monotonic_ns() < until_ns:
            requests = self._await_request(self.config.tick_ns / 1e9)
            self._check_latch(requests)
            self._hold()
            self._answer(requests)
            parked = self._stop.stop is None and device.park() is True
            if parked or self._stop.confirmed:
                return ""
            device.read()
        if self._stop.confirmed:
            return ""
        match at_stop:
            case "park":
                what = f"the robot is not parked after {self.config.park_timeout_s:g} s"
                done = False
            case "torque_off":
                what = "the torque is not off"
                done = self._stop.stop is None and device.open and device.release()
            case _:  # one that is controlled by position holds its last command
                what = "the robot may still move"
                velocity = self._spec.control_mode is ControlMode.VELOCITY
                done = not velocity or (device.open and device.hold())
        if done:
            return ""
        why = self._stop.why or device.reason or device.last_error
        return f"{what}: {why}" if why else what

    def _calls(self, method: str) -> None:
        """A call of the driver begins, or ends (empty): a turn of the loop."""
        self.board.progress()
        self.board.calls(method)

    def _await_request(self, within_s: float) -> list[DriverRequest]:
        readable, _, _ = select.select([self._wake.fileno()], [], [], within_s)
        self.board.progress()
        return self._wake.receive() if readable else []

    def _ring(self, camera: DriverFrames) -> FrameRing:
        shape = (camera.height, camera.width, 3)
        return own(
            self.segment(camera.segment),
            lambda memory: FrameRing(
                memory, shape, FrameRing.slots_in(len(memory), shape), self.incarnation
            ),
        )

    def _make(self, spec: RobotSpec) -> Robot:
        config: DriverConfig = self.config
        options = dict(config.options)
        if config.scene is not None:
            options["scene"] = Seqlock.owned(self.segment(config.scene))
        return resolve.create_as_checked(config, spec, options)
