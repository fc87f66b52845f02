"""`RtcSettings`: how a robot's chunks continue the plan under way (real-time chunking)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from ... import arguments
from ...transport.bodies import GuidanceSchedule


class RtcSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left away is the service's own.

    A chunk agrees with the plan fully until it is expected to arrive, less until
    `execution_horizon` steps after its observation, and not beyond. `schedule` says how agreement
    falls between the two, and `clip` bounds the weight of the guidance towards the plan: both are
    for policies that are guided while they denoise (`prefix: guided`).

    Raises TypeError or ValueError that begins with the field.

    >>> RtcSettings(execution_horizon=20, schedule="linear").given
    ('execution_horizon', 'schedule')
    """

    execution_horizon: (
        Annotated[int, Meta(ge=1, le=65536, description="steps from the observation, 1 or more")]
        | None
    ) = None
    schedule: GuidanceSchedule | None = None
    clip: (
        Annotated[float, Meta(gt=0, le=1e6, description="a number, more than 0, e.g. 5")] | None
    ) = None

    def __post_init__(self) -> None:
        if self.execution_horizon is not None:
            arguments.count("execution_horizon", self.execution_horizon, 1, 1 << 16)
        if self.clip is not None:
            arguments.number("clip", self.clip, most=1e6)
        arguments.fields(self)

    @property
    def given(self) -> tuple[str, ...]:
        """The names of the settings that are not left away."""
        return tuple(name for name in self.__struct_fields__ if getattr(self, name) is not None)
