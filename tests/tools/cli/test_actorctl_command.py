"""actorctl against a running fleet of real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from holdfast.tests.misbehaving.harness import PATIENT, Supervised, actor
from holdfast.tests.waiting import wait_until
from holdfast.tools.cli.actorctl_command import app

BIN = Path(sys.executable).parent


def actorctl(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "actorctl", *words],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )


def invoked(*words: str, **environment: str) -> Result:
    """The same in this process: a second less, where the command itself is not the point."""
    return CliRunner().invoke(app, words, env=environment)


@pytest.fixture(scope="module")
def fleet() -> Iterator[Supervised]:
    """One fleet for all tests that leave it as they found it."""
    control = actor("r1/control", robot="r1", rules=PATIENT)
    actors = control, actor("r1/network", "Logs", rules=PATIENT)
    with Supervised(*actors, name="ctl") as running:
        running.reach("r1/control", "READY")
        running.reach("r1/network", "READY")
        yield running


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> None:
    """Replaces the suite's check for this module: its fleet lives from test to test."""


def test_status_finds_the_fleet_by_itself_and_names_every_actor(fleet: Supervised) -> None:
    """Without --fleet, the one that runs; JSON has the same rows."""
    done = actorctl("status", COLUMNS="160")
    assert "r1/control" in done.stdout and "READY" in done.stdout
    body = json.loads(actorctl("status", "--json").stdout)
    assert [row["name"] for row in body["actors"]] == ["r1/control", "r1/network"]
    assert {"fleet", "healthy", "uptime_s", "actors", "robots", "witness"} <= set(body)


def test_the_exit_status_of_status_is_0_only_if_all_is_ready(fleet: Supervised) -> None:
    """A robot without a fail-safe state is not ready."""
    # The robot of this fleet has a control actor that reports no fail-safe state.
    assert actorctl("status").returncode == 1


def test_status_waits_until_all_is_ready(fleet: Supervised) -> None:
    """At most as long as it is told to, and it says what it waits for and shows what is not."""
    with Supervised(actor("a", rules=PATIENT), name="second") as second:
        second.ask("stop", "a")
        second.reach("a", "STOPPED")
        late = invoked("status", "--fleet", "second", "--wait", "0.3")
        assert late.exit_code == 1 and "STOPPED" in late.stdout
        assert late.stderr.startswith("waits: a is STOPPED")
        second.ask("start", "a")
        ready = invoked("status", "--fleet", "second", "--wait", "60")
        assert ready.exit_code == 0 and "STOPPED" not in ready.stdout
    both = invoked("status", "--watch", "--wait", "1")
    assert both.exit_code == 2 and "--watch and --wait" in both.stderr


def test_a_wrong_name_is_answered_with_the_right_one(fleet: Supervised) -> None:
    """Exit status 2, and the nearest name; a robot's name lists its actors."""
    for words in (["kill", "r1/netwrk"], ["restart", "r1/netwrk"], ["stop", "r1/netwrk"]):
        done = actorctl(*words)
        assert done.returncode == 2
        assert done.stderr.strip() == "no actor 'r1/netwrk'; did you mean 'r1/network'?"
    assert "did you mean 'r1'?" in invoked("pause", "r11").stderr
    of_robot = invoked("stop", "r1")
    assert of_robot.exit_code == 2
    assert of_robot.stderr == "'r1' is a robot; its actors are r1/control, r1/network\n"
    of_other = invoked("status", "--fleet", "other")
    assert of_other.exit_code == 2 and fleet.name in of_other.stderr


def test_an_actor_can_be_killed_stopped_started_and_restarted(fleet: Supervised) -> None:
    """Each command waits for its state and prints it."""
    incarnation = fleet.row("r1/network")["incarnation"]
    assert actorctl("kill", "r1/network").returncode == 0
    fleet.reach("r1/network", "READY", incarnation + 1)
    done = actorctl("stop", "r1/network")
    assert (done.returncode, done.stdout) == (0, "r1/network is STOPPED\n")
    done = actorctl("start", "r1/network")
    assert (done.returncode, done.stdout) == (0, "r1/network is READY\n")
    done = actorctl("restart", "r1/network")
    assert (done.returncode, done.stdout) == (0, "r1/network is READY\n")
    assert fleet.row("r1/network")["incarnation"] == incarnation + 3


def test_a_live_view_without_a_terminal_is_refused(fleet: Supervised) -> None:
    """The refusal names the command that writes lines."""
    for words in (["top"], ["status", "--watch"]):
        done = actorctl(*words)
        assert done.returncode == 2 and "status --watch --json" in done.stderr


def test_a_watched_status_ends_quietly_with_its_reader(fleet: Supervised) -> None:
    """A closed pipe ends it without an error."""
    watching = subprocess.Popen(
        [BIN / "actorctl", "status", "--watch", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert watching.stdout is not None and watching.stderr is not None
    assert json.loads(watching.stdout.readline())["fleet"] == fleet.name
    watching.stdout.close()
    assert watching.wait(60) is not None
    assert watching.stderr.read() == b""
    watching.stderr.close()


def test_a_robot_can_be_paused(fleet: Supervised) -> None:
    """The answer of the control actor is printed."""
    done = actorctl("pause", "r1")
    assert (done.returncode, done.stdout) == (0, "r1: pause (heard pause)\n")


def test_logs_are_filtered_by_actor_level_time_and_expression(fleet: Supervised) -> None:
    """Invalid filters end with status 2 and the reason."""
    words = ("a stray print", "a bad one", "a proper record")
    wait_until(lambda: all(each in invoked("logs").stdout for each in words), "the records")
    errors = invoked("logs", "--level", "error").stdout.splitlines()
    assert errors and all(" error " in line for line in errors)
    found = invoked("logs", "r1/network", "--grep", "prop.r").stdout.splitlines()
    assert found and all("a proper record" in line for line in found)
    assert len(invoked("logs", "-n", "2").stdout.splitlines()) == 2
    assert invoked("logs", "--since", "1h").stdout
    assert invoked("logs", "--since", "yesterday").exit_code == 2
    assert "no level" in invoked("logs", "--level", "loud").stderr
    assert "--grep '(' is no regular expression" in invoked("logs", "--grep", "(").stderr
    done = invoked("logs", "r1/netwrk")
    assert done.exit_code == 2 and "did you mean 'r1/network'?" in done.stderr
    assert invoked("logs", "r1").stdout
    assert json.loads(invoked("logs", "--json", "-n", "1").stdout)["message"]


def test_logs_follow_new_records(fleet: Supervised, tmp_path: Path) -> None:
    """A record that is written later appears."""
    with (tmp_path / "out").open("w") as out:
        following = subprocess.Popen([BIN / "actorctl", "logs", "-f", "-n", "1"], stdout=out)
    try:
        wait_until((tmp_path / "out").read_text, "the first record")
        actorctl("kill", "r1/network")
        wait_until(
            lambda: "SIGKILL, as a person asked" in (tmp_path / "out").read_text(),
            "the record of the kill",
        )
    finally:
        following.terminate()
        following.wait()


def test_the_graph_is_printed_as_text_dot_and_json(fleet: Supervised) -> None:
    """Each form has every actor."""
    assert "r1/network" in actorctl("graph").stdout
    assert actorctl("graph", "--dot").stdout.startswith("digraph")
    assert len(json.loads(actorctl("graph", "--json").stdout)) == 2


def test_doctor_gives_a_verdict_and_a_remedy_for_what_is_not_good(fleet: Supervised) -> None:
    """Every finding that is not good has a remedy."""
    findings = json.loads(actorctl("doctor", "--json").stdout)
    assert {finding["verdict"] for finding in findings} <= {"good", "poor", "bad"}
    assert all(finding["remedy"] for finding in findings if finding["verdict"] != "good")


def test_a_command_needs_the_name_of_one_of_several_fleets(fleet: Supervised) -> None:
    """Without a terminal it ends with the names."""
    with Supervised(actor("a", rules=PATIENT), name="second") as second:
        second.reach("a", "READY")
        done = actorctl("status")
        assert done.returncode == 2
        assert "ctl, second" in done.stderr and "--fleet" in done.stderr
        assert actorctl("status", "--fleet", "second").returncode == 0


def test_a_command_without_a_running_fleet_names_supervisor_start(tmp_path: Path) -> None:
    """The exit status is 2."""
    done = actorctl("status", HOLDFAST_RUNTIME=str(tmp_path))
    assert done.returncode == 2
    assert "supervisor start fleet.yaml" in done.stderr


def test_the_logs_of_a_fleet_that_ended_are_offered(tmp_path: Path) -> None:
    """--fleet shows them, and corrects a wrong name of an actor."""
    (tmp_path / "state" / "old").mkdir(parents=True)
    record = {"t": 0.0, "actor": "r1/control", "level": "info", "message": "it was"}
    (tmp_path / "state" / "old" / "log.jsonl").write_text(json.dumps(record) + "\n")
    places = {"HOLDFAST_RUNTIME": str(tmp_path), "HOLDFAST_STATE": str(tmp_path / "state")}
    for words in ([], ["--fleet", "odl"]):
        done = invoked("logs", *words, **places)
        assert done.exit_code == 2 and "logs are kept of: old (--fleet NAME)" in done.stderr
    assert "it was" in invoked("logs", "--fleet", "old", **places).stdout
    done = invoked("logs", "r1/contrl", "--fleet", "old", **places)
    assert "did you mean 'r1/control'?" in done.stderr


def test_a_command_imports_nothing_that_takes_long(fleet: Supervised) -> None:
    """The promise is 300 ms, of which the imports are most."""
    command = [sys.executable, "-X", "importtime", "-m", "holdfast.tools.cli.actorctl"]
    command += ["kill", "r1/network", "--signal", "CONT"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert not {"torch", "numpy", "cv2", "zmq", "yaml", "av", "h11"} & imported


def test_keys_are_made_for_the_role_that_the_name_suggests(tmp_path: Path) -> None:
    """The list shows whose secret is in the directory."""
    directory = str(tmp_path / "keys")
    for name, role in (("broker", "broker"), ("pick/0", "replica"), ("r1", "robot")):
        assert f"{role}:{name}" in invoked("keys", "new", name, "-d", directory).stdout
    assert "exists" in invoked("keys", "new", "r1", "-d", directory).stderr
    listed = invoked("keys", "list", "-d", directory).stdout
    assert "replica:pick/0" in listed and listed.count("secret here") == 3
    (tmp_path / "keys" / "r1.key").unlink()
    assert "public only" in invoked("keys", "list", "-d", directory).stdout


def test_bench_lists_the_benchmarks_and_corrects_a_wrong_name() -> None:
    """Options after the name are the benchmark's own."""
    shown = actorctl("bench", "--help").stdout
    assert "frames" in shown and "a search for torn" in shown
    assert "machine_load" not in shown and "waiting_loop" not in shown, "parts of benchmarks"
    done = actorctl("bench", "frame")
    assert done.returncode == 2 and "Did you mean 'frames'?" in done.stderr
    options = actorctl("bench", "frames", "--help").stdout
    assert "usage: actorctl bench frames" in options and "--reads" in options
    done = actorctl("bench", "frames", "--reads", "-3")
    assert done.returncode == 2 and "-3 is less than 1" in done.stderr


def test_replay_shows_its_options_and_refuses_what_is_no_capture(tmp_path: Path) -> None:
    """The refusal is a sentence, no traceback."""
    assert "--checkpoint" in actorctl("replay", "--help").stdout
    (tmp_path / "capture").write_text("no [capture]")
    done = actorctl("replay", str(tmp_path / "capture"))
    assert done.returncode == 2 and done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("actorctl", "logs", "-f"),
        ("actorctl", "status", "--watch", "--json"),
    ],
)
def test_ctrl_c_ends_a_following_command_quietly_with_130(
    fleet: Supervised, words: tuple[str, ...]
) -> None:
    """Nothing is written to stderr."""
    with subprocess.Popen(
        [BIN / words[0], *words[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None and process.stdout.readline()
        # As a terminal does: to all of the foreground.
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=240)
    assert (process.returncode, errors) == (130, "")


def test_capacity_of_a_fleet_without_replicas_is_an_empty_list(fleet: Supervised) -> None:
    """The JSON form is a list with a row per replica."""
    assert json.loads(actorctl("capacity", "--json").stdout) == []


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("kill r1/n", {"r1/network"}),
        ("logs r1", {"r1", "r1/control", "r1/network"}),
        ("pause ", {"r1"}),
        ("status --fleet ", {"ctl"}),
        ("kill r1/network --signal ST", {"STOP"}),
        ("logs --level w", {"warning"}),
        ("bench su", {"supervise"}),
        ("capa", {"capacity"}),
    ],
)
def test_the_shell_completes_names_of_the_running_fleet(
    fleet: Supervised, words: str, offered: set[str]
) -> None:
    """Actors, robots, fleets, signals, levels, benchmarks and commands."""
    done = actorctl(
        _ACTORCTL_COMPLETE="complete_bash",
        COMP_WORDS=f"actorctl {words}",
        COMP_CWORD=str(len(words.split(" "))),
    )
    assert set(done.stdout.split()) == offered, done.stderr
