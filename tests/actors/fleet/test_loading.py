"""A fleet file from text: what it refuses, with the line, and what it makes of YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.actors.fleet.loading import load, loads
from holdfast.errors import FleetError
from holdfast.tests.actors.fleet.files import faults
from holdfast.tests.robot.dataset import recordings


def test_a_good_fleet_is_accepted(good: dict[str, Any]) -> None:
    """A file without a fault gives its fleet."""
    assert loads(yaml.safe_dump(good)).robots[1].name == "r2"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "null\n"])
def test_an_empty_file_is_refused_with_the_command_that_writes_one(text: str) -> None:
    """The fault names `supervisor init`."""
    with pytest.raises(FleetError, match="says nothing; `supervisor init`"):
        loads(text)


@pytest.mark.parametrize("spelled", ["none", "null", "~", ""])
def test_a_robot_may_wait_for_its_server_without_a_bound(
    good: dict[str, Any], spelled: str
) -> None:
    """Every spelling of none that YAML has counts as no bound."""
    good["robots"][0]["safety"] = {"max_offline_s": 61.5}
    robot = loads(yaml.safe_dump(good).replace("61.5", spelled)).robots[0]
    assert robot.safety.max_offline_ns is None


def test_a_load_reports_every_fault_at_once_with_its_line(good: dict[str, Any]) -> None:
    """Faults of types, names and services come together, each with the line in the text."""
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


def test_a_key_given_twice_is_refused(good: dict[str, Any]) -> None:
    """The fault has the line of the second."""
    text = yaml.safe_dump(good) + "\nname: other\n"
    with pytest.raises(FleetError, match=r"line \d+: \$.name: given twice"):
        loads(text)


@pytest.mark.parametrize("text", ["", "robots: [", "- 1", "a: b: c", "\t", "!!python/name:os.x"])
def test_a_text_that_is_no_fleet_is_refused_with_a_sentence(text: str) -> None:
    """Any text that is no mapping, or no YAML, raises FleetError with a fault at `$`."""
    with pytest.raises(FleetError, match=r"\$"):
        loads(text)


def test_a_key_that_yaml_reads_as_a_boolean_is_explained(good: dict[str, Any]) -> None:
    """The fault recommends quotes."""
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
def test_a_scalar_that_yaml_reads_otherwise_is_explained_at_its_place(
    said: str, path: str, remark: str
) -> None:
    """The fault at that path says how YAML reads the scalar and how to write it."""
    with pytest.raises(FleetError) as caught:
        loads(said)
    found = [f for f in caught.value.faults if f.path == path and remark in f.message]
    assert found and found[0].line > 0, caught.value.faults


def test_a_scalar_that_yaml_reads_as_spelt_causes_no_fault() -> None:
    """Quoted text, plain and hexadecimal numbers, and no for a boolean are accepted."""
    fleet = loads("name: '08'\nlogs: {files: 10, file_mb: 0x10}\ngateway: {enabled: no}\n")
    assert (fleet.name, fleet.logs.files, fleet.logs.file_mb) == ("08", 10, 16)


def test_a_path_is_relative_to_the_file(good: dict[str, Any], tmp_path: Path) -> None:
    """A checkpoint's directory is below that of the file, wherever the command runs."""
    good["services"]["pick"]["checkpoint"] = "."
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump(good))
    assert load(path).services["pick"].checkpoint == str(tmp_path)


def test_the_dataset_that_a_robot_replays_is_relative_to_the_file(tmp_path: Path) -> None:
    """The same path of another driver is its own matter."""
    recordings.dataset(tmp_path / "data", recordings.BLIND, (2,))
    robot = {"name": "r1", "driver": "replay", "options": {"dataset": "data"}, "fps": 30}
    robot["teleop"] = {"driver": "keyboard"}
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump({"robots": [robot]}))
    assert load(path).robots[0].options == {"dataset": str(tmp_path / "data")}
