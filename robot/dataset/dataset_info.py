"""`DatasetInfo`: meta/info.json of a LeRobotDataset v3.0, and the paths of its files.

The layout is that of lerobot 0.6.1 (`lerobot/datasets/utils.py`):

    meta/info.json  meta/stats.json  meta/tasks.parquet
    meta/episodes/chunk-000/file-000.parquet      one row per episode
    data/chunk-000/file-000.parquet               one row per frame
    videos/CAMERA/chunk-000/file-000.mp4          CAMERA: the key of the feature
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from ...errors import DatasetError

VERSION = "v3.0"
INFO = "meta/info.json"
STATS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"

STATE = "observation.state"
ACTION = "action"
IMAGES = "observation.images."

OWN = ("timestamp", "frame_index", "episode_index", "index", "task_index")
"""The columns that every dataset has beside its features."""


class Feature(msgspec.Struct, frozen=True, omit_defaults=False):
    """One column, or one camera: `shape` without the frame's axis; `names` of its parts, a list for
    vectors, of which some datasets make a map."""

    dtype: str
    shape: tuple[int, ...]
    names: Any = None
    info: dict[str, Any] | None = None

    @property
    def visual(self) -> bool:
        return self.dtype in {"video", "image"}

    @property
    def is_depth(self) -> bool:
        info = self.info or {}
        return bool(info.get("is_depth_map") or info.get("video.is_depth_map"))

    @property
    def flat_names(self) -> tuple[str, ...]:
        """The names of a vector's parts; empty where there are none."""
        names = self.names
        if isinstance(names, dict):
            # A list by the kind of part, or a number by name.
            lists = [value for value in names.values() if isinstance(value, list)]
            names = [name for value in lists for name in value] if lists else list(names)
        return tuple(str(name) for name in names or ())


class DatasetInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What meta/info.json says. `raw` is the whole file, with the keys of no meaning here."""

    codebase_version: str
    fps: float
    features: dict[str, Feature]
    total_episodes: int = 0
    total_frames: int = 0
    total_tasks: int = 0
    chunks_size: int = 1000
    data_path: str = DATA_PATH
    video_path: str | None = VIDEO_PATH
    robot_type: str | None = None
    raw: dict[str, Any] = {}

    @property
    def cameras(self) -> tuple[str, ...]:
        """The keys of the features that are images."""
        return tuple(key for key, feature in self.features.items() if feature.visual)

    @property
    def video_cameras(self) -> tuple[str, ...]:
        """Those whose images are in mp4 files."""
        return tuple(key for key, feature in self.features.items() if feature.dtype == "video")

    def data_file(self, chunk: int, file: int) -> str:
        """The path of one file of frames, relative to the dataset's root."""
        return _relative(self.data_path.format(chunk_index=chunk, file_index=file))

    def video_file(self, camera: str, chunk: int, file: int) -> str:
        if self.video_path is None:
            raise DatasetError(f"{INFO} names no video_path, although {camera} is a video")
        return _relative(
            self.video_path.format(video_key=camera, chunk_index=chunk, file_index=file)
        )


def read_info(root: Path) -> DatasetInfo:
    """Raises DatasetError: no dataset, one of another version, or a damaged one."""
    path = root / INFO
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        found = "no such directory" if not root.is_dir() else f"it has no {INFO}"
        if (root / "data").is_dir():
            found += ", which `actorctl dataset repair` rebuilds"
        raise DatasetError(
            f"{root}: {found}; expected a LeRobotDataset {VERSION}: a directory with meta, data "
            "and videos"
        ) from None
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    try:
        raw = msgspec.json.decode(text)
        version = raw["codebase_version"]
        if version.partition(".")[0] != VERSION.partition(".")[0]:
            raise DatasetError(
                f"{root} is a LeRobotDataset {version}, expected {VERSION}: convert it with "
                "`python -m lerobot.scripts.convert_dataset_v21_to_v30`"
            )
        info = msgspec.convert({**raw, "raw": raw}, DatasetInfo)
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path} is damaged: {error}; expected {VERSION}'s keys") from error
    missing = [key for key in OWN if key not in info.features]
    if missing:
        raise DatasetError(f"{path} lacks the features {', '.join(missing)} that every dataset has")
    if not info.fps > 0:
        raise DatasetError(f"{path}: fps is {info.fps}, expected more than 0")
    return info


def _relative(path: str) -> str:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        raise DatasetError(f"{INFO} names {path}, a file outside the dataset")
    return path
