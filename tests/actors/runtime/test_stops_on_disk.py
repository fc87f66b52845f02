"""Stops and lifts of a site outlast a power cut, and no loop waits for the disk."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from holdfast.actors.driver import emergency_stop, latch
from holdfast.actors.driver.stop_outcome import StopOutcome
from holdfast.actors.runtime import durable, site_stop_store
from holdfast.actors.runtime.lifting import lifts_of
from holdfast.actors.runtime.robots_file import KnownRobot, KnownRobots
from holdfast.actors.runtime.site_stop_files import FOLDER
from holdfast.actors.runtime.site_stops import new_stop
from holdfast.tests.actors.driver.kept_stops import store_of
from holdfast.tests.waiting import wait_until
from holdfast.transport.stop_bodies import MAX_STOPS


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What the disk was waited for, in this order."""
    found: list[Path] = []
    sync = os.fsync

    def noted(fd: int) -> None:
        found.append(Path(f"/proc/self/fd/{fd}").readlink())
        sync(fd)

    monkeypatch.setattr(os, "fsync", noted)
    return found


def files(state: Path, kind: str) -> set[Path]:
    return set((state / FOLDER).glob(f"{kind}.*"))


def test_a_stop_and_a_lift_are_on_the_disk_with_their_folder_when_they_are_settled(
    tmp_path: Path, synced: list[Path]
) -> None:
    """The file first, and then that it is in the folder, and the folder in the state directory."""
    stop = new_stop(["r1"], "anna", "smoke", 1.0)
    store = store_of(tmp_path)
    store.add([stop], [])
    assert store_of(tmp_path).holding("r1") == [stop], "it holds before the disk has it"
    assert not synced
    store.settle()
    assert synced[0] == tmp_path / FOLDER / f"stop.{stop.id}"
    assert set(synced[1:]) == {tmp_path / FOLDER, tmp_path}
    synced.clear()
    store.settle()
    assert not synced, "there is nothing new"
    store.add([], lifts_of([(stop.id, ())], "ben", None))
    store.settle()
    assert {synced[0]} == files(tmp_path, "lift")


def test_a_stop_from_a_terminal_is_on_the_disk_when_it_is_reported(
    tmp_path: Path, synced: list[Path]
) -> None:
    """That of a robot of this machine, and one for the site; so are the releases."""
    robots = (KnownRobot("r1", wake=str(tmp_path / "none")), KnownRobot("r2", host="cell"))
    fleet = KnownRobots(fleet="f", state_dir=str(tmp_path), robots=robots)
    emergency_stop.stop([fleet], ["r1"], by="anna", here=True, patience_s=0.0)
    assert latch.place(tmp_path, "r1") in synced and tmp_path / "estop" in synced
    synced.clear()
    emergency_stop.stop([fleet], by="anna", patience_s=0.0)
    assert files(tmp_path, "stop") <= set(synced) and tmp_path / FOLDER in synced
    synced.clear()
    emergency_stop.release([fleet], patience_s=0.0)
    assert files(tmp_path, "lift") <= set(synced)
    assert tmp_path / FOLDER in synced and tmp_path / "estop" in synced


def outcomes_of(tmp_path: Path) -> Iterator[StopOutcome]:
    """Of stops, of this host alone, of the site and by name, and of their lifts."""
    here = (KnownRobot(name, wake=str(tmp_path / name)) for name in ("r0", "r1"))
    robots = (*here, KnownRobot("r2", host="cell"))
    fleet = KnownRobots(fleet="f", state_dir=str(tmp_path), robots=robots)
    yield from emergency_stop.stop([fleet], by="anna", here=True, patience_s=0.0)
    yield from emergency_stop.stop([fleet], by="anna", patience_s=0.0)
    yield from emergency_stop.stop([fleet], ["r2", "bench"], by="anna", patience_s=0.0)
    assert latch.engaged(tmp_path, "r1") and store_of(tmp_path).holding("r2")
    yield from emergency_stop.release([fleet], patience_s=0.0)
    assert not latch.engaged(tmp_path, "r1") and not store_of(tmp_path).holding("r2")


def test_a_disk_that_fails_is_in_each_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop is in force all the same, and is not said to hold nothing, or not to be written."""

    def fails(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    for outcome in outcomes_of(tmp_path):
        assert "a power cut may undo it ([Errno 5] Input/output error)" in outcome.message
        assert "nothing holds it" not in outcome.message
        assert outcome.robot != "bench" or "a stop for it is in force" in outcome.message
        if outcome.robot in ("r0", "r1") and outcome.latched:
            assert "not running" in outcome.message


def test_a_disk_that_hangs_is_in_each_outcome_after_a_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command does not wait for the disk without end."""
    go_on = threading.Event()
    monkeypatch.setattr(os, "fsync", lambda _: go_on.wait(60))
    monkeypatch.setattr(emergency_stop, "SETTLE_S", 0.05)
    try:
        for outcome in outcomes_of(tmp_path):
            assert "a power cut may undo it (the disk has not answered yet)" in outcome.message
    finally:
        go_on.set()


def test_a_latch_without_a_driver_is_gone_from_the_disk_when_its_release_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder is synced after the file was removed."""
    there: list[bool] = []

    def noted(fd: int) -> None:
        if Path(f"/proc/self/fd/{fd}").readlink() == tmp_path / "estop":
            there.append(latch.engaged(tmp_path, "r1") is not None)

    latch.engage(tmp_path, "r1", "anna")
    monkeypatch.setattr(os, "fsync", noted)
    robots = (KnownRobot("r1", wake=str(tmp_path / "none")),)
    fleet = KnownRobots(fleet="f", state_dir=str(tmp_path), robots=robots)
    emergency_stop.release([fleet], ["r1"], patience_s=0.0)
    assert there == [False]


def test_an_actor_does_not_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that hangs delays no call; what came meanwhile is settled afterwards."""
    go_on = threading.Event()
    settled: list[Path] = []

    def hangs(paths: list[Path]) -> None:
        assert go_on.wait(60)
        settled.extend(paths)

    monkeypatch.setattr(durable, "settle", hangs)
    store = store_of(tmp_path)
    store.prepare()
    stops = [new_stop(["r1"], "anna", "", float(k)) for k in range(3)]
    for stop in stops:
        store.add([stop], [])
        store.look()
        assert stop in store_of(tmp_path).holding("r1") and not settled
    go_on.set()
    wanted = files(tmp_path, "stop")
    wait_until(lambda: (store.look(), set(settled) == wanted)[1], "all are settled", within_s=60)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at every look."""
    monkeypatch.setattr(site_stop_store, "AGAIN_NS", 0)


@pytest.mark.parametrize("fault", [OSError(errno.EIO, "Input/output error"), None])
def test_an_actor_says_that_a_disk_fails_and_waits_for_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: OSError | None
) -> None:
    """For all that was written, until it succeeds; also where the system has no thread for it."""
    settle = durable.settle
    settled: set[Path] = set()

    def fails(_: object) -> None:
        assert fault is not None
        raise fault

    def noted(paths: Collection[Path]) -> None:
        settle(paths)
        settled.update(paths)

    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    store = store_of(tmp_path)
    store.prepare()
    with monkeypatch.context() as patched:
        if fault is None:
            patched.setattr(threading.Thread, "start", none_left)
        patched.setattr(durable, "settle", fails)
        store.add([new_stop(["r1"], "anna", "", 1.0)], [])
        why = "can't start new thread" if fault is None else "Input/output"
        wait_until(lambda: (store.look(), why in store.unsettled)[1], within_s=60)
    monkeypatch.setattr(durable, "settle", noted)
    store.add([new_stop(["r1"], "anna", "", 2.0)], [])
    monkeypatch.setattr(site_stop_store, "AGAIN_NS", 0)
    wait_until(lambda: (store.look(), settled == files(tmp_path, "stop"))[1], within_s=60)
    wait_until(lambda: (store.look(), not store.unsettled)[1], within_s=60)


@pytest.mark.usefixtures("impatient")
def test_what_a_full_disk_refused_is_written_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without hearing of it again; nothing is left over of the attempts."""
    write = Path.write_bytes

    def full(path: Path, packed: bytes) -> int:
        write(path, packed[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    store = store_of(tmp_path)
    stop = new_stop(["r1"], "anna", "", 1.0)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            store.add([stop], [])
        assert not store.look() and "No space left" in store.unwritten
        assert store.holding("r1") == [stop] and not store_of(tmp_path).holding("r1")
        assert not list((tmp_path / FOLDER).iterdir())
    store.look()
    assert not store.unwritten and store_of(tmp_path).holding("r1") == [stop]
    store.settle()


def test_a_stop_that_is_over_is_removed_before_its_lifts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader of the folder would else find a stop without its lift, and hold its robot."""
    unlink = Path.unlink

    def looked(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        assert not store_of(tmp_path).holding("r1")

    for _ in range(8):
        store = store_of(tmp_path)
        stops = [new_stop(["r1"], "anna", "", float(k)) for k in range(MAX_STOPS)]
        store.add(stops, [])
        store.add([], lifts_of([(stop.id, ()) for stop in stops], "ben", None))
        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", looked)
            store.settle()
    assert len(files(tmp_path, "stop")) == MAX_STOPS


@pytest.mark.parametrize("in_loop", [False, True])
def test_a_stop_that_another_stands_in_for_is_removed_once_that_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_loop: bool
) -> None:
    """A power cut before that would lose both."""
    stops = [new_stop([f"r{k}"], "anna", "", float(k)) for k in range(MAX_STOPS + 1)]
    for stop in stops[:-1]:
        store_of(tmp_path).add([stop], [])
    store = store_of(tmp_path)
    settle = durable.settle
    there: list[bool] = []
    replaced = tmp_path / FOLDER / f"stop.{stops[-2].id}"

    def noted(paths: list[Path]) -> None:
        there.append(replaced.exists())
        settle(paths)

    monkeypatch.setattr(durable, "settle", noted)
    if in_loop:
        store.prepare()
    store.add([stops[-1]], [])
    if not in_loop:
        store.settle()
    wait_until(lambda: (store.look(), not replaced.exists())[1], within_s=60)
    assert there == [True]
    assert all(store_of(tmp_path).holding(f"r{k}") for k in range(MAX_STOPS + 1))
