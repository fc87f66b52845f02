"""docs/coming-from.md: our names are places in fleet.yaml, LeRobot's are its options."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from holdfast.tests.fleet_schema import at
from holdfast.tests.peers.environments import ROOT, interpreter_of

GUIDE = (ROOT / "docs" / "coming-from.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in GUIDE.splitlines()
    if line.startswith("| ") and not line.startswith("| ---")
]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_every_name_of_ours_is_a_place_in_fleet_yaml() -> None:
    """Whatever the second column quotes."""
    names = [name for row in ROWS for name in quoted(row[1])]
    assert len(names) > 40
    assert [name for name in names if not at(name)] == []
    assert not at("robots[].plan.no_such_key") and not at("services.*.polcy")


def test_every_row_says_where_it_is_or_why_it_is_nowhere() -> None:
    """Each row has three cells, of which the second or the third says it."""
    assert all(len(row) == 3 and (row[1] or row[2]) for row in ROWS if quoted(row[0]))


def test_the_values_that_correspond_are_values_of_ours() -> None:
    """Of the ways in which chunks become the plan, of the strategies, and of the end."""
    (merge,) = [n for n in at("robots[].plan.merge") if "enum" in n]
    assert {"replace", "blend"} <= set(merge["enum"])
    (stop,) = [n for n in at("robots[].safety.at_stop") if "enum" in n]
    assert set(stop["enum"]) == {"hold", "park", "torque_off"}


PROGRAM = """
import dataclasses, json
from lerobot.async_inference import configs as asynchronous
from lerobot.configs.dataset import DatasetRecordConfig
from lerobot.policies.rtc.configuration_rtc import RTCConfig
from lerobot.rollout import configs as rollout
from lerobot.rollout.inference.factory import RTCInferenceConfig


def names(kind, prefix=""):
    return [prefix + field.name for field in dataclasses.fields(kind)]


strategies = [k for k in vars(rollout).values() if isinstance(k, type) and "Strategy" in k.__name__]
print(json.dumps({
    "RobotClientConfig": names(asynchronous.RobotClientConfig),
    "PolicyServerConfig": names(asynchronous.PolicyServerConfig),
    "lerobot-rollout": names(rollout.RolloutConfig)
    + names(DatasetRecordConfig, "dataset.") + names(RTCInferenceConfig, "inference.")
    + names(RTCConfig, "inference.rtc.") + ["inference.type", "strategy.type"]
    + [name for k in strategies for name in names(k, "strategy.")],
    "weights": {k: f(0.0, 1.0) for k, f in asynchronous.AGGREGATE_FUNCTIONS.items()},
}))
"""


@pytest.mark.slow
@pytest.mark.timeout(600)  # on a busy machine the library takes a minute to import
def test_the_options_of_lerobot_are_those_of_the_library() -> None:
    """Read from the installed one; all of its asynchronous inference's are there."""
    python = interpreter_of("lerobot-0.6")
    done = subprocess.run(
        [python, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=250
    )
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = json.loads(done.stdout)
    tables: dict[str, set[str]] = {}
    for row in ROWS:
        if row[1] == "here":
            table = tables[quoted(row[0])[0] if quoted(row[0]) else row[0]] = set()
        else:
            table |= set(quoted(row[0]))
    for name in ("RobotClientConfig", "PolicyServerConfig"):
        assert tables[name] == set(theirs[name])
    assert tables["lerobot-rollout"] <= set(theirs["lerobot-rollout"])
    weights = theirs["weights"]
    said = {"weighted_average": 0.7, "average": 0.5, "conservative": 0.3, "latest_only": 1.0}
    assert weights == pytest.approx(said)
