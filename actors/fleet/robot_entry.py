"""A robot of fleet.yaml: driver, cameras, limits, teleoperator, recording, and how it plays."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ..control.config import PlanSettings, SafetySettings, TimingSettings
from ..recorder.record_settings import RecordSettings
from ..recorder.strategy_settings import StrategySettings
from .entry_values import Host, Name, Python, Seconds

TagName = Annotated[str, Meta(min_length=1, max_length=64, description="1 to 64 characters")]
TagText = Annotated[str, Meta(max_length=256, description="at most 256 characters")]


class CameraEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One camera of a robot."""

    driver: Annotated[
        str,
        Meta(
            description="sim, opencv, lerobot, robot (the robot's own driver delivers its frames), "
            "or module:Class beside this file"
        ),
    ] = "sim"
    python: Python = None
    width: Annotated[int, Meta(ge=1, le=8192, description="pixels, 1 to 8192, e.g. 640")] = 640
    height: Annotated[int, Meta(ge=1, le=8192, description="pixels, 1 to 8192, e.g. 480")] = 480
    fps: Annotated[
        float, Meta(gt=0, le=1000, description="frames per second, more than 0, e.g. 30")
    ] = 30.0
    offset_ms: Annotated[
        float,
        Meta(
            ge=-1000,
            le=10_000,
            description="milliseconds that a frame is older than its instant says, -1000 to 10000",
        ),
    ] = 0.0
    frozen_after_s: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=3600,
                description="seconds of identical frames after which it counts as frozen; 0: "
                "never; without it 3, but never for files, simulators and the frames of a "
                "robot's driver, which may have no noise",
            ),
        ]
        | None
    ) = None
    options: dict[str, Any] = {}


class LimitEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one action, in its units; `max_rate` is in units per second. What is left away is the
    driver's."""

    lower: float | None = None
    upper: float | None = None
    max_rate: Annotated[float, Meta(gt=0, description="more than 0")] | None = None


class TeleopEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's input device, which commands the robot after `actorctl take-over`. `rename` maps
    its action names to the robot's."""

    driver: Annotated[
        str,
        Meta(
            description="keyboard (keys pressed in actorctl teleop), gamepad, lerobot (a leader "
            "arm or another teleoperator of that library), expert (of a simulated cell), replay "
            "(of recorded episodes, by actorctl replay-episode), or module:Class of your own, a "
            "file beside this one"
        ),
    ]
    python: Python = None
    options: dict[str, Any] = {}
    rename: dict[str, str] = {}


class Images(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a robot's frames get to its policy."""

    resize: Literal["edge", "server"] = "edge"
    jpeg_quality: Annotated[int, Meta(ge=0, le=100, description="1 to 100, or 0 for raw")] = 90
    max_uplink_kbps: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=1e6,
                description="kbit/s that a robot's requests may take of its link to another host, "
                "over 5 s, e.g. 800: JPEG quality is lowered first, down to 30, then the rate of "
                "requests; without it there is no limit",
            ),
        ]
        | None
    ) = None
    max_frame_age_s: Seconds = 0.5
    history_steps: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=10_000,
                description="for how many actions back frames are kept, for policies that see "
                "several observations; without it as many as the service's policy sees, if this "
                "host knows it",
            ),
        ]
        | None
    ) = None


class RobotEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One robot: its driver and cameras, the service it uses, and how it plays what it gets."""

    name: Name
    service: Annotated[
        str,
        Meta(
            description="a name under `services`; left away for a robot that a person alone moves, "
            "by its `teleop`"
        ),
    ] = ""
    driver: Annotated[
        str,
        Meta(
            description="the robot's driver: sim, gym, lerobot, replay (a recorded "
            "episode), or module:Class or module:function beside this file"
        ),
    ] = "sim"
    python: Python = None
    options: dict[str, Any] = {}
    limits: Annotated[
        dict[str, LimitEntry],
        Meta(description="of single actions, by their names, in place of the driver's"),
    ] = {}
    in_process: Annotated[
        bool,
        Meta(
            description="call the driver in the control loop's own process: for one whose every "
            "call takes much less than a tick"
        ),
    ] = False
    host: Host = None
    fps: Annotated[
        float,
        Meta(gt=0, le=1000, description="actions per second, the policy's own rate, e.g. 30"),
    ] = 30.0
    interpolate: Annotated[int, Meta(ge=1, le=100, description="commands per action, 1 to 100")] = 1
    strategy: Annotated[
        Literal["base"] | StrategySettings,
        Meta(
            description="base: run; with `record`, record from each reset to the next, or a stop; "
            "or {type: episodic, teleop, dagger, sentry or highlight, ...}"
        ),
    ] = "base"
    record: RecordSettings | None = None
    task: str = ""
    cameras: dict[str, CameraEntry] = {}
    teleop: TeleopEntry | None = None
    rename: dict[str, str] = {}
    images: Images = Images()
    plan: PlanSettings = PlanSettings()
    safety: SafetySettings = SafetySettings()
    timing: TimingSettings = TimingSettings()
    tags: Annotated[
        dict[TagName, TagText],
        Meta(
            max_length=16,
            description="free names and texts, for the audit lines, traces and metrics of the "
            "robot",
        ),
    ] = {}
