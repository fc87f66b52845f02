"""A fleet that runs takes up tokens: its robot, its replica and its port for openpi's clients."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from holdfast.actors.clients.msgpack_arrays import pack, unpack
from holdfast.tests.actors.clients.conftest import observation
from holdfast.tests.e2e.conftest import FleetProcess, StartFleet, row
from holdfast.tests.free_ports import free_port
from holdfast.tests.waiting import wait_until
from holdfast.transport.enrolment_tokens import issue
from holdfast.transport.keys import Role, load_public, new
from holdfast.transport.revoking import revoke

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

FLEET = """
name: tokens
security: {{keys: {keys}}}
gateway: {{enabled: false, openpi: {{port: {port}, service: pick}}}}
supervision: {{policy_spare: false}}
services: {{pick: {{policy: constant, checkpoint: conveyor-flow}}}}
robots:
  - name: r1
    options: {{seed: 1}}
    service: pick
    cameras: {{overhead: &small {{width: 64, height: 48, fps: 15}}, wrist: *small}}
    safety: {{max_offline_s: 600}}
"""
PEERS = {"r1": Role.ROBOT, "pick/0": Role.REPLICA, "openpi": Role.ROBOT}
ACTORS = ("r1/network", "pick/0", "openpi")


def give_tokens(keys: Path) -> None:
    """Each peer gets one, in the place of an earlier one."""
    broker = load_public(keys / "broker.pub")
    for name, role in PEERS.items():
        (keys / f"{name.replace('/', '@')}.token").unlink(missing_ok=True)
        issue(name, role, keys, broker, expires_s=round(time.time()) + 3600)


def is_served(port: int) -> bool:
    """Whether a client of openpi gets a chunk."""
    try:
        with connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None) as client:
            client.recv(30.0)
            client.send(pack(observation()))
            answer = client.recv(30.0)
    except (OSError, WebSocketException, TimeoutError):
        return False
    return isinstance(answer, bytes) and "actions" in unpack(answer)


def pids(fleet: FleetProcess) -> list[int]:
    return [fleet.actor(name)["pid"] for name in ACTORS]


def test_a_fleet_that_runs_takes_up_new_tokens(start_fleet: StartFleet, tmp_path: Path) -> None:
    """After all its keys were revoked, without a restart; before, its status says what to do."""
    keys, port = tmp_path / "keys", free_port()
    new("broker", Role.BROKER, keys)
    give_tokens(keys)
    file = tmp_path / "tokens.yaml"
    file.write_text(FLEET.format(keys=keys, port=port))
    fleet = start_fleet(fleet=file)
    fleet.streaming(90.0)
    wait_until(lambda: is_served(port), "openpi's client is served", within_s=60.0)
    before = pids(fleet)
    for name in PEERS:
        assert revoke(keys, name)

    def says_why(status: dict[str, Any]) -> bool:
        reason = row(status["robots"], "r1")["reason"]
        replica = row(status["actors"], "pick/0")["report"]["broker"]
        return all("put a new one in its place" in words for words in (reason, replica))

    fleet.wait_for(says_why, 90.0)
    give_tokens(keys)
    fleet.streaming(90.0)
    wait_until(lambda: is_served(port), "openpi's client is served again", within_s=90.0)
    assert pids(fleet) == before
