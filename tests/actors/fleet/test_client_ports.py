"""The entries for clients of openpi and GR00T in a fleet file: their faults, and their actors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.actors.fleet.expand import expand
from holdfast.actors.fleet.hosts import here
from holdfast.actors.fleet.loading import loads
from holdfast.actors.fleet.surroundings import faults_here
from holdfast.errors import FleetError
from holdfast.tests.actors.fleet.files import actors, faults

PICK = {"policy": "constant", "checkpoint": "conveyor-flow"}


def fleet(**entry: Any) -> dict[str, Any]:
    """A file with one service and such an entry."""
    return {
        "services": {"pick": PICK},
        "gateway": {"openpi": {"port": 8000, "service": "pick", **entry}},
    }


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"service": "pikc"}, "no service 'pikc'"),
        ({"host": "0.0.0.0"}, "every client that connects is served"),  # noqa: S104
        ({"mapping": {"cameras": {"writs": "a"}}}, "no camera 'writs'"),
        ({"mapping": {"camera": {}}}, "mapping.camera: unknown key 'camera'"),
        ({"mapping": {"cameras": {"wrist": 3}}}, "mapping.cameras.wrist: found 3"),
        ({"mapping": 3}, "mapping: found 3; expected text or a mapping: keys, or the kind of"),
        ({"port": 0}, "a TCP port"),
        ({"port": 8807}, "8807 is the port of the page too"),
        ({"dialect": "groot"}, "groot"),
    ],
)
def test_what_cannot_work_is_said_before_a_process_starts(entry: dict[str, Any], why: str) -> None:
    """Each fault names the key and what is wrong with it."""
    (fault,) = faults(fleet(**entry))
    assert "gateway.openpi" in fault
    assert why in fault


def test_a_service_of_scripts_has_no_port() -> None:
    """What its policy takes is not in the file, and clients do not say what they have."""
    values = fleet()
    values["services"]["pick"] = {"replicas": "external"}
    assert "not known from this file" in faults(values)[0]


def test_clients_of_single_observations_have_no_policy_that_sees_several(tmp_path: Path) -> None:
    """It is said before a process starts, not to each client."""
    (tmp_path / "looks_back.py").write_text(
        "from holdfast import PolicySpec\n"
        "class Policy:\n"
        "    spec = PolicySpec(model='m', revision='1', cameras=(), state_names=('a',),\n"
        "        action_names=('a',), chunk_size=4, fps=20, observation_steps=3)\n"
        "    def predict_chunk(self, batch): return []\n"
    )
    values = fleet()
    values["services"]["pick"] = {"policy": "looks_back:Policy"}
    with pytest.raises(FleetError, match="sees the last 3 observations") as caught:
        loads(yaml.safe_dump(values), base=tmp_path)
    assert "$.gateway.openpi.service" in str(caught.value)


def test_the_page_and_the_clients_have_ports_of_their_own() -> None:
    """One port for both is a fault, unless there is no page."""
    values = fleet()
    values["gateway"]["port"] = 8000
    assert "the port of the page too" in faults(values)[0]
    values["gateway"] = {"enabled": False, "openpi": values["gateway"]["openpi"]}
    names = [spec.name for spec in actors(values)]
    assert names == ["broker", "pick/0", "openpi"]


def test_the_actor_gets_the_policys_spec_and_the_entry() -> None:
    """It knows names and sizes without a policy, and starts after the broker."""
    made = {spec.name: spec for spec in actors(fleet(dialect="roboarena", metadata={"x": 1}))}
    openpi = made["openpi"]
    assert openpi.kind == "openpi"
    assert openpi.member.after == ("broker",)
    assert openpi.config["spec"]["model"] == "conveyor-flow"
    assert openpi.config["roboarena"] is True
    assert openpi.config["metadata"] == {"x": 1}
    assert openpi.config["broker"].endswith("broker.front")


def test_a_port_heeds_the_stops_that_the_broker_of_its_host_has() -> None:
    """It reads the same directory, and checks lifts by the same keys."""
    values = fleet()
    values["gateway"]["groot"] = {"port": 5555, "service": "pick"}
    made = {spec.name: spec.config for spec in actors(values)}
    for port in ("openpi", "groot"):
        assert made[port]["stops"] == made["broker"]["evidence"]
        assert made[port]["keyring"] == made["broker"]["keyring"]


def test_the_file_of_the_api_key_is_looked_at(tmp_path: Path) -> None:
    """Relative to the fleet file; absent or empty it is a fault of this machine, else not."""
    text = (
        "services: {pick: {policy: constant, checkpoint: conveyor-flow}}\n"
        "gateway: {openpi: {port: 8000, service: pick, api_key: own.key, host: 0.0.0.0}}\n"
    )
    file = tmp_path / "own.key"
    for content, why in ((None, "cannot be read"), ("\n", "holds no key"), ("a\nb", "holds no")):
        if content is not None:
            file.write_text(content)
        (fault,) = faults_here(loads(text, base=tmp_path), None)
        assert why in str(fault)
    file.write_text("secret\n")
    assert faults_here(loads(text, base=tmp_path), None) == []


@pytest.mark.parametrize(
    ("entry", "where", "why"),
    [
        ({"service": "pikc"}, "service", "no service 'pikc'"),
        ({"host": "0.0.0.0"}, "host", "write `api_token: FILE`"),  # noqa: S104
        ({"dialect": "n1"}, "dialect", "found 'n1'"),
        ({"mapping": {"cameras": {"writs": "a"}}}, "mapping.cameras.writs", "no camera 'writs'"),
        ({"mapping": {"cameras": {"wrist": "video.overhead"}}}, "mapping.cameras", "several"),
        ({"mapping": {"prompt": "task"}}, "mapping", "prompt"),
        (
            {"mapping": {"action": {"arm": ["x", "y", "z", "wrist"]}}},
            "mapping.action",
            "gripper: in no key",
        ),
        (
            {"mapping": {"action": {"arm": ["x", "y", "z", "wrist", "gripper", "w"]}}},
            "mapping.action.arm",
            "has no w in its action: x, y, z, wrist, gripper",
        ),
        (
            {"mapping": {"action": {"a": ["x", "y", "x", "z", "wrist", "gripper"]}}},
            "mapping.action",
            "x: listed more than once",
        ),
        (
            {"mapping": {"action": {"a": ["x", "y"], "action.a": ["z", "wrist", "gripper"]}}},
            "mapping.action",
            "with and without its prefix",
        ),
    ],
)
def test_what_cannot_work_for_groot_is_said_before_a_process_starts(
    entry: dict[str, Any], where: str, why: str
) -> None:
    """Each fault names the key and what is wrong with it."""
    gateway = {"groot": {"port": 5555, "service": "pick", **entry}}
    (fault,) = faults({"services": {"pick": PICK}, "gateway": gateway})
    assert f"gateway.groot.{where}" in fault
    assert why in fault


def test_two_kinds_of_clients_have_ports_of_their_own() -> None:
    """Side by side each has its actor; one port for both is a fault."""
    values = fleet()
    values["gateway"] = {
        "enabled": False,
        "openpi": {"port": 8000, "service": "pick"},
        "groot": {"port": 5555, "service": "pick", "dialect": "n1.5"},
    }
    made = {spec.name: spec for spec in actors(values)}
    assert list(made) == ["broker", "pick/0", "openpi", "groot"]
    assert made["groot"].config["dialect"] == "n1.5"
    values["gateway"]["groot"]["port"] = 8000
    assert "8000 is the port of the clients of openpi too" in faults(values)[0]


def test_the_file_of_the_token_is_looked_at(tmp_path: Path) -> None:
    """Relative to the fleet file; absent it is a fault of this machine, else not."""
    text = (
        "services: {pick: {policy: constant, checkpoint: conveyor-flow}}\n"
        "gateway: {groot: {port: 5555, service: pick, api_token: own.key}}\n"
    )
    (fault,) = faults_here(loads(text, base=tmp_path), None)
    assert "gateway.groot.api_token" in str(fault)
    (tmp_path / "own.key").write_text("secret\n")
    assert faults_here(loads(text, base=tmp_path), None) == []


LAB = """
from holdfast.policy.steps import Embodiment, StepPair

ARM = Embodiment(
    name="arm",
    cameras={"overhead": "cams/0", "wrist": "cams/1"},
    state={"q": ("x", "y", "z", "wrist", "gripper", "dx", "dy")},
    action_names=("x", "y", "z", "wrist", "gripper"),
    fps=30.0,
    steps=lambda family: StepPair(),
)
WRONG = ARM.keys
"""


def test_a_mapping_by_name_becomes_that_of_the_policys_cameras(tmp_path: Path) -> None:
    """`module:name` beside the file: the actor gets plain keys, and imports nothing of it."""
    (tmp_path / "arm_lab.py").write_text(LAB)
    text = yaml.safe_dump(fleet(mapping="arm_lab:ARM"))
    loaded = loads(text, base=tmp_path)
    made = {spec.name: spec for spec in expand(loaded, here(loaded, None), tmp_path)}
    assert made["openpi"].config["mapping"] == {
        "cameras": {"overhead": "cams/0", "wrist": "cams/1"},
        "state": ["q"],
        "prompt": "prompt",
        "pad": True,
    }
    assert "arm_lab" not in sys.modules


def test_a_mapping_by_a_wrong_name_is_a_fault_at_it(tmp_path: Path) -> None:
    """An unknown one, one whose robot is another, and one's own that is none or fails."""
    (tmp_path / "arm_lab.py").write_text(LAB)
    (tmp_path / "broken_lab.py").write_text("import holdfast\n1 / 0\n")
    for name, why in (
        ("drodi", "did you mean 'droid'"),
        ("droid", "clients of droid have 8 values of state"),
        ("arm_lab:WRONG", "expected a holdfast.policy.steps.Embodiment"),
        ("arm_lab:ABSENT", "has None there"),
        ("absent_lab:ARM", "cannot be imported: ModuleNotFoundError"),
        ("broken_lab:ARM", "broken_lab.py:2"),
    ):
        with pytest.raises(FleetError) as caught:
            loads(yaml.safe_dump(fleet(mapping=name)), base=tmp_path)
        found = list(map(str, caught.value.faults))
        assert all("$.gateway.openpi.mapping: " in fault for fault in found), found
        assert why in " ".join(found)
