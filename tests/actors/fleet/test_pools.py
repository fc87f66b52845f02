"""Services whose replicas run on a cluster: their pool's entry, its actor and its checks."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from holdfast.actors.fleet.checks import actor_names
from holdfast.actors.fleet.loading import loads
from holdfast.actors.fleet.places import replica_names
from holdfast.actors.fleet.surroundings import faults_here
from holdfast.tests.actors.fleet.files import actors, faults

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def pooled(good: dict[str, Any]) -> dict[str, Any]:
    """A fleet whose service has one replica on a host and a pool; the broker's host has no robot of
    its own."""
    good["hosts"] = {"hub": {"address": "10.0.0.1"}, "cell": {"address": "10.0.0.2"}}
    good["security"] = {"insecure": True}
    good["broker"] = {"host": "hub"}
    service = good["services"]["pick"]
    del service["replicas"]
    service |= {"slo_ms": 200, "scale_down_after_s": 30}
    service["placements"] = [
        {"host": "cell"},
        {"pool": "ray", "device": "cuda", "min": 2, "max": 4},
    ]
    for robot in good["robots"]:
        robot["host"] = "cell"
    return good


def test_a_pool_is_an_actor_of_the_brokers_host(pooled: dict[str, Any]) -> None:
    """Its replicas have the next numbers, and reach the broker by TCP; other hosts have none."""
    made = {actor.name: actor for actor in actors(pooled, "hub")}
    pool = made["pool/pick"]
    assert pool.kind == "pool" and pool.member.after == ("broker",)
    config = pool.config
    assert (config["first"], config["fewest"], config["most"], config["fixed"]) == (1, 2, 4, 1)
    assert (config["address"], config["replica"]["device"]) == ("auto", "cuda")
    assert config["replica"]["brokers"] == ["tcp://10.0.0.1:7448"]
    assert "pool/pick" not in {actor.name for actor in actors(pooled, "cell")}


def test_the_broker_knows_how_many_replicas_a_service_may_have(pooled: dict[str, Any]) -> None:
    """Those of its places and its pools together, beside its objective."""
    (broker,) = [actor for actor in actors(pooled, "hub") if actor.kind == "broker"]
    assert broker.config["targets"]["pick"] == {
        "slo_ms": 200.0,
        "fewest": 3,
        "most": 5,
        "down_after_s": 30.0,
    }


def test_the_replicas_of_a_pool_have_keys_on_the_brokers_host(pooled: dict[str, Any]) -> None:
    """The file names as many as there may be."""
    fleet = loads(yaml.safe_dump(pooled))
    assert list(replica_names(fleet, "hub")) == [f"pick/{k}" for k in range(1, 5)]
    assert list(replica_names(fleet, "cell")) == ["pick/0"]
    assert "pool/pick" in actor_names(fleet)


def second(**entry: Any) -> Change:
    """The pool's entry, with these keys."""

    def change(fleet: dict[str, Any]) -> None:
        fleet["services"]["pick"]["placements"][1] |= entry

    return change


@pytest.mark.parametrize(
    ("change", "path", "says"),
    [
        (second(replicas=2), "placements[1].replicas", "write `min` and `max`"),
        (second(host="cell"), "placements[1].host", "no effect in a pool"),
        (second(device="cuda:1"), "placements[1].device", "use cuda"),
        (second(max=1), "placements[1].max", "less than `min`, 2"),
        (second(pool="rey"), "placements[1].pool", "ray"),
        (second(pol="ray"), "placements[1]", "pol"),
        (
            lambda f: f["services"]["pick"]["placements"][0].update(max=3),
            "placements[0].max",
            "add `pool: ray`",
        ),
        (
            lambda f: f["services"]["pick"]["placements"].append({"pool": "ray"}),
            "placements[2].pool",
            "has a pool already",
        ),
    ],
)
def test_a_wrong_pool_is_refused_at_its_key(
    pooled: dict[str, Any], change: Change, path: str, says: str
) -> None:
    """The fault says what would be right."""
    change(pooled)
    assert any(path in fault and says in fault for fault in faults(pooled))


def test_a_pool_needs_a_broker_that_other_machines_reach(good: dict[str, Any]) -> None:
    """A fleet without `hosts` has sockets in its runtime directory only."""
    service = good["services"]["pick"]
    del service["replicas"]
    service["placements"] = [{"pool": "ray"}]
    (fault,) = faults(good)
    assert "placements[0].pool" in fault and "`hosts`" in fault


def test_a_machine_without_the_engine_cannot_have_its_pool(
    pooled: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check says what to install, on the broker's host and on no other."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None)
    fleet = loads(yaml.safe_dump(pooled))
    found = [str(fault) for fault in faults_here(fleet, "hub")]
    assert any("holdfast[ray]" in fault for fault in found)
    assert not any("holdfast[ray]" in str(fault) for fault in faults_here(fleet, "cell"))
