"""`actorctl estop` without a fleet: what is refused, how it exits, how soon it acts."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from holdfast.actors.driver import latch
from holdfast.actors.runtime import robots_file
from holdfast.actors.runtime.robots_file import KnownRobot, KnownRobots
from holdfast.actors.runtime.site_stop_store import SiteStopStore
from holdfast.tests.actors.driver.fake_driver import FakeDriver
from holdfast.tools.cli import estop_command

BIN = Path(sys.executable).parent


@pytest.fixture
def cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KnownRobots:
    """A fleet with the robot r1, which runs as far as its runtime directory says."""
    monkeypatch.setenv("HOLDFAST_RUNTIME", str(tmp_path / "run"))
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "kept"))
    directory = tmp_path / "run" / "cell"
    directory.mkdir(parents=True)
    known = KnownRobots(
        fleet="cell",
        state_dir=str(tmp_path / "kept" / "cell"),
        robots=(KnownRobot("r1", str(directory / "r1.driver")),),
    )
    robots_file.write(known, directory)
    return known


def confirming(cell: KnownRobots) -> FakeDriver:
    return FakeDriver(
        Path(cell.robots[0].wake),
        lambda asked: {
            "latched": asked["do"] == "estop",
            "confirmed": asked["do"] == "estop",
            "error": "",
        },
    )


def test_a_stop_without_names_is_of_all_and_exits_with_0_if_all_have_confirmed(
    cell: KnownRobots, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line for each robot; a person in a hurry types no names."""
    with confirming(cell):
        assert estop_command.main([]) == 0
        assert "latched, confirmed by the device" in capsys.readouterr().out
        assert estop_command.main(["--release", "r1"]) == 0
        assert "released" in capsys.readouterr().out


def test_a_stop_that_no_device_confirms_exits_with_1(
    cell: KnownRobots, capsys: pytest.CaptureFixture[str]
) -> None:
    """The latch is engaged, and the line says what is missing."""
    assert estop_command.main(["r1", "--why", "smoke"]) == 1
    assert "not running: the latch holds when it starts" in capsys.readouterr().out
    stop = latch.engaged(Path(cell.state_dir), "r1")
    assert stop is not None and stop.why == "smoke"


def test_a_fleet_that_knows_no_robot_stops_the_whole_site_all_the_same(
    cell: KnownRobots, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, and done: robots of scripts that come later find it."""
    robots_file.write(msgspec.structs.replace(cell, robots=()), Path(cell.robots[0].wake).parent)
    assert estop_command.main([]) == 0
    assert "a stop of the whole site is in force\n1 of 1 done" in capsys.readouterr().out
    store = SiteStopStore(Path(cell.state_dir), None)
    store.look()
    assert store.holding("bench")
    assert estop_command.main(["--release", "--all"]) == 0
    assert "no stop is in force now\n1 of 1 done" in capsys.readouterr().out
    store.look()
    assert not store.holding("bench")
    assert estop_command.main(["--release", "--all"]) == 1
    assert "there are no robots" in capsys.readouterr().err


def test_a_stop_of_the_whole_site_that_cannot_be_written_is_not_done(
    cell: KnownRobots, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not done where no robot is known either."""
    robots_file.write(msgspec.structs.replace(cell, robots=()), Path(cell.robots[0].wake).parent)
    Path(cell.state_dir).parent.mkdir(parents=True, exist_ok=True)
    Path(cell.state_dir).write_text("a file where a directory should be")
    assert estop_command.main([]) == 1
    said = capsys.readouterr().out
    assert "a stop of the whole site is NOT in force: the stop cannot be written" in said


@pytest.mark.usefixtures("cell")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--release"], "name the robots, or --all"),
        (["--fleet", "other"], "no fleet 'other'"),
        (["--release", "r1", "--key", "/no/such.key"], "/no/such.key"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_2(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence is printed, on stderr."""
    assert estop_command.main(words) == 2
    assert sentence in capsys.readouterr().err


def test_the_output_for_programs_is_a_line_of_json_per_robot(
    cell: KnownRobots, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing else is printed."""
    with confirming(cell):
        assert estop_command.main(["--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["robot"], said["latched"], said["confirmed"]) == ("r1", True, True)


def test_the_command_is_listed_and_explains_itself() -> None:
    """Beside the others, although it is parsed before them."""
    listed = subprocess.run(
        [BIN / "actorctl", "--help"], capture_output=True, text=True, check=True
    )
    assert "estop" in listed.stdout
    for program in ([BIN / "actorctl"], [sys.executable, "-m", "holdfast.tools.cli.actorctl"]):
        done = subprocess.run(
            [*program, "estop", "--help"], capture_output=True, text=True, check=True
        )
        assert "--release" in done.stdout and "--key" in done.stdout


def test_the_latch_is_engaged_before_anything_slow_is_imported(cell: KnownRobots) -> None:
    """No parser of the other commands, no socket library, no arrays; it waits for nothing."""
    code = (
        "import sys; from holdfast.tools.cli import estop_command; "
        "print([m for m in ('typer', 'rich', 'zmq', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    began_s = time.time()
    subprocess.run([BIN / "actorctl", "estop", "r1"], capture_output=True, check=False)
    stop = latch.engaged(Path(cell.state_dir), "r1")
    assert stop is not None
    print(f"from the start of the process to the latch: {(stop.at_s - began_s) * 1000:.0f} ms")
    # What it imports tells whether it is quick; the time, whether it waits for something.
    assert stop.at_s - began_s < 30.0
