"""`VideoCodecs`: the codec of each video of a dataset.

It is read from a file's header once, and kept in the dataset with the size and the time of the
file."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ...errors import DatasetError
from . import recovery
from .commit_plan import STAGING
from .video_transcoding import codec_of

_CODECS = f"{STAGING}/codecs.json"


class _Known(msgspec.Struct):
    size: int
    mtime_ns: int
    codec: str
    left: bool = False


class VideoCodecs:
    """Of the dataset in `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        try:
            known = (root / _CODECS).read_bytes()
            self._known = msgspec.json.decode(known, type=dict[str, _Known])
        except (OSError, msgspec.MsgspecError):
            # They are read again: the file saves time, and holds nothing else.
            self._known = {}

    def videos(self, camera: str) -> list[str]:
        """The paths of all videos of a camera, relative to the root, in order."""
        found = (self._root / "videos" / camera).glob("chunk-*/file-*.mp4")
        return sorted(path.relative_to(self._root).as_posix() for path in found)

    def of(self, path: str) -> str:
        """The codec of the video `path`; empty for one that cannot be read."""
        return self._entry(path).codec

    def is_left(self, path: str) -> bool:
        """Whether `leave` was called for the file as it is."""
        return self._entry(path).left

    def leave(self, path: str) -> None:
        """Remember that the video cannot be transcoded, so that it is not tried again."""
        self._entry(path).left = True

    def keep(self) -> None:
        """Write what was found. Raises OSError."""
        recovery.replace_file(self._root, _CODECS, msgspec.json.encode(self._known))

    def _entry(self, path: str) -> _Known:
        try:
            stat = (self._root / path).stat()
        except FileNotFoundError:
            return _Known(0, 0, "")
        known = self._known.get(path)
        if known is None or (known.size, known.mtime_ns) != (stat.st_size, stat.st_mtime_ns):
            try:
                codec = codec_of(self._root / path)
            except DatasetError:
                codec = ""
            known = self._known[path] = _Known(stat.st_size, stat.st_mtime_ns, codec)
        return known
