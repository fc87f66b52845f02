"""`RecordingSchema`: the features of a dataset that is recorded here, and one row of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...errors import DatasetError
from .dataset_info import ACTION, IMAGES, STATE, VERSION, VIDEO_PATH, DatasetInfo, Feature

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Row:
    """One policy step: what the robot was measured at, what was then commanded, and why.

    A `task` of None is that of the rows after it. `session`, `seq` and `step` tell which action of
    which chunk it was (for what is from none: provenance.py), and `latency_s` how old the
    observation was that the chunk came from. `images` has the newest frame of each camera and the
    instant of its capture; a camera that is missing, or is None, repeats its last.
    """

    state: NDArray[np.float32]
    action: NDArray[np.float32]
    task: str | None
    session: int = 0
    seq: int = 0
    step: int = 0
    latency_s: float = 0.0
    intervention: bool = False
    images: Mapping[str, tuple[Picture, int] | None] = field(default_factory=dict)


@dataclass(frozen=True)
class RecordingSchema:
    """What all episodes of a dataset share. `cameras` maps a name to its height and width, which
    are even. `fps` is that of the rows, a whole number. Raises DatasetError."""

    fps: int
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    cameras: dict[str, tuple[int, int]]
    robot_type: str | None = None

    def __post_init__(self) -> None:
        for name, (height, width) in self.cameras.items():
            if height % 2 or width % 2:
                raise DatasetError(
                    f"camera {name} has {width}x{height} pixels: videos need even numbers"
                )
            if "/" in name:
                raise DatasetError(f"camera {name}: a `/` cannot be part of a dataset's column")

    @property
    def video_keys(self) -> dict[str, str]:
        """The key of each camera's feature."""
        return {name: IMAGES + name for name in self.cameras}

    def features(self) -> dict[str, Feature]:
        """Those of meta/info.json, in the order of the columns.

        The additional ones begin neither with `observation` nor with `action`, because LeRobot
        takes such for inputs and outputs of a policy, nor do they contain `image`, which it takes
        for pictures.
        """
        videos = {
            self.video_keys[name]: Feature("video", (*size, 3), ["height", "width", "channels"])
            for name, size in self.cameras.items()
        }
        cameras = list(self.cameras)
        of_frames = {
            "capture_ns": Feature("int64", (len(cameras),), cameras),
            "repeated": Feature("bool", (len(cameras),), cameras),
        }
        return {
            STATE: Feature("float32", (len(self.state_names),), list(self.state_names)),
            ACTION: Feature("float32", (len(self.action_names),), list(self.action_names)),
            **videos,
            **(of_frames if cameras else {}),
            "provenance": Feature("int64", (3,), ["session", "seq", "step"]),
            "latency_s": Feature("float32", (1,)),
            "intervention": Feature("bool", (1,)),
            "success": Feature("int64", (1,)),
            "timestamp": Feature("float32", (1,)),
            "frame_index": Feature("int64", (1,)),
            "episode_index": Feature("int64", (1,)),
            "index": Feature("int64", (1,)),
            "task_index": Feature("int64", (1,)),
        }

    def new_info(self) -> dict[str, Any]:
        """The content of meta/info.json of a dataset without episodes."""
        empty = DatasetInfo(
            codebase_version=VERSION,
            fps=self.fps,
            features=self.features(),
            robot_type=self.robot_type,
            video_path=VIDEO_PATH if self.cameras else None,
        )
        made = {
            **msgspec.to_builtins(empty),
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "splits": {},
        }
        del made["raw"]
        return made

    def misfit(self, info: DatasetInfo) -> str:
        """Why episodes of this schema cannot be added to the dataset; empty if they can."""
        if info.fps != self.fps:
            return f"it has {info.fps:g} frames per second, this robot {self.fps}"
        own = self.features()
        if set(own) != set(info.features):
            absent, other = set(own) - set(info.features), set(info.features) - set(own)
            parts = [f"it lacks the columns {', '.join(sorted(absent))}"] if absent else []
            parts += [f"has others: {', '.join(sorted(other))}"] if other else []
            return " and ".join(parts)
        for key, feature in own.items():
            there = info.features[key]
            if (feature.dtype, feature.shape) != (there.dtype, there.shape):
                return (
                    f"its {key} is {there.dtype} {list(there.shape)}, this robot's {feature.dtype} "
                    f"{list(feature.shape)}"
                )
            if feature.flat_names != there.flat_names:
                return (
                    f"the parts of its {key} are {', '.join(there.flat_names)}, this robot's "
                    f"{', '.join(feature.flat_names)}"
                )
        return ""


_ARROW = {"float32": pa.float32(), "int64": pa.int64(), "bool": pa.bool_()}


def to_table(features: Mapping[str, Feature], columns: Mapping[str, NDArray[Any]]) -> pa.Table:
    """The frames' table: scalars, and vectors as lists of a fixed size."""
    arrays = {}
    for key, feature in features.items():
        if feature.dtype == "video":
            continue
        values = columns[key]
        flat = pa.array(np.ascontiguousarray(values).ravel(), _ARROW[feature.dtype])
        width = feature.shape[0]
        vector = values.ndim > 1 and feature.shape != (1,)
        arrays[key] = pa.FixedSizeListArray.from_arrays(flat, width) if vector else flat
    return pa.table(arrays)
