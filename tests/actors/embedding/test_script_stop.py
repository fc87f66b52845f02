"""An emergency stop of the site reaches the robot of a script."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast import RemotePolicy
from holdfast.actors.driver import emergency_stop, latch
from holdfast.actors.embedding.script_config import ScriptConfig
from holdfast.actors.runtime.held_robots import held_robots
from holdfast.actors.runtime.robots_file import KnownRobot, KnownRobots
from holdfast.tests.actors.driver.kept_stops import site_lift, site_stop
from holdfast.tests.actors.embedding.conftest import BROKER, Loop
from holdfast.tests.waiting import wait_until
from holdfast.transport.keys import Role, new

Make = Callable[..., Loop]
SERVE = """
import sys
import numpy as np
from holdfast import Chunk, PolicySpec, serve

spec = PolicySpec(model="nod", revision="1", cameras=(), state_names=("neck",),
                  action_names=("neck",), chunk_size=50, fps=50.0)
still = np.zeros((50, 1), np.float32)
serve(lambda batch: [Chunk(still, still) for _ in batch], spec, service="nod", broker=sys.argv[1])
"""


@pytest.fixture
def replica(broker: dict[str, str], tmp_path: Path) -> Iterator[None]:
    """A script that serves, in a process."""
    file = tmp_path / "serving.py"
    file.write_text(textwrap.dedent(SERVE))
    process = subprocess.Popen([sys.executable, file, broker["back"]], stderr=subprocess.DEVNULL)
    yield
    process.send_signal(signal.SIGINT)
    try:
        assert process.wait(60) == 0
    finally:
        process.kill()


def robot(broker: dict[str, str], name: str = "bench") -> RemotePolicy:
    return RemotePolicy(
        "nod",
        robot=name,
        action_names=["neck"],
        state_names=["neck"],
        cameras={},
        fps=50.0,
        broker=broker["front"],
    )


def acts(policy: RemotePolicy) -> bool:
    return policy.act({"state": np.zeros(1, np.float32)}) is not None


def test_a_stop_holds_a_scripts_robot_until_it_is_lifted(
    broker: dict[str, str], replica: None
) -> None:
    """It says by whom and why; a script that starts meanwhile gets no action before it knows."""
    state = Path(broker["state"])
    fleet = KnownRobots(fleet="f", state_dir=str(state))

    def guests(_: KnownRobots) -> list[KnownRobot]:
        return [KnownRobot("bench", host="script")]

    with robot(broker) as policy:
        wait_until(lambda: acts(policy), "it plays", within_s=60)
        stop = site_stop(state, [])
        wait_until(lambda: not acts(policy) and policy.state == "STOPPED", within_s=60)
        assert policy.reason == "stopped by anna@hub: smoke"
        assert policy.stats().state == "STOPPED" and policy.stats().reason == policy.reason

        def confirmed() -> bool:
            assert not acts(policy)
            return any(row.robot == "bench" and row.confirmed for row in held_robots(state))

        wait_until(confirmed, "the broker has heard that it is stopped", within_s=60)
    with robot(broker) as policy:

        def is_stopped() -> bool:
            assert not acts(policy), "it moves before it knows of the stop"
            return policy.state == "STOPPED"

        wait_until(is_stopped, within_s=60)
        site_lift(state, stop)
        wait_until(lambda: acts(policy), "it plays again", within_s=60)
        named = emergency_stop.stop([fleet], ["bench"], by="carla", patience_s=0.0, guests=guests)
        assert [each.robot for each in named] == ["bench"] and "no robot" not in named[0].message
        wait_until(lambda: not acts(policy) and policy.state == "STOPPED", within_s=60)
        assert policy.reason == "stopped by carla"


@pytest.fixture
def stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory in which the loops of this test look for stops."""
    monkeypatch.setattr(ScriptConfig, "stops_in", lambda *_: tmp_path)
    return tmp_path


def test_a_plan_of_before_a_stop_is_not_played_after_it(loop: Make, stops: Path) -> None:
    """And the time of the stop is no time offline."""
    made = loop(fps=30.0)
    made.run(30, 3.0)
    stop = site_stop(stops, ["r"])
    assert all(action is None for _, action in made.run(30, 100.0))
    site_lift(stops, stop)
    lifted_s = made.clock.monotonic()
    played = [action for _, action in made.run(30, 3.0) if action is not None]
    assert played and min(played) >= lifted_s - 0.1


def test_a_pause_of_the_script_and_a_stop_end_independently(loop: Make, stops: Path) -> None:
    """Neither ends the other."""
    made = loop(fps=30.0)
    made.run(30, 3.0)
    stop = site_stop(stops, [])
    made.run(30, 1.0)
    made.policy.pause()
    made.policy.resume()
    made.run(30, 1.0)
    assert made.policy.state == "STOPPED" and made.act() is None
    made.policy.pause()
    site_lift(stops, stop)
    assert all(action is None for _, action in made.run(30, 3.0))
    assert made.policy.state == "PAUSED"
    made.policy.resume()
    assert any(action is not None for _, action in made.run(30, 3.0))


def test_a_stopped_velocity_is_zero(loop: Make, stops: Path) -> None:
    """`act` returns zeros while the robot is stopped."""
    made = loop(fps=30.0, control_mode="velocity")
    made.run(30, 3.0)
    site_stop(stops, ["r"])
    assert made.run(30, 1.0)[-1][1] == 0.0


def test_a_stop_of_other_robots_does_not_hold_it(loop: Make, stops: Path) -> None:
    """Nor does a stop that was lifted."""
    made = loop(fps=30.0)
    site_stop(stops, ["another"])
    site_lift(stops, site_stop(stops, ["r"], 2.0))
    assert made.run(30, 3.0)[-1][1] is not None
    assert made.policy.state == "STREAMING"


def test_a_latch_of_a_fleets_robot_of_the_same_name_is_not_the_scripts(
    loop: Make, stops: Path
) -> None:
    """It holds no script, which would write it again where the driver lifts it."""
    latch.engage(stops, "r", "anna")
    made = loop(fps=30.0)
    assert made.run(30, 3.0)[-1][1] is not None
    stop = site_stop(stops, ["r"])
    made.run(30, 1.0)
    assert made.policy.state == "STOPPED"
    latch.release(stops, "r")
    site_lift(stops, stop)
    assert made.run(30, 3.0)[-1][1] is not None
    assert latch.engaged(stops, "r") is None


@pytest.mark.parametrize("operator", [False, True])
def test_lifts_are_checked_by_an_operators_key_beside_that_of_the_robot(
    tmp_path: Path, operator: bool
) -> None:
    """Without one those count that the broker passes on."""
    keys = tmp_path / "keys"
    new("bench", Role.ROBOT, keys)
    new("broker", Role.BROKER, keys)
    if operator:
        new("operator", Role.OPERATOR, keys)
    given: dict[str, Any] = dict.fromkeys(
        ("robot", "limits", "max_uplink_kbps", "plan", "safety", "audit")
    )
    config = ScriptConfig.checked(
        service="nod",
        action_names=["t"],
        state_names=["t"],
        cameras={},
        fps=30.0,
        task="",
        control_mode="position",
        broker=BROKER,
        jpeg_quality=0,
        key=keys / "bench.key",
        broker_key=keys / "broker.pub",
        **given,
    )
    assert config.keyring == (str(keys) if operator else None)
