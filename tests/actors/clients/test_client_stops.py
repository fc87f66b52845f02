"""A port keeps chunks from its clients while an emergency stop is in force."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import zmq

from holdfast.actors.clients.client_stops import ClientStops
from holdfast.actors.clients.service_caller import ServiceCaller
from holdfast.actors.runtime import site_stop_store
from holdfast.actors.runtime.site_stop_files import FOLDER
from holdfast.errors import RequestDeclinedError
from holdfast.tests.actors.driver.kept_stops import lift_all, site_lift, site_stop
from holdfast.transport import sockets
from holdfast.transport.bodies import Open, Request
from holdfast.transport.keys import Role
from holdfast.transport.keys import new as new_key
from holdfast.transport.messages import Blobs

OPENING = Open(
    robot="openpi/1", service="pick", action_names=("a",), state_names=("s",), cameras={}, fps=10
)


@pytest.mark.parametrize("robots", [(), ("openpi/1", "r1")])
def test_a_stop_of_the_site_or_of_its_name_keeps_chunks_from_a_client_until_its_release(
    tmp_path: Path, robots: Sequence[str]
) -> None:
    """The reason has who stopped, why, and what lifts it; other sessions have their own."""
    stops = ClientStops(str(tmp_path), None)
    assert stops.why("openpi/1") == ""
    site_stop(tmp_path, robots)
    why = stops.why("openpi/1")
    assert "stopped by anna@hub: smoke" in why and "actorctl estop --release openpi/1" in why
    assert bool(stops.why("openpi/2")) is (robots == ())
    lift_all(tmp_path, ["openpi/1"])
    assert stops.why("openpi/1") == ""
    assert bool(stops.why("openpi/2")) is (robots == ())
    assert ClientStops(None, None).why("openpi/2") == ""


def test_stops_that_cannot_be_read_keep_chunks_from_every_client(tmp_path: Path) -> None:
    """No release ends that: the reason names the file, until it can be read, or is removed."""
    stops = ClientStops(str(tmp_path), None)
    file = tmp_path / FOLDER / f"stop.{'0' * 16}"
    file.mkdir(parents=True)
    why = stops.why("openpi/1")
    assert str(file) in why and "--release" not in why
    file.rmdir()
    assert stops.why("openpi/1") == ""


def test_a_stop_is_lifted_by_an_operator_only_where_the_fleet_has_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lift that nobody has signed gives the client no chunks."""
    monkeypatch.setattr(site_stop_store, "AGAIN_NS", 0)
    operator = new_key("operator", Role.OPERATOR, tmp_path / "keys")
    stops = ClientStops(str(tmp_path / "state"), str(tmp_path / "keys"))
    stop = site_stop(tmp_path / "state")
    assert stops.why("groot/1")
    site_lift(tmp_path / "state", stop)
    assert stops.why("groot/1")
    site_lift(tmp_path / "state", stop, operator)
    assert stops.why("groot/1") == ""


def test_a_chunk_that_is_computed_when_a_stop_comes_is_not_given(tmp_path: Path) -> None:
    """Nor is one asked for afterwards; the row of the client says that it is refused."""
    context: sockets.Context = zmq.Context()

    def request() -> tuple[Request, Blobs]:
        blobs = Blobs()
        return Request(state=blobs.array(np.zeros(1, np.float32))), blobs

    async def ask() -> None:
        stops = ClientStops(str(tmp_path), None)
        broker = f"ipc://{tmp_path}/broker"
        caller = ServiceCaller(context, broker, OPENING, itertools.count(1), stops=stops)
        try:
            assert caller._vitals().state == "CONNECTING"
            asking = asyncio.create_task(caller.infer(*request()))
            await asyncio.sleep(0)  # it awaits its answer
            site_stop(tmp_path)
            assert caller._answer is not None
            caller._answer.set_result("a reply")  # type: ignore[arg-type]
            with pytest.raises(RequestDeclinedError, match="stopped by anna@hub: smoke"):
                await asking
            with pytest.raises(RequestDeclinedError, match="no chunks for openpi/1"):
                await caller.infer(*request())
            vitals = caller._vitals()
            assert vitals.state == "REFUSED" and "smoke" in vitals.reason
        finally:
            await caller.close("the test is over")

    try:
        asyncio.run(ask())
    finally:
        context.destroy(linger=0)
