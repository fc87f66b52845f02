"""Ownership of directories by a marker file: what a fleet may delete, rotate or overwrite.

The paths come from environment variables and a fleet's name, and may name a directory of the user's
by mistake. Guaranteed: a directory is claimed only when it is empty or carries the marker of the
same use, and nothing is removed from one without the marker.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...errors import RuntimeDirError


@dataclass(frozen=True)
class Use:
    """The use of a directory: `marker` is the name of its marker file, `text` the file's content,
    `remedy` what a person can do when the directory is refused."""

    marker: str
    text: str
    remedy: str
    linked: bool = False
    """Whether the directory may be reached by a symbolic link."""


RUNTIME = Use(
    ".holdfast-runtime",
    "Sockets and locks of Holdfast. This directory is deleted, with all that is in it, when its "
    "owner ends.\n",
    "set HOLDFAST_RUNTIME to another directory, or give the fleet another `name:`",
)
STATE = Use(
    ".holdfast-state",
    "Logs and records of a fleet of Holdfast. Old ones are deleted as new ones come.\n",
    "set HOLDFAST_STATE to another directory, or give the fleet another `name:`",
    linked=True,
)


def claim(path: Path, use: Use, ours: Callable[[Path], bool] = lambda _path: False) -> None:
    """Create the directory `path`, or take it over, for this user alone (0700).

    Entries for which `ours` is true are ignored. Raises RuntimeDirError when it cannot be created,
    is another user's, or is not empty and has no marker.
    """
    own_directory(path, use)
    if not claimed(path, use):
        found = sorted(entry.name for entry in path.iterdir() if not ours(entry))
        if found and not claimed(path, use):  # by another process, since the look before
            shown = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if found[3:] else "")
            raise RuntimeDirError(
                f"{path} was not made by Holdfast and is not empty (it holds {shown}): {use.remedy}"
            )
        with suppress(FileExistsError):  # another process claims it at the same time
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(path / use.marker, flags, 0o600), "w") as marker:
                marker.write(use.text)
    path.chmod(0o700)


def claimed(path: Path, use: Use) -> bool:
    """Whether `path` is a directory with the marker of `use`, written by this user."""
    try:
        directory, marker = path.lstat(), (path / use.marker).lstat()
    except OSError:
        return False
    if stat.S_ISLNK(directory.st_mode) and not use.linked:
        return False
    return stat.S_ISREG(marker.st_mode) and marker.st_uid == os.getuid()


def own_directory(path: Path, use: Use) -> None:
    """Create the directory `path` unless it exists. Raises RuntimeDirError when it cannot be
    created or is not this user's."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat() if use.linked else path.lstat()
    except OSError as error:
        raise RuntimeDirError(
            f"the directory {path} cannot be made ({error.strerror}): {use.remedy}"
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise RuntimeDirError(f"{path} is not a directory of this user's: {use.remedy}")


def empty(path: Path, use: Use, keep: str) -> None:
    """Remove everything but the marker and the file `keep` from a directory that is `claimed`."""
    if not claimed(path, use):
        return
    for left in path.iterdir():
        if left.name in (keep, use.marker):
            continue
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def release(path: Path, use: Use, lock: str) -> None:
    """Remove a directory that is `claimed` and whose file `lock` the caller has locked."""
    if not claimed(path, use):
        return
    empty(path, use, lock)
    (path / use.marker).unlink(missing_ok=True)
    # Last, so that no other process locks the directory while it is emptied. One that comes between
    # these lines finds a directory with a lock alone, and claims it once it has the lock.
    (path / lock).unlink(missing_ok=True)
    with suppress(OSError):  # another process has claimed it
        path.rmdir()
