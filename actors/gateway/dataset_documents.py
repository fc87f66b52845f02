"""What the gateway says of recorded datasets, as values for JSON. Reads the disk, and blocks.

Needs pyarrow (`holdfast[data]`); imported when a dataset is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DatasetError
from ...robot.dataset.dataset_info import ACTION, IMAGES, STATE, DatasetInfo
from ...robot.dataset.episode_pages import EpisodeFilter, EpisodePages, EpisodeSummary
from ...robot.dataset.stored_images import StoredImages, media_type
from ...robot.dataset.video_transcoding import codec_of

MAX_EPISODES = 200
MAX_ROWS = 4096
"""In one document. A longer episode takes several."""
_MAX_TASKS = 500
_PROVENANCE = ("session", "seq", "step")
_SCALARS = ("timestamp", "latency_s", "intervention")
_images = StoredImages()
_VECTORS = {"state": STATE, "action": ACTION, "repeated": "repeated"}


def listing(datasets: Mapping[str, str]) -> list[dict[str, Any]]:
    """Each dataset by its name, and what is wrong with it."""
    return [_listed(name, Path(root)) for name, root in datasets.items()]


def dataset(name: str, root: Path) -> dict[str, Any]:
    """What all its episodes have in common. Raises DatasetError."""
    pages = EpisodePages(root)
    info, tasks = pages.info, pages.tasks()
    return {
        **_counted(name, root, info),
        "tasks": tasks[:_MAX_TASKS],
        "has_success": "success" in info.features,
        "has_interventions": "intervention" in info.features,
    }


def episodes(root: Path, start: int, limit: int, **wanted: Any) -> dict[str, Any]:
    """A page of the list; `wanted` are the fields of EpisodeFilter. Raises DatasetError."""
    pages = EpisodePages(root)
    page = pages.page(start, max(1, min(limit, MAX_EPISODES)), EpisodeFilter(**wanted))
    rows = [_summarized(each, pages.info) for each in page.episodes]
    return {"episodes": rows, "next": page.next, "total": len(pages)}


def episode(root: Path, index: int, video_url: Callable[[str], str]) -> dict[str, Any]:
    """One episode; `video_url` says where the video of a camera is. Raises DatasetError."""
    pages = EpisodePages(root)
    summary, info = pages.summary(index), pages.info
    codecs = {key: _codec(root, info, key, summary) for key in info.cameras}
    return {
        **_summarized(summary, info),
        "fps": info.fps,
        "total": len(pages),
        "state_names": _names(info, STATE),
        "action_names": _names(info, ACTION),
        "repeated_names": _names(info, "repeated"),
        "cameras": [_camera(key, summary, info, video_url, codecs[key]) for key in info.cameras],
    }


def rows(root: Path, index: int, start: int) -> dict[str, Any]:
    """The columns of up to MAX_ROWS rows of an episode, from row `start` on; absent ones are left
    out. `session` are words, because numbers in JavaScript have 53 bits. Raises DatasetError."""
    pages = EpisodePages(root)
    recorded = pages.episode(index)
    there = pages.info.features
    optional = ("provenance", "capture_ns", *_SCALARS, *_VECTORS.values())
    found = recorded.columns([name for name in optional if name in there])
    span = slice(max(start, 0), max(start, 0) + MAX_ROWS)
    made: dict[str, Any] = {name: found[name][span].tolist() for name in _SCALARS if name in found}
    for name, column in _VECTORS.items():
        if column in found:
            made[name] = found[column].reshape(len(recorded), -1)[span].tolist()
    if "provenance" in found:
        parts = found["provenance"][span].T.tolist()
        made |= dict(zip(_PROVENANCE, parts, strict=True))
        made["session"] = [str(session) for session in made["session"]]
    if "capture_ns" in found:
        made["behind_ms"] = _behind_ms(found["capture_ns"].reshape(len(recorded), -1)[span])
    return {"start": span.start, "total": len(recorded), "columns": made}


def video(root: Path, index: int, camera: str) -> Path:
    """The file of one camera's video, within the dataset's folder. Raises DatasetError."""
    span = EpisodePages(root).summary(index).entry.videos.get(camera)
    if span is None:
        raise DatasetError(f"episode {index} of {root} has no video of {camera!r}")
    path = (root / span.path).resolve()
    if not path.is_relative_to(root.resolve()):
        raise DatasetError(f"{span.path} is a link to a file outside the dataset: not served")
    if not path.is_file():
        raise DatasetError(f"{root / span.path} is missing: `actorctl dataset verify {root}`")
    return path


def image(root: Path, index: int, camera: str, frame: int) -> tuple[bytes, str]:
    """A camera's image of one frame, as it is stored in the rows, and its media type. Raises
    DatasetError."""
    pages = EpisodePages(root)
    feature = pages.info.features.get(camera)
    if feature is None or feature.dtype != "image":
        raise DatasetError(f"{root} has no stored images of {camera!r}")
    content = _images.image(root, pages.episode(index), camera, frame)
    kind = media_type(content)
    if kind is None:
        raise DatasetError(f"frame {frame} of {camera} is no PNG or JPEG")
    return content, kind


def _listed(name: str, root: Path) -> dict[str, Any]:
    try:
        return {**_counted(name, root, EpisodePages(root).info), "fault": ""}
    except DatasetError as error:
        return {"name": name, "path": str(root), "fault": str(error)}


def _counted(name: str, root: Path, info: DatasetInfo) -> dict[str, Any]:
    return {
        "name": name,
        "path": str(root),
        "fps": info.fps,
        "episodes": info.total_episodes,
        "frames": info.total_frames,
        "robot_type": info.robot_type,
        "cameras": [_short(key) for key in info.cameras],
    }


def _summarized(summary: EpisodeSummary, info: DatasetInfo) -> dict[str, Any]:
    entry = summary.entry
    return {
        "episode": entry.index,
        "frames": entry.length,
        "seconds": entry.length / info.fps,
        "success": summary.success,
        "tasks": entry.tasks,
        "interventions": summary.interventions,
        "repeated": summary.repeated,
        "robot": entry.extra.get("robot"),
        "recorded_at": entry.extra.get("recorded_at"),
    }


def _camera(
    key: str,
    summary: EpisodeSummary,
    info: DatasetInfo,
    video_url: Callable[[str], str],
    codec: str,
) -> dict[str, Any]:
    feature = info.features[key]
    span = summary.entry.videos.get(key)
    made = {"key": key, "name": _short(key), "shape": feature.shape, "codec": codec}
    if feature.is_depth:
        return {**made, "url": None, "stored": False, "why_not": "a depth map"}
    if span is None:
        return {**made, "url": None, "stored": True}
    return {**made, "url": video_url(key), "from_s": span.from_s}


def _codec(root: Path, info: DatasetInfo, key: str, summary: EpisodeSummary) -> str:
    """Of the episode's own file: others may have another. Empty for stored images, and for a file
    that cannot be read."""
    span = summary.entry.videos.get(key)
    if span is None or info.features[key].is_depth:
        return ""
    try:
        return codec_of(root / span.path)
    except DatasetError:
        return ""


def _behind_ms(capture_ns: NDArray[np.int64]) -> list[list[float]]:
    """How much older each camera's picture is than the newest of its row."""
    behind = capture_ns.max(axis=1, keepdims=True) - capture_ns
    made: list[list[float]] = (behind / 1e6).round(1).tolist()
    return made


def _names(info: DatasetInfo, key: str) -> Iterable[str]:
    feature = info.features.get(key)
    if feature is None:
        return ()
    size = int(np.prod(feature.shape))
    return feature.flat_names or tuple(f"{key} {k}" for k in range(size))


def _short(camera: str) -> str:
    return camera.removeprefix(IMAGES)
