"""The emergency stop as a file: written by any process, any number of times, and damaged."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from holdfast.actors.driver import latch
from holdfast.errors import RobotError, RuntimeDirError


def test_a_stop_is_engaged_until_it_is_released(tmp_path: Path) -> None:
    """It says who stopped the robot, and why; another robot is not stopped by it."""
    state = tmp_path / "state" / "cell"
    assert latch.engaged(state, "r1") is None and not latch.release(state, "r1")
    stop = latch.engage(state, "r1", "anna", "smoke")
    assert (stop.by, stop.why) == ("anna", "smoke") and stop.at_s > 1.7e9
    assert latch.engaged(state, "r1") == stop
    assert latch.engaged(state, "r2") is None
    assert latch.release(state, "r1")
    assert latch.engaged(state, "r1") is None


def test_the_first_of_many_stops_is_the_one_that_counts(tmp_path: Path) -> None:
    """All that stop at the same time are told the same; nothing is left over."""
    told: list[latch.EmergencyStop] = []
    threads = [
        threading.Thread(target=lambda n=n: told.append(latch.engage(tmp_path, "r1", f"t{n}")))
        for n in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(told) == {latch.engaged(tmp_path, "r1")}
    assert [path.name for path in (tmp_path / "estop").iterdir()] == ["r1"]


def test_a_stop_that_is_given_again_is_not_lifted_by_a_release_that_began_before(
    tmp_path: Path,
) -> None:
    """Although it changes neither who nor when."""
    first = latch.engage(tmp_path, "r1", "anna")
    before = latch.mark(tmp_path, "r1")
    assert latch.engage(tmp_path, "r1", "carla") == first
    assert not latch.release(tmp_path, "r1", only=before)
    assert latch.engaged(tmp_path, "r1") == first
    assert latch.release(tmp_path, "r1", only=latch.mark(tmp_path, "r1"))
    assert latch.engaged(tmp_path, "r1") is None
    assert not list((tmp_path / "estop").iterdir())


def test_a_stop_that_is_given_again_on_a_full_disk_is_not_lifted_by_a_release_that_began_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The latch that is there is marked, which needs no room."""
    first = latch.engage(tmp_path, "r1", "anna")
    before = latch.mark(tmp_path, "r1")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        assert latch.engage(tmp_path, "r1", "carla") == first
    assert not latch.release(tmp_path, "r1", only=before)
    assert latch.engaged(tmp_path, "r1") == first


@pytest.mark.parametrize("call", ["rename", "stat"])
def test_a_stop_that_is_given_while_its_latch_is_removed_is_engaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Just before the file is taken away, and just after."""
    latch.engage(tmp_path, "r1", "anna")
    before = latch.mark(tmp_path, "r1")
    real = getattr(Path, call)

    def pressed(path: Path, *given: Path) -> object:
        if call == "rename" or path.name.startswith("."):
            with monkeypatch.context() as patched:
                patched.setattr(Path, call, real)
                latch.engage(tmp_path, "r1", "carla")
        return real(path, *given)

    monkeypatch.setattr(Path, call, pressed)
    latch.release(tmp_path, "r1", only=before)
    monkeypatch.undo()
    assert latch.engaged(tmp_path, "r1") is not None
    assert [path.name for path in (tmp_path / "estop").iterdir()] == ["r1"]


def test_a_stop_whose_earlier_latch_is_removed_meanwhile_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was there when the stop was given, and gone a moment later."""
    latch.engage(tmp_path, "r1", "anna")
    link = os.link

    def lifted(*given: Path) -> None:
        try:
            link(*given)
        except FileExistsError:
            latch.release(tmp_path, "r1")
            raise

    monkeypatch.setattr(os, "link", lifted)
    stop = latch.engage(tmp_path, "r1", "carla")
    assert stop.by == "carla" and latch.engaged(tmp_path, "r1") == stop


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"why": "no name"}', b"\xff"])
def test_a_latch_that_cannot_be_read_is_engaged(tmp_path: Path, content: bytes) -> None:
    """Torn, empty or written by another program: the robot stays stopped."""
    latch.engage(tmp_path, "r1", "anna")
    latch.place(tmp_path, "r1").write_bytes(content)
    stop = latch.engaged(tmp_path, "r1")
    assert stop is not None and "cannot be read" in stop.why


def test_a_stop_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """The person who pressed the button gets the reason."""
    (tmp_path / "file").write_text("")
    with pytest.raises((RobotError, RuntimeDirError)):
        latch.engage(tmp_path / "file" / "state", "r1", "anna")


def test_words_that_are_not_utf_8_delay_no_stop(tmp_path: Path) -> None:
    """A command line of other bytes: what cannot be encoded is replaced."""
    latch.engage(tmp_path, "left", "anna\udcff", "sm\udce9ke")
    stop = latch.engaged(tmp_path, "left")
    assert stop is not None and (stop.by, stop.why) == ("anna?", "sm?ke")
