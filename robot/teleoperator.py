"""What a teleoperator is: a person's input device, as a source of a robot's actions.

One of your own is a class that inherits `Teleoperator`, in a module beside fleet.yaml, and its
entry there is `teleop: {driver: "my_pad:Pad", options: {port: /dev/ttyUSB1}}`:

    class Pad(Teleoperator):
        def __init__(self, port: str) -> None:  # `options` of fleet.yaml, by name
            self.action_names = ("base", "elbow")
            self.bus = Bus(port)  # opens nothing yet

        def connect(self) -> None:
            self.bus.open()

        def get_action(self, out: NDArray[np.float32]) -> int:
            out[:] = self.bus.degrees()
            return time.monotonic_ns()

        def close(self) -> None:
            self.bus.close()

It is made with the options by name, which touches no hardware, and called by one thread of one
process: every call may block for as long as the device takes, and may raise `RobotError` or
`OSError`; the device is then closed and connected again. What it says is limited before it reaches
the robot.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

BUTTONS = ("take_over", "success", "failure", "rerecord", "stop")
"""What a person can say besides the motion: take over or give back; the episode succeeded, failed,
is to be recorded anew; the recording ends."""


class Teleoperator(Protocol):
    """An input device. `action_names` are there right after the construction; they are those of the
    robot's actions that it commands, in its own order."""

    action_names: tuple[str, ...]

    @abstractmethod
    def connect(self) -> None:
        """Open the device. Raises RobotError when it is absent."""

    @abstractmethod
    def get_action(self, out: NDArray[np.float32]) -> int:
        """Fill `out` [A] in the order of `action_names`, in the robot's units; return when it was
        measured, monotonic ns."""
        raise NotImplementedError

    def locate(self, position: NDArray[np.float32], in_command: bool) -> None:
        """Where the robot is, [A] in the order of `action_names`, NaN where that is not measured;
        called before each `get_action`. A device of relative motion (keys, a stick) starts from
        there while it is not `in_command`; a leader arm with motors may follow it."""
        del position, in_command

    def pressed(self) -> tuple[str, ...]:
        """Which of BUTTONS were pressed since the last call, in order."""
        return ()

    def key(self, name: str) -> None:
        """A key was pressed in `actorctl teleop`; devices without keys ignore it."""
        del name

    @abstractmethod
    def close(self) -> None:
        """Close the device. Never raises."""
