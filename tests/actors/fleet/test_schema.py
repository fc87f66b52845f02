"""fleet.yaml: what is wrong with one is said all at once, with path, value and remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from holdfast.actors.control.config import ControlConfig, SafetySettings
from holdfast.actors.fleet.checks import actor_names
from holdfast.actors.fleet.expand import expand
from holdfast.actors.fleet.hosts import here
from holdfast.actors.fleet.json_schema import schema
from holdfast.actors.fleet.loading import load, loads
from holdfast.actors.fleet.schema import FleetFile
from holdfast.actors.runtime.configs import (
    BrokerConfig,
    DriverConfig,
    GatewayConfig,
    InferenceConfig,
    JitterProbeConfig,
    NetworkConfig,
    SensorConfig,
)
from holdfast.actors.runtime.kinds import modules_of
from holdfast.actors.runtime.spec import ActorSpec, Rules
from holdfast.actors.supervision.supervised import fleet_of
from holdfast.errors import FleetError
from holdfast.policy.base import CameraFeature, PolicySpec
from holdfast.policy.checkpoint import Config
from holdfast.policy.policy_options import OPTIONS
from holdfast.robot.sim import SPEC
from holdfast.transport import keys
from holdfast.transport.keys import Role

SPEC_OF_POLICY = PolicySpec(
    model="test",
    revision="1",
    cameras=(CameraFeature("overhead", 96, 72), CameraFeature("wrist", 96, 72)),
    state_names=SPEC.state_names,
    action_names=SPEC.action_names,
    chunk_size=45,
    fps=30,
)


@pytest.fixture
def good(tmp_path: Path) -> dict[str, Any]:
    """A fleet in which everything is right, as plain values."""
    config = Config(kind="flow", spec=SPEC_OF_POLICY, network={})
    (tmp_path / "config.json").write_bytes(msgspec.json.encode(config))
    cameras = {name: {"width": 640, "height": 480} for name in ("overhead", "wrist")}
    return {
        "name": "test",
        "services": {"pick": {"policy": "flow", "checkpoint": str(tmp_path), "replicas": 2}},
        "robots": [
            {"name": name, "service": "pick", "fps": 30, "cameras": dict(cameras)}
            for name in ("r1", "r2")
        ],
    }


def faults(values: dict[str, Any]) -> list[str]:
    with pytest.raises(FleetError) as caught:
        loads(yaml.safe_dump(values))
    return [str(fault) for fault in caught.value.faults]


def test_a_good_fleet_is_accepted(good: dict[str, Any]) -> None:
    assert loads(yaml.safe_dump(good)).robots[1].name == "r2"


Spoil = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: f.update(robotz=[]), ["$.robotz", "'robotz'", "did you mean 'robots'?"]),
        (lambda f: f["robots"][0].update(fsp=30), ["$.robots[0].fsp", "did you mean 'fps'?"]),
        (lambda f: f["robots"][0].update(fps=0), ["$.robots[0].fps", "found 0", "e.g. 30"]),
        (lambda f: f["robots"][0].update(fps="fast"), ["$.robots[0].fps", "'fast'", "e.g. 30"]),
        (lambda f: f["robots"][1].update(name="r1"), ["$.robots[1].name", "'r1'", "its own"]),
        (lambda f: f["robots"][1].update(name="a/b"), ["$.robots[1].name", "'a/b'", "letters"]),
        (lambda f: f["robots"][0].update(name="pick"), ["$.robots[0].name", "service's name"]),
        (lambda f: f["robots"][0].pop("name"), ["$.robots[0].name", "missing", "add `name:`"]),
        (lambda f: f["robots"][0].update(service="pik"), ["$.robots[0].service", "'pick'?"]),
        (lambda f: f["robots"][0].update(driver="ur5"), ["$.robots[0].driver", "'ur5'", "sim"]),
        (
            lambda f: f["robots"][0]["cameras"].update(front={"options": {"view": "wrist"}}),
            ["$.robots[0].cameras.front", "no feature", "'front'", "rename"],
        ),
        (
            lambda f: f["robots"][0]["cameras"].pop("wrist"),
            ["$.robots[0].cameras", "overhead, wrist", "add wrist"],
        ),
        (
            lambda f: f["robots"][0]["cameras"].update(control={}),
            ["$.robots[0].cameras.control", "an actor of the robot"],
        ),
        (
            lambda f: f["robots"][0].update(plan={"buffer_time_s": 1.5}),
            ["$.robots[0].plan.buffer_time_s", "1.5 s", "45 actions", "0.75"],
        ),
        (
            lambda f: f["robots"][0].update(safety={"fallback": "stop"}),
            ["$.robots[0].safety.fallback", "'stop'", "expected one of: hold, repeat_last, zero"],
        ),
        (
            lambda f: f["robots"][0].update(safety={"max_action_age_s": -1}),
            ["$.robots[0].safety.max_action_age_s", "-1"],
        ),
        (
            lambda f: f["robots"][0].update(safety={"max_offline_s": "soon"}),
            ["$.robots[0].safety.max_offline_s", "'soon'", "seconds, or none"],
        ),
        (
            lambda f: f["robots"][0].update(safety={"driver_lost_after_s": 0}),
            ["$.robots[0].safety.driver_lost_after_s", "more than 0 seconds"],
        ),
        (
            lambda f: f["robots"][0].update(safety={"max_state_age_s": float("inf")}),
            ["$.robots[0].safety.max_state_age_s", "inf", "finite number"],
        ),
        (
            lambda f: f["robots"][0].update(plan={"latency_quantile": 95}),
            ["$.robots[0].plan.latency_quantile", "95", "use 0.95, or 1.0"],
        ),
        (
            lambda f: f["robots"][0].update(rename={"x": "base_x"}),
            ["$.robots[0].rename", "base_x", "in that order"],
        ),
        (
            lambda f: f["robots"][0].update(rename={"top": "wrist"}),
            ["$.robots[0].rename.top", "'top'"],
        ),
        (
            lambda f: f["robots"][0].update(rename={"wrist": "hand"}),
            ["$.robots[0].rename.wrist", "a camera and a joint", "options: {view: wrist}"],
        ),
        (lambda f: f["robots"][0].update(strategy="sentry"), ["$.robots[0].strategy", "base"]),
        (
            lambda f: f["services"]["pick"].update(policy="flaw"),
            ["$.services.pick.policy", "'flow'?"],
        ),
        (
            lambda f: f["services"]["pick"].update(checkpoint="/nowhere"),
            ["$.services.pick.checkpoint", "/nowhere", "train"],
        ),
        (
            lambda f: f["services"]["pick"].update(device="gpu"),
            ["$.services.pick.device", "'gpu'", "cuda"],
        ),
        (
            lambda f: f["services"]["pick"].update(replicas=0),
            ["$.services.pick.replicas", "found 0", "1 to 64"],
        ),
        (lambda f: f["services"].clear(), ["$.robots[0].service", "'pick'"]),
        (lambda f: f["robots"][0].update(host="h1"), ["$.robots[0].host", "'h1'", "no `hosts`"]),
        (
            lambda f: f.update(supervision={"rules": {"contrl": {}}}),
            ["$.supervision.rules.contrl", "'control'?"],
        ),
        (
            lambda f: f.update(supervision={"rules": {"control": {"hang_timeout": 1}}}),
            ["$.supervision.rules.control.hang_timeout", "did you mean 'hang_timeout_s'?"],
        ),
        (
            lambda f: f.update(supervision={"rules": {"control": {"hang_timeout_s": -1}}}),
            ["$.supervision.rules.control.hang_timeout_s", "found -1", "more than 0"],
        ),
        (
            lambda f: f["robots"][0].update(plan={"merge": "replce"}),
            ["$.robots[0].plan.merge", "found 'replce'; did you mean 'replace'?"],
        ),
        (
            lambda f: f["robots"][0].update(fps="30"),
            ["$.robots[0].fps", "found '30'; expected a number: "],
        ),
        (lambda f: f.update(robots={"a": 1}), ["$.robots", "found a mapping; expected a list"]),
        (
            lambda f: f.update(supervision={"groups": {"g": ["r1/wrsit"]}}),
            ["$.supervision.groups.g[0]", "'r1/wrist'?"],
        ),
        (
            lambda f: f["robots"][0].update(timing={"fifo_priority": "high"}),
            ["$.robots[0].timing.fifo_priority", "'high'"],
        ),
        (lambda f: f.update(services=3), ["$.services", "found 3"]),
        (
            lambda f: f.update(broker={"front_port": 17447}),
            ["$.broker.front_port", "17447 has no effect", "`hosts`"],
        ),
        (
            lambda f: f.update(security={"insecure": True}),
            ["$.security.insecure", "no effect", "without `hosts`"],
        ),
        (
            lambda f: f.update(broker={"heartbeat_s": 1.5}),
            ["$.broker.replica_lost_after_s", "2 s is less than two heartbeats", "use 6"],
        ),
        (
            lambda f: f["services"]["pick"].update(replicas=100_000),
            ["$.services.pick.replicas", "found 100000", "1 to 64"],
        ),
        (
            lambda f: f.update(gateway={"enabled": False, "port": 8000}),
            ["$.gateway.port", "no effect", "enabled: true"],
        ),
        (
            lambda f: f["robots"][0].update(plan={"blend_weight": 0.3}),
            ["$.robots[0].plan.blend_weight", "no effect", "merge: blend"],
        ),
        (
            lambda f: f["robots"][0].update(task="pick the cup"),
            ["$.robots[0].task", "'pick the cup' has no effect", "its own tasks"],
        ),
        (
            lambda f: f.update(hosts={"a": {"address": "10.0.0.1:7447"}}),
            ["$.hosts.a.address", "'10.0.0.1:7447'", "IP address or name"],
        ),
        (
            lambda f: f["robots"][0].update(options={"seeed": 1}),
            ["$.robots[0].options.seeed", "did you mean 'seed'?"],
        ),
        (
            lambda f: f["robots"][0].update(options={"seed": "one"}),
            ["$.robots[0].options.seed", "found 'one'", "0 or more"],
        ),
        (
            lambda f: f["robots"][0]["cameras"]["wrist"].update(options={"veiw": "wrist"}),
            ["$.robots[0].cameras.wrist.options.veiw", "did you mean 'view'?"],
        ),
        (
            lambda f: f["robots"][0]["cameras"]["wrist"].update(driver="opencv"),
            ["$.robots[0].cameras.wrist.options.source", "missing", "a device's number"],
        ),
        (
            lambda f: f["robots"][0]["cameras"]["wrist"].update(
                driver="opencv", options={"source": 0, "loop": False}
            ),
            ["$.robots[0].cameras.wrist.options.loop", "no effect", "a device"],
        ),
        (
            lambda f: f["robots"][0]["cameras"]["wrist"].update(
                driver="opencv", options={"source": "rtsp://a", "timeout_s": 0}
            ),
            ["$.robots[0].cameras.wrist.options.timeout_s", "found 0", "more than 0"],
        ),
        (
            lambda f: f["robots"][0]["cameras"]["wrist"].update(fps=1),
            ["$.robots[0].cameras.wrist.fps", "1 s old", "max_frame_age_s is 0.5", "50%"],
        ),
        (
            lambda f: f["services"]["pick"].update(options={"euler_step": 3}),
            ["$.services.pick.options.euler_step", "did you mean 'euler_steps'?"],
        ),
        (
            lambda f: f["services"]["pick"].update(options={"clip": 3.0}),
            ["$.services.pick.options.clip", "prefix 'guided'"],
        ),
        (
            lambda f: f["services"]["pick"].update(options={"prefix": "trained"}),
            ["$.services.pick.options.prefix", "was not trained with prefixes"],
        ),
        (
            lambda f: f["services"]["pick"].update(
                options={"prefix": "guided", "execution_horizon": 50}
            ),
            ["$.services.pick.options.execution_horizon", "50 steps", "45 only"],
        ),
        (
            lambda f: f["services"]["pick"].update(policy="act", options={"euler_steps": 3}),
            ["$.services.pick.options.euler_steps", "expected one of: graphs"],
        ),
        (
            lambda f: f["services"]["pick"].update(policy="constant", options={"delay_s": -1}),
            ["$.services.pick.options.delay_s", "found -1", "0 to 3600"],
        ),
        (
            lambda f: f["services"]["pick"].update(policy="shape-only", options={"value": 1.0}),
            ["$.services.pick.options.value", "expected one of: delay_s"],
        ),
        (
            lambda f: f["services"]["pick"].update(policy="constant", device="cuda"),
            ["$.services.pick.device", "no effect", "no network"],
        ),
        (
            lambda f: f["services"]["pick"].update(policy="act"),
            ["$.services.pick.policy", "'act'", "kind 'flow'"],
        ),
    ],
)
def test_what_is_wrong_is_named_by_path_value_and_remedy(
    good: dict[str, Any], spoil: Spoil, said: list[str]
) -> None:
    spoil(good)
    found = faults(good)
    assert any(all(part in fault for part in said) for fault in found), found


@pytest.mark.parametrize("text", ["", "# only a comment\n", "null\n"])
def test_a_file_that_says_nothing_is_told_how_to_begin(text: str) -> None:
    with pytest.raises(FleetError, match="says nothing; `supervisor init`"):
        loads(text)


@pytest.mark.parametrize("spelled", ["none", "null", "~", ""])
def test_a_robot_may_be_told_to_wait_for_its_server_without_an_end(
    good: dict[str, Any], spelled: str
) -> None:
    good["robots"][0]["safety"] = {"max_offline_s": 61.5}
    robot = loads(yaml.safe_dump(good).replace("61.5", spelled)).robots[0]
    assert robot.safety.max_offline_ns is None


def test_everything_wrong_is_said_at_once_with_lines(good: dict[str, Any]) -> None:
    good["robots"][0]["fps"] = 0
    good["robots"][1]["name"] = "r1"
    good["robots"][1]["service"] = "pack"
    good["brocker"] = {}
    found = faults(good)
    assert len(found) == 4
    assert all(fault.startswith("line ") for fault in found)
    text = yaml.safe_dump(good).splitlines()
    line = int(next(f for f in found if "fps" in f).split()[1].rstrip(":"))
    assert text[line - 1].strip().endswith("fps: 0")


def test_a_velocity_robot_may_not_hold(
    good: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from holdfast.actors.fleet import robot_checks as module
    from holdfast.robot.base import ControlMode

    velocity = replace(SPEC, control_mode=ControlMode.VELOCITY)
    monkeypatch.setattr(module, "robot_spec", lambda robot: velocity)
    found = faults(good)
    assert any("$.robots[0].safety.fallback" in fault and "'zero'" in fault for fault in found)
    assert any("$.robots[0].service" in fault and "velocity" in fault for fault in found)


def test_a_key_given_twice_is_not_silently_the_last_one(good: dict[str, Any]) -> None:
    text = yaml.safe_dump(good) + "\nname: other\n"
    with pytest.raises(FleetError, match=r"line \d+: \$.name: given twice"):
        loads(text)


@pytest.mark.parametrize("text", ["", "robots: [", "- 1", "a: b: c", "\t", "!!python/name:os.x"])
def test_what_is_no_fleet_at_all_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(FleetError, match=r"\$"):
        loads(text)


def test_yes_as_a_name_is_explained(good: dict[str, Any]) -> None:
    text = yaml.safe_dump(good).replace("    wrist:", "    on:", 1)
    with pytest.raises(FleetError, match="in quotes"):
        loads(text)


@pytest.mark.parametrize(
    ("said", "path", "remark"),
    [
        ("name: on", "$.name", "YAML reads on as true: write 'on' in quotes"),
        ("name: 2026-05-01", "$.name", "YAML reads 2026-05-01 as a date"),
        ("broker: {session_idle_s: 1e2}", "$.broker.session_idle_s", "as text: write 100"),
        ("logs: {files: 08}", "$.logs.files", "YAML reads 08 as text: write 8"),
        ("logs: {files: 010}", "$.logs.files", "YAML reads 010 as 8 (octal): write 10"),
        ("logs: {file_mb: 1:30}", "$.logs.file_mb", "YAML reads 1:30 as 90 (base 60)"),
        ("hosts: {no: {address: a}}", "$.hosts.no", "the key no is read as yes or no"),
        ("on: {}", "$.on", "unknown key 'on'"),
        ("logs: {files: .inf}", "$.logs.files", "finite"),
        ("broker: {heartbeat_s: .nan}", "$.broker.heartbeat_s", "finite"),
        ("gateway: {enabled: ~}", "$.gateway.enabled", "found nothing; expected true or false"),
        ("name: x\n\tlogs: {}", "$", "indent with spaces, not with tabs"),
        ("name: a\nname: b", "$.name", "given twice, first in line 1"),
    ],
)
def test_what_yaml_made_of_a_word_is_said_where_it_surprises(
    said: str, path: str, remark: str
) -> None:
    with pytest.raises(FleetError) as caught:
        loads(said)
    found = [f for f in caught.value.faults if f.path == path and remark in f.message]
    assert found and found[0].line > 0, caught.value.faults


def test_words_that_say_what_they_look_like_are_left_alone() -> None:
    fleet = loads("name: '08'\nlogs: {files: 10, file_mb: 0x10}\ngateway: {enabled: no}\n")
    assert (fleet.name, fleet.logs.files, fleet.logs.file_mb) == ("08", 10, 16)


CONFIGS: dict[str, type[msgspec.Struct]] = {
    "broker": BrokerConfig,
    "inference": InferenceConfig,
    "network": NetworkConfig,
    "sensor": SensorConfig,
    "world": DriverConfig,
    "witness": JitterProbeConfig,
    "control": ControlConfig,
    "gateway": GatewayConfig,
}


def actors(values: dict[str, Any], host: str | None = None) -> list[ActorSpec]:
    fleet = loads(yaml.safe_dump(values))
    return expand(fleet, here(fleet, host), Path("/run/x"))


def test_every_actor_gets_a_config_of_its_kind_and_every_segment_it_names(
    good: dict[str, Any],
) -> None:
    sizes: dict[str, int] = {}
    writers: dict[str, str] = {}
    for actor in actors(good):
        msgspec.convert(actor.config, CONFIGS[actor.kind])
        for use in actor.segments:
            assert sizes.setdefault(use.name, use.size) == use.size
            if use.writable:
                assert writers.setdefault(use.name, actor.name) == actor.name, "two writers"
        named = {use.name for use in actor.segments}
        for key in ("segment", "scene", "command", "plan", "outbox", "witness"):
            assert actor.config.get(key) is None or actor.config[key] in named
    assert set(writers) == set(sizes), "a segment that nobody writes"


def test_the_start_order_is_one_that_supervision_accepts(good: dict[str, Any]) -> None:
    made = actors(good)
    fleet_of([actor.member for actor in made], 0.0)
    names = [actor.name for actor in made]
    assert names[:2] == ["witness", "broker"]
    assert set(names) == set(actor_names(loads(yaml.safe_dump(good))))
    control = next(actor for actor in made if actor.name == "r1/control")
    assert set(control.member.after) == {"witness", "r1/world", "r1/network"}


def test_names_on_the_wire_are_the_policys(good: dict[str, Any]) -> None:
    robot = good["robots"][0]
    robot["cameras"]["top"] = {"options": {"view": "overhead"}}
    del robot["cameras"]["overhead"]
    robot["rename"] = {"top": "overhead"}
    network = next(actor for actor in actors(good) if actor.name == "r1/network")
    assert network.config["cameras"]["overhead"]["segment"] == "r1/top"


def test_rules_are_by_kind_over_all_over_ours(good: dict[str, Any]) -> None:
    good["supervision"] = {
        "rules": {"all": {"backoff_s": 3.0}, "sensor": {"hang_timeout_s": 9.0}},
        "memory_mb": {"inference": 4000},
    }
    made = {actor.name: actor for actor in actors(good)}
    wrist = Rules(backoff_s=3.0, hang_timeout_s=9.0, start_timeout_s=30.0)
    assert made["r1/wrist"].member.rules == wrist
    assert made["pick/0"].memory_mb == 4000
    assert made["r1/control"].memory_mb is None


def test_whoever_strangers_can_reach_has_a_memory_limit_unless_the_file_says_another(
    good: dict[str, Any],
) -> None:
    made = {actor.name: actor.memory_mb for actor in actors(good)}
    assert made["broker"] and made["r1/network"]
    assert made["r1/control"] is None
    good["supervision"] = {"memory_mb": {"all": 2000, "broker": 300}}
    made = {actor.name: actor.memory_mb for actor in actors(good)}
    assert (made["broker"], made["r1/network"], made["r1/control"]) == (300, 2000, 2000)


@pytest.mark.parametrize("given", [{}, {"all": 2000}, {"broker": 300}])
def test_the_broker_knows_the_limit_at_which_it_is_restarted(
    good: dict[str, Any], given: dict[str, int]
) -> None:
    """Its own bound on what peers make it hold is derived from it."""
    good["supervision"] = {"memory_mb": given}
    broker = next(actor for actor in actors(good) if actor.name == "broker")
    assert broker.config["memory_mb"] == broker.memory_mb


def test_over_hosts_each_host_gets_its_own_and_tcp_needs_to_be_allowed(
    good: dict[str, Any],
) -> None:
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
    assert at_gpu["pick/0"].config["outboxes"] == {}
    broker = at_gpu["broker"].config
    assert broker["front_tcp"] == "tcp://10.0.0.2:7447"
    assert broker["back_tcp"] == "tcp://10.0.0.2:7448"
    assert broker["front"].startswith("ipc://") and broker["back"].startswith("ipc://")
    assert at_gpu["pick/0"].config["broker"] == broker["back"]
    assert at_edge["r1/network"].config["broker"] == "tcp://10.0.0.2:7447"
    assert at_edge["r1/network"].config["outbox"] is None
    with pytest.raises(FleetError, match="--host"):
        actors(good, "edgy")


def test_with_keys_each_actor_is_given_its_own_and_a_missing_one_is_named(
    good: dict[str, Any], tmp_path: Path
) -> None:
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
    assert by_name["pick/1"]["key"].endswith("pick@1.key")
    assert by_name["r2/network"]["broker_key"].endswith("broker.pub")
    assert by_name["broker"]["keyring"] == str(tmp_path / "keys")


def test_paths_are_relative_to_the_file(good: dict[str, Any], tmp_path: Path) -> None:
    good["services"]["pick"]["checkpoint"] = "."
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump(good))
    assert load(path).services["pick"].checkpoint == str(tmp_path)


def test_the_schema_describes_every_key() -> None:
    found = schema()["$defs"]
    assert "fps" in found["RobotEntry"]["properties"]
    assert set(found["FleetFile"]["properties"]) == set(FleetFile.__struct_fields__)


def test_the_schema_shows_the_options_of_every_kind() -> None:
    """By the policy or driver beside them; the kind that is meant when none is named, too."""
    made = schema()["$defs"]
    for owner, struct in (
        *(("ServiceEntry", kind.__name__) for kind in OPTIONS.values()),
        ("CameraEntry", "OpenCVOptions"),
        ("CameraEntry", "SimCameraOptions"),
        ("RobotEntry", "SimOptions"),
    ):
        shown = [
            case["then"]["properties"]["options"]["$ref"].rpartition("/")[2]
            for case in made[owner]["allOf"]
        ]
        assert struct in shown
        assert made[struct]["additionalProperties"] is False
    usual = made["CameraEntry"]["allOf"][0]["if"]
    assert usual == {"properties": {"driver": {"const": "sim"}}}
    assert made["Supervision"]["properties"]["rules"]["additionalProperties"] == {
        "$ref": "#/$defs/Rules"
    }


def test_the_options_reach_the_actors_that_obey_them(good: dict[str, Any]) -> None:
    good["robots"][1]["options"] = {"seed": 7}
    good["robots"][1]["cameras"]["wrist"] |= {
        "driver": "opencv",
        "options": {"source": "rtsp://cell/1", "timeout_s": 0.7},
    }
    made = {actor.name: actor.config for actor in actors(good)}
    assert (made["r1/world"]["seed"], made["r2/world"]["seed"]) == (0, 7)
    assert made["r2/wrist"]["options"] == {"source": "rtsp://cell/1", "timeout_s": 0.7}


@pytest.mark.parametrize("rest", ["", "services: {}\nrobots: []\n"])
def test_a_fleet_may_be_a_broker_for_the_robots_and_policies_of_scripts(rest: str) -> None:
    """A name is enough; the page and the metrics are there as usual."""
    fleet = loads(f"name: lab\n{rest}")
    assert [actor.kind for actor in expand(fleet, None, Path("/run"))] == ["broker", "gateway"]


def test_with_hosts_the_broker_listens_on_tcp_whoever_the_file_names() -> None:
    """Robots and replicas of scripts on other machines are in no file."""
    hosts = "hosts: {gpu: {address: 127.0.0.1}, laptop: {address: 127.0.0.2}}\n"
    for ports, expected in (
        ("", ("tcp://127.0.0.1:7447", "tcp://127.0.0.1:7448")),
        (
            ", front_port: 17447, back_port: 17448",
            ("tcp://127.0.0.1:17447", "tcp://127.0.0.1:17448"),
        ),
    ):
        fleet = loads(f"name: lab\n{hosts}broker: {{host: gpu{ports}}}\n")
        config = expand(fleet, "gpu", Path("/run"))[0].config
        assert (config["front_tcp"], config["back_tcp"]) == expected


def test_what_a_warm_spare_imports_is_what_the_kinds_need(good: dict[str, Any]) -> None:
    """Control keeps a spare of its own: nothing of the others' imports gets into its process."""
    warm = {actor.kind: actor.warm for actor in actors(good)}
    assert warm["control"] == "holdfast.actors.control.loop,holdfast.robot.sim.devices"
    assert modules_of("control", driver="arms:Mine") == "holdfast.actors.control.loop"
    assert warm["network"] == warm["sensor"] == warm["broker"] == warm["world"]
    assert "holdfast.actors.network.network" in str(warm["network"])
    assert "holdfast.policy.flow" in str(warm["inference"])
    assert modules_of("inference", "constant") is None, "without torch it starts soon enough"


def test_control_has_a_spare_per_robot_up_to_what_the_file_allows(good: dict[str, Any]) -> None:
    for given, control, others in ((None, 4, 1), (2, 2, 1), (0, 0, 0)):
        if given is not None:
            good["supervision"] = {"spares": given}
        found = {actor.kind: actor.spares for actor in actors(good)}
        assert (found["control"], found["network"], found["world"]) == (control, others, others)


def test_a_replica_has_one_spare_unless_the_file_saves_its_memory(good: dict[str, Any]) -> None:
    for given, expected in ((True, 1), (False, 0)):
        good["supervision"] = {"policy_spare": given}
        assert {a.spares for a in actors(good) if a.kind == "inference"} == {expected}


def test_no_start_takes_so_long_that_its_robot_is_given_up(good: dict[str, Any]) -> None:
    """Two attempts of whatever a robot waits for end within the time that it may be offline; a
    policy's loading takes as long as it takes."""
    for actor in actors(good):
        if actor.kind in ("control", "network", "broker", "world"):
            assert 2 * actor.member.rules.start_timeout_s < SafetySettings().max_offline_s
