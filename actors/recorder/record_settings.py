"""`record:` of a robot in fleet.yaml, and the configuration of its recorder actor. Imports nothing
heavy."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from ...robot.dataset.encoding import Codec, Encoding
from ..runtime.configs import CameraFeed
from .strategy_settings import BaseSettings, StrategySettings


class RecordSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how a robot's episodes are recorded, as a LeRobotDataset v3.0."""

    root: Annotated[
        str,
        Meta(
            min_length=1,
            description="the dataset's folder, relative to this file; made if absent, else resumed",
        ),
    ]
    codec: Annotated[
        Codec,
        Meta(description="h264, hevc, or auto: a hardware encoder if one works, else h264"),
    ] = "h264"
    quality: Annotated[int, Meta(ge=1, le=51, description="the encoder's CRF, 1 (best) to 51")] = 23
    threads: Annotated[
        int, Meta(ge=1, le=64, description="processor threads of each camera's encoder, 1 to 64")
    ] = 1

    @property
    def encoding(self) -> Encoding:
        return Encoding(codec=self.codec, quality=self.quality, threads=self.threads)


class RecorderConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One robot's recorder. Names are those of the wire: a robot's `rename` is applied.

    `plan` is the segment with control's tick log, `board` that of control's board, which has the
    task. `cameras` are by their names in the dataset.
    """

    robot: str
    record: RecordSettings
    fps: float
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    plan: str
    board: str
    strategy: StrategySettings = BaseSettings()
    joints: tuple[str, ...] = ()
    """The robot's own names of its actions, in the order of `action_names`."""
    teleop: str | None = None
    """The register of its teleoperator, whose buttons count."""
    driver_board: str | None = None
    """The board of its driver, which may say how an episode of its surroundings ended."""
    cameras: dict[str, CameraFeed] = {}
    robot_type: str | None = None
