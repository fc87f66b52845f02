"""Stops and lifts of the site that the system does not let a process read."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.actors.runtime.lifting import lifts_of
from holdfast.actors.runtime.site_stop_files import FOLDER
from holdfast.actors.runtime.site_stop_store import SiteStopStore
from holdfast.actors.runtime.site_stops import new_stop
from holdfast.tests.actors.driver.kept_stops import keeper, site_lift, site_stop, store_of


def test_a_stop_of_the_site_that_cannot_be_read_holds_every_robot(tmp_path: Path) -> None:
    """A damaged file is as good as a stop; lifting all lifts it."""
    site_stop(tmp_path)
    (tmp_path / FOLDER / f"stop.{'0' * 16}").write_bytes(b"\xff damaged")
    store = store_of(tmp_path)
    assert [stop.by for stop in store.stops.holding("left")] == ["unknown", "anna@hub"]
    held = keeper(tmp_path)
    assert held.look()
    store.add([], lifts_of(store.stops.lifting([]), "ben", None))
    held.look()
    assert held.stop is None and held.freed()


def test_a_file_that_cannot_be_read_does_not_keep_a_stop_from_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new stop replaces the file."""
    first = site_stop(tmp_path)
    file = tmp_path / FOLDER / f"stop.{first.id}"
    read = Path.read_bytes

    def denied(path: Path) -> bytes:
        if path == file:
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", denied)
    second = new_stop(["left"], "ben", "", 2.0)
    SiteStopStore(tmp_path, None).add([second], [])
    monkeypatch.undo()
    store = store_of(tmp_path)
    assert second in store.stops.holding("left") and first.id in store.stops.stops


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["stop", "lift"])
def test_a_file_that_cannot_be_read_for_a_moment_is_read_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Meanwhile a stop holds every robot, and a lift none."""
    read = Path.read_bytes

    def full(path: Path) -> bytes:
        if path.name.startswith(f"{kind}."):
            raise OSError(errno.EMFILE, "Too many open files")
        return read(path)

    held = keeper(tmp_path)
    held.look()
    stop = new_stop(["right"] if kind == "stop" else ["left"], "anna", "", 1.0)
    SiteStopStore(tmp_path, None).add([stop], [])
    if kind == "lift":
        held.look()
        site_lift(tmp_path, stop)
    monkeypatch.setattr(Path, "read_bytes", full)
    os.utime(tmp_path / FOLDER, (1, 1))  # so long ago that it is read only once
    held.look()
    assert held.stop is not None
    if kind == "stop":
        assert "Too many open files" in held.why
        assert "or is removed" in held.lift(None)
    monkeypatch.setattr(Path, "read_bytes", read)
    held.look()
    assert not held.why and held.freed()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EIO])
def test_a_folder_that_cannot_be_read_holds_the_robot_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Each time; and it is no stop of the site, which would have to be lifted."""
    stop = site_stop(tmp_path)
    site_lift(tmp_path, stop)
    held = keeper(tmp_path)
    store = SiteStopStore(tmp_path, None)
    assert not held.look() and store.look()
    digest = store.stops.digest

    def fault(_: object) -> None:
        raise OSError(code, os.strerror(code))

    for k in (1, 2):
        os.utime(tmp_path / FOLDER, (k, k))  # so long ago that it is read only once
        with monkeypatch.context() as patched:
            patched.setattr(os, "scandir", fault)
            assert held.look() and os.strerror(code) in held.why
            assert store.look() and store.holding("left")
            assert store.stops.digest == digest
        assert not held.look() and held.freed()
        assert store.look() and not store.holding("left")


def test_a_scan_that_breaks_off_loses_no_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had read counts, and the rest is read by the next one."""
    scan = os.scandir
    stop = site_stop(tmp_path)
    store = SiteStopStore(tmp_path, None)

    class Broken:
        def __init__(self, folder: Path) -> None:
            self.entries = scan(folder)

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            return broken_after(next(self.entries))

        def __exit__(self, *_: object) -> None:
            self.entries.close()

    monkeypatch.setattr(os, "scandir", Broken)
    store.look()
    assert stop in store.stops.holding("left") and store.unreadable
    monkeypatch.undo()
    other = site_stop(tmp_path)
    store.look()
    assert store.holding("left") == sorted([stop, other], key=lambda each: each.id)


def broken_after(entry: os.DirEntry[str]) -> Iterator[os.DirEntry[str]]:
    yield entry
    raise OSError(errno.EIO, "Input/output error")
