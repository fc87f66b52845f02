"""`EpisodeRecording`: the episode in progress: rows in memory, a video of each camera on disk."""

from __future__ import annotations

import contextlib
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DatasetError
from . import episode_stats
from .dataset_info import ACTION, STATE
from .encoding import Encoding
from .episode_stats import PixelStats, Stats
from .recording_schema import Picture, RecordingSchema, Row
from .video_encoder import VideoEncoder, VideoFacts, make_plain

_MOST_HELD = 100
"""Frames that an encoder may keep back: it looks ahead, and has several at a time."""


class EpisodeRecording:
    """In `folder`, which it makes. Every call may raise OSError; the episode is then to be
    discarded. `repeated` counts images per camera that stand for a missing one."""

    def __init__(self, folder: Path, schema: RecordingSchema, encoding: Encoding) -> None:
        self.folder, self.schema = folder, schema
        self.recorded_at = datetime.now(UTC).isoformat(timespec="seconds")
        self.repeated = dict.fromkeys(schema.cameras, 0)
        self.keep_files = False
        self._rows: list[tuple[Any, ...]] = []
        self._tasks: list[str | None] = []
        self._last: dict[str, tuple[Picture, int]] = {}
        self._pixels = {name: PixelStats() for name in schema.cameras}
        self._encoders: dict[str, VideoEncoder] = {}
        folder.mkdir(parents=True)
        for place, (name, (height, width)) in enumerate(schema.cameras.items()):
            path = folder / f"live-{place}.mp4"
            self._encoders[name] = VideoEncoder(path, height, width, schema.fps, encoding)

    def __len__(self) -> int:
        """Rows so far."""
        return len(self._rows)

    @property
    def encoder(self) -> str:
        """The name of the encoder; empty without cameras."""
        return next((encoder.name for encoder in self._encoders.values()), "")

    def add(self, row: Row) -> None:
        """Add one row, and exactly one image of each camera."""
        instants, repeats = [], []
        for name, encoder in self._encoders.items():
            taken = row.images.get(name)
            repeats.append(taken is None)
            if taken is None:
                self.repeated[name] += 1
                taken = self._last.get(name) or (self._black(name), 0)
            self._last[name] = taken
            picture, capture_ns = taken
            instants.append(capture_ns)
            encoder.add(picture)
            self._pixels[name].add(picture)
        provenance = (row.session, row.seq, row.step)
        self._tasks.append(row.task)
        self._rows.append(
            (
                np.array(row.state, np.float32),
                np.array(row.action, np.float32),
                instants,
                repeats,
                provenance,
                row.latency_s,
                row.intervention,
            )
        )
        self._audit()

    @property
    def tasks(self) -> list[str]:
        """The task of each row; where it was not known, the next one that was, else the last."""
        known = [task for task in self._tasks if task is not None]
        found, following = [], known[-1] if known else ""
        for task in reversed(self._tasks):
            following = following if task is None else task
            found.append(following)
        return found[::-1]

    def columns(self) -> dict[str, NDArray[Any]]:
        """All columns that do not depend on the episode's place in a dataset, [T] or [T, n]."""
        names = (STATE, ACTION, "capture_ns", "repeated", "provenance", "latency_s", "intervention")
        kinds = (np.float32, np.float32, np.int64, np.bool_, np.int64, np.float32, np.bool_)
        parts = zip(names, kinds, zip(*self._rows, strict=True), strict=True)
        made: dict[str, NDArray[Any]] = {
            name: np.array(values, kind) for name, kind, values in parts
        }
        frames = np.arange(len(self), dtype=np.int64)
        return made | {
            "frame_index": frames,
            "timestamp": (frames / self.schema.fps).astype(np.float32),
        }

    def close(self) -> dict[str, tuple[Path, VideoFacts]]:
        """End the videos: the plain file of each camera, and what is in it. Raises DatasetError
        where one does not have a frame for each row."""
        made: dict[str, tuple[Path, VideoFacts]] = {}
        for name, encoder in self._encoders.items():
            encoder.close()
            plain = encoder.path.with_name(encoder.path.name.replace("live", "video"))
            facts = make_plain(encoder.path, plain)
            if facts.frames != len(self):
                raise DatasetError(
                    f"the video of {name} has {facts.frames} frames, expected {len(self)}, one for "
                    "each row: the episode is not kept"
                )
            encoder.path.unlink()
            made[name] = plain, facts
        return made

    def image_stats(self) -> dict[str, Stats]:
        """By the key of the camera's feature."""
        keys = self.schema.video_keys
        return {keys[name]: pixels.stats() for name, pixels in self._pixels.items()}

    def discard(self) -> None:
        """Delete what is on disk, unless `keep_files` says that a commit goes on from it. Never
        fails."""
        for encoder in self._encoders.values():
            encoder.discard()
        if self.keep_files:
            return
        with contextlib.suppress(OSError):
            shutil.rmtree(self.folder)

    def _audit(self) -> None:
        for name, encoder in self._encoders.items():
            held = encoder.frames - encoder.packets
            if encoder.frames != len(self) or not 0 <= held <= _MOST_HELD:
                raise DatasetError(
                    f"of {len(self)} images of {name}, {encoder.frames} were encoded and "
                    f"{encoder.packets} written"
                )

    def _black(self, name: str) -> Picture:
        return np.zeros((*self.schema.cameras[name], 3), np.uint8)


def column_stats(columns: dict[str, NDArray[Any]]) -> dict[str, Stats]:
    """The statistics of all columns that are numbers."""
    return {key: episode_stats.of_column(values) for key, values in columns.items()}
