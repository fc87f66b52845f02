"""`create`: the robot that a control loop drives, by the name of its driver."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from mmap import mmap
from typing import Any, cast

from ...robot.base import Robot
from ...robot.sim.devices import SimRobot
from ...transport.seqlock import Seqlock, SteadyReader
from ..runtime.actor import RefusedError
from .config import ControlConfig

BUILT_IN = ("sim",)


def create(
    config: ControlConfig,
    segment: Callable[[str], mmap],
    reader: Callable[[str], SteadyReader],
) -> Robot:
    """The driver that `config` names, not yet connected: a built-in one, or `module:Class`, which
    is called with the robot's `options`. `segment` gives what the driver writes to, `reader` what
    others write. Raises Refused for a driver that does not exist."""
    if config.driver == "sim":
        return _sim(config, segment, reader)
    module, colon, name = config.driver.partition(":")
    if not colon:
        raise RefusedError(
            f"robot {config.robot}: there is no driver {config.driver!r}; built in are "
            f"{', '.join(BUILT_IN)}, and your own is named module:Class"
        )
    try:
        driver: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise RefusedError(
            f"robot {config.robot}: driver {config.driver!r} cannot be imported: {error}; install "
            "it where the supervisor runs, or correct its name"
        ) from error
    try:
        return cast(Robot, driver(**config.options))
    except TypeError as error:
        raise RefusedError(
            f"robot {config.robot}: driver {config.driver!r} does not take the options "
            f"{config.options}: {error}"
        ) from error


def _sim(
    config: ControlConfig,
    segment: Callable[[str], mmap],
    reader: Callable[[str], SteadyReader],
) -> Robot:
    if config.scene is None or config.command is None:
        raise RefusedError(
            f"robot {config.robot}: a simulated robot needs the segments scene and command of its "
            "world; the boot names none"
        )
    return SimRobot(reader(config.scene), Seqlock.owned(segment(config.command)))
