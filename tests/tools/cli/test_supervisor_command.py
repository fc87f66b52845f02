"""The `supervisor` command. That a whole fleet does its job is for the end-to-end tests."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from holdfast.tools.cli.supervisor_command import app
from holdfast.tools.cli.view import View
from holdfast.tools.cli.view import _lines as changes


def supervisor(*words: str) -> subprocess.CompletedProcess[str]:
    return run("supervisor", *words)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / words[0]), *words[1:]]
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def fleet_file(tmp_path: Path) -> Path:
    """The file that `supervisor init` writes."""
    path = tmp_path / "fleet.yaml"
    assert CliRunner().invoke(app, ["init", str(path)]).exit_code == 0
    return path


def test_the_file_that_init_writes_passes_the_check(fleet_file: Path) -> None:
    """It describes 14 actors."""
    done = CliRunner().invoke(app, ["check", str(fleet_file)])
    assert done.exit_code == 0, done.output
    assert "14 actors" in done.output


def test_a_check_says_what_the_fleet_needs_of_its_machine(fleet_file: Path) -> None:
    """In words and in JSON: shared memory in bytes, processes and open files."""
    words = CliRunner().invoke(app, ["check", str(fleet_file)]).output
    found = json.loads(CliRunner().invoke(app, ["check", str(fleet_file), "--json"]).output)
    need = found["needs"]
    assert f"they need {need['shm_bytes']} bytes of shared memory" in words
    fewer = fleet_file.read_text().split("  - name: r2")[0]
    fleet_file.write_text(fewer)
    half = json.loads(CliRunner().invoke(app, ["check", str(fleet_file), "--json"]).output)["needs"]
    assert all(0 < half[key] < need[key] for key in ("shm_bytes", "processes", "descriptors"))


def test_init_overwrites_a_file_only_with_force(fleet_file: Path) -> None:
    """The file stays as it was."""
    before = fleet_file.read_text()
    done = CliRunner().invoke(app, ["init", str(fleet_file)])
    assert done.exit_code == 2 and "--force" in done.output
    assert fleet_file.read_text() == before
    assert CliRunner().invoke(app, ["init", "--force", str(fleet_file)]).exit_code == 0


@pytest.mark.parametrize("command", ["check", "start"])
def test_a_bad_file_is_refused_before_anything_starts(fleet_file: Path, command: str) -> None:
    """Exit status 2 and the fault with its place."""
    fleet_file.write_text(fleet_file.read_text().replace("fps: 30   ", "fps: 0    "))
    done = CliRunner().invoke(app, [command, str(fleet_file)])
    assert done.exit_code == 2
    assert "$.robots[0].fps: found 0" in done.output


def test_the_faults_of_a_check_have_path_message_and_line_in_json(fleet_file: Path) -> None:
    """The form is an interface for programs: these keys and no others."""
    fleet_file.write_text(fleet_file.read_text() + "\nunknown: 1\n")
    done = CliRunner().invoke(app, ["check", str(fleet_file), "--json"])
    assert done.exit_code == 2
    line = len(fleet_file.read_text().splitlines())
    ((path, message, at),) = (tuple(row.values()) for row in json.loads(done.output)["faults"])
    assert (path, at) == ("$.unknown", line)
    assert message.startswith("unknown key 'unknown'; expected one of: ")
    assert set(json.loads(done.output)["faults"][0]) == {"path", "message", "line"}


def test_a_warning_of_a_check_has_its_line_and_leaves_the_exit_status(fleet_file: Path) -> None:
    """Text and JSON both have the line."""
    text = fleet_file.read_text().replace("fps: 30   ", "fps: 25   ", 1)
    fleet_file.write_text(text)
    line = next(n for n, each in enumerate(text.splitlines(), 1) if "fps: 25   " in each)
    done = CliRunner().invoke(app, ["check", str(fleet_file)])
    assert done.exit_code == 0
    assert f"  warning: line {line}: $.robots[0].fps: 25, and the policy" in done.output
    (row,) = json.loads(CliRunner().invoke(app, ["check", str(fleet_file), "--json"]).output)[
        "warnings"
    ]
    assert (row["path"], row["line"]) == ("$.robots[0].fps", line)


def test_a_check_names_what_only_another_host_can_check(tmp_path: Path) -> None:
    """In words and in JSON: the GPUs of other hosts' placements."""
    file = tmp_path / "spread.yaml"
    file.write_text(
        "hosts: {a: {address: 127.0.0.1}, b: {address: 127.0.0.2}}\nbroker: {host: a}\n"
        "services:\n  pick: {policy: flow, checkpoint: conveyor-flow, placements: "
        "[{host: a}, {host: b, device: 'cuda:1', replicas: 2}]}\n"
    )
    done = CliRunner().invoke(app, ["check", str(file), "--host", "a"])
    assert done.exit_code == 0, done.output
    assert "not checked here: cuda:1 of b; check the file there too" in done.output
    done = CliRunner().invoke(app, ["check", str(file), "--host", "a", "--json"])
    assert json.loads(done.output)["unchecked"] == {"b": ["cuda:1"]}


def test_a_missing_file_is_refused_with_the_command_that_writes_one(tmp_path: Path) -> None:
    """The message names `supervisor init`."""
    done = CliRunner().invoke(app, ["check", str(tmp_path / "fleet.yaml")])
    assert done.exit_code == 2 and "supervisor init" in done.output


def test_a_report_that_cannot_be_written_is_refused_before_the_run(
    fleet_file: Path, tmp_path: Path
) -> None:
    """A directory is no file for a report."""
    done = CliRunner().invoke(app, ["start", str(fleet_file), "--report", str(tmp_path)])
    assert done.exit_code == 2 and "report cannot be written" in done.output


def test_the_schema_is_json() -> None:
    """`supervisor schema` prints one JSON object."""
    done = CliRunner().invoke(app, ["schema"])
    assert json.loads(done.output)["title"] == "fleet.yaml of Holdfast"


def test_a_fleet_is_started_detached_reloaded_and_stopped(fleet_file: Path, tmp_path: Path) -> None:
    """One robot, its cameras and a policy that needs no torch; then another camera rate."""
    text = fleet_file.read_text().replace("policy: flow", "policy: constant")
    first, _, _ = text.partition("  - name: r2")
    fleet_file.write_text(first.replace("name: conveyor", "name: detached"))
    started = supervisor("start", str(fleet_file), "--detach")
    assert started.returncode == 0, started.stderr
    try:
        assert "'detached' runs as process" in started.stdout
        again = supervisor("start", str(fleet_file))
        assert again.returncode == 2 and "runs already" in again.stderr
        slower = fleet_file.read_text().replace("wrist: {width: 640, height: 480, fps: 30}", "X")
        fleet_file.write_text(slower.replace("X", "wrist: {width: 640, height: 480, fps: 15}"))
        shown = supervisor("reload", str(fleet_file), "--dry-run")
        assert shown.stdout == "~ r1/wrist  (fps: 30.0 -> 15.0)\n8 actors run on as they are\n"
        assert supervisor("reload", str(fleet_file)).returncode == 0
        unchanged = supervisor("reload", str(fleet_file), "--dry-run")
        assert unchanged.stdout == "9 actors run on as they are\n"
        refused = run("actorctl", "drain", "r1/control")
        assert refused.returncode == 2 and "`actorctl stop r1/control`" in refused.stderr
        assert run("actorctl", "drain", "pick/0").stdout == "pick/0 is STOPPED\n"
    finally:
        stopped = supervisor("stop", "--fleet", "detached")
    assert stopped.stdout == "'detached' is stopped\n"


def test_a_detached_start_that_fails_has_the_reason(fleet_file: Path) -> None:
    """The faults of the file come to stderr."""
    fleet_file.write_text(fleet_file.read_text() + "\nunknown: 1\n")
    done = supervisor("start", str(fleet_file), "--detach")
    assert done.returncode == 2 and "$.unknown" in done.stderr


def test_the_last_line_of_a_fleet_says_what_was_stopped(tmp_path: Path) -> None:
    """Each actor is shown as stopped, then a sentence with their number and the robots."""
    file = tmp_path / "fleet.yaml"
    file.write_text("name: brief\ngateway: {enabled: false}\n")
    done = supervisor("start", str(file), "--duration", "1")
    assert done.returncode in (0, 1), done.stderr  # a slow machine has not started it by then
    *_, last = done.stdout.splitlines()
    assert re.fullmatch(r"'brief' is stopped after \d+ s: \d+ actors? ended", last)
    assert "broker           STOPPED" in done.stdout


def test_a_view_without_a_reader_blocks_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its output is a full pipe, as that of a terminal under Ctrl-S."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    monkeypatch.setattr("sys.stdout", os.fdopen(writing, "w"))
    view = View(live=False, rundir=tmp_path)
    view.start()
    row = {"name": "a", "state": "READY", "reason": "", "last_exit": None, "last_error": None}
    body = {"robots": [], "site": {"robots": [], "replicas": []}}
    began_s = time.monotonic()
    for i in range(100):
        state = {"state": "READY" if i % 2 else "BACKOFF"}
        view.show(body | {"uptime_s": float(i), "actors": [row | state]})
    view.end(patience_s=0.2)
    assert time.monotonic() - began_s < 30
    assert view.is_alive(), "it still waits for the reader"
    os.close(reading)
    view.join(60)
    assert not view.is_alive(), "and ends quietly when there is none any more"


def test_rows_of_one_name_are_subjects_of_their_own() -> None:
    """Else each would be a change of the other, and both would be printed again and again."""
    row = {"name": "groot/1", "reason": "", "warnings": []}
    site = {"robots": [row | {"state": "REFUSED"}], "away": [row | {"state": "STOPPED"}]}
    lines = list(changes({"actors": [], "robots": [], "site": site}))
    assert [line.split() for _, _, line in lines] == [
        ["groot/1", "REFUSED"],
        ["groot/1", "STOPPED"],
    ]
    assert len({subject for subject, _, _ in lines}) == 2
