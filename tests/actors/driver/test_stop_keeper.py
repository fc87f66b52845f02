"""A stop in the process that commands the device: once seen it stays, until it is lifted."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from holdfast.actors.driver import latch
from holdfast.actors.driver.stop_keeper import StopKeeper
from holdfast.actors.runtime import site_stop_store
from holdfast.actors.runtime.lifting import lifts_of
from holdfast.actors.runtime.site_stop_files import FOLDER
from holdfast.actors.runtime.site_stop_store import SiteStopStore
from holdfast.actors.runtime.site_stops import new_stop
from holdfast.transport.enrolment_tokens import issue, load_token
from holdfast.transport.keys import Key, Keyring, PublicKey, Role
from holdfast.transport.keys import new as new_key
from holdfast.transport.stop_bodies import MAX_STOPS, SiteStop

LOG = logging.getLogger("test")
INSTANTS = itertools.count(1)


def keeper(state_dir: Path | None, keyring: Path | None = None) -> StopKeeper:
    return StopKeeper("left", state_dir, keyring, LOG)


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


def test_a_stop_whose_file_is_removed_keeps_its_instant(tmp_path: Path) -> None:
    """The file that the driver writes again says when the robot was stopped."""
    first = latch.engage(tmp_path / "state", "left", "anna", "smoke", at_s=1.5)
    held = keeper(tmp_path / "state")
    held.look()
    latch.release(tmp_path / "state", "left")
    held.look()
    assert latch.engaged(tmp_path / "state", "left") == first


def key_of(role: Role, keys: Path) -> Key:
    if role is not Role.TOKEN:
        return new_key("owner", role, keys)
    broker = new_key("broker", Role.BROKER, keys)
    _, file = issue("r1", Role.ROBOT, keys, PublicKey(broker.peer, broker.public), expires_s=2**31)
    return load_token(file).key


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


def site_stop(state: Path) -> SiteStop:
    """Given on another host, and written here by what heard of it."""
    stop = new_stop([], "anna@hub", "smoke", 1.0)
    SiteStopStore(state, None).add([stop], [])
    return stop


def site_lift(state: Path, stop: SiteStop, key: Key | None) -> None:
    """Written here by any process, without asking whether it counts."""
    (lift,) = lifts_of([(stop.id, ())], "ben", key)
    SiteStopStore(state, None).add([], [lift])


def test_a_stop_of_the_site_holds_a_robot_also_after_a_restart(tmp_path: Path) -> None:
    """Until it is lifted for the site; the robot's own latch is another matter."""
    stop = site_stop(tmp_path)
    for _ in range(2):
        held = keeper(tmp_path)
        assert held.look() and held.why == "stopped by anna@hub: smoke"
    assert "for the whole site" in held.lift(None) and held.stop is not None
    latch.engage(tmp_path, "left", "carla")
    assert not held.look()
    site_lift(tmp_path, stop, None)
    held.look()
    assert held.stop is not None and not held.freed(), "its own latch holds it"
    assert held.lift(None) == "" and not held.why
    assert not keeper(tmp_path).look()


def test_removing_the_files_of_a_stop_of_the_site_lifts_it_from_no_driver_that_runs(
    tmp_path: Path,
) -> None:
    """As with a robot's own latch."""
    site_stop(tmp_path)
    held = keeper(tmp_path)
    assert held.look()
    shutil.rmtree(tmp_path / FOLDER)
    assert not held.look() and held.stop is not None


def test_a_stop_of_the_site_that_cannot_be_read_holds_every_robot(tmp_path: Path) -> None:
    """A damaged file is as good as a stop; lifting all lifts it."""
    site_stop(tmp_path)
    (tmp_path / FOLDER / f"stop.{'0' * 16}").write_bytes(b"\xff damaged")
    store = SiteStopStore(tmp_path, None)
    store.look()
    assert [stop.by for stop in store.stops.holding("left")] == ["unknown", "anna@hub"]
    held = keeper(tmp_path)
    assert held.look()
    store.add([], lifts_of(store.stops.lifting([]), "ben", None))
    held.look()
    assert held.stop is None and held.freed()


@pytest.mark.parametrize("role", list(Role))
def test_a_stop_of_the_site_is_lifted_by_an_operators_signature_only(
    tmp_path: Path, role: Role
) -> None:
    """Not by the key of another role, nor by one that is revoked, nor without one."""
    state, keys = tmp_path / "state", tmp_path / "keys"
    key = key_of(role, keys)
    stop = site_stop(state)
    held = keeper(state, keys)
    assert held.look()
    site_lift(state, stop, None)
    held.look()
    assert held.stop is not None, "it is not signed"
    (keys / "revoked").write_text(f"{key.public.decode()}\n")
    site_lift(state, stop, key)
    held.look()
    assert held.stop is not None, "the key is revoked"
    (keys / "revoked").unlink()
    lift = lifts_of([(stop.id, ())], "carla", key)
    SiteStopStore(state, None).add([], lift)
    held.look()
    assert (held.stop is None) is (role is Role.OPERATOR)


def press(state: Path, robots: list[str], at_s: float) -> SiteStop:
    """As a program does, with what it removes of the files."""
    store = SiteStopStore(state, None)
    store.look()
    stop = new_stop(robots, "anna", "", at_s)
    store.add([stop], [])
    store.settle()
    return stop


def lift_all(state: Path, robots: list[str]) -> None:
    """As a program does."""
    store = SiteStopStore(state, None)
    store.look()
    store.add([], lifts_of(store.stops.lifting(robots), "op", None))
    store.settle()


def aged(state: Path) -> None:
    """The folder changed so long ago that one reading of it is whole."""
    at_s = next(INSTANTS)
    os.utime(state / FOLDER, (at_s, at_s))


@pytest.mark.parametrize("stopped_before", [False, True])
def test_a_release_that_is_heard_after_a_later_stop_does_not_lift_that(
    tmp_path: Path, stopped_before: bool
) -> None:
    """It was sent before, and waited in the queue of a driver that stood still."""
    held = keeper(tmp_path)
    press(tmp_path, ["left"], 1.0)
    if stopped_before:
        latch.engage(tmp_path, "left", "anna")
    held.look()
    begun = list(latch.mark(tmp_path, "left"))
    lift_all(tmp_path, [])
    latch.engage(tmp_path, "left", "carla")
    assert held.asked({"by": "carla"})
    assert "given meanwhile" in held.lift(None, begun) and held.stop is not None
    assert latch.engaged(tmp_path, "left") is not None
    assert held.lift(None, list(latch.mark(tmp_path, "left"))) == "" and held.stop is None


@pytest.mark.parametrize("asleep", [False, True])
def test_more_stops_than_there_is_room_for_are_lifted_from_every_driver_that_runs(
    tmp_path: Path, asleep: bool
) -> None:
    """Also from those that saw each stop alone, and that slept through stand-ins and lifts."""
    names = [f"r{k}" for k in range(MAX_STOPS + 4)]
    drivers = {name: StopKeeper(name, tmp_path, None, LOG) for name in names}

    def all_look() -> None:
        aged(tmp_path)
        for driver in drivers.values():
            driver.look()

    for k, name in enumerate(names):
        press(tmp_path, [name], float(k))
        if not asleep or k < MAX_STOPS:
            all_look()
            assert all(drivers[each].stop is not None for each in names[: k + 1])
    if asleep:  # the next stand-in does not name it
        lift_all(tmp_path, [names[MAX_STOPS - 1]])
        press(tmp_path, ["another"], 99.0)
    for name in names:
        lift_all(tmp_path, [name])
        if not asleep:
            all_look()
            assert drivers[name].stop is None and drivers[name].freed()
    all_look()
    assert [name for name, driver in drivers.items() if driver.stop is not None] == []


def test_removing_a_stop_frees_no_robot_where_another_stands_in_for_others_only(
    tmp_path: Path,
) -> None:
    """Nor does a stop that names it without the hash of what it stands in for as its id."""
    first = press(tmp_path, ["left"], 0.0)
    held = keeper(tmp_path)
    assert held.look()
    for k in range(1, MAX_STOPS + 2):
        press(tmp_path, ["right"], float(k))
    claim = SiteStop(id="0" * 16, robots=("right",), instead_of=(first.id,))
    (tmp_path / FOLDER / f"stop.{claim.id}").write_bytes(msgspec.json.encode(claim))
    (tmp_path / FOLDER / f"stop.{first.id}").unlink()
    for _ in range(2):
        aged(tmp_path)
        held.look()
        assert held.stop is not None


def test_words_that_are_not_utf_8_delay_no_stop(tmp_path: Path) -> None:
    """A command line of other bytes: what cannot be encoded is replaced."""
    latch.engage(tmp_path, "left", "anna\udcff", "sm\udce9ke")
    stop = latch.engaged(tmp_path, "left")
    assert stop is not None and (stop.by, stop.why) == ("anna?", "sm?ke")


def test_a_file_that_cannot_be_read_does_not_keep_a_stop_from_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is replaced."""
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
    store = SiteStopStore(tmp_path, None)
    store.look()
    assert second in store.stops.holding("left") and first.id in store.stops.stops


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What did not count is tried again at every look."""
    monkeypatch.setattr(site_stop_store, "AGAIN_NS", 0)


def half_copied(keys: Path) -> bytes:
    """The operator's public key is on its way into the directory; what it will be."""
    file = keys / "operator.pub"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    return whole


@pytest.mark.usefixtures("impatient")
def test_a_lift_counts_once_the_operators_key_is_there_whole(tmp_path: Path) -> None:
    """The driver that runs finds that by itself, without another lift."""
    state, keys = tmp_path / "state", tmp_path / "keys"
    operator = new_key("operator", Role.OPERATOR, keys)
    stop = site_stop(state)
    held = keeper(state, keys)
    assert held.look()
    whole = half_copied(keys)
    site_lift(state, stop, operator)
    held.look()
    assert held.stop is not None
    (keys / "operator.pub").write_bytes(whole)
    held.look()
    assert not held.why and held.freed()


def test_a_release_at_the_robot_checks_the_lifts_of_the_site_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and not when the next check is due."""
    monkeypatch.setattr(site_stop_store, "AGAIN_NS", 2**62)
    state, keys = tmp_path / "state", tmp_path / "keys"
    operator = new_key("operator", Role.OPERATOR, keys)
    stop = site_stop(state)
    held = keeper(state, keys)
    assert held.look()
    whole = half_copied(keys)
    site_lift(state, stop, operator)
    held.look()
    (keys / "operator.pub").write_bytes(whole)
    held.look()
    assert held.stop is not None
    assert held.lift(operator.secret.decode()) == "" and held.stop is None


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
        site_lift(tmp_path, stop, None)
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
    site_lift(tmp_path, stop, None)
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


def test_a_lift_costs_a_robot_one_look_at_the_keys_and_nothing_for_those_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen stops are lifted at once, from this robot or from another one."""
    state, keys = tmp_path / "state", tmp_path / "keys"
    operator = new_key("operator", Role.OPERATOR, keys)
    reads: list[Path] = []
    ring = Keyring.of

    def counted(directory: Path) -> Keyring:
        reads.append(directory)
        return ring(directory)

    stops = [new_stop([], "anna", "", float(k)) for k in range(MAX_STOPS)]
    SiteStopStore(state, None).add(stops, [])
    held = keeper(state, keys)
    assert held.look()
    monkeypatch.setattr(Keyring, "of", counted)
    for robot, count in (("right", 0), ("left", 1)):
        lifts = lifts_of([(stop.id, (robot,)) for stop in stops], "ben", operator)
        SiteStopStore(state, None).add([], lifts)
        held.look()
        assert len(reads) == count
        assert (held.stop is None) is (robot == "left")


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
