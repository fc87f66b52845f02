"""`record:` of a robot in fleet.yaml, and the configuration of its recorder actor. Imports nothing
heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from ...errors import DatasetError
from ...robot.dataset.encoding import ArchiveCodec, Archiving, Codec, Encoding
from ..runtime.configs import CameraFeed
from .strategy_settings import BaseSettings, StrategySettings

if TYPE_CHECKING:
    from ...robot.dataset.recording_schema import RecordingSchema


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
    archive_codec: Annotated[
        ArchiveCodec | None,
        Meta(
            description="av1: saved videos are transcoded to it while no episode is recorded, "
            "before an upload; they stay as recorded without"
        ),
    ] = None
    archive_quality: Annotated[
        int, Meta(ge=1, le=63, description="the CRF of archive_codec, 1 (best) to 63")
    ] = 30
    upload: Annotated[
        Literal["deferred", "continuous", "never"],
        Meta(
            description="of finished episodes to `repo_id`. deferred: while none is recorded; "
            "continuous: also while one is, for strategies that always record; or never"
        ),
    ] = "never"
    repo_id: Annotated[
        str | None,
        Meta(description="a dataset repository of the Hugging Face hub, such as lab/pick"),
    ] = None
    private: Annotated[
        bool, Meta(description="`repo_id` is made private; a public one is refused")
    ] = False
    max_mbps: Annotated[
        Annotated[float, Meta(ge=0.01)] | None,
        Meta(description="megabits a second that an upload may send; all that there are without"),
    ] = None
    upload_every: Annotated[
        int, Meta(ge=1, description="an upload begins when so many episodes wait for it")
    ] = 1

    @property
    def encoding(self) -> Encoding:
        return Encoding(codec=self.codec, quality=self.quality, threads=self.threads)

    @property
    def archiving(self) -> Archiving | None:
        """How saved videos are transcoded; None if they are not."""
        if self.archive_codec is None:
            return None
        return Archiving(
            codec=self.archive_codec, quality=self.archive_quality, threads=self.threads
        )


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

    @property
    def schema(self) -> RecordingSchema:
        """Raises DatasetError for a rate that a dataset cannot have."""
        from ...robot.dataset.recording_schema import RecordingSchema

        if self.fps != int(self.fps):
            raise DatasetError(
                f"fps is {self.fps:g}; a dataset has a whole number of frames per second"
            )
        return RecordingSchema(
            fps=int(self.fps),
            state_names=self.state_names,
            action_names=self.action_names,
            cameras={name: (feed.height, feed.width) for name, feed in self.cameras.items()},
            robot_type=self.robot_type,
        )
