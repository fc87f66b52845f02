"""`create`: the robot that a control loop drives: the client of its driver's process, or, where the
fleet file says `in_process`, the driver itself.
"""

from __future__ import annotations

from collections.abc import Callable
from mmap import mmap
from typing import Any, Protocol

from ...errors import RefusedError
from ...robot.base import Robot
from ...transport.seqlock import Seqlock, SteadyReader
from ..runtime.status_board import StatusBoardReader
from .config import ControlConfig
from .driver_client import DriverClient


class PromptRobot(Robot, Protocol):
    """A robot whose every call returns at once. Its attributes are those of the last `read_state`.

    Attributes:
        at_rest: the next command has to be within a policy step of where the robot is.
        trouble: why no command reaches the robot now; empty if they do.
        running_call: the driver's method that has not returned, in another process; else empty.
        refusal: why the driver refused the last command by the limits; empty if it did not.
        estop: the emergency stop, where this process is the one that acts on it; else None.
    """

    @property
    def at_rest(self) -> bool: ...
    @property
    def trouble(self) -> str: ...
    @property
    def running_call(self) -> str: ...
    @property
    def refusal(self) -> str: ...
    @property
    def estop(self) -> dict[str, Any] | None: ...

    def idle(self) -> None:
        """There is nothing to command at this tick."""

    def ask_episode(self) -> bool:
        """Ask the surroundings to begin another attempt, which a later `episode` shows; whether
        they can. The request may be lost."""
        raise NotImplementedError

    def serve(self) -> None:
        """Act on the emergency stop at a tick at which the robot is not connected."""


def create(
    config: ControlConfig,
    segment: Callable[[str], mmap],
    reader: Callable[[str], SteadyReader],
    incarnation: int,
) -> PromptRobot:
    """The robot that `config` describes, not yet connected. `segment` gives what this process
    writes to, `reader` what others write. Raises RefusedError where it cannot be made."""
    if config.in_process:
        from . import in_process

        return in_process.create(config)
    if config.spec is None or not (config.state and config.command and config.wake):
        raise RefusedError(
            f"robot {config.robot}: the boot names no spec, state, command and wake of its driver"
        )
    return DriverClient(
        config.spec.spec(),
        reader(config.state),
        Seqlock.owned(segment(config.command)),
        config.wake,
        incarnation,
        config.tick_ns,
        board=StatusBoardReader(segment(config.driver_board)) if config.driver_board else None,
    )
