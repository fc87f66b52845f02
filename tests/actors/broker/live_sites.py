"""A replica and robots at a broker on real sockets."""

from __future__ import annotations

from typing import Any

from holdfast.tests.actors.broker.live_broker import (
    LiveBroker,
)


def site(broker: LiveBroker, robots: int = 1, capacity: int = 4) -> tuple[Any, list[Any]]:
    """A replica and robots with open sessions at it."""
    replica = broker.replica("flow/0:1")
    replica.register(capacity)
    opened = [broker.robot(f"r{n}:1") for n in range(1, robots + 1)]
    for robot in opened:
        robot.open(replica)
    return replica, opened
