"""Stops of the site in the process that commands the device, and what lifts them there."""

from __future__ import annotations

import errno
import hashlib
import shutil
from pathlib import Path

import msgspec
import pytest

from holdfast.actors.driver import latch
from holdfast.actors.runtime import site_stop_store
from holdfast.actors.runtime.lifting import lifts_of
from holdfast.actors.runtime.site_stop_files import FOLDER
from holdfast.actors.runtime.site_stop_store import SiteStopStore
from holdfast.actors.runtime.site_stops import new_stop
from holdfast.tests.actors.driver.kept_stops import (
    aged,
    keeper,
    key_of,
    lift_all,
    press,
    site_lift,
    site_stop,
    store_of,
)
from holdfast.transport.keys import Keyring, Role
from holdfast.transport.keys import new as new_key
from holdfast.transport.stop_bodies import MAX_STOPS, SiteStop


def test_a_stop_of_the_site_holds_a_robot_also_after_a_restart(tmp_path: Path) -> None:
    """Until it is lifted for the site; the robot's own latch is another matter."""
    stop = site_stop(tmp_path)
    for _ in range(2):
        held = keeper(tmp_path)
        assert held.look() and held.why == "stopped by anna@hub: smoke"
    assert "for the whole site" in held.lift(None) and held.stop is not None
    latch.engage(tmp_path, "left", "carla")
    assert not held.look()
    site_lift(tmp_path, stop)
    held.look()
    assert held.stop is not None and not held.freed(), "its own latch holds it"
    assert held.lift(None) == "" and not held.why
    assert not keeper(tmp_path).look()


def test_removing_the_files_of_a_stop_of_the_site_lifts_it_from_no_driver_that_runs(
    tmp_path: Path,
) -> None:
    """The driver holds the stop itself, as it holds its robot's own latch."""
    site_stop(tmp_path)
    held = keeper(tmp_path)
    assert held.look()
    shutil.rmtree(tmp_path / FOLDER)
    assert not held.look() and held.stop is not None


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
    site_lift(state, stop)
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
    drivers = {name: keeper(tmp_path, robot=name) for name in names}

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


def test_a_process_that_passes_stops_on_and_slept_through_stand_in_and_lifts_knows_none(
    tmp_path: Path,
) -> None:
    """It would bring the replaced one back, on every host."""
    names = [f"r{k}" for k in range(MAX_STOPS + 1)]
    for k, name in enumerate(names[:-1]):
        press(tmp_path, [name], float(k))
    passes_on = store_of(tmp_path)
    press(tmp_path, names[-1:], 99.0)
    lift_all(tmp_path, [])
    aged(tmp_path)
    passes_on.look()
    assert passes_on.stops.in_force() == []


def test_a_stop_that_is_not_written_yet_is_known_whatever_stands_in_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no file that was removed."""
    heard = new_stop(["left"], "anna", "smoke", 1.0)
    store = store_of(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space"):
            store.add([heard], [])
    id = hashlib.sha256(heard.id.encode()).hexdigest()[:16]
    claim = SiteStop(id=id, robots=("right",), instead_of=(heard.id,))
    (tmp_path / FOLDER / f"stop.{id}").write_bytes(msgspec.json.encode(claim))
    aged(tmp_path)
    store.look()
    assert store.stops.holding("left") == [heard]


@pytest.mark.usefixtures("impatient")
def test_a_process_whose_disk_was_full_does_not_bring_back_what_was_replaced_and_lifted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the stop that it could not write is written when there is room."""
    for k in range(MAX_STOPS - 1):
        press(tmp_path, [f"r{k}"], 10.0 + k)
    passes_on = store_of(tmp_path)
    heard = new_stop(["left"], "anna", "smoke", 0.5)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space"):
            passes_on.add([heard], [])
    for at_s in (1.0, 2.0):  # one stands in for the newest, which it knows
        press(tmp_path, ["right"], at_s)
    lift_all(tmp_path, [])
    aged(tmp_path)
    passes_on.look()
    assert not passes_on.unwritten
    assert store_of(tmp_path).stops.in_force() == [heard] == passes_on.stops.in_force()


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


class HalfCopiedKey:
    """A robot is stopped, and its stop lifted, while half of the operator's public key has been
    copied into the directory of keys."""

    def __init__(self, folder: Path) -> None:
        state, keys = folder / "state", folder / "keys"
        self.operator = new_key("operator", Role.OPERATOR, keys)
        stop = site_stop(state)
        self.held = keeper(state, keys)
        assert self.held.look()
        self._file = keys / "operator.pub"
        self._whole = self._file.read_bytes()
        self._file.write_bytes(self._whole[: len(self._whole) // 2])
        site_lift(state, stop, self.operator)
        self.held.look()
        assert self.held.stop is not None

    def complete(self) -> None:
        """The rest of the key is there; the driver looks."""
        self._file.write_bytes(self._whole)
        self.held.look()


@pytest.mark.usefixtures("impatient")
def test_a_lift_counts_once_the_operators_key_is_there_whole(tmp_path: Path) -> None:
    """The driver that runs finds that by itself, without another lift."""
    copied = HalfCopiedKey(tmp_path)
    copied.complete()
    assert not copied.held.why and copied.held.freed()


def test_a_release_at_the_robot_checks_the_lifts_of_the_site_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and not when the next check is due."""
    monkeypatch.setattr(site_stop_store, "AGAIN_NS", 2**62)
    copied = HalfCopiedKey(tmp_path)
    held = copied.held
    copied.complete()
    assert held.stop is not None
    assert held.lift(copied.operator.secret.decode()) == "" and held.stop is None


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
