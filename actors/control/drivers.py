"""`create`: the robot that a control loop drives, by the name of its driver.

Every driver is imported by name, the built-in ones too: the process of a real robot carries no
simulator.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from mmap import mmap
from typing import Any, cast

from ...errors import RefusedError
from ...robot.base import Robot
from ...transport.seqlock import Seqlock, SteadyReader
from ..runtime.kinds import DRIVERS
from .config import ControlConfig


def create(
    config: ControlConfig,
    segment: Callable[[str], mmap],
    reader: Callable[[str], SteadyReader],
) -> Robot:
    """The driver that `config` names, not yet connected: a built-in one, or `module:Class`, which
    is called with the robot's `options`. `segment` gives what the driver writes to, `reader` what
    others write. Raises RefusedError for a driver that does not exist."""
    driver = _resolve(config.robot, config.driver)
    if config.driver == "sim":
        return cast(Robot, driver(*_sim_arguments(config, segment, reader)))
    try:
        return cast(Robot, driver(**config.options))
    except TypeError as error:
        raise RefusedError(
            f"robot {config.robot}: driver {config.driver!r} does not take the options "
            f"{config.options}: {error}"
        ) from error


def _resolve(robot: str, name: str) -> Callable[..., Any]:
    module, colon, attribute = DRIVERS.get(name, name).partition(":")
    if not colon:
        raise RefusedError(
            f"robot {robot}: there is no driver {name!r}; built in are "
            f"{', '.join(DRIVERS)}, and your own is named module:Class"
        )
    try:
        driver: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise RefusedError(
            f"robot {robot}: driver {name!r} cannot be imported: {error}; install "
            "it where the supervisor runs, or correct its name"
        ) from error
    return driver


def _sim_arguments(
    config: ControlConfig,
    segment: Callable[[str], mmap],
    reader: Callable[[str], SteadyReader],
) -> tuple[SteadyReader, Seqlock]:
    """What a simulated robot reads and writes in place of a bus."""
    if config.scene is None or config.command is None:
        raise RefusedError(
            f"robot {config.robot}: a simulated robot needs the segments scene and command of its "
            "world; the boot names none"
        )
    return reader(config.scene), Seqlock.owned(segment(config.command))
