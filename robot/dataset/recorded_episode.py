"""`RecordedEpisode`: the rows and images of one episode of a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ...errors import DatasetError
from . import video_frames
from .dataset_info import ACTION, STATE, DatasetInfo, Feature
from .video_frames import Image


@dataclass(frozen=True)
class VideoSpan:
    """Where in a file an episode's frames of one camera are: from `from_s` to before `to_s`."""

    path: str
    from_s: float
    to_s: float


@dataclass(frozen=True)
class EpisodeEntry:
    """One row of meta/episodes. `data` and the videos' paths are relative to the dataset's root;
    its frames are `from_index` to before `to_index` in the whole dataset. `extra` has the columns
    that not every dataset has, without statistics."""

    index: int
    length: int
    tasks: tuple[str, ...]
    from_index: int
    to_index: int
    data: str
    videos: dict[str, VideoSpan]
    extra: dict[str, Any] = field(default_factory=dict)


class RecordedEpisode:
    """One episode, read when asked. `len()` is its number of frames T."""

    def __init__(
        self, root: Path, info: DatasetInfo, tasks: tuple[str, ...], entry: EpisodeEntry
    ) -> None:
        self.entry = entry
        self._root, self._info, self._tasks = root, info, tasks

    def __len__(self) -> int:
        return self.entry.length

    @property
    def features(self) -> dict[str, Feature]:
        """The dataset's columns and cameras, by their keys."""
        return self._info.features

    @property
    def states(self) -> NDArray[np.float32]:
        """[T, S]. Raises DatasetError for a dataset without states."""
        return self._vectors(STATE)

    @property
    def actions(self) -> NDArray[np.float32]:
        """[T, A]. Raises DatasetError for a dataset without actions."""
        return self._vectors(ACTION)

    @property
    def timestamps(self) -> NDArray[np.float64]:
        """[T], seconds since the episode's first frame."""
        return self.column("timestamp").astype(np.float64)

    @property
    def tasks(self) -> list[str]:
        """The task of each frame."""
        indices = self.column("task_index")
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self._tasks):
            raise DatasetError(
                f"episode {self.entry.index} has task_index {indices.max()}, but there are "
                f"{len(self._tasks)} tasks"
            )
        return [self._tasks[index] for index in indices]

    def column(self, name: str) -> NDArray[Any]:
        """[T] for a scalar, else [T, ...]: one column of the frames' table."""
        return self.columns([name])[name]

    def columns(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Several columns, as `column` has them, by one reading of the file."""
        for name in names:
            feature = self._info.features.get(name)
            if feature is None or feature.dtype == "video":
                known = [key for key, of in self._info.features.items() if of.dtype != "video"]
                raise DatasetError(f"no column {name}; there are {', '.join(known)}")
        table = self._table(list(names))
        return {name: self._shaped(name, _array(table.column(name))) for name in names}

    def frames(self, camera: str) -> Iterator[Image]:
        """The T images of `camera` (a key of `Dataset.cameras`) in order, uint8 [height, width, 3]
        RGB, decoded one by one."""
        feature = self._info.features.get(camera)
        if feature is None or not feature.visual:
            raise DatasetError(
                f"no camera {camera}; there are {', '.join(self._info.cameras) or 'none'}"
            )
        if feature.is_depth:
            raise DatasetError(f"{camera} is a depth map; only colour images can be read")
        if feature.dtype == "image":
            return (_picture(value, camera) for value in self.column(camera))
        span = self.entry.videos[camera]
        instants_s = span.from_s + self.timestamps
        return video_frames.decode(self._root / span.path, instants_s, self._info.fps)

    def _shaped(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        feature = self._info.features[name]
        if feature.dtype == "image" or values.dtype == object:
            return values
        shape = () if feature.shape == (1,) else feature.shape
        return values.reshape(len(self), *shape)

    def _vectors(self, name: str) -> NDArray[np.float32]:
        return self.column(name).reshape(len(self), -1).astype(np.float32, copy=False)

    def _table(self, columns: list[str]) -> pa.Table:
        path = self._root / self.entry.data
        only = [("episode_index", "=", self.entry.index)]
        try:
            table = pq.read_table(path, columns=columns, filters=only, partitioning=None)
        except (OSError, pa.ArrowException) as error:
            raise DatasetError(f"{path} cannot be read: {error}") from error
        if len(table) != len(self):
            raise DatasetError(
                f"{path} has {len(table)} frames of episode {self.entry.index}, expected "
                f"{len(self)}"
            )
        return table


def _array(column: pa.ChunkedArray) -> NDArray[Any]:
    """The values of a column; nested lists flat, in order."""
    values = column.combine_chunks()
    if isinstance(values.type, pa.ExtensionType):
        values = values.storage
    if pa.types.is_struct(values.type) or pa.types.is_string(values.type):
        found = np.empty(len(values), object)
        found[:] = values.to_pylist()
        return found
    while pa.types.is_list(values.type) or pa.types.is_fixed_size_list(values.type):
        values = values.flatten()
    array: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return array


def encoded_image(value: Any, camera: str) -> bytes:
    """The content of an image in a column of `camera`. Raises DatasetError for one without."""
    data = (value or {}).get("bytes")
    if not data:
        raise DatasetError(f"an image of {camera} is missing in the rows")
    return bytes(data)


def _picture(value: Any, camera: str) -> Image:
    data = encoded_image(value, camera)
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if found is None:
        raise DatasetError(f"an image of {camera} is damaged")
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), np.uint8)
