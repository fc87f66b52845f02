"""`CommitPlan`: the operations that make a recorded episode part of a dataset, in their order.

Pure but for `carry_out`, so that a test can end the sequence after every operation. The order:

1. every staged file is synchronized, then its folder;
2. the redo record, which lists the moves, is written, synchronized and named;
3. the files are moved: videos, data, meta/episodes, statistics and tasks, info.json last; after
   each kind, the folders it went to are synchronized;
4. the redo record is removed.

From the end of step 2 on, a restart completes the moves (`recovery.redo`). Before it, the dataset
is untouched. What is moved is a whole file, always: a reader sees the old one or the new one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec

from ... import disk
from .dataset_info import INFO, STATS, TASKS

STAGING = ".recording"
"""The folder in a dataset's root that holds what is not yet, or no more, part of it."""
REDO = f"{STAGING}/redo.json"
_REDO_PART = f"{STAGING}/redo.part"

Kind = Literal["sync", "sync_folder", "make_folder", "write", "move", "remove"]


class Operation(msgspec.Struct, frozen=True):
    """One call of the file system. Paths are relative to the dataset's root."""

    kind: Kind
    path: str
    to: str = ""
    content: bytes = b""


class Move(msgspec.Struct, frozen=True):
    """A staged file, where it goes, and what is in it."""

    staged: str
    to: str
    size: int
    crc32: int


class RedoRecord(msgspec.Struct, frozen=True):
    """All moves of one episode, or of one video that was `transcoded`, in order."""

    episode: int
    moves: list[Move]
    transcoded: str = ""

    @property
    def subject(self) -> str:
        """What is committed."""
        if self.transcoded:
            return f"the transcoding of {self.transcoded}"
        return f"the commit of episode {self.episode}"


def plan(record: RedoRecord) -> list[Operation]:
    """The whole sequence."""
    staged = [move.staged for move in record.moves]
    return [
        *(Operation("sync", path) for path in staged),
        *(Operation("sync_folder", path) for path in _folders(staged)),
        Operation("write", _REDO_PART, content=msgspec.json.encode(record)),
        Operation("sync", _REDO_PART),
        Operation("move", _REDO_PART, REDO),
        Operation("sync_folder", STAGING),
        *moving(record.moves),
    ]


def moving(moves: list[Move]) -> Iterator[Operation]:
    """Steps 3 and 4: also what a redo does, with the moves that are left."""
    for group in _by_kind(moves):
        folders = _folders(move.to for move in group)
        for folder in folders:
            yield Operation("make_folder", folder)
        for move in group:
            yield Operation("move", move.staged, move.to)
        for folder in folders:
            yield Operation("sync_folder", folder)
    yield Operation("remove", REDO)
    yield Operation("sync_folder", STAGING)


def describe(root: Path, staged: str, to: str) -> Move:
    """The move of a file that lies there now."""
    return Move(staged, to, (root / staged).stat().st_size, crc32_of(root / staged))


def crc32_of(path: Path) -> int:
    """Of the file's content. Raises OSError."""
    found = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found = zlib.crc32(block, found)
    return found


def carry_out(root: Path, operations: Iterable[Operation]) -> None:
    """Do them, in order. Raises OSError."""
    for operation in operations:
        path = root / operation.path
        match operation.kind:
            case "sync" | "sync_folder":
                disk.sync(path)
            case "make_folder":
                make_durable_folder(path, root)
            case "write":
                path.write_bytes(operation.content)
            case "move":
                path.rename(root / operation.to)
            case "remove":
                path.unlink(missing_ok=True)


def make_durable_folder(folder: Path, root: Path) -> None:
    """Make `folder` below `root`, with its parents, each entered in its parent durably."""
    if folder == root or folder.is_dir():
        return
    make_durable_folder(folder.parent, root)
    folder.mkdir(exist_ok=True)
    disk.sync(folder.parent)


def _by_kind(moves: list[Move]) -> list[list[Move]]:
    """Videos, data, meta/episodes, statistics and tasks, info.json."""
    groups: list[list[Move]] = [[], [], [], [], []]
    for move in moves:
        groups[_rank(move.to)].append(move)
    return [group for group in groups if group]


def _rank(path: str) -> int:
    if path == INFO:
        return 4
    if path in {STATS, TASKS}:
        return 3
    top = PurePosixPath(path).parts[0]
    return {"videos": 0, "data": 1}.get(top, 2)


def _folders(paths: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(str(PurePosixPath(path).parent) for path in paths))
