"""`VideoArchive`: a dataset's videos, transcoded one after the other while it is in use.

A video is encoded beside the dataset and verified (video_transcoding.py), without any lock. Then,
in one commit of the journal (commit_plan.py), it takes the place of the old one, its checksum that
in meta/episodes, and with a camera's last video info.json names the new codec. A process that is
killed at any instant leaves the old file or the new one, never none.

In between a camera's videos have two codecs. LeRobot (0.6.1, `decode_video_frames`) takes the codec
from each file, so that it loads the dataset at every instant. `video.codec` of info.json is for its
tools that encode anew and skip what has the wanted codec (`reencode_dataset`): it names the
archive's codec only where all of a camera's videos have it.

Not guaranteed: frames of the same values; what other programs that do not take the dataset's lock
write to it meanwhile.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import DatasetError
from . import commit_plan, recovery
from .commit_plan import STAGING, RedoRecord
from .dataset_info import EPISODES_PATH, INFO, DatasetInfo, read_info
from .dataset_reader import episode_entries, episode_files, read_parquet
from .dataset_writer import alone, locked
from .encoding import Archiving
from .verification import CRC32
from .video_codecs import VideoCodecs
from .video_encoder import CODEC, choose
from .video_transcoding import Transcoded, transcode

_FOLDER = f"{STAGING}/transcoding.staged"
"""No robot has such a name: the folders beside it are theirs."""
_LOOK_S = 1.0
_RECORDED_S = 5.0
"""An episode in progress writes to its videos several times a second."""


class ArchiveProgress(NamedTuple):
    """Of `files` videos that were to be transcoded, `done` are; `file` is the one in progress.
    `waits` says for what it waits. The sizes are of those that are done, before and after."""

    done: int = 0
    files: int = 0
    before_bytes: int = 0
    after_bytes: int = 0
    file: str = ""
    waits: str = ""


@dataclass
class VideoArchive:
    """Of the dataset in `root`. `report` is called at each change of the progress; `pause` before
    each frame: the work goes on when it returns. `waits`: for another process that transcodes the
    same dataset, which is an error without."""

    root: Path
    archiving: Archiving = field(default_factory=Archiving)
    report: Callable[[ArchiveProgress], None] = lambda _: None
    pause: Callable[[], None] = lambda: None
    waits: bool = False

    def __post_init__(self) -> None:
        self.root = self.root.expanduser().absolute()
        self.progress = ArchiveProgress()
        self.left: list[str] = []
        """Why videos were left as they are."""
        self._look_s = 0.0

    def run(self) -> ArchiveProgress:
        """Transcode what has another codec. Raises DatasetError: no dataset, no encoder, or
        another process at it; OSError where the disk refuses."""
        read_info(self.root)
        choose(self.archiving.codec)
        with alone(self.root, "transcoding.lock", "transcodes", waits=self.waits):
            codecs = VideoCodecs(self.root)
            wanted = self._begin(codecs)
            self._say(files=len(wanted))
            for path in wanted:
                self._say(file=path)
                try:
                    self._archive(path, codecs)
                except DatasetError as error:
                    self.left.append(str(error))
                    codecs.leave(path)
            codecs.keep()
            self._say(file="")
        return self.progress

    def _begin(self, codecs: VideoCodecs) -> list[str]:
        """The videos to be transcoded. Removes what a killed process has staged."""
        with locked(self.root):
            recovery.redo(self.root)
            shutil.rmtree(self.root / _FOLDER, ignore_errors=True)
            commit_plan.make_durable_folder(self.root / _FOLDER, self.root)
            info = read_info(self.root)
            made = self._info_with(info, {}, codecs)
            if made is not None:
                recovery.replace_file(self.root, INFO, made)
            return [
                path
                for camera in _cameras(info)
                for path in codecs.videos(camera)
                if codecs.of(path) != self.archiving.codec and not codecs.is_left(path)
            ]

    def _archive(self, path: str, codecs: VideoCodecs) -> None:
        source, staged = self.root / path, self.root / _FOLDER / "video.mp4"
        before = _version(source)
        try:
            made = transcode(source, staged, self.archiving, self._pause)
            self._wait_for_recorders()
            with locked(self.root):
                recovery.redo(self.root)
                if _version(source) != before:
                    return  # cut away, or replaced: the next run looks at it
                commit_plan.carry_out(self.root, self._commit(path, made, codecs))
        finally:
            if not (self.root / commit_plan.REDO).exists():
                staged.unlink(missing_ok=True)
        after = _version(source)
        self._say(
            done=self.progress.done + 1,
            before_bytes=self.progress.before_bytes + before[0],
            after_bytes=self.progress.after_bytes + after[0],
        )

    def _commit(
        self, path: str, made: Transcoded, codecs: VideoCodecs
    ) -> list[commit_plan.Operation]:
        """Stage the files that belong to it, and say what is to be done with them."""
        info = read_info(self.root)
        moves = [commit_plan.describe(self.root, f"{_FOLDER}/video.mp4", path)]

        def stage(name: str, to: str) -> None:
            moves.append(commit_plan.describe(self.root, f"{_FOLDER}/{name}", to))

        rows = _rows_with(self.root, info, path, moves[0].crc32)
        for number, (to, table) in enumerate(rows):
            name = f"rows-{number}.parquet"
            pq.write_table(table, self.root / _FOLDER / name)
            stage(name, to)
        known = self._info_with(info, {path: made}, codecs)
        if known is not None:
            (self.root / _FOLDER / "info.json").write_bytes(known)
            stage("info.json", INFO)
        return commit_plan.plan(RedoRecord(-1, moves, transcoded=path))

    def _info_with(
        self, info: DatasetInfo, made: Mapping[str, Transcoded], codecs: VideoCodecs
    ) -> bytes | None:
        """info.json once the videos `made` are in place; None if it stays as it is."""
        codec, features = self.archiving.codec, dict(info.raw["features"])
        for camera in _cameras(info):
            paths = codecs.videos(camera)
            all_are = paths and all(path in made or codecs.of(path) == codec for path in paths)
            said = features[camera].get("info") or {}
            if all_are and said.get(CODEC) != codec:
                features[camera] = {**features[camera], "info": {**said, **self._facts(said)}}
        if features == info.raw["features"]:
            return None
        return recovery.updated_info(
            msgspec.structs.replace(info, raw={**info.raw, "features": features}),
            info.total_episodes,
            info.total_frames,
            info.total_tasks,
        )

    def _facts(self, said: Mapping[str, Any]) -> dict[str, object]:
        """The entries about the encoding; those of LeRobot's own where it has made them."""
        lerobots = {
            "video.g": self.archiving.key_every,
            "video.crf": self.archiving.quality,
            "video.preset": 8,
        }
        kept = {key: value for key, value in lerobots.items() if key in said}
        return {CODEC: self.archiving.codec, "video.pix_fmt": "yuv420p", **kept}

    def _pause(self) -> None:
        self.pause()
        now_s = time.monotonic()
        if now_s >= self._look_s:
            self._wait_for_recorders()
            self._look_s = time.monotonic() + _LOOK_S

    def _wait_for_recorders(self) -> None:
        """Returns when no robot records an episode to the dataset."""
        while recorded := _in_progress(self.root):
            self._say(waits=f"{recorded} records an episode")
            time.sleep(_LOOK_S)
            self.pause()
        if self.progress.waits:
            self._say(waits="")

    def _say(self, **changes: Any) -> None:
        self.progress = self.progress._replace(**changes)
        self.report(self.progress)


def _cameras(info: DatasetInfo) -> Iterable[str]:
    """Those whose videos are colour images."""
    return [key for key in info.video_cameras if not info.features[key].is_depth]


def _rows_with(
    root: Path, info: DatasetInfo, path: str, crc32: int
) -> Iterator[tuple[str, pa.Table]]:
    """The files of meta/episodes that have a checksum of the video `path`, with the new one.
    Raises DatasetError where no episode has the video."""
    _, camera, chunk, file = PurePosixPath(path).parts
    # Ours have the number of the episode's other files.
    own = EPISODES_PATH.format(
        chunk_index=int(chunk.partition("-")[2]),
        file_index=int(PurePosixPath(file).stem.partition("-")[2]),
    )
    column, found = f"videos/{camera}/{CRC32}", False
    for candidate in dict.fromkeys((root / own, *episode_files(root))):
        if not candidate.exists():
            continue
        entries = list(episode_entries(info, [candidate]))
        has = [entry.videos[camera].path == path for entry in entries]
        if not any(has):
            continue
        found = True
        table = read_parquet(candidate)
        if column in table.column_names:
            before = table.column(column)
            values = [
                crc32 if here and value is not None else value
                for here, value in zip(has, before.to_pylist(), strict=True)
            ]
            place = table.column_names.index(column)
            field_ = table.schema.field(place)
            yield (
                candidate.relative_to(root).as_posix(),
                table.set_column(place, field_, pa.array(values, field_.type)),
            )
        if candidate == root / own and all(has):
            return
    if not found:
        raise DatasetError(f"{root / path} is of no episode: it stays as it is")


def _version(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _in_progress(root: Path) -> str:
    """The name of a robot that records an episode now; empty without one."""
    for video in (root / STAGING).glob("*/episode-*/live-*.mp4"):
        try:
            if time.time() - video.stat().st_mtime < _RECORDED_S:
                return video.parents[1].name
        except FileNotFoundError:
            continue  # it is saved meanwhile
    return ""
