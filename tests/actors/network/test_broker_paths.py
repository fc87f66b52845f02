"""A robot's connections to its brokers: which heartbeats may be left out, as its configuration has
it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from holdfast.actors.fleet.schema import BrokerEntry
from holdfast.actors.network.broker_paths import BrokerPaths, dead_after_ns
from holdfast.actors.runtime.configs import ROBOT_TAKEOVER_NS, NetworkConfig
from holdfast.transport import sockets
from holdfast.transport.bodies import Heartbeat
from holdfast.transport.header import Header, Kind

BEATEN_NS = 100_000_000_000


def configured(**options: Any) -> NetworkConfig:
    """The configuration of r1's network actor."""
    return NetworkConfig(
        robot="r1",
        service="pick",
        control="",
        cameras={},
        state_names=(),
        action_names=(),
        **{"brokers": (), **options},
    )


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Callable[..., BrokerPaths]]:
    """paths(**config): the connections of r1 to a broker that is not there."""
    with ExitStack() as opened:
        context: sockets.Context = zmq.Context()
        opened.callback(context.destroy, linger=0)

        def made(**options: Any) -> BrokerPaths:
            config = configured(brokers=(sockets.ipc(tmp_path, "front"),), **options)
            it = BrokerPaths(context, config, "r1:1")
            opened.callback(it.close)
            it.beat("", Header(Kind.HEARTBEAT), Heartbeat(progress=1), BEATEN_NS)
            return it

        yield made


@pytest.mark.parametrize(
    ("heartbeat_s", "broker_lost_after_s", "due"),
    [(0.5, 4.0, False), (1.25, 4.0, True), (0.5, 1.0, True), (0.9, 60.0, True)],
)
def test_a_heartbeat_after_an_answer_is_left_out_only_where_none_would_be_missed(
    paths: Callable[..., BrokerPaths], heartbeat_s: float, broker_lost_after_s: float, due: bool
) -> None:
    """A connection that is silent for 2 s, or half of `broker_lost_after_s`, is made anew."""
    it = paths(heartbeat_s=heartbeat_s, broker_lost_after_s=broker_lost_after_s)
    next_ns = BEATEN_NS + round(heartbeat_s * 1e9)
    it.asked(7, next_ns - 1_000_000)
    it.heard(0, Header(Kind.REPLY, seq=7), next_ns)
    assert it.beat_due("", next_ns) is due


def test_the_longest_heartbeat_of_a_fleet_keeps_an_idle_robots_connection_and_name() -> None:
    """Half of the connection's bound is left for the answer's way; no older claim gets the name."""
    longest = msgspec.convert({"heartbeat_s": 1.0}, BrokerEntry).heartbeat_s
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"heartbeat_s": 1.01}, BrokerEntry)
    assert longest * 1e9 <= dead_after_ns(configured()) / 2
    assert longest * 1e9 < ROBOT_TAKEOVER_NS
