"""Stops between a robot's host and a broker, over the sockets that they have."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from holdfast.actors.broker.stop_exchange import StopExchange
from holdfast.actors.network.latest_vitals import LatestVitals
from holdfast.actors.network.stop_relay import StopRelay
from holdfast.actors.network.stopped_robots import ScriptRobot
from holdfast.actors.runtime.configs import BrokerConfig, NetworkConfig
from holdfast.actors.runtime.lifting import lifts_of
from holdfast.actors.runtime.site_stop_store import SiteStopStore
from holdfast.actors.runtime.site_stops import SiteStops, new_stop
from holdfast.transport import messages, sockets
from holdfast.transport.arrays import Buffer
from holdfast.transport.bodies import Heartbeat, Vitals
from holdfast.transport.header import Header, Kind
from holdfast.transport.stop_bodies import MAX_STOPS, HeldRobot, SiteStop, Stops

LOG = logging.getLogger("test")
TURNS = 10


class TwoHosts:
    """A robot's network actor and a broker, each with its own state directory. Between two turns of
    one all that was sent arrives; both say every tenth turn what they know."""

    def __init__(self, base: Path) -> None:
        self.states = base / "hub", base / "cell"
        for state in self.states:
            state.mkdir()
        config = BrokerConfig(front="", back="", evidence=str(self.states[0]))
        self.exchange = StopExchange(config, base, LOG)
        of_network = NetworkConfig(
            robot="r1",
            service="pick",
            control="",
            brokers=(),
            host="cell",
            cameras={},
            state_names=(),
            action_names=(),
            evidence=str(self.states[1]),
        )
        vitals = LatestVitals(script=False)
        self.relay = StopRelay.of(of_network, "r1/network", base, LOG, vitals)
        self.context = zmq.Context()
        endpoint = sockets.ipc(base, "front")
        self.router = sockets.router(self.context, endpoint)
        self.dealer = sockets.dealer(self.context, endpoint, "r1:1")
        self.now_ns = 0
        self.turns = 0
        self.takes = True
        """Whether the sockets take messages about stops."""

    def close(self) -> None:
        self.relay.close()
        self.context.destroy(linger=0)

    def store(self, host: int) -> SiteStopStore:
        """As a program of that host has it."""
        store = SiteStopStore(self.states[host], None)
        store.look()
        return store

    @property
    def agree(self) -> bool:
        return self.exchange.digest == self.relay.digest

    def turn(self) -> None:
        self.now_ns += 50_000_000
        if self.turns % 10 == 0:
            beat = Heartbeat(progress=0, stops=self.relay.digest)
            assert self.dealer.poll(10_000, zmq.POLLOUT)
            assert sockets.send(self.dealer, messages.encode(Header(Kind.HEARTBEAT), beat))
            self._pass_on(self.router, self._to_exchange)
            beat = Heartbeat(progress=0, stops=self.exchange.digest)
            frames = messages.encode(Header(Kind.HEARTBEAT), beat)
            assert sockets.send(self.router, [b"r1:1", *frames])
        self.turns += 1
        self.exchange.turn(self.now_ns, self._from_exchange)
        self._pass_on(self.dealer, lambda frames: self.relay.heard(0, frames))
        self.relay.turn(self.now_ns, self._from_relay)
        self._pass_on(self.router, self._to_exchange)

    def _from_exchange(self, frames: list[Buffer]) -> bool:
        return self.takes and sockets.send(self.router, frames)

    def _from_relay(self, frames: list[Buffer], broker: int) -> bool:
        assert broker == 0
        return self.takes and sockets.send(self.dealer, frames)

    def _to_exchange(self, frames: list[Buffer]) -> None:
        body = messages.decode(frames[1:]).body
        self.exchange.heard(bytes(frames[0]), "r1", body, self.now_ns)

    def _pass_on(self, socket: sockets.Socket, handle: Callable[[list[Buffer]], object]) -> None:
        """Hand over what was sent before now: a mark behind it, by the same way, shows the end."""
        mark = messages.encode(Header(Kind.STOPS), Stops())
        far = self.router if socket is self.dealer else self.dealer
        to = [b"r1:1"] if far is self.router else []
        frames: list[Buffer] | None = None
        waiting = True
        while waiting or not self._is_mark(frames):
            if waiting and sockets.send(far, [*to, *mark]):
                waiting = False
            if socket.poll(10 if waiting else 10_000):
                frames = sockets.receive(socket)
                assert frames is not None
                if not self._is_mark(frames):
                    handle(frames)
            else:
                assert waiting, "the mark did not arrive"
                frames = None

    @staticmethod
    def _is_mark(frames: list[Buffer] | None) -> bool:
        if not frames:
            return False
        message = messages.decode(frames[-2:])
        return message.header.kind is Kind.STOPS and message.body == Stops()


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[TwoHosts]:
    made = TwoHosts(tmp_path)
    yield made
    made.close()


def old_stops(hosts: TwoHosts, host: int, count: int = MAX_STOPS) -> None:
    """Stops that were given and lifted, on one host."""
    for k in range(count):
        store = hosts.store(host)
        stop = new_stop(["r1"] * (k % 2), "anna", "smoke", float(k))
        store.add([stop], [])
        store.add([], lifts_of([(stop.id, ())], "ben", None))


@pytest.mark.parametrize("host", [0, 1])
def test_a_new_stop_and_its_lift_cross_within_a_few_turns_whatever_was_before(
    hosts: TwoHosts, host: int
) -> None:
    """In both directions, with as many old stops as are kept; in the end both know the same."""
    old_stops(hosts, host)
    hosts.turn()
    other = hosts.exchange if host == 1 else hosts.relay
    for k in range(20):
        stop = new_stop(["r1"], "anna", "", 100.0 + k)
        hosts.store(host).add([stop], [])
        for lifted in (False, True):
            if lifted:
                hosts.store(host).add([], lifts_of([(stop.id, ())], "ben", None))
            for _ in range(TURNS):
                hosts.turn()
                if hosts.agree:
                    break
            assert hosts.agree, f"stop {k}, lifted {lifted}: {other.digest}"
            held = hosts.store(1 - host).stops.holding("r1")
            assert held == ([] if lifted else [stop])


def test_an_exchange_of_two_that_know_nothing_of_each_other_ends(hosts: TwoHosts) -> None:
    """Each with old stops of its own, and many robots that are held."""
    for host in (0, 1):
        old_stops(hosts, host)
        hosts.store(host).add([new_stop([], "anna", "", 200.0 + host)], [])
    for _ in range(3 * TURNS):
        hosts.turn()
    assert hosts.agree
    assert len(hosts.store(0).stops.holding("r1")) == 2


def test_what_a_full_socket_refuses_is_sent_later(hosts: TwoHosts) -> None:
    """And only then does the peer count as told: without another heartbeat."""
    hosts.turn()
    hosts.takes = False
    stop = new_stop(["r1"], "anna", "", 1.0)
    hosts.store(0).add([stop], [])
    hosts.turn()
    hosts.turn()
    assert not hosts.store(1).stops.stops
    hosts.takes = True
    hosts.turn()
    assert hosts.store(1).stops.holding("r1") == [stop]


def test_a_host_that_hears_of_old_stops_does_not_hold_for_a_moment(hosts: TwoHosts) -> None:
    """A stop that is over comes with its lifts."""
    old_stops(hosts, 0)
    for _ in range(3 * TURNS):
        hosts.turn()
        assert not hosts.store(1).stops.in_force()
    assert hosts.agree


def test_a_host_that_has_just_come_is_told_at_once_and_one_that_goes_on_so_ten_times_a_second(
    hosts: TwoHosts,
) -> None:
    """One that says with each heartbeat that it knows something else costs no turn of its own."""
    hosts.store(0).add([new_stop(["r1"], "anna", "", 1.0)], [])
    hosts.exchange.turn(0, lambda frames: True)
    wrong = Heartbeat(progress=0, stops="x")
    at_once: dict[str, int] = {"r1": 0, "r2": 0}
    for now_ns in range(0, 1_000_000_000, 1_000_000):
        for robot in at_once:
            if hosts.exchange.heard(f"{robot}:1".encode(), robot, wrong, now_ns):
                at_once[robot] += 1
                hosts.exchange.turn(now_ns, lambda frames: True)
        assert min(at_once.values()) > 0, "the first is not made to wait"
    assert at_once == {"r1": 10, "r2": 10}
    right = Heartbeat(progress=0, stops=hosts.exchange.digest)
    assert not hosts.exchange.heard(b"r3:1", "r3", right, 0), "it knows"


def test_a_robots_row_is_believed_from_its_own_connection(hosts: TwoHosts) -> None:
    """If it has one; else from that of another robot, which is of its host."""
    hosts.exchange.heard(b"r1:1", "r1", Heartbeat(progress=0, stops="x"), 1)
    hosts.exchange.heard(b"r2:1", "r2", Heartbeat(progress=0, stops="x"), 1)

    def row(robot: str, message: str) -> Stops:
        return Stops(held=(HeldRobot(robot=robot, message=message),))

    hosts.exchange.heard(b"r1:1", "r1", row("r1", "its own"), 2)
    hosts.exchange.heard(b"r2:1", "r2", row("r1", "a lie"), 3)
    hosts.exchange.heard(b"r2:1", "r2", row("r3", "beside r2"), 4)
    stop = SiteStop(id="0" * 16)
    sent: list[Stops] = []

    def send(frames: list[Buffer]) -> bool:
        sent.append(messages.decode(frames[1:]).body)
        return True

    hosts.store(0).add([stop], [])
    for _ in range(4):
        hosts.now_ns += 500_000_000
        hosts.exchange.turn(hosts.now_ns, send)
    said = {each.robot: each.message for body in sent for each in body.held}
    assert said == {"r1": "its own", "r3": "beside r2"}


def test_what_a_script_said_of_an_earlier_stop_does_not_confirm_another_one() -> None:
    """It does so with the first word after it."""
    vitals = LatestVitals(script=True)
    robot = ScriptRobot("bench", vitals)
    known = SiteStops().merged([new_stop([], "anna", "", 1.0)], [])

    def row() -> HeldRobot:
        (found,) = robot.rows(known, "", time.monotonic_ns())
        return found

    vitals.heard(Vitals(state="STOPPED"), time.monotonic_ns())
    assert row().confirmed and not row().message
    known = known.merged([new_stop([], "ben", "", 2.0)], [])
    robot.follow()
    assert row().latched and not row().confirmed and "has not called act" in row().message
    vitals.heard(Vitals(state="STOPPED"), time.monotonic_ns())
    assert row().confirmed
