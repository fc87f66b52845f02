"""The actors of a fleet: their configs, segments, addresses, keys and order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from holdfast.actors.control.config import ControlConfig
from holdfast.actors.fleet.checks import actor_names
from holdfast.actors.fleet.expand import expand
from holdfast.actors.fleet.loading import loads
from holdfast.actors.runtime.configs import (
    BrokerConfig,
    GatewayConfig,
    InferenceConfig,
    JitterProbeConfig,
    NetworkConfig,
)
from holdfast.actors.runtime.device_configs import DriverConfig, SensorConfig
from holdfast.actors.runtime.executed_config import ExecutedConfig
from holdfast.actors.supervision.supervised import fleet_of
from holdfast.errors import FleetError
from holdfast.tests.actors.fleet.files import actors, faults
from holdfast.transport import keys
from holdfast.transport.keys import Role

CONFIGS: dict[str, type[msgspec.Struct]] = {
    "broker": BrokerConfig,
    "inference": InferenceConfig,
    "network": NetworkConfig,
    "sensor": SensorConfig,
    "driver": DriverConfig,
    "witness": JitterProbeConfig,
    "executed": ExecutedConfig,
    "control": ControlConfig,
    "gateway": GatewayConfig,
}


def test_every_actor_gets_a_config_of_its_kind_and_every_segment_it_names(
    good: dict[str, Any],
) -> None:
    """Each config converts to its type; each segment has one size and exactly one writer."""
    sizes: dict[str, int] = {}
    writers: dict[str, str] = {}
    for actor in actors(good):
        msgspec.convert(actor.config, CONFIGS[actor.kind])
        for use in actor.segments:
            assert sizes.setdefault(use.name, use.size) == use.size
            if use.writable:
                assert writers.setdefault(use.name, actor.name) == actor.name, "two writers"
        named = {use.name for use in actor.segments}
        for key in ("segment", "scene", "state", "command", "plan", "outbox", "witness"):
            assert actor.config.get(key) is None or actor.config[key] in named
    assert set(writers) == set(sizes), "a segment without a writer"


def test_a_robot_without_a_service_has_a_log_of_what_it_executed(good: dict[str, Any]) -> None:
    """In place of the network actor, which keeps it for others; none where none is wanted."""
    robot = good["robots"][1]
    del robot["service"]
    robot["teleop"] = {"driver": "expert"}
    made = {actor.name: actor for actor in actors(good)}
    assert set(made) == set(actor_names(loads(yaml.safe_dump(good))))
    assert "r2/network" not in made
    config = msgspec.convert(made["r2/executed"].config, ExecutedConfig)
    assert (config.robot, config.executed_bytes) == ("r2", 32_000_000)
    assert [use.writable for use in made["r2/executed"].segments if use.name == config.plan] == [
        False
    ]
    good["logs"] = {"executed_mb": 0}
    without = {actor.name for actor in actors(good)}
    assert without == set(made) - {"r2/executed"}
    assert without == set(actor_names(loads(yaml.safe_dump(good))))


def test_the_start_order_is_one_that_supervision_accepts(good: dict[str, Any]) -> None:
    """The names are those that `actor_names` predicts, and `after` names earlier actors."""
    made = actors(good)
    fleet_of([actor.member for actor in made], 0.0)
    names = [actor.name for actor in made]
    assert names[:2] == ["witness", "broker"]
    assert set(names) == set(actor_names(loads(yaml.safe_dump(good))))
    control = next(actor for actor in made if actor.name == "r1/control")
    assert set(control.member.after) == {"witness", "r1/driver", "r1/network"}


def test_names_on_the_wire_are_the_policys(good: dict[str, Any]) -> None:
    """`rename` is applied to the feeds of the network actor."""
    robot = good["robots"][0]
    robot["cameras"]["top"] = {"options": {"view": "overhead"}}
    del robot["cameras"]["overhead"]
    robot["rename"] = {"top": "overhead"}
    network = next(actor for actor in actors(good) if actor.name == "r1/network")
    assert network.config["cameras"]["overhead"]["segment"] == "r1/top"


@pytest.mark.parametrize("late_s", [0, 0.1])
def test_the_broker_entry_says_which_requests_go_straight(
    good: dict[str, Any], late_s: float
) -> None:
    """Every robot follows it; 0 sends all by the broker."""
    good["broker"] = {"direct_late_s": late_s}
    made = [actor for actor in actors(good) if actor.name.endswith("/network")]
    assert [actor.config["direct_late_s"] for actor in made] == [late_s] * len(good["robots"])


def test_each_host_gets_its_own_actors_and_tcp_has_to_be_allowed(
    good: dict[str, Any],
) -> None:
    """Addresses are TCP between hosts and ipc within one; without keys, `insecure` is required."""
    good["hosts"] = {"edge": {"address": "10.0.0.1"}, "gpu": {"address": "10.0.0.2"}}
    good["broker"] = {"host": "gpu"}
    good["services"]["pick"]["host"] = "gpu"
    for robot in good["robots"]:
        robot["host"] = "edge"
    assert any("insecure: true" in fault for fault in faults(good))
    good["security"] = {"insecure": True}
    at_gpu = {actor.name: actor for actor in actors(good, "gpu")}
    at_edge = {actor.name: actor for actor in actors(good, "edge")}
    assert set(at_gpu) == {"broker", "pick/0", "pick/1", "gateway"}
    assert "gateway" in at_edge
    assert at_gpu["pick/0"].config["outboxes"] == {}
    broker = at_gpu["broker"].config
    assert broker["front_tcp"] == "tcp://10.0.0.2:7447"
    assert broker["back_tcp"] == "tcp://10.0.0.2:7448"
    assert broker["front"].startswith("ipc://") and broker["back"].startswith("ipc://")
    assert at_gpu["pick/0"].config["brokers"] == [broker["back"]]
    assert at_edge["r1/network"].config["brokers"] == ["tcp://10.0.0.2:7447"]
    assert at_edge["r1/network"].config["outbox"] is None
    with pytest.raises(FleetError, match="--host"):
        actors(good, "edgy")


def test_the_tags_of_a_hosts_robots_reach_its_metrics(good: dict[str, Any]) -> None:
    """The gateway takes their changes over while it runs."""
    good["robots"][0]["tags"] = {"site": "bonn"}
    (gateway,) = (actor for actor in actors(good) if actor.name == "gateway")
    others: dict[str, dict[str, str]] = {robot["name"]: {} for robot in good["robots"][1:]}
    assert gateway.config["tags"] == {good["robots"][0]["name"]: {"site": "bonn"}, **others}
    assert "tags" in gateway.reconfigurable


def test_several_hosts_run_a_broker_each(good: dict[str, Any]) -> None:
    """Robots and replicas know all in one order, their own host's by its socket file."""
    good["hosts"] = {name: {"address": f"10.0.0.{k}"} for k, name in enumerate("abc", 1)}
    good["broker"] = {"hosts": ["b", "a"]}
    good["services"]["pick"]["host"] = "a"
    for robot in good["robots"]:
        robot["host"] = "c"
    good["security"] = {"insecure": True}
    made = {host: {actor.name: actor for actor in actors(good, host)} for host in "abc"}
    for host, address in (("a", "10.0.0.1"), ("b", "10.0.0.2")):
        assert made[host]["broker"].config["front_tcp"] == f"tcp://{address}:7447"
        assert "gateway" in made[host]
    assert "broker" not in made["c"]
    fronts = ["tcp://10.0.0.2:7447", "tcp://10.0.0.1:7447"]
    assert made["c"]["r1/network"].config["brokers"] == fronts
    own = made["a"]["broker"].config["back"]
    assert made["a"]["pick/0"].config["brokers"] == ["tcp://10.0.0.2:7448", own]


@pytest.mark.parametrize(
    ("broker", "words"),
    [
        ({"hosts": ["a", "z"]}, ["$.broker.hosts[1]", "no host 'z'"]),
        ({"hosts": ["a", "a"]}, ["$.broker.hosts[1]", "'a' is there already"]),
        ({"hosts": ["a", "b"]}, ["$.broker.hosts[1]", "'b' has the address of 'a', 10.0.0.1"]),
        ({"host": "a", "hosts": ["c"]}, ["$.broker.host", "keep one of the two"]),
    ],
)
def test_hosts_that_cannot_run_brokers_are_named(
    broker: dict[str, Any], words: list[str], good: dict[str, Any]
) -> None:
    """An unknown one, one that is there twice, two with one address, and both forms at once."""
    good["hosts"] = {
        name: {"address": address}
        for name, address in (("a", "10.0.0.1"), ("b", "10.0.0.1"), ("c", "10.0.0.3"))
    }
    good["broker"] = broker
    good["services"]["pick"]["host"] = "a"
    for robot in good["robots"]:
        robot["host"] = "a"
    good["security"] = {"insecure": True}
    assert any(all(word in fault for word in words) for fault in faults(good))


def test_each_actor_gets_its_own_key_and_a_missing_one_is_named(
    good: dict[str, Any], tmp_path: Path
) -> None:
    """Expansion fails with the names of the key files that are not there."""
    good["security"] = {"keys": str(tmp_path / "keys")}
    assert any("$.security.keys" in fault for fault in faults(good))
    made = [("broker", Role.BROKER), ("pick/0", Role.REPLICA), ("r1", Role.ROBOT)]
    for name, role in made:
        keys.new(name, role, tmp_path / "keys")
    with pytest.raises(FleetError, match=r"lacks pick@1\.key, r2\.key"):
        actors(good)
    keys.new("pick/1", Role.REPLICA, tmp_path / "keys")
    keys.new("r2", Role.ROBOT, tmp_path / "keys")
    by_name = {actor.name: actor.config for actor in actors(good)}
    assert by_name["pick/1"]["keys"]["key"].endswith("pick@1.key")
    assert by_name["r2/network"]["keys"]["brokers"] == [str(tmp_path / "keys/broker.pub")]
    assert by_name["broker"]["keyring"] == str(tmp_path / "keys")


def test_each_of_several_brokers_has_its_own_key(good: dict[str, Any], tmp_path: Path) -> None:
    """Its peers have the public ones in the order of the brokers, whose secret ones stay apart."""
    good["hosts"] = {name: {"address": f"127.0.0.{k}"} for k, name in enumerate("abc", 1)}
    good["broker"] = {"hosts": ["b", "a"]}
    for each in (*good["services"].values(), *good["robots"]):
        each["host"] = "c"
    good["security"] = {"keys": str(tmp_path / "keys")}
    for name in ("broker/a", "broker/b"):
        keys.new(name, Role.BROKER, tmp_path / "keys")
    for name in ("pick/0", "pick/1"):
        keys.new(name, Role.REPLICA, tmp_path / "keys")
    for name in ("r1", "r2"):
        keys.new(name, Role.ROBOT, tmp_path / "keys")
    public = [str(tmp_path / "keys" / f"broker@{host}.pub") for host in "ba"]
    by_name = {actor.name: actor.config for actor in actors(good, host="c")}
    assert (
        by_name["pick/0"]["keys"]["brokers"] == by_name["r1/network"]["keys"]["brokers"] == public
    )
    for host in "ab":
        (own,) = [actor.config for actor in actors(good, host=host) if actor.name == "broker"]
        assert own["key"] == str(tmp_path / "keys" / f"broker@{host}.key")


def test_the_options_reach_the_actors_that_obey_them(good: dict[str, Any]) -> None:
    """Options of a robot and of a camera are those of their actors' configs."""
    good["robots"][1]["options"] = {"seed": 7}
    good["robots"][1]["cameras"]["wrist"] |= {
        "driver": "opencv",
        "options": {"source": "rtsp://cell/1", "timeout_s": 0.7},
    }
    made = {actor.name: actor.config for actor in actors(good)}
    assert (made["r1/driver"]["options"], made["r2/driver"]["options"]) == ({}, {"seed": 7})
    assert made["r2/wrist"]["options"] == {"source": "rtsp://cell/1", "timeout_s": 0.7}


def test_the_gateway_shows_each_dataset_that_its_robots_record_to(good: dict[str, Any]) -> None:
    """Once, however many record to it, by the name of its folder, which is numbered if taken."""
    robot = good["robots"][0]
    roots = ("/data/pick", "/old/pick", "/data/pick", "/data/place")
    good["robots"] = [
        {**robot, "name": f"r{k}", "record": {"root": root}} for k, root in enumerate(roots)
    ]
    (gateway,) = (actor for actor in actors(good) if actor.kind == "gateway")
    assert gateway.config["datasets"] == {
        "pick": "/data/pick",
        "pick-2": "/old/pick",
        "place": "/data/place",
    }


@pytest.mark.parametrize("rest", ["", "services: {}\nrobots: []\n"])
def test_a_fleet_may_be_a_broker_for_the_robots_and_policies_of_scripts(rest: str) -> None:
    """A name is enough; the page and the metrics are there as usual."""
    fleet = loads(f"name: lab\n{rest}")
    assert [actor.kind for actor in expand(fleet, None, Path("/run"))] == ["broker", "gateway"]


def test_the_broker_of_a_fleet_with_hosts_listens_on_tcp() -> None:
    """Robots and replicas of scripts on other machines are in no file."""
    hosts = "hosts: {gpu: {address: 127.0.0.1}, laptop: {address: 127.0.0.2}}\n"
    for ports, expected in (
        ("", ("tcp://127.0.0.1:7447", "tcp://127.0.0.1:7448")),
        (
            ", front_port: 17447, back_port: 17448",
            ("tcp://127.0.0.1:17447", "tcp://127.0.0.1:17448"),
        ),
        (", listen: 127.0.0.9", ("tcp://127.0.0.9:7447", "tcp://127.0.0.9:7448")),
    ):
        fleet = loads(f"name: lab\n{hosts}broker: {{host: gpu{ports}}}\n")
        config = expand(fleet, "gpu", Path("/run"))[0].config
        assert (config["front_tcp"], config["back_tcp"]) == expected
