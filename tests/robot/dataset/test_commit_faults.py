"""A crash after every operation of a commit, with renames that the disk kept or lost: the dataset
opens with all finished episodes."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from holdfast.errors import DatasetError
from holdfast.robot.dataset import commit_plan
from holdfast.robot.dataset.commit_plan import REDO, STAGING, Operation, carry_out, crc32_of
from holdfast.robot.dataset.dataset_info import INFO, STATS
from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.robot.dataset.dataset_writer import DatasetWriter
from holdfast.robot.dataset.recovery import content_files
from holdfast.robot.dataset.verification import verify

from . import recordings
from .recordings import SMALL, record

Sequence = tuple[Path, list[Operation]]


@pytest.fixture(scope="module")
def sequence(tmp_path_factory: pytest.TempPathFactory) -> Sequence:
    """A dataset of two finished episodes with a third that is staged, and the operations of its
    commit."""
    root = tmp_path_factory.mktemp("faults") / "set"
    recordings.dataset(root, SMALL, (3, 4))
    writer = DatasetWriter(root, "r1", SMALL)
    recording = record(writer, 2, 5)
    _, operations = writer._stage(recording, recording.close(), None)
    writer.close()
    return root, operations


def unsynchronized(operations: list[Operation]) -> list[Operation]:
    """The moves and removals that a crash after `operations` may undo."""
    left: list[Operation] = []
    for operation in operations:
        if operation.kind in {"move", "remove"}:
            left.append(operation)
        elif operation.kind == "sync_folder":
            left = [o for o in left if folder_of(o) != operation.path]
    return left


def folder_of(operation: Operation) -> str:
    return str(PurePosixPath(operation.to or operation.path).parent)


def crashes(operations: list[Operation]) -> Iterator[tuple[int, tuple[Operation, ...], bool]]:
    """Every crash: the operations done, those that the disk lost, and whether the lost moves left
    both names."""
    for count in range(len(operations) + 1):
        loose = unsynchronized(operations[:count])
        for number in range(len(loose) + 1):
            for lost in itertools.combinations(loose, number):
                yield count, lost, False
                if number and all(operation.kind == "move" for operation in lost):
                    yield count, lost, True


def crash(
    root: Path, operations: list[Operation], lost: tuple[Operation, ...], doubled: bool
) -> None:
    """Carry out the operations, without the effect of the lost ones."""
    for operation in operations:
        if operation not in lost:
            carry_out(root, [operation])
        elif doubled:
            shutil.copyfile(root / operation.path, root / operation.to)


def contents(root: Path, episodes: int) -> list[int]:
    """The checksums of all files of the first episodes."""
    entries = Dataset(root).episodes[:episodes]
    paths = [entry.data for entry in entries]
    paths += [span.path for entry in entries for span in entry.videos.values()]
    return [crc32_of(root / path) for path in paths]


def test_every_crash_within_a_commit_keeps_all_finished_episodes(
    sequence: Sequence, tmp_path: Path
) -> None:
    """It opens with two or three episodes, three once the redo record is safe, and goes on."""
    template, operations = sequence
    finished = contents(template, 2)
    safe = next(k for k, o in enumerate(operations) if (o.kind, o.to) == ("move", REDO)) + 2
    cases = list(crashes(operations))
    assert len(cases) > len(operations) > 25
    for number, (count, lost, doubled) in enumerate(cases):
        root = tmp_path / str(number)
        shutil.copytree(template, root)
        crash(root, operations[:count], lost, doubled)
        told = f"after {count} operations, lost {[o.to or o.path for o in lost]}, {doubled}"
        assert len(Dataset(root)) >= 2, f"readable as it is, {told}"
        writer = DatasetWriter(root, "r1", SMALL)
        found = verify(root)
        assert found.whole, (told, found.faults, [e.faults for e in found.episodes])
        assert contents(root, 2) == finished, told
        assert found.info.total_episodes >= (3 if count >= safe else 2), told
        assert not (root / REDO).exists(), told
        index = writer.commit(record(writer, 3, 2))
        assert index == found.info.total_episodes, told
        writer.close()
        assert verify(root).whole, told
        shutil.rmtree(root)


def test_the_order_of_a_commit_is_the_one_that_recovery_relies_on(sequence: Sequence) -> None:
    """Files are safe before the record, the record before the moves, and info.json comes last."""
    _, operations = sequence
    moves = [o for o in operations if o.kind == "move"]
    synced = [o.path for o in operations[: operations.index(moves[0])] if o.kind == "sync"]
    assert moves[0].to == REDO
    assert {move.path for move in moves} == set(synced)
    order = [PurePosixPath(move.to).parts[0] for move in moves[1:]]
    assert order == ["videos", "data", "meta", "meta", "meta", "meta"], "tasks too"
    assert [move.to for move in moves[1:]][-1] == INFO
    for place, move in enumerate(operations):
        if move.kind == "move":
            ahead = itertools.takewhile(lambda o: o.kind == "move", operations[place:])
            group = list(ahead)
            after = operations[place + len(group)]
            assert (after.kind, after.path) == ("sync_folder", folder_of(group[0]))


def test_a_redo_record_whose_files_are_lost_costs_its_episode_only(
    sequence: Sequence, tmp_path: Path
) -> None:
    """A disk that lost synchronized files loses the unfinished episode, and the rest is whole."""
    template, operations = sequence
    for place in (n for n, o in enumerate(operations) if o.kind == "move"):
        root = tmp_path / str(place)
        shutil.copytree(template, root)
        carry_out(root, operations[: place + 1])
        for path in (root / STAGING / "r1").rglob("*.parquet"):
            path.unlink()
        writer = DatasetWriter(root, "r1", SMALL)
        writer.close()
        found = verify(root)
        assert found.whole, (place, found.faults)
        assert found.info.total_episodes >= 2
        stats = Dataset(root).stats()["action"]["count"]
        assert stats == [found.info.total_frames]


def test_an_interrupted_recovery_is_recovered_from(sequence: Sequence, tmp_path: Path) -> None:
    """A crash within the redo, after every one of its operations, is completed by the next one."""
    template, operations = sequence
    start = next(n for n, o in enumerate(operations) if o.to == REDO) + 2
    for count in range(start, len(operations)):
        root = tmp_path / str(count)
        shutil.copytree(template, root)
        carry_out(root, operations[:start])
        carry_out(root, operations[start:count])
        DatasetWriter(root, "r1", SMALL).close()
        assert verify(root).info.total_episodes == 3
        assert verify(root).whole


def test_a_damaged_last_episode_is_put_aside(tmp_path: Path) -> None:
    """A truncated video at the end costs its episode; the file is kept for a person."""
    root = tmp_path / "set"
    recordings.dataset(root, SMALL, (3, 4))
    video = root / Dataset(root).episodes[1].videos["observation.images.top"].path
    os.truncate(video, 100)
    writer = DatasetWriter(root, "r1", SMALL)
    writer.close()
    assert "damaged" in writer.recovered[0]
    assert verify(root).whole
    assert len(Dataset(root)) == 1
    assert Dataset(root).stats()["action"]["count"] == [3]
    aside = list((root / STAGING).glob("aside-1/videos/*/*/*"))
    assert [path.stat().st_size for path in aside] == [100]


def test_damage_before_whole_episodes_is_for_a_person_to_decide(tmp_path: Path) -> None:
    """Nothing is cut where whole episodes would go with it: the refusal names both commands."""
    root = tmp_path / "set"
    recordings.dataset(root, SMALL, (3, 4, 5))
    video = root / Dataset(root).episodes[1].videos["observation.images.top"].path
    video.unlink()
    before = content_files(root)
    with pytest.raises(DatasetError, match=r"episode 1 is damaged.*dataset repair"):
        DatasetWriter(root, "r1", SMALL)
    assert content_files(root) == before


def test_statistics_are_replaced_with_the_episodes(sequence: Sequence) -> None:
    """stats.json is among the moves, after meta/episodes and before info.json."""
    _, operations = sequence
    order = [o.to for o in operations if o.kind == "move"]
    meta = next(place for place, to in enumerate(order) if to.startswith("meta/episodes"))
    assert meta < order.index(STATS) < order.index(INFO)
    assert commit_plan.STAGING not in {PurePosixPath(to).parts[0] for to in order[1:]}
