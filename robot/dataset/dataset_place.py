"""Whether a folder can become a dataset, or is one. Imports nothing heavy, and changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

from .commit_plan import STAGING
from .dataset_info import INFO


def other_content(root: Path) -> str:
    """What a folder holds that is no dataset; empty if it is one, or could become one."""
    if not root.exists() or (root / INFO).exists():
        return ""
    if not root.is_dir():
        return f"{root} is a file, expected a folder"
    other = [path.name for path in root.iterdir() if path.name != STAGING]
    # `meta` without info.json is what a kill before the first commit may leave.
    foreign = other and (other != ["meta"] or any((root / "meta").iterdir()))
    # Another process may have made the dataset since the first look.
    if foreign and not (root / INFO).exists():
        return f"{root} holds {', '.join(sorted(other)[:3])}, but no {INFO}: it is no dataset"
    return ""


def cannot_write(root: Path) -> str:
    """Why nothing can be made in `root`, or `root` itself; empty if it can."""
    place = root
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        return f"{root} cannot be made: {place} is a file"
    if not os.access(place, os.W_OK | os.X_OK):
        return f"{root} cannot be {'written' if place == root else 'made'}: {place} is not writable"
    return ""
