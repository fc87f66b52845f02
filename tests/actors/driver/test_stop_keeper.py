"""A stop in the process that commands the device: once seen it stays, until it is lifted."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from holdfast.actors.driver import latch
from holdfast.tests.actors.driver.kept_stops import keeper, key_of, site_lift, site_stop
from holdfast.transport.keys import Role
from holdfast.transport.keys import new as new_key


class KeeperMachine(RuleBasedStateMachine):
    """Engaged, removed, or with a driver started anew: stopped is what was engaged and not
    lifted."""

    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.state_dir = Path(self.directory.name) / "state"
        self.keeper = keeper(self.state_dir)
        self.seen = self.on_disk = False

    @rule()
    def a_program_engages_the_latch(self) -> None:
        latch.engage(self.state_dir, "left", "anna", "smoke")
        self.on_disk = True

    @rule()
    def a_program_removes_the_file(self) -> None:
        latch.release(self.state_dir, "left")
        self.on_disk = False

    @rule()
    def the_driver_looks(self) -> None:
        new = self.keeper.look()
        assert new is (self.on_disk and not self.seen)
        self.seen = self.seen or self.on_disk
        self.on_disk = self.seen

    @rule()
    def a_program_asks(self) -> None:
        assert self.keeper.asked({"by": "ben", "why": ""})
        self.seen = self.on_disk = True

    @rule()
    def the_device_confirms(self) -> None:
        self.keeper.confirm()
        assert self.keeper.confirmed is self.seen

    @rule()
    def the_stop_is_lifted(self) -> None:
        was = self.seen
        assert self.keeper.lift(None) == ""
        self.seen = False
        self.on_disk = self.on_disk and not was

    @rule()
    def the_driver_is_started_anew(self) -> None:
        self.keeper = keeper(self.state_dir)
        self.seen = False

    @invariant()
    def it_is_stopped_as_the_model_says(self) -> None:
        if not hasattr(self, "keeper"):
            return
        assert (self.keeper.stop is not None) is self.seen
        assert (latch.engaged(self.state_dir, "left") is not None) is self.on_disk
        report = self.keeper.report("the bus is silent")
        assert (report is not None) is self.seen
        if report is not None:
            silent = "" if self.keeper.confirmed else "the bus is silent"
            assert report["latched"] and report["error"] == silent

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            self.directory.cleanup()


TestKeeperMachine = KeeperMachine.TestCase
TestKeeperMachine.settings = settings(max_examples=60, deadline=None)


def test_a_latch_that_cannot_be_read_stops_the_robot(tmp_path: Path) -> None:
    """A damaged file is as good as a stop."""
    latch.engage(tmp_path / "state", "left", "anna")
    latch.place(tmp_path / "state", "left").write_bytes(b"\xff\x00 damaged")
    held = keeper(tmp_path / "state")
    assert held.look() and "cannot be read" in held.why


def test_a_stop_whose_file_cannot_be_written_lasts_as_long_as_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report says that it does not outlast the driver; with room on the disk it does."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    held = keeper(tmp_path / "state")
    assert held.asked({"by": "anna", "why": "smoke"})
    assert not held.look(), "it looks again, and nothing is new"
    report = held.report()
    assert report is not None and "does not outlast its driver" in report["error"]
    assert "No space left" in report["error"]
    assert (report["by"], report["why"]) == ("anna", "smoke")
    monkeypatch.undo()
    held.look()
    report = held.report()
    assert report is not None and report["error"] == ""
    stop = latch.engaged(tmp_path / "state", "left")
    assert stop is not None and stop.why == "smoke"


@pytest.mark.parametrize("has_directory", [False, True])
def test_a_stop_in_no_file_is_not_lifted_by_a_release_that_began_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_directory: bool
) -> None:
    """The disk is full, or the robot has no latch; a release that begins after it lifts it."""
    state = tmp_path / "state"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    held = keeper(state if has_directory else None)
    for by in ("anna", "carla"):  # the second one finds the first in force
        begun = list(latch.mark(state, "left"))
        assert held.asked({"by": by})
        refused = held.lift(None, begun)
        assert "given meanwhile, or was written only now: release it again" in refused
        assert held.stop is not None
    assert held.lift(None, list(latch.mark(state, "left"))) == "" and held.stop is None


@pytest.mark.parametrize("is_shown", [True, False])
def test_a_stop_that_its_sender_could_not_write_is_not_lifted_by_a_release_that_began_before(
    tmp_path: Path, is_shown: bool
) -> None:
    """The driver writes the latch, or marks it anew: the first stop stays the one to explain."""
    state = tmp_path / "state"
    held = keeper(state)
    if is_shown:
        latch.engage(state, "left", "anna", at_s=1.0)
        held.look()
    begun = list(latch.mark(state, "left"))
    assert held.asked({"by": "carla", "unwritten": True})
    assert held.why == ("stopped by anna" if is_shown else "stopped by carla")
    assert "release it again" in held.lift(None, begun) and held.stop is not None
    assert held.lift(None, list(latch.mark(state, "left"))) == "" and held.stop is None


def test_a_stop_in_no_file_outlasts_one_of_the_site_that_held_the_robot_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is another stop, although nothing shows it while the first is in force."""
    of_site = site_stop(tmp_path)
    held = keeper(tmp_path)
    assert held.look()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    assert held.asked({"by": "carla", "unwritten": True})
    site_lift(tmp_path, of_site)
    assert not held.look() and held.why == "stopped by carla"
    assert held.lift(None) == "" and held.stop is None


def test_a_stop_whose_file_is_removed_keeps_its_instant(tmp_path: Path) -> None:
    """The file that the driver writes again says when the robot was stopped."""
    first = latch.engage(tmp_path / "state", "left", "anna", "smoke", at_s=1.5)
    held = keeper(tmp_path / "state")
    held.look()
    latch.release(tmp_path / "state", "left")
    held.look()
    assert latch.engaged(tmp_path / "state", "left") == first


@pytest.mark.parametrize("role", list(Role))
def test_a_stop_of_a_fleet_with_keys_is_lifted_by_an_operator_only(
    tmp_path: Path, role: Role
) -> None:
    """Every other key, and none, is refused with what to do."""
    key = key_of(role, tmp_path / "keys")
    held = keeper(tmp_path / "state", tmp_path / "keys")
    latch.engage(tmp_path / "state", "left", "anna")
    held.look()
    for secret in (None, "", "x" * 40, key.public.decode()):
        assert "actorctl keys new operator" in held.lift(secret)
    refused = held.lift(key.secret.decode())
    assert (refused == "") is (role is Role.OPERATOR)
    assert (held.stop is None) is (role is Role.OPERATOR)


def test_what_a_lift_needs_is_imported_with_the_driver(tmp_path: Path) -> None:
    """Not at the first lift, which a control loop would wait for."""
    new_key("operator", Role.OPERATOR, tmp_path / "keys")
    code = (
        "import logging, pathlib, sys\n"
        "from holdfast.actors.driver.stop_keeper import StopKeeper\n"
        "base = pathlib.Path(sys.argv[1])\n"
        "StopKeeper('left', base / 'state', base / 'keys', logging.getLogger())\n"
        "print('holdfast.actors.runtime.lifting' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"
