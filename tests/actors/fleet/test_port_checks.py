"""Ports of a fleet file that are held by another program."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.actors.fleet import port_checks
from holdfast.actors.fleet.loading import load
from holdfast.actors.fleet.schema import FleetFile


def fleet_of(folder: Path, gateway: dict[str, Any], **values: Any) -> FleetFile:
    file = folder / "fleet.yaml"
    services = {"pick": {"policy": "constant", "checkpoint": "conveyor-flow"}}
    file.write_text(yaml.safe_dump({"services": services, "gateway": gateway, **values}))
    return load(file)


@pytest.mark.parametrize("kind", ["openpi", "groot", "page"])
def test_a_port_that_another_program_has_is_named_with_its_process(
    tmp_path: Path, kind: str
) -> None:
    """Once it is free there is nothing to say."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        other.listen(1)
        entry = {kind: {"port": port, "service": "pick"}} if kind != "page" else {"port": port}
        fleet = fleet_of(tmp_path, entry)
        (found,) = port_checks.held(fleet, None)
        where = "$.gateway.port" if kind == "page" else f"$.gateway.{kind}.port"
        assert found.path == where
        assert f"port {port} is held by process {os.getpid()} (" in str(found)
        assert "name another port" in str(found)
    assert list(port_checks.held(fleet, None)) == []


def test_the_ports_of_a_broker_that_listens_are_looked_at_on_its_own_host(tmp_path: Path) -> None:
    """One that is held is named there; another host has none."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        other.listen(1)
        hosts = {"here": {"address": "127.0.0.1"}, "there": {"address": "127.0.0.2"}}
        broker = {"host": "here", "front_port": port, "back_port": port - 1}
        fleet = fleet_of(
            tmp_path,
            {"enabled": False},
            hosts=hosts,
            broker=broker,
            security={"insecure": True},
            services={},
        )
        assert "$.broker.front_port" in {each.path for each in port_checks.held(fleet, "here")}
        assert list(port_checks.held(fleet, "there")) == []


def test_a_port_of_the_running_fleet_is_its_own(tmp_path: Path) -> None:
    """A file can be checked while its fleet runs."""
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        own.listen(1)
        fleet = fleet_of(tmp_path, {"port": own.getsockname()[1]})
        assert list(port_checks.held(fleet, None, lambda: {os.getpid()})) == []
        assert len(list(port_checks.held(fleet, None, lambda: {1}))) == 1


def test_a_port_whose_process_cannot_be_seen_is_named_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of another user's program."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        monkeypatch.setattr(port_checks, "_holder", lambda port: None)
        (found,) = port_checks.held(fleet_of(tmp_path, {"port": other.getsockname()[1]}), None)
        assert "another program, whose process this user cannot see" in str(found)
