"""What the status says of a service's load, and how many replicas that wants."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.actors.broker.routing import Routing
from holdfast.actors.runtime.configs import BrokerConfig, ServiceTarget
from holdfast.tests.actors.broker.desk import SECOND, Desk, asking
from holdfast.transport.bodies import Demand, Heartbeat, Reject


def service(desk: Desk) -> dict[str, Any]:
    """The row of the only service."""
    (row,) = desk.routing.status(desk.now_ns)["services"]
    return dict(row)


def say(desk: Desk, identity: str, **demand: Any) -> None:
    """The replica `identity` sends a heartbeat."""
    desk.progress += 1
    desk.replica(identity, Heartbeat(progress=desk.progress, demand=Demand(**demand)))


def test_the_signals_of_a_service_are_those_of_its_replicas_together(desk: Desk) -> None:
    """Loads and rates are summed, waits are those of the busiest."""
    desk.register("flow/0:1")
    desk.register("flow/1:1")
    for name, wait_ms in (("flow/0:1", 4.0), ("flow/1:1", 30.0)):
        say(desk, name, requests=100, misses=1, superseded=5)
        desk.now_ns += SECOND
        more = {"offered": 0.7, "queue_ms": {"p50": 1.0, "p95": wait_ms}}
        say(desk, name, requests=110, misses=3, superseded=6, **more)
    desk.routing.tick(desk.now_ns)
    row = service(desk)
    assert row["offered"] == pytest.approx(1.4)
    assert (row["requests_per_s"], row["misses_per_s"], row["superseded_per_s"]) == (20, 4, 2)
    assert row["queue_ms"] == {"p50": 1.0, "p95": 30.0}
    assert row["wanted"] == 2


def test_a_load_beyond_the_replicas_wants_more(desk: Desk) -> None:
    """As many as carry it at four fifths of their devices."""
    desk.register("flow/0:1")
    say(desk, "flow/0:1", offered=2.5)
    desk.now_ns += 2 * SECOND
    desk.routing.tick(desk.now_ns)
    assert service(desk)["wanted"] == 4
    assert "2.50 devices" in service(desk)["why_wanted"]


def test_robots_without_a_place_want_a_replica(desk: Desk) -> None:
    """One that serves a single robot has no load of a second, and still needs another."""
    desk.register("flow/0:1", capacity=1)
    desk.opened("r1:1")
    desk.robot("r2:1", asking("r2"), epoch=1)
    desk.now_ns += 2 * SECOND
    desk.routing.tick(desk.now_ns)
    assert (service(desk)["waiting"], service(desk)["wanted"]) == (1, 2)


def test_robots_that_a_replica_turns_away_count_as_waiting(desk: Desk) -> None:
    """By its measured times it has no room, though it has places; once accepted they do not."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    say(desk, "flow/0:1", offered=0.5)
    full = Reject(reason="capacity", message="full")
    desk.robot("r2:1", asking("r2"), epoch=1)
    desk.replica("flow/0:1", full, "r2", epoch=1)
    desk.now_ns += 2 * SECOND
    desk.routing.tick(desk.now_ns)
    assert (service(desk)["waiting"], service(desk)["wanted"]) == (1, 2)
    desk.opened("r2:1", epoch=2)
    assert service(desk)["waiting"] == 0


def test_robots_beyond_the_limit_of_their_service_want_none(desk: Desk) -> None:
    """`max_sessions` counts over all replicas: one more would not take them."""
    desk.register("flow/0:1", capacity=1, service_limit=1)
    desk.opened("r1:1")
    desk.robot("r2:1", asking("r2"), epoch=1)
    desk.now_ns += 2 * SECOND
    desk.routing.tick(desk.now_ns)
    assert (service(desk)["waiting"], service(desk)["wanted"]) == (1, 1)


def test_the_bounds_are_those_of_the_fleet_file(desk: Desk) -> None:
    """Those of a changed file replace them."""
    targets = {"flow": ServiceTarget(slo_ms=200.0, fewest=2, most=3)}
    config = BrokerConfig(front="", back="", targets=targets)
    desk.routing = Routing(config, "b:1", desk.now_ns)
    desk.register("flow/0:1")
    desk.routing.tick(desk.now_ns)
    assert (service(desk)["wanted"], service(desk)["slo_ms"]) == (2, 200.0)
    say(desk, "flow/0:1", offered=9.0)
    desk.wait(2, beats=("flow/0:1",))
    assert service(desk)["wanted"] == 3
    desk.routing.reconfigured(BrokerConfig(front="", back="", targets={}))
    desk.wait(2, beats=("flow/0:1",))
    assert service(desk)["wanted"] == 12
