"""Where the episodes of a dataset that was recorded here lie: each has one place, a number, and one
file of that number in every folder. Looks at names of files only."""

from __future__ import annotations

import re
from pathlib import Path

from .dataset_info import DATA_PATH, VIDEO_PATH, DatasetInfo

_CHUNK = re.compile(r"chunk-(\d{3,})")
_FILE = {
    "data": re.compile(r"file-(\d{3,})\.parquet"),
    "meta/episodes": re.compile(r"file-(\d{3,})\.parquet"),
    "videos": re.compile(r"file-(\d{3,})\.mp4"),
}


def next_place(root: Path, info: DatasetInfo) -> int:
    """The first place that no file has, in any folder, nor one after it."""
    highest = -1
    for folder in _folders(root):
        chunks = _numbered(folder, _CHUNK)
        if chunks:
            chunk = max(chunks)
            files = _numbered(folder / chunks[chunk], re.compile(r"file-(\d{3,})\..*"))
            highest = max(highest, chunk * info.chunks_size + max(files, default=-1))
    return highest + 1


def common_places(root: Path, info: DatasetInfo) -> list[int] | None:
    """The places of all episodes, in order, if every folder has exactly the same ones and nothing
    else; None for a dataset that was written otherwise, or lacks a file."""
    if info.data_path != DATA_PATH or info.video_path not in (VIDEO_PATH, None):
        return None
    folders = {"data", "meta/episodes", *(f"videos/{key}" for key in info.video_cameras)}
    found = {folder.relative_to(root).as_posix() for folder in _folders(root)}
    if found - folders:
        return None
    places: set[int] | None = None
    for name in sorted(folders):
        here = _places(root / name, _FILE[name if name in _FILE else "videos"], info.chunks_size)
        if here is None or (places is not None and here != places):
            return None
        places = here
    return sorted(places or ())


def _places(folder: Path, pattern: re.Pattern[str], chunks_size: int) -> set[int] | None:
    found: set[int] = set()
    for entry in _entries(folder):
        chunk = _CHUNK.fullmatch(entry)
        if chunk is None:
            return None
        for name in _entries(folder / entry):
            file = pattern.fullmatch(name)
            if file is None:
                return None
            found.add(int(chunk[1]) * chunks_size + int(file[1]))
    return found


def _folders(root: Path) -> list[Path]:
    """Those that hold chunks."""
    cameras = [root / "videos" / name for name in _entries(root / "videos")]
    return [
        folder for folder in (root / "data", root / "meta/episodes", *cameras) if folder.is_dir()
    ]


def _numbered(folder: Path, pattern: re.Pattern[str]) -> dict[int, str]:
    matches = ((pattern.fullmatch(name), name) for name in _entries(folder))
    return {int(match[1]): name for match, name in matches if match}


def _entries(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
