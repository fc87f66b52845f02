"""The strategy of a robot in a fleet file: its faults, and its recorder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.actors.recorder.record_settings import RecorderConfig
from holdfast.actors.recorder.strategy_settings import TeleopSettings
from holdfast.tests.actors.fleet.files import actors, faults


def fleet(**robot: Any) -> dict[str, Any]:
    """A file with one simulated robot."""
    return {
        "services": {"pick": {"policy": "constant", "checkpoint": "conveyor-flow"}},
        "robots": [
            {"name": "r1", "service": "pick", "cameras": {"overhead": {}, "wrist": {}}, **robot}
        ],
    }


RECORD = {"root": "data"}
TELEOP = {"driver": "keyboard"}


@pytest.mark.parametrize(
    ("robot", "why"),
    [
        ({"strategy": {"type": "sentry"}}, "`record` does not say where"),
        ({"strategy": {"type": "teleop", "episodes": 2}, "record": RECORD}, "needs a teleoperator"),
        ({"strategy": {"type": "dagger", "episodes": 2}, "record": RECORD}, "needs a teleoperator"),
        (
            {
                "strategy": {"type": "episodic", "episodes": 2},
                "record": RECORD,
                "teleop": TELEOP,
                "service": "",
            },
            "needs a policy",
        ),
        ({"strategy": {"type": "episodic", "episodes": 0}, "record": RECORD}, "1 or more"),
        ({"strategy": {"type": "episodic"}, "record": RECORD}, "episodes"),
        ({"strategy": {"type": "sentry", "episodes": 2}, "record": RECORD}, "episodes"),
        ({"strategy": {"type": "sentri"}, "record": RECORD}, "sentri"),
        ({"strategy": "sentry", "record": RECORD}, "write `{type: sentry}`"),
        ({"strategy": "dagger", "record": RECORD}, "write `{type: dagger, episodes: ...}`"),
        ({"strategy": "episodics", "record": RECORD}, "did you mean 'episodic'"),
        ({"strategy": {"type": "sentry"}, "recrod": RECORD}, "did you mean 'record'"),
    ],
)
def test_what_cannot_work_is_said_before_a_process_starts(robot: dict[str, Any], why: str) -> None:
    """Each fault names the key and what is wrong with it."""
    (fault,) = faults(fleet(**robot))
    assert "$.robots[0]." in fault
    assert why in fault


def test_the_recorder_gets_the_strategy_and_hears_the_buttons(tmp_path: Path) -> None:
    """Its boot has the teleoperator's register and the driver's board."""
    values = fleet(
        strategy={"type": "teleop", "episodes": 2},
        record={"root": str(tmp_path)},
        teleop=TELEOP,
        service="",
    )
    made = {spec.name: spec for spec in actors(values)}
    config = msgspec.convert(made["r1/recorder"].config, RecorderConfig)
    assert config.strategy == TeleopSettings(episodes=2)
    segments = {use.name for use in made["r1/recorder"].segments if not use.writable}
    assert {"r1/teleop/reading", "r1/driver/board", "r1/plan"} <= segments
