"""The stops of a site over hosts that lose, repeat and reorder what they say to each other."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from holdfast.actors.runtime.lifting import lifts_of
from holdfast.actors.runtime.site_stops import MAX_LIFTS, SiteStops, new_stop
from holdfast.actors.runtime.stop_messages import stop_messages
from holdfast.transport.header import Header, Kind
from holdfast.transport.limits import DEFAULT
from holdfast.transport.messages import decode, encode
from holdfast.transport.stop_bodies import (
    MAX_NAMED,
    MAX_REPLACED,
    MAX_STOPS,
    HeldRobot,
    Lift,
    SiteStop,
    Stops,
)

ROBOTS = ("r1", "r2", "r3")
HOSTS = (0, 1, 2)
some_robots = st.lists(st.sampled_from(ROBOTS), unique=True, max_size=2)


Held = set[tuple[str, str]]
"""Stops by their ids, each with a robot."""


class Heard:
    """The model of one host: which stops it has heard of, and which lifts, each by robot."""

    def __init__(self) -> None:
        self.wanted: Held = set()
        self.lifted: Held = set()

    def hear(self, body: Stops) -> None:
        self.wanted |= {(s.id, robot) for s in body.stops for robot in s.robots or ROBOTS}
        self.lifted |= {
            (lift.stop, robot) for lift in body.lifts for robot in lift.robots or ROBOTS
        }


class Site(RuleBasedStateMachine):
    """Three hosts; what one knew at some instant reaches another one now, or never, or again, or in
    part."""

    @initialize()
    def begin(self) -> None:
        self.hosts = [SiteStops() for _ in HOSTS]
        self.heard = [Heard() for _ in HOSTS]
        self.said: list[SiteStops] = [SiteStops()]
        self.replaced: dict[str, frozenset[str]] = {}
        """By stand-in, all that it stands in for."""
        self.given = 0

    @rule(host=st.sampled_from(HOSTS), robots=some_robots, count=st.integers(1, 9))
    def stop(self, host: int, robots: list[str], count: int) -> None:
        for _ in range(count):
            self.given += 1
            self._take(host, Stops(stops=(new_stop(robots, "anna", "", float(self.given)),)))
        self.said.append(self.hosts[host])

    @rule(host=st.sampled_from(HOSTS), robots=some_robots)
    def lift(self, host: int, robots: list[str]) -> None:
        self._lift(host, robots)
        if not robots:
            assert not self.hosts[host].in_force()
        assert not any(self.hosts[host].holding(robot) for robot in robots)

    @rule(host=st.sampled_from(HOSTS), which=st.integers(0, 2**16), rng=st.randoms())
    def hear(self, host: int, which: int, rng: random.Random) -> None:
        parts = list(stop_messages(self.said[which % len(self.said)], ()))
        rng.shuffle(parts)
        for part in (*parts, *parts[:1]):
            self._take(host, part)

    @rule(host=st.sampled_from(HOSTS), which=st.integers(0, 2**16), rng=st.randoms())
    def hear_in_part(self, host: int, which: int, rng: random.Random) -> None:
        """As of messages that are lost."""
        known = self.said[which % len(self.said)]
        stops = tuple(s for s in known.stops.values() if rng.random() < 0.5)
        lifts = tuple(lift for lift in known.lifts if rng.random() < 0.5)
        self._take(host, Stops(stops=stops[:MAX_STOPS], lifts=lifts[:MAX_STOPS]))

    @invariant()
    def each_stop_holds_its_robots_until_it_is_lifted(self) -> None:
        for host, heard in zip(HOSTS, self.heard, strict=True):
            held = {(s.id, r) for r in ROBOTS for s in self.hosts[host].holding(r)}
            if self.given <= MAX_STOPS:
                assert held == heard.wanted - heard.lifted
            robots = {robot for _, robot in held}
            lifted = heard.lifted | {
                (stop, robot)
                for stand_in, robot in heard.lifted
                for stop in self._in_place_of(stand_in)
            }
            assert {robot for _, robot in heard.wanted - lifted} <= robots

    def _in_place_of(self, stand_in: str) -> frozenset[str]:
        """What it stands in for, and the other stand-ins for nothing but some of these."""
        whole = self.replaced.get(stand_in, frozenset())
        return whole | {stop for stop, part in self.replaced.items() if part and part <= whole}

    @invariant()
    def a_host_keeps_a_bounded_number(self) -> None:
        for known in self.hosts:
            assert len(known.in_force()) <= MAX_STOPS and len(known.stops) <= 2 * MAX_STOPS
            assert len(known.lifts) <= 2 * MAX_STOPS * MAX_LIFTS

    def teardown(self) -> None:
        """In the end all know the same, and an operator frees all robots."""
        self._meet()
        for _ in range(9):  # a stop that a host had not heard of yet may have to be lifted again
            self._lift(0, [])
            self._meet()
            if not self.hosts[0].in_force():
                return
        raise AssertionError("a stop stays in force")

    def _meet(self) -> None:
        """All hear all, again and again, in two orders."""
        for turn in range(9):
            for host in HOSTS[:: 1 - 2 * (turn % 2)]:
                for other in HOSTS:
                    for part in stop_messages(self.hosts[other], ()):
                        self._take(host, part)
            if len({known.digest for known in self.hosts}) == 1:
                return
        raise AssertionError("the hosts do not come to know the same")

    def _take(self, host: int, body: Stops) -> None:
        before = {robot for robot in ROBOTS if self.hosts[host].holding(robot)}
        known = self.hosts[host] = self.hosts[host].merged(body.stops, body.lifts)
        if not body.lifts:
            assert before <= {robot for robot in ROBOTS if known.holding(robot)}
        self.heard[host].hear(body)
        for stop in known.stops.values():
            whole = {id for each in stop.instead_of for id in (each, *self.replaced.get(each, ()))}
            self.replaced[stop.id] = frozenset(whole)

    def _lift(self, host: int, robots: list[str]) -> None:
        lifts = lifts_of(self.hosts[host].lifting(robots), "operator", None)
        self._take(host, Stops(lifts=tuple(lifts)))
        self.said.append(self.hosts[host])


TestSite = Site.TestCase
TestSite.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)


def test_more_stops_than_there_is_room_for_are_in_force_and_not_lifted_by_an_old_lift() -> None:
    """A stand-in has an id of its own: a lift of a stop that it stands in for frees no other."""
    stops = [new_stop(["r1", "r2"], "", "", float(k)) for k in range(MAX_STOPS)]
    known = SiteStops().merged(stops, [])
    lifts = [Lift(stop=stop.id, robots=("r1",)) for stop in stops[:-1]]
    late = new_stop(["r1"], "anna", "smoke", 99.0)
    known = known.merged([late], lifts).merged([], [Lift(stop=stops[-1].id)])
    assert known.holding("r1") and known.holding("r2")
    assert known.standing_for(late.id) <= {stop.id for stop in known.holding("r1")}


def test_a_stand_in_holds_the_robots_of_those_that_it_stands_in_for_and_no_others() -> None:
    """And the reason is that of the first."""
    stops = [new_stop([f"r{k}"], "anna", f"{k}", float(k)) for k in range(2 * MAX_STOPS)]
    known = SiteStops().merged(stops, [])
    stand_in = known.in_force()[-1]
    assert stand_in.robots == tuple(sorted(f"r{k}" for k in range(MAX_STOPS - 1, 2 * MAX_STOPS)))
    assert stand_in.why == f"{MAX_STOPS - 1}" and not known.holding("another")
    again = known.merged(stops[MAX_STOPS:], [])
    assert again == known, "what it stands in for is heard of again"
    lifted = known.merged([], [Lift(stop=stand_in.id, robots=("r20",))])
    assert not lifted.holding("r20") and lifted.holding("r21")


def test_a_stop_that_claims_to_stand_in_for_others_under_another_id_is_a_stop_like_any() -> None:
    """Its id is to be their hash, or an old lift could be of it."""
    stop = SiteStop(id="0" * 16, robots=("r1",), instead_of=("1" * 16, "2" * 16))
    (found,) = SiteStops().merged([stop], []).stops.values()
    assert found == SiteStop(id="0" * 16, robots=("r1",))


@given(st.integers(MAX_STOPS + 1, MAX_STOPS + 2 * MAX_REPLACED), st.randoms())
@settings(max_examples=20, deadline=None)
def test_a_flood_pushes_no_stop_out(count: int, rng: random.Random) -> None:
    """Of a stop of another robot than the flood's; a lift of all frees all."""
    stops = [new_stop(["r1"], "", "", float(k)) for k in range(count)]
    stops.append(new_stop(["r2"], "", "", rng.uniform(-1.0, count)))
    rng.shuffle(stops)
    known = SiteStops()
    for stop in stops:
        known = known.merged([stop], [])
        assert len(known.in_force()) <= MAX_STOPS
        assert all(len(each.instead_of) <= MAX_REPLACED for each in known.in_force())
    assert known.holding("r1") and known.holding("r2")
    known = known.merged([], lifts_of(known.lifting([]), "", None))
    assert not known.holding("r1") and not known.holding("r2")


def test_a_lift_that_comes_before_its_stop_lifts_it() -> None:
    """Messages may overtake each other."""
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
    """A stop of only some of them is never written."""
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
