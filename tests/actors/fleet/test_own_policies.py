"""Services with a policy of the user's own, or of scripts: what fleet.yaml says of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.actors.fleet.expand import expand
from holdfast.actors.fleet.loading import loads
from holdfast.actors.fleet.surroundings import faults_here
from holdfast.actors.runtime.spec import ActorSpec
from holdfast.errors import FleetError
from holdfast.robot.sim import SPEC

POLICIES = f"""
from holdfast import CameraFeature, PolicySpec

class Lab:
    def __init__(self, names={SPEC.action_names!r}, checkpoint=None):
        print("something that a library says")
        if checkpoint == "missing":
            open("/no/such/file")
        self.spec = PolicySpec(
            model="lab", revision="1", chunk_size=45, fps=30,
            cameras=(CameraFeature("overhead", 96, 72), CameraFeature("wrist", 96, 72)),
            state_names={SPEC.state_names!r}, action_names=names)
    def predict_chunk(self, batch): raise AssertionError("a check predicts nothing")

class Mute:
    def __init__(self): self.spec = Lab().spec

def leaves():
    raise SystemExit(3)
"""

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the fleet file and the user's module are."""
    path = tmp_path_factory.mktemp("lab")
    (path / "my_lab.py").write_text(POLICIES)
    return path


@pytest.fixture
def own(good: dict[str, Any]) -> dict[str, Any]:
    """A fleet whose service has the user's policy."""
    good["services"]["pick"] = {"policy": "my_lab:Lab", "replicas": 2}
    return good


@pytest.fixture
def external(good: dict[str, Any]) -> dict[str, Any]:
    """A fleet whose service is filled by scripts."""
    good["services"]["pick"] = {"replicas": "external"}
    return good


def expanded(values: dict[str, Any], folder: Path) -> dict[str, ActorSpec]:
    fleet = loads(yaml.safe_dump(values), base=folder)
    return {actor.name: actor for actor in expand(fleet, None, Path("/run/x"))}


def faults(values: dict[str, Any], folder: Path) -> list[str]:
    with pytest.raises(FleetError) as caught:
        loads(yaml.safe_dump(values), base=folder)
    return [str(fault) for fault in caught.value.faults]


def test_a_class_beside_the_file_is_served_by_the_fleets_replicas(
    own: dict[str, Any], folder: Path
) -> None:
    """It is asked for its spec in a process of its own; its images travel by shared memory."""
    own["services"]["pick"] |= {"checkpoint": "a-name", "options": {"names": SPEC.action_names}}
    own["services"]["pick"]["options"] = {"names": list(SPEC.action_names)}
    made = expanded(own, folder)
    replica = made["pick/1"].config
    assert (replica["policy"], replica["checkpoint"]) == ("my_lab:Lab", "a-name")
    assert replica["import_path"] == str(folder)
    assert made["r1/network"].config["outbox"] == "r1/outbox"
    assert "my_lab" not in sys.modules
    fleet = loads(yaml.safe_dump(own), base=folder)
    assert faults_here(fleet, None) == []


def test_a_checkpoint_beside_the_file_is_given_to_the_policy_as_a_path(
    own: dict[str, Any], folder: Path
) -> None:
    """A file or a directory; any other name is given as it is written."""
    (folder / "weights.npz").touch()
    (folder / "runs").mkdir()
    given = {}
    for checkpoint in ("weights.npz", "runs", "user/model"):
        own["services"]["pick"]["checkpoint"] = checkpoint
        given[checkpoint] = expanded(own, folder)["pick/0"].config["checkpoint"]
    assert given == {
        "weights.npz": str(folder / "weights.npz"),
        "runs": str(folder / "runs"),
        "user/model": "user/model",
    }


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda s: s.update(policy="no_lab:Lab"),
            ["services.pick.policy: policy 'no_lab:Lab' cannot be imported", "it is looked for in"],
        ),
        (
            lambda s: s.update(policy="my_lab:Lap"),
            ["services.pick.policy: policy 'my_lab:Lap'", "my_lab.py has no 'Lap'"],
        ),
        (
            lambda s: s.update(checkpoint="missing"),
            ["services.pick.policy: my_lab:Lab(checkpoint='missing') raised FileNotFoundError",
             "my_lab.py:8 in __init__"],
        ),
        (
            lambda s: s.update(policy="my_lab:Mute"),
            ["services.pick.policy: my_lab:Mute made a Mute without predict_chunk"],
        ),
        (
            lambda s: s.update(options={"names": ["x", "y"]}),
            ["robots[0].rename: the action of r1 is x, y, z", "has x, y, in that order"],
        ),
        (
            lambda s: s.update(options={"device": "cpu"}),
            ["services.pick.options: device: the service has keys of its own"],
        ),
        (
            lambda s: s.update(python="/usr/bin/no-such-python"),
            ["services.pick.python: /usr/bin/no-such-python cannot be run (No such file"],
        ),
        (
            lambda s: s.update(policy="my_lab:leaves"),
            ["policy: my_lab:leaves() raised SystemExit by sys.exit(3)", "my_lab.py:"],
        ),
        (lambda s: s.pop("policy"), ["services.pick.policy: missing", "replicas: external"]),
        (
            lambda s: s.update(policy="flow"),
            ["services.pick.checkpoint: missing", "add `checkpoint:`"],
        ),
        (
            lambda s: s.update(policy="labpolicy"),
            ["services.pick.policy: no policy kind 'labpolicy'", "module:Class"],
        ),
        (
            lambda s: s.update(replicas="extern"),
            ["services.pick.replicas", "found 'extern'", "or external"],
        ),
    ],
)  # fmt: skip
def test_a_wrong_service_is_one_line_with_its_place_what_was_found_and_what_to_do(
    own: dict[str, Any], folder: Path, spoil: Change, said: list[str]
) -> None:
    """Each mistake in a service of the file is one fault at its place."""
    spoil(own["services"]["pick"])
    found = faults(own, folder)
    assert any(all(part in fault for part in said) for fault in found), found
    assert not [fault for fault in found if "\n" in fault]


def test_a_policy_of_another_machine_need_not_be_here(own: dict[str, Any], folder: Path) -> None:
    """The file is loaded on every host; there, the policy is asked before it starts."""
    own["hosts"] = {"elsewhere": {"address": "127.0.0.1"}}
    own["broker"] = {"host": "elsewhere"}
    own["services"]["pick"] |= {"host": "elsewhere", "policy": "not_here:Lab"}
    for robot in own["robots"]:
        robot["host"] = "elsewhere"
    fleet = loads(yaml.safe_dump(own), base=folder)
    (fault,) = faults_here(fleet, "elsewhere")
    assert fault.path == "$.services.pick.policy" and "cannot be imported" in str(fault)
    with pytest.raises(FleetError, match="'not_here:Lab' cannot be imported"):
        expand(fleet, "elsewhere", Path("/run/x"))


def test_a_service_of_scripts_has_no_replica_and_its_robots_no_shared_memory(
    external: dict[str, Any], folder: Path
) -> None:
    """Nothing is known of its policy; the broker knows that scripts serve it."""
    made = expanded(external, folder)
    assert not [name for name in made if name.startswith("pick/")]
    assert made["r1/network"].config["outbox"] is None
    assert made["broker"].config["external"] == ["pick"]


def test_what_a_service_of_scripts_cannot_heed_is_refused(
    external: dict[str, Any], folder: Path
) -> None:
    """The scripts give it to `serve`."""
    external["services"]["pick"] |= {"policy": "flow", "device": "cuda", "max_sessions": 3}
    found = faults(external, folder)
    for key in ("policy", "device", "max_sessions"):
        (fault,) = [each for each in found if f"$.services.pick.{key}:" in each]
        assert "has no effect: scripts serve it" in fault
    assert len(found) == 3
