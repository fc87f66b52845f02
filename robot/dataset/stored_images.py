"""Images that are in a dataset's files of rows, encoded as they were stored: PNG or JPEG."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

from ...errors import DatasetError
from .file_version import FileVersion
from .recorded_episode import RecordedEpisode, encoded_image

_MOST_BYTES = 256 << 20
"""Of what is kept in memory: reading one image takes reading all those of its episode."""

_Key = tuple[FileVersion, int, str]
_KINDS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8", "image/jpeg"))
_ENDS = {"image/png": b"IEND\xaeB`\x82", "image/jpeg": b"\xff\xd9"}


def media_type(content: bytes) -> str | None:
    """That of an encoded image; None for what is no PNG or JPEG."""
    return next((kind for begins, kind in _KINDS if content.startswith(begins)), None)


def image_fault(value: Any) -> str:
    """What is wrong with a stored image, which is not decoded; empty if it has a begin and an
    end."""
    content = (value or {}).get("bytes") or b""
    kind = media_type(content)
    if kind is None:
        return "is missing" if not content else "is no PNG or JPEG"
    # A JPEG may have zeros behind its end.
    whole = content.rstrip(b"\0") if kind == "image/jpeg" else content
    return "" if whole.endswith(_ENDS[kind]) else "is cut off"


class StoredImages:
    """The images of the episodes that were asked for last. May be used by several threads."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[_Key, list[Any]] = OrderedDict()
        self._sizes: dict[_Key, int] = {}
        self._lock = threading.Lock()

    def image(self, root: Path, episode: RecordedEpisode, camera: str, frame: int) -> bytes:
        """Frame `frame` of an episode of the dataset at `root`. Raises DatasetError, and OSError
        for a file that is not there."""
        if not 0 <= frame < len(episode):
            raise DatasetError(
                f"episode {episode.entry.index} has no frame {frame}: it has {len(episode)}"
            )
        key = FileVersion.of(root / episode.entry.data), episode.entry.index, camera
        with self._lock:
            values = self._kept.get(key)
            if values is None:
                values = episode.column(camera).tolist()
                self._keep(key, values)
            self._kept.move_to_end(key)
        return encoded_image(values[frame], camera)

    def _keep(self, key: _Key, values: list[Any]) -> None:
        self._kept[key] = values
        self._sizes[key] = sum(len((value or {}).get("bytes") or b"") for value in values)
        while len(self._kept) > 1 and sum(self._sizes.values()) > self._most_bytes:
            oldest, _ = self._kept.popitem(last=False)
            del self._sizes[oldest]
