"""A fleet whose replicas are actors on a Ray cluster, here of several nodes on one machine."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="needs ray, 240 MB: pip install 'holdfast[ray]'")

from holdfast.tests.e2e.conftest import FleetProcess, StartFleet, row
from holdfast.tests.free_ports import free_port
from holdfast.tests.waiting import wait_until

pytestmark = [pytest.mark.timeout(1200), pytest.mark.slow]

# Robots that ask for 0.45 s of a device once a second: two want more than the 0.8 of it that may be
# planned for. The objective is far, so that a machine that is busy otherwise counts for nothing.
FLEET = """
name: pooled
hosts: {hub: {address: 127.0.0.1}}
broker: {host: hub, front_port: %d, back_port: %d}
supervision: {spares: 0, policy_spare: false, rules: {driver: {hang_timeout_s: 20}}}
gateway: {enabled: false}
services:
  pick:
    policy: constant
    checkpoint: conveyor-flow
    options: {delay_s: 0.45}
    max_batch: 1
    slo_ms: 60000
    scale_down_after_s: 1
    placements: [{pool: ray, address: "%s", min: 1, max: 3}]
robots:
  - &one {name: r1, host: hub, service: pick,
      cameras: {overhead: &small {width: 64, height: 48, fps: 15}, wrist: *small},
      plan: {buffer_time_s: 0.6}}
  - {<<: *one, name: r2}
"""
# With the first, Ray takes 127.0.0.1 for the nodes' address and listens for no other machine.
ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}


class Cluster:
    """Ray's own test cluster: a head without room, and two nodes for two replicas each."""

    def __init__(self, directory: str) -> None:
        from ray.cluster_utils import Cluster as Nodes

        self._common: dict[str, Any] = {
            "include_dashboard": False,
            "node_ip_address": "127.0.0.1",
            "object_store_memory": 80_000_000,
            "temp_dir": directory,
        }
        head = {"num_cpus": 0, **self._common}
        self._nodes: Any = Nodes(initialize_head=True, head_node_args=head)
        for _ in range(2):
            self._nodes.add_node(num_cpus=2, **self._common)
        self.address: str = self._nodes.address

    def kill(self, node: str) -> None:
        """Kill all processes of the node whose id begins so."""
        (found,) = [n for n in self._nodes.list_all_nodes() if n.node_id.startswith(node)]
        self._nodes.remove_node(found, allow_graceful=False)

    def close(self) -> None:
        self._nodes.shutdown()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """In a folder of a short path, for its sockets."""
    for name, value in ON_LOOPBACK.items():
        monkeypatch.setenv(name, value)
    directory = tempfile.mkdtemp(prefix="hf-ray-", dir="/tmp")
    # Where Ray notes the cluster's address: in /tmp/ray otherwise, which it does not make.
    monkeypatch.setenv("RAY_TMPDIR", directory)
    Path(directory, "ray").mkdir()
    segments = set(Path("/dev/shm").iterdir())
    handler = signal.getsignal(signal.SIGTERM)
    made = Cluster(f"{directory}/ray")
    signal.signal(signal.SIGTERM, handler)  # which the cluster takes for itself
    yield made
    made.close()
    left = set(Path("/dev/shm").iterdir()) - segments
    assert not [each for each in left if each.name.startswith(("plasma", "ray"))]
    shutil.rmtree(directory)


class Pooled:
    """The fleet and its pool, as its status shows them."""

    def __init__(self, fleet: FleetProcess) -> None:
        self.fleet = fleet

    def settled(self, count: int, robots: int = 2) -> dict[str, dict[str, Any]]:
        """The pool's replicas, once so many serve and so many robots stream."""

        def well(status: dict[str, Any]) -> bool:
            streaming = [each for each in status["robots"] if each["state"] == "STREAMING"]
            return len(replicas(status)) == count and len(streaming) == robots

        return replicas(self.fleet.wait_for(well, within_s=120))

    def answers_go_on(self) -> None:
        """Wait for some more of them."""
        before = answers(self.fleet.asked())
        self.fleet.wait_for(lambda status: answers(status) > before + 3, within_s=60)


def replicas(status: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows of the pool's replicas that serve, by name."""
    report = row(status["actors"], "pool/pick")["report"] or {}
    serving = {each["name"] for each in status["site"]["replicas"] if each["state"] == "READY"}
    rows = {each["name"]: each for each in report.get("replicas", ())}
    return {name: rows[name] for name in serving & rows.keys() if rows[name]["state"] == "ready"}


def answers(status: dict[str, Any]) -> int:
    """The replies that the broker has passed on."""
    report = row(status["actors"], "broker")["report"] or {}
    return int(report.get("counters", {}).get("replies", 0))


# One test, because each part begins where the one before ends, and a cluster takes long to start.
def test_a_pool_follows_the_load_and_survives_its_owner_and_a_node(
    cluster: Cluster, start_fleet: StartFleet, tmp_path: Path
) -> None:
    """Robots are served all the time but while their only replica starts elsewhere."""
    file = tmp_path / "pooled.yaml"
    file.write_text(FLEET % (free_port(), free_port(), cluster.address))
    fleet = start_fleet("--host", "hub", fleet=file)
    pooled = Pooled(fleet)

    # Two robots are too much for the one that the pool begins with.
    before = pooled.settled(2)
    places = {each["name"]: each["where"] for each in fleet.asked()["site"]["replicas"]}
    for name, each in before.items():
        assert each["node"].split()[:2] == places[name].split()[:2] and each["pid"]
    wait_until(lambda: "pick/1: shared" in fleet.actorctl("logs").stdout, within_s=60)

    # The replicas outlive the process of their pool; the next one finds the same.
    pool = fleet.actor("pool/pick")["pid"]
    os.kill(pool, signal.SIGKILL)
    pooled.answers_go_on()
    fleet.wait_for(lambda s: row(s["actors"], "pool/pick")["pid"] not in (None, pool), within_s=60)
    after = pooled.settled(2)
    assert {k: v["pid"] for k, v in after.items()} == {k: v["pid"] for k, v in before.items()}

    # A node dies with its replica, which Ray starts on another.
    name = next(iter(after))
    node = after[name]["node"].split()[1]
    cluster.kill(node)
    fleet.wait_for(
        lambda s: name in replicas(s) and node not in replicas(s)[name]["node"], within_s=120
    )
    pooled.settled(2)
    pooled.answers_go_on()

    # A robot leaves: one replica drains, and its robot goes on at the other.
    fleet.actorctl("stop", "r2/control")
    pooled.settled(1, robots=1)
    wait_until(lambda: "ends pick/" in fleet.actorctl("logs").stdout, within_s=60)
    log = fleet.actorctl("logs").stdout
    assert log.index("drains pick/") < log.index("ends pick/")
    pooled.answers_go_on()

    # With the fleet its replicas end; those of a pool that is stopped hold no node.
    fleet.process.terminate()
    fleet.wait(60)
    assert "pool/pick exited" not in fleet.said()
