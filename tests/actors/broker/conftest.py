"""The desk of the routing core and the brokers of the tests, as fixtures."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from holdfast.tests.actors.broker.broker_process import BrokerProcess
from holdfast.tests.actors.broker.desk import Desk, Sent, asking, is_a
from holdfast.tests.actors.broker.live_broker import LiveBroker, Wire
from holdfast.transport import sockets


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def sent() -> Sent:
    """sent(effects, ToRobot, Kind.REPLY): the effects that send such a message."""
    return lambda effects, way, kind: [e for e in effects if is_a(e, way, kind)]


@pytest.fixture
def start_broker() -> Iterator[Callable[..., LiveBroker]]:
    """start_broker(**config): a broker on real sockets; stopped afterwards."""
    Path(os.environ["HOLDFAST_RUNTIME"]).mkdir(parents=True, exist_ok=True)
    started: list[LiveBroker] = []

    def start(**config: Any) -> LiveBroker:
        started.append(LiveBroker(**config))
        return started[-1]

    yield start
    for broker in started:
        broker.context.destroy(linger=0)
        broker.stop()


@pytest.fixture
def broker(start_broker: Callable[..., LiveBroker]) -> LiveBroker:
    return start_broker()


@pytest.fixture
def robot_of() -> Iterator[Callable[[str], Wire]]:
    """robot_of(front): the robot r1 at a broker, its OPEN in `asking`."""
    context: sockets.Context = zmq.Context()

    def connect(front: str) -> Wire:
        robot = Wire(context, front, "r1:1")
        robot.asking = asking("r1")
        return robot

    yield connect
    context.destroy(linger=0)


@pytest.fixture
def broker_process(request: pytest.FixtureRequest) -> Iterator[BrokerProcess]:
    """Its configuration may be given as this fixture's parameter."""
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        process = BrokerProcess(Path(directory), **getattr(request, "param", {}))
        yield process
        process.close()
