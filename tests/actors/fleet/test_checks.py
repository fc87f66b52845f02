"""Everything that can be wrong with a fleet: path, what was found, what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast.tests.actors.fleet.files import faults

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
            lambda f: f["robots"][0].update(plan={"rtc": {"execution_horizon": 46}}),
            ["$.robots[0].plan.rtc.execution_horizon", "46 steps", "has 45", "or less"],
        ),
        (
            lambda f: f["robots"][0].update(plan={"rtc": {"execution_horizon": 0}}),
            ["$.robots[0].plan.rtc.execution_horizon", "found 0", "1 or more"],
        ),
        (
            lambda f: f["robots"][0].update(plan={"rtc": {"schedule": "steep"}}),
            ["$.robots[0].plan.rtc.schedule", "'steep'", "exp"],
        ),
        (
            lambda f: f["robots"][0].update(plan={"rtc": {"clip": -1}}),
            ["$.robots[0].plan.rtc.clip", "-1", "more than 0"],
        ),
        (
            lambda f: f["robots"][0].update(plan={"merge": "append", "rtc": {"clip": 5}}),
            ["$.robots[0].plan.rtc.clip", "no effect", "merge: append", "merge: replace"],
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
        (lambda f: f["robots"][0].update(strategy="sentry"), ["$.robots[0].strategy", "type:"]),
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
            lambda f: f.update(broker={"listen": "0.0.0.0"}),  # noqa: S104
            ["$.broker.listen", "0.0.0.0 has no effect", "`hosts`"],
        ),
        (
            lambda f: f.update(
                hosts={"a": {"address": "127.0.0.1"}},
                broker={"host": "a", "listen": "0.0.0.0"},  # noqa: S104
            ),
            ["$.broker.listen", "0.0.0.0 can be reached from other machines", "make keys"],
        ),
        (
            lambda f: f.update(security={"insecure": True}),
            ["$.security.insecure", "no effect", "without `hosts`"],
        ),
        (
            lambda f: f.update(broker={"heartbeat_s": 1.5}),
            ["$.broker.heartbeat_s", "found 1.5", "at most 1", "2 s counts as dead"],
        ),
        (
            lambda f: f.update(broker={"heartbeat_s": 0.75, "replica_lost_after_s": 1.4}),
            ["$.broker.replica_lost_after_s", "1.4 s is less than two heartbeats", "use 3"],
        ),
        (
            lambda f: f.update(broker={"robot_lost_after_s": 1.9}),
            ["$.broker.robot_lost_after_s", "1.9 s is less than four heartbeats", "use 2"],
        ),
        (
            lambda f: f["services"]["pick"].update(replicas=100_000),
            ["$.services.pick.replicas", "found 100000", "1 to 64"],
        ),
        (
            lambda f: f["robots"][0].update(tags={"cell-nr": "3", "cell nr": "4"}),
            [
                "$.robots[0].tags.cell",
                "'cell-nr' and 'cell nr' are the same label",
                "tag_cell_nr",
                "rename",
            ],
        ),
        (
            lambda f: f["robots"][0].update(tags={f"t{k}": "" for k in range(17)}),
            ["$.robots[0].tags", "16"],
        ),
        (
            lambda f: f["robots"][0].update(tags={"site": "x" * 257}),
            ["$.robots[0].tags", "256"],
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
            lambda f: f["robots"][0].update(images={"max_uplink_kbps": 400, "jpeg_quality": 0}),
            ["$.robots[0].images.max_uplink_kbps", "raw images", "jpeg_quality: 90"],
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
def test_a_fault_is_named_by_path_value_and_remedy(
    good: dict[str, Any], spoil: Spoil, said: list[str]
) -> None:
    """Each fault's sentence has the place, what was found, and what to do."""
    spoil(good)
    found = faults(good)
    assert any(all(part in fault for part in said) for fault in found), found
