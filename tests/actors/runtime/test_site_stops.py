"""The stops of a site over hosts that lose, repeat and reorder what they say to each other."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from holdfast.actors.runtime.lifting import lifts_of
from holdfast.actors.runtime.site_stops import SiteStops, new_stop
from holdfast.actors.runtime.stop_messages import stop_messages
from holdfast.transport.header import Header, Kind
from holdfast.transport.limits import DEFAULT
from holdfast.transport.messages import decode, encode
from holdfast.transport.stop_bodies import MAX_NAMED, MAX_STOPS, HeldRobot, Lift, SiteStop, Stops

ROBOTS = ("r1", "r2", "r3")
HOSTS = (0, 1, 2)
some_robots = st.lists(st.sampled_from(ROBOTS), unique=True, max_size=2)


class Site(RuleBasedStateMachine):
    """Three hosts; what one knew at some instant reaches another one now, or never, or again. The
    model: which stops a host has heard of, and which lifts, each by robot."""

    @initialize()
    def begin(self) -> None:
        self.hosts = [SiteStops() for _ in HOSTS]
        self.said: list[SiteStops] = [SiteStops()]
        self.wanted: list[set[tuple[str, str]]] = [set() for _ in HOSTS]
        self.lifted: list[set[tuple[str, str]]] = [set() for _ in HOSTS]
        self.told = [(set[tuple[str, str]](), set[tuple[str, str]]())]
        self.given = 0

    @rule(host=st.sampled_from(HOSTS), robots=some_robots)
    def stop(self, host: int, robots: list[str]) -> None:
        self.given += 1
        stop = new_stop(robots, "anna", "", float(self.given))
        self.hosts[host] = self.hosts[host].merged([stop], [])
        self.wanted[host] |= {(stop.id, robot) for robot in robots or ROBOTS}
        self._say(host)

    @rule(host=st.sampled_from(HOSTS), robots=some_robots)
    def lift(self, host: int, robots: list[str]) -> None:
        lifts = lifts_of(self.hosts[host].lifting(robots), "operator", None)
        self.hosts[host] = self.hosts[host].merged([], lifts)
        for lift in lifts:
            self.lifted[host] |= {(lift.stop, robot) for robot in lift.robots or ROBOTS}
        if not robots:
            assert not self.hosts[host].in_force()
        assert not any(self.hosts[host].holding(robot) for robot in robots)
        self._say(host)

    @rule(host=st.sampled_from(HOSTS), data=st.data())
    def hear(self, host: int, data: st.DataObject) -> None:
        which = data.draw(st.integers(0, len(self.said) - 1))
        parts = list(stop_messages(self.said[which], ()))
        random.Random(which).shuffle(parts)
        for part in (*parts, *parts[:1]):
            self.hosts[host] = self.hosts[host].merged(part.stops, part.lifts)
        self.wanted[host] |= self.told[which][0]
        self.lifted[host] |= self.told[which][1]

    @invariant()
    def a_robot_is_held_by_each_stop_that_is_not_lifted(self) -> None:
        for host in HOSTS:
            held = {(s.id, r) for r in ROBOTS for s in self.hosts[host].holding(r)}
            if self.given <= MAX_STOPS:
                assert held == self.wanted[host] - self.lifted[host]

    def _say(self, host: int) -> None:
        self.said.append(self.hosts[host])
        self.told.append((set(self.wanted[host]), set(self.lifted[host])))

    def teardown(self) -> None:
        """In the end all know the same, in whatever order they hear of each other."""
        if self.given > MAX_STOPS:
            return
        forward, backward = SiteStops(), SiteStops()
        for host in HOSTS:
            forward = forward.merged(self.hosts[host].stops.values(), self.hosts[host].lifts)
            other = self.hosts[-1 - host]
            backward = backward.merged(other.stops.values(), other.lifts)
        assert forward.digest == backward.digest


TestSite = Site.TestCase


@given(st.integers(MAX_STOPS + 1, 3 * MAX_STOPS), st.randoms())
def test_more_stops_than_there_is_room_for_hold_every_robot(count: int, rng: random.Random) -> None:
    """A flood of stops of one robot pushes no stop of another one out; a lift of all frees all."""
    stops = [new_stop(["r1"], "", "", float(k)) for k in range(count)]
    stops.append(new_stop(["r2"], "", "", rng.uniform(-1.0, count)))
    rng.shuffle(stops)
    known = SiteStops()
    for stop in stops:
        known = known.merged([stop], [])
        assert len(known.in_force()) <= MAX_STOPS
    assert known.holding("r1") and known.holding("r2")
    known = known.merged([], lifts_of(known.lifting([]), "", None))
    assert not known.holding("r1") and not known.holding("r2")


def test_a_lift_that_comes_before_its_stop_lifts_it() -> None:
    """Messages overtake each other."""
    stop = new_stop(["r1"], "", "", 1.0)
    known = SiteStops().merged([], [Lift(stop=stop.id)]).merged([stop], [])
    assert not known.holding("r1")


def test_two_forms_of_one_stop_hold_the_robots_of_both() -> None:
    """A stop that could not be read holds all robots: also once it is read."""
    stop = new_stop(["r1"], "anna", "", 1.0)
    other = SiteStop(id=stop.id, robots=("r2",))
    assert SiteStops().merged([stop, other], []).stops[stop.id].robots == ("r1", "r2")
    unread = SiteStop(id=stop.id)
    for known in ([stop, unread], [unread, stop]):
        assert SiteStops().merged(known, []).holding("r3")


def test_a_stop_of_more_robots_than_it_can_name_holds_all() -> None:
    """Rather than some of them."""
    assert new_stop([f"r{k}" for k in range(MAX_NAMED + 1)], "", "", 0.0).robots == ()


@pytest.mark.parametrize("letter", ["r", "猫"])
def test_whatever_stops_name_is_sent_within_the_limits_of_a_body(letter: str) -> None:
    """Names and texts of the greatest length, in any script."""
    names = tuple(f"{k:02d}".ljust(DEFAULT.max_name_chars, letter) for k in range(MAX_NAMED))
    text = letter * 256
    stops = [SiteStop(id=f"{k:016x}", robots=names, by=text, why=text) for k in range(MAX_STOPS)]
    lifts = [Lift(stop=s.id, robots=names[:1], by=text, proof="0" * 128) for s in stops]
    ids = tuple(stop.id for stop in stops)
    row = HeldRobot(robot=names[0], host=names[0], stops=ids, seen=names[0], message=text)
    held = [row] * 100
    found = Stops()
    for part in stop_messages(SiteStops().merged(stops, lifts), held):
        body = decode(encode(Header(Kind.STOPS), part)).body
        found = Stops(
            stops=found.stops + body.stops,
            lifts=found.lifts + body.lifts,
            held=found.held + body.held,
        )
    assert (set(found.stops), set(found.lifts)) == (set(stops), set(lifts))
    assert len(found.held) == len(held)


def test_a_stop_that_is_given_again_is_the_first_one() -> None:
    """Unless a robot of it was released meanwhile."""
    every, one = new_stop([], "", "", 2.0), new_stop(["r1"], "", "", 1.0)
    known = SiteStops().merged([one], [])
    assert known.covering(["r1"]) == one
    assert known.covering([]) is None and known.covering(["r1", "r2"]) is None
    known = known.merged([every], [])
    assert known.covering([]) == known.covering(["r2"]) == every
    known = known.merged([], [Lift(stop=every.id, robots=("r2",))])
    assert known.covering([]) is None and known.covering(["r2"]) is None
    assert known.covering(["r1"]) == one


def test_a_lift_that_differs_in_words_only_is_one_lift() -> None:
    """Its signature does not cover who lifted it: copies of it are without number."""
    stop = new_stop(["r1"], "", "", 1.0)
    lifts = [Lift(stop=stop.id, robots=("r1",), by=f"{k}") for k in range(100)]
    forward, backward = SiteStops(), SiteStops()
    for k, lift in enumerate(lifts):
        forward = forward.merged([stop], [lift])
        backward = backward.merged([stop], [lifts[-1 - k]])
    assert len(forward.lifts) == 1 and forward.digest == backward.digest
    assert not forward.holding("r1")
