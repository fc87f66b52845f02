"""`DrivenRobot`: the robot of a control loop, and whether its driver is there and takes commands.

The driver is what `drivers.create` makes of the config; it is connected when the robot is enabled.
"""

from __future__ import annotations

from collections.abc import Callable
from mmap import mmap
from typing import Any

import numpy as np

from ...robot.base import Episode, RobotSpec
from ...transport.seqlock import SteadyReader
from . import drivers
from .config import ControlConfig
from .driver_watch import DriverWatch
from .plan import Floats


class DrivenRobot:
    """One robot. `segment` maps the boot's segments by name. Raises RefusedError for a driver that
    does not exist.

    Attributes:
        state: the measured state [S], float32, of the last `read_state`.
        readers: those of the segments that other processes write, by name.
    """

    def __init__(
        self, config: ControlConfig, segment: Callable[[str], mmap], incarnation: int
    ) -> None:
        self._segment = segment
        self._lost_after_ns = config.driver_lost_after_ns
        self.readers: dict[str, SteadyReader] = {}
        self._robot = drivers.create(config, segment, self.reader, incarnation)
        self._watch = DriverWatch(self._lost_after_ns)
        self.connected = False
        self._unlimited = ", ".join(self.spec.unlimited)
        self.state: Floats = np.zeros(len(self.spec.state_names), np.float32)

    @property
    def spec(self) -> RobotSpec:
        return self._robot.spec

    def reader(self, name: str) -> SteadyReader:
        """The reader of the segment `name`, which another process writes."""
        return self.readers.setdefault(name, SteadyReader(self._segment(name)))

    @property
    def damaged(self) -> dict[str, int]:
        """How often a segment was found damaged, by its name."""
        return {name: reader.damaged for name, reader in self.readers.items() if reader.damaged}

    def connect(self) -> None:
        self._robot.connect()
        self.connected = True

    def read_state(self) -> int:
        """Read `state`; the instant at which it was measured, monotonic ns."""
        return self._robot.read_state(self.state)

    def gone(self, observed_ns: int, now_ns: int) -> bool:
        """Whether the robot cannot be commanded: the driver is gone, because the state, measured at
        `observed_ns`, stands still, or it says why."""
        return self._watch.gone(observed_ns, now_ns) or bool(self._robot.trouble)

    def why_gone(self) -> str:
        """What `gone` means, and the faults of the segments, in a sentence."""
        if trouble := self._robot.trouble:
            return trouble
        faults = [f"; {name}: {r.fault}" for name, r in self.readers.items() if r.fault]
        if call := self._robot.running_call:
            faults.insert(0, f"; its {call} has not returned")
        return (
            f"the robot's driver is gone: its state stands still for more than "
            f"{self._lost_after_ns / 1e9:g} s (driver_lost_after_s){''.join(faults)}"
        )

    @property
    def at_rest(self) -> bool:
        """Whether the next command has to be within a policy step of where the robot is."""
        return self._robot.at_rest

    @property
    def warnings(self) -> list[str]:
        """What is not as it should be with the robot, though it may be commanded."""
        found = []
        if self._unlimited:
            found.append(
                f"nothing limits {self._unlimited}: name `limits` of this robot in the fleet file"
            )
        if refusal := self._robot.refusal:
            found.append(f"the driver refuses commands: {refusal}")
        return found

    @property
    def estop(self) -> dict[str, Any] | None:
        """The emergency stop of a robot whose driver is in this process; else None."""
        return self._robot.estop

    def serve(self) -> None:
        """To be called at a tick at which the robot is not connected."""
        self._robot.serve()

    def write(self, command: Floats | None) -> None:
        """Write the command [A] of this tick, or that there is none."""
        if command is None:
            self._robot.idle()
        else:
            self._robot.write_action(command)

    def episode(self) -> Episode | None:
        """The episode of the robot's surroundings, where they have any."""
        return self._robot.episode()

    def ask_episode(self) -> bool:
        """See `PromptRobot.ask_episode`; False for one that is not connected."""
        return self.connected and self._robot.ask_episode()

    def safe_stop(self) -> bool:
        """Take one step towards the safe rest; True once it is reached."""
        return self._robot.safe_stop()

    def close(self) -> None:
        self._robot.close()
