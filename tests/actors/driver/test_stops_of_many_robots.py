"""Stops and releases by programs of one host, whatever their number, and what its drivers make of
them."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from holdfast.actors.runtime.site_stop_files import FOLDER
from holdfast.actors.runtime.site_stops import new_stop
from holdfast.tests.actors.driver.kept_stops import aged, keeper, lift_all, press, store_of
from holdfast.transport.stop_bodies import MAX_STOPS

ROBOTS = tuple(f"r{k}" for k in range(5))
some_robots = st.lists(st.sampled_from(ROBOTS), unique=True, max_size=3)


class Host(RuleBasedStateMachine):
    """Programs that each read the folder anew, and drivers that run on and look now and then: one
    that has looked is stopped if a program that starts now finds its robot stopped.

    They look at least once while as many stops end as the folder keeps of those that have: a lift
    that is removed before a driver saw it leaves that driver stopped until it is started again.
    """

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.state = Path(self.folder.name)
        self.drivers = {name: keeper(self.state, robot=name) for name in ROBOTS}
        self.stopped: set[str] = set()
        self.has_looked: set[str] = set()
        self.ended = 0
        """Stops since all drivers looked."""
        self.instants = itertools.count(1)

    @rule(robots=some_robots, count=st.integers(1, 9))
    def stop(self, robots: list[str], count: int) -> None:
        for _ in range(count):
            press(self.state, robots, float(next(self.instants)))
        self.stopped |= set(robots or ROBOTS)
        self.has_looked.clear()

    @rule(robots=some_robots)
    def release(self, robots: list[str]) -> None:
        before = self._in_force()
        if self.ended + len(before) > MAX_STOPS:
            self.look([])
        lift_all(self.state, robots)
        self.ended += len(before - self._in_force())
        self.stopped -= set(robots or ROBOTS)
        assert not self._held() & set(robots or ROBOTS)
        self.has_looked.clear()

    def _in_force(self) -> set[str]:
        return {stop.id for stop in store_of(self.state).stops.in_force()}

    def _held(self) -> set[str]:
        store = store_of(self.state)
        return {robot for robot in ROBOTS if store.holding(robot)}

    @rule(robots=some_robots)
    def look(self, robots: list[str]) -> None:
        if (self.state / FOLDER).exists():
            aged(self.state)
        for robot in robots or ROBOTS:
            self.drivers[robot].look()
            self.has_looked.add(robot)
        self.ended = 0 if not robots else self.ended

    @invariant()
    def a_driver_that_has_looked_is_stopped_if_its_robot_is(self) -> None:
        if hasattr(self, "drivers"):
            held = {name for name in self.has_looked if self.drivers[name].stop is not None}
            # More robots where a stand-in took the place of a stop of all that was lifted from one.
            assert held == self._held() & self.has_looked >= self.stopped & self.has_looked

    def teardown(self) -> None:
        """In the end a release of all frees all."""
        if hasattr(self, "drivers"):
            self.release([])
            self.look([])
            self.a_driver_that_has_looked_is_stopped_if_its_robot_is()
            self.folder.cleanup()


def test_a_robot_that_was_released_alone_from_as_many_stops_as_there_is_room_for_is_free(
    tmp_path: Path,
) -> None:
    """Its driver does not count them beside another stop: a stand-in would be known to it alone."""
    driver = keeper(tmp_path, robot="r0")
    for count, released in ((MAX_STOPS, ["r0"]), (0, []), (1, ["r0"])):
        store = store_of(tmp_path)
        store.add([new_stop([], "anna", "", float(k)) for k in range(count)], [])
        driver.look()
        assert (driver.stop is not None) is (count > 0)
        lift_all(tmp_path, released)
        driver.look()
        assert driver.stop is None


TestHost = Host.TestCase
TestHost.settings = settings(max_examples=30, stateful_step_count=15, deadline=None)
