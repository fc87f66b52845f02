"""What is done to a dataset before it is written to: a commit that was interrupted is completed,
and what no commit covers is put aside.

Nothing that was recorded is deleted: files that do not belong to the dataset are moved to
`.recording/aside-N`. A dataset whose damage is in its middle, with whole episodes behind it, is not
touched here; `cut_back` is then a person's decision (`actorctl dataset repair`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from ... import disk
from ...errors import DatasetError
from . import episode_stats
from .commit_plan import (
    REDO,
    STAGING,
    Move,
    Operation,
    RedoRecord,
    carry_out,
    crc32_of,
    make_durable_folder,
    moving,
)
from .dataset_info import INFO, STATS, TASKS, DatasetInfo, read_info
from .dataset_reader import episode_files, read_parquet, read_tasks
from .episode_places import common_places
from .episode_stats import Stats
from .verification import VerifiedEpisode, last_faults, verify_episodes


def recover(root: Path) -> list[str]:
    """Complete or undo what an interrupted process left; returns what was done, in words.

    The caller holds the dataset's lock. Raises DatasetError where a person has to decide.
    """
    done = redo(root)
    info = read_info(root)
    if _only_the_last_is_new(root, info):
        return done
    found = list(verify_episodes(root, info, thorough=False))
    whole = _prefix(found)
    if any(not each.faults for each in found[whole:]):
        fault = found[whole].faults[0]
        raise DatasetError(
            f"{root}: episode {whole} is damaged ({fault}), and whole episodes follow it: see "
            "`actorctl dataset verify`; `actorctl dataset repair` keeps the episodes before it"
        )
    if whole < info.total_episodes:
        done.append(
            f"episodes from {whole} on are damaged and were put aside: {found[whole].faults[0]}"
        )
    return done + cut_back(root, info, found[:whole])


def _only_the_last_is_new(root: Path, info: DatasetInfo) -> bool:
    """Whether every episode that info.json counts has its files and no other file is there, and the
    last one is whole. What was recorded before it was synchronized before it, so that no kill can
    have damaged it: `verify` reads it, and an opening takes no longer for it."""
    places = common_places(root, info)
    if places is None or len(places) != info.total_episodes:
        return False
    try:
        if len(read_tasks(root) if (root / TASKS).exists() else ()) != info.total_tasks:
            return False
        return not places or not last_faults(root, info, places[-1])
    except DatasetError:
        return False


def redo(root: Path) -> list[str]:
    """Complete the commit of the redo record, if there is one."""
    path = root / REDO
    try:
        record = msgspec.json.decode(path.read_bytes(), type=RedoRecord)
    except FileNotFoundError:
        return []
    except msgspec.MsgspecError:
        # It was synchronized before it got its name: the disk lost it, and the moves came later.
        path.unlink()
        return ["an unreadable redo record was removed"]
    left = [move for move in record.moves if not _is_moved(root, move)]
    lost = [move.to for move in left if not _holds(root / move.staged, move)]
    if lost:
        _rebuild_stats(root)
        path.unlink()
        return [f"{record.subject} could not be completed: {', '.join(lost)} is lost"]
    carry_out(root, moving(left))
    return [f"{record.subject} was completed"]


def cut_back(root: Path, info: DatasetInfo, kept: list[VerifiedEpisode]) -> list[str]:
    """Make the dataset end after `kept`, its first episodes. Files of none of them are put aside.

    Statistics and info.json are replaced first: an interruption leaves files too many, which the
    next call puts aside. Raises DatasetError when a file is shared by a kept episode and one
    that goes.
    """
    done = []
    entries = [each.entry for each in kept]
    tasks = len(read_tasks(root)) if (root / TASKS).exists() else 0
    if len(entries) < info.total_episodes or tasks != info.total_tasks:
        _refuse_shared(root, info, kept)
        parts = stats_of_episodes(root, len(entries))
        if parts:
            replace_file(root, STATS, encode_stats(episode_stats.merged(parts)))
        frames = entries[-1].to_index if entries else 0
        replace_file(root, INFO, updated_info(info, len(entries), frames, tasks))
        if len(entries) < info.total_episodes:
            done.append(f"{info.total_episodes - len(entries)} episodes were cut off the end")
    files = {entry.data for entry in entries}
    files |= {span.path for entry in entries for span in entry.videos.values()}
    files |= {each.meta_file for each in kept}
    extra = [path for path in content_files(root) if path.relative_to(root).as_posix() not in files]
    if extra:
        aside = _put_aside(root, extra)
        done.append(f"{len(extra)} files of no whole episode were moved to {aside}")
    return done


def content_files(root: Path) -> list[Path]:
    """All files of data, meta/episodes and videos."""
    found = [*root.glob("data/chunk-*/*"), *root.glob("videos/*/chunk-*/*"), *episode_files(root)]
    return sorted(path for path in found if path.is_file())


def stats_of_episodes(root: Path, count: int) -> list[dict[str, Stats]]:
    """The statistics in meta/episodes of the first `count` episodes."""
    found: dict[int, dict[str, Stats]] = {}
    for path in episode_files(root):
        for row in read_parquet(path).to_pylist():
            if row["episode_index"] < count:
                found[row["episode_index"]] = _stats_of(row)
    return [found[index] for index in sorted(found)]


def encode_stats(stats: dict[str, Stats]) -> bytes:
    """As meta/stats.json."""
    plain = {
        key: {
            name: value.astype(np.int64).tolist() if name == "count" else value.tolist()
            for name, value in of.items()
        }
        for key, of in stats.items()
    }
    return msgspec.json.format(msgspec.json.encode(plain), indent=4)


def updated_info(info: DatasetInfo, episodes: int, frames: int, tasks: int) -> bytes:
    """meta/info.json with other counts, all else as it was."""
    made: dict[str, Any] = {
        **info.raw,
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "splits": {"train": f"0:{episodes}"} if episodes else {},
    }
    return msgspec.json.format(msgspec.json.encode(made), indent=4)


def replace_file(root: Path, path: str, content: bytes) -> None:
    """Give a file another content, durably and at once."""
    make_durable_folder(root / STAGING, root)
    part = f"{STAGING}/{Path(path).name}.part"
    folder = str(Path(path).parent)
    carry_out(
        root,
        [
            Operation("write", part, content=content),
            Operation("sync", part),
            Operation("make_folder", folder),
            Operation("move", part, path),
            Operation("sync_folder", folder),
        ],
    )


def _rebuild_stats(root: Path) -> None:
    """As meta/episodes says, of the episodes that info.json counts."""
    parts = stats_of_episodes(root, read_info(root).total_episodes)
    if parts:
        replace_file(root, STATS, encode_stats(episode_stats.merged(parts)))


def _prefix(found: list[VerifiedEpisode]) -> int:
    return next((place for place, each in enumerate(found) if each.faults), len(found))


def _is_moved(root: Path, move: Move) -> bool:
    return not (root / move.staged).exists() and _holds(root / move.to, move)


def _holds(path: Path, move: Move) -> bool:
    try:
        return path.stat().st_size == move.size and crc32_of(path) == move.crc32
    except OSError:
        return False


def _refuse_shared(root: Path, info: DatasetInfo, kept: list[VerifiedEpisode]) -> None:
    files = {each.entry.data for each in kept} | {each.meta_file for each in kept}
    for each in list(verify_episodes(root, info, thorough=False))[len(kept) :]:
        if each.entry.length and {each.entry.data, each.meta_file} & files:
            raise DatasetError(
                f"{root}: episode {each.entry.index} shares a file with an episode that is whole: "
                "a dataset that was written elsewhere cannot be cut there"
            )


def _put_aside(root: Path, files: list[Path]) -> str:
    number = 1 + sum(1 for _ in (root / STAGING).glob("aside-*"))
    aside = root / STAGING / f"aside-{number}"
    for path in files:
        target = aside / path.relative_to(root)
        make_durable_folder(target.parent, root)
        path.rename(target)
        disk.sync(target.parent)
        disk.sync(path.parent)
    return aside.relative_to(root).as_posix()


def _stats_of(row: dict[str, Any]) -> dict[str, Stats]:
    made: dict[str, Stats] = {}
    for key, value in row.items():
        if key.startswith("stats/"):
            feature, _, name = key.removeprefix("stats/").rpartition("/")
            made.setdefault(feature, {})[name] = np.array(value, np.float64)
    return made


def stats_columns(stats: dict[str, Stats]) -> dict[str, pa.Array]:
    """The statistics of one episode as columns of meta/episodes."""
    made = {}
    for key, of in stats.items():
        for name, value in of.items():
            kind = np.int64 if name == "count" else np.float64
            made[f"stats/{key}/{name}"] = pa.array([value.astype(kind).tolist()])
    return made
