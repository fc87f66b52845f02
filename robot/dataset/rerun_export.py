"""`export`: one episode as a recording of Rerun (`holdfast[rerun]`), for its viewer.

Everything is on two timelines: `frame`, and `time` from the episode's first frame.

    observation/state, action      one series for each name
    cameras/NAME                   the video, as it is on disk, and which of its frames it was
    chunk/seq, chunk/step          where the action is from; chunk/seams has a line at each new one
    latency_s, intervention, repeated/NAME, hand    `hand` has a line where a person takes over,
                                   and gives back
    task                           a line at each change
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rerun as rr
from numpy.typing import NDArray

from ...errors import DatasetError
from .dataset_info import ACTION, IMAGES, STATE
from .dataset_reader import Dataset
from .provenance import WORDS
from .recorded_episode import RecordedEpisode, encoded_image
from .video_cut import cut

APPLICATION = "holdfast"
_SCALARS = ("latency_s", "intervention")


def export(dataset: Dataset, index: int, path: Path) -> None:
    """Write episode `index` to `path`, which is replaced when all is written. Raises DatasetError,
    and OSError where the file cannot be written."""
    episode = dataset.episode(index)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.touch()
        name = f"{dataset.root.resolve().name}-episode-{index}"
        with rr.RecordingStream(APPLICATION, recording_id=name) as recording:
            recording.save(partial)
            _Exported(dataset, episode, recording).send()
            recording.flush()
            recording.disconnect()
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class _Exported:
    def __init__(
        self, dataset: Dataset, episode: RecordedEpisode, recording: rr.RecordingStream
    ) -> None:
        self._dataset, self._episode, self._recording = dataset, episode, recording
        self._instants_s = episode.timestamps

    def send(self) -> None:
        columns = {key for key, feature in self._dataset.features.items() if not feature.visual}
        for key, entity in ((STATE, "observation/state"), (ACTION, "action")):
            if key in columns:
                self._series(entity, self._episode.column(key), self._dataset.names(key))
        for key in columns.intersection(_SCALARS):
            self._series(key, self._episode.column(key))
        if "repeated" in columns:
            values = self._episode.column("repeated").reshape(len(self._episode), -1)
            for name, column in zip(self._dataset.names("repeated"), values.T, strict=True):
                self._series(f"repeated/{name}", column)
        if "intervention" in columns:
            by_hand = self._episode.column("intervention").tolist()
            words = ["a person commands" if each else "the policy commands" for each in by_hand]
            if "provenance" in columns:
                sessions = self._episode.column("provenance")[:, 0].tolist()
                said = {session: f"{what} commands" for session, what in WORDS.items() if what}
                words = [said.get(s, word) for s, word in zip(sessions, words, strict=True)]
            self._changes("hand", words)
        if "provenance" in columns:
            self._chunks(self._episode.column("provenance"))
        self._changes("task", self._episode.tasks)
        for camera in self._dataset.cameras:
            self._camera(camera)

    def _indexes(self, rows: NDArray[np.int64] | None = None) -> list[rr.TimeColumn]:
        frames = np.arange(len(self._episode)) if rows is None else rows
        return [
            rr.TimeColumn("frame", sequence=frames),
            rr.TimeColumn("time", duration=self._instants_s[frames]),
        ]

    def _send(self, entity: str, indexes: list[rr.TimeColumn], columns: Any) -> None:
        rr.send_columns(entity, indexes, columns, recording=self._recording)

    def _series(self, entity: str, values: NDArray[Any], names: tuple[str, ...] = ()) -> None:
        table = values.reshape(len(self._episode), -1).astype(np.float64)
        if names:
            static = rr.SeriesLines(names=list(names))
            self._recording.log(entity, static, static=True)
        self._send(entity, self._indexes(), rr.Scalars.columns(scalars=table))

    def _chunks(self, provenance: NDArray[np.int64]) -> None:
        """Rows without a chunk, of a person or before the first one, have no seam."""
        self._series("chunk/seq", provenance[:, 1])
        self._series("chunk/step", provenance[:, 2])
        words = [
            WORDS.get(session, f"session {session} seq {seq}")
            if not seq
            else f"session {session} seq {seq}"
            for session, seq, _ in provenance.tolist()
        ]
        self._changes("chunk/seams", words)

    def _changes(self, entity: str, words: list[str]) -> None:
        """A line of text at the first row and wherever it is another one; none where it is ""."""
        rows = [k for k in _changed(words) if words[k]]
        if rows:
            found = rr.TextLog.columns(text=[words[k] for k in rows])
            self._send(entity, self._indexes(np.array(rows)), found)

    def _camera(self, camera: str) -> None:
        entity = f"cameras/{camera.removeprefix(IMAGES)}"
        feature, span = self._dataset.features[camera], self._episode.entry.videos.get(camera)
        if feature.is_depth:
            raise DatasetError(f"{camera} is a depth map; only colour images can be exported")
        if span is None:
            images = [encoded_image(value, camera) for value in self._episode.column(camera)]
            self._send(entity, self._indexes(), rr.EncodedImage.columns(blob=images))
            return
        video, first_s = cut(
            self._dataset.root / span.path, span.from_s, span.to_s, self._dataset.fps
        )
        asset = rr.AssetVideo(contents=video, media_type="video/mp4")
        self._recording.log(entity, asset, static=True)
        # The middle of each frame: rounding then never gives its neighbour.
        middles_s = first_s + self._instants_s + 0.5 / self._dataset.fps
        middles_ns = np.round(middles_s * 1e9).astype(np.int64)
        self._send(entity, self._indexes(), rr.VideoFrameReference.columns_nanos(middles_ns))


def _changed(words: list[str]) -> Iterator[int]:
    return (k for k, word in enumerate(words) if k == 0 or word != words[k - 1])
