"""`actorctl dataset`: what is shown of a dataset, and the exit status of a damaged one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from holdfast.robot.dataset.dataset_reader import Dataset
from holdfast.robot.dataset.dataset_writer import DatasetWriter
from holdfast.tests.robot.dataset import recordings
from holdfast.tests.robot.dataset.recordings import SMALL
from holdfast.tools.cli import dataset_transcode
from holdfast.tools.cli.dataset_commands import app
from holdfast.tools.cli.episode_commands import app as episodes

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    runner = CliRunner()
    return lambda *words: runner.invoke(app, list(map(str, words)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    recordings.dataset(tmp_path / "set", SMALL, (3, 4, 5))
    return tmp_path / "set"


def video(root: Path, episode: int) -> Path:
    return root / Dataset(root).episodes[episode].videos["observation.images.top"].path


def test_a_whole_dataset_is_verified_with_status_0(run: Run, root: Path) -> None:
    """The line has its counts."""
    done = run("verify", root)
    assert done.exit_code == 0
    assert "3 episodes, 12 frames, all whole" in done.stdout


def test_the_videos_of_a_dataset_are_transcoded(
    run: Run, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line for each and the sizes; status 1 with the reason for one that is left, 2 for none."""
    monkeypatch.setattr(dataset_transcode, "take_lowest_priority", lambda: None)
    os.truncate(video(root, 1), 100)
    done = run("transcode", root, "--codec", "av1")
    assert done.exit_code == 1
    assert "file-001.mp4 cannot be read" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("1 of 3 videos: videos/")
    assert lines[-1].startswith(f"2 of 3 videos of {root} are av1 now: ")
    again = run("transcode", root)
    assert again.stdout == f"no video of {root} was to be transcoded\n"
    none = run("transcode", tmp_path / "nothing")
    assert none.exit_code == 2
    assert "no such directory" in none.stderr


def test_one_changed_byte_is_found_and_named(run: Run, root: Path) -> None:
    """The checksum of the episode's file differs: status 1."""
    path = video(root, 1)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    done = run("verify", root)
    assert done.exit_code == 1
    assert "episode 1: videos/" in done.stdout
    assert "another content than when it was recorded" in done.stdout
    found = json.loads(run("verify", root, "--json").stdout)
    assert (found["whole"], found["damaged"], len(found["faults"])) == (False, 1, 1)


def test_a_repair_keeps_the_episodes_before_the_damage_and_all_files(run: Run, root: Path) -> None:
    """Episode 0 stays, 1 and 2 are put aside; afterwards all is whole."""
    os.truncate(video(root, 1), 50)
    done = run("repair", root)
    assert done.exit_code == 0, done.stdout
    assert "2 episodes were cut off the end" in done.stdout
    assert run("verify", root).exit_code == 0
    assert len(Dataset(root)) == 1
    assert len(list(root.glob(".recording/aside-1/videos/*/*/*.mp4"))) == 2
    assert "nothing was to be mended" in run("repair", root).stdout


def test_what_is_no_dataset_has_status_2(run: Run, tmp_path: Path) -> None:
    """A sentence says what was expected."""
    for command in ("verify", "repair", "show"):
        done = run(command, tmp_path)
        assert done.exit_code == 2
        assert "it has no meta/info.json; expected a LeRobotDataset v3.0" in done.output


def test_the_episodes_are_shown_with_their_figures(run: Run, root: Path) -> None:
    """Lengths, judgement, interventions and latency, as a table and as JSON."""
    shown = json.loads(run("show", root, "--json").stdout)
    assert [row["frames"] for row in shown["episodes"]] == [3, 4, 5]
    assert [row["success"] for row in shown["episodes"]] == [False, True, False]
    assert [row["interventions"] for row in shown["episodes"]] == [0, 1, 1]
    assert shown["episodes"][2]["latency_p50_s"] == pytest.approx(0.07, abs=1e-3)
    table = run("show", root).stdout
    assert "3 episodes, 12 frames, 30 fps" in table
    assert "success: 1 of 3 judged (95 % interval 6 to 79 %)" in table


def test_a_table_in_a_pipe_is_as_wide_as_its_columns(run: Run, tmp_path: Path) -> None:
    """A long task stands on the line of its episode."""
    task = "put the red cup beside the blue plate, " * 4 + "now"
    writer = DatasetWriter(tmp_path / "set", "r1", SMALL)
    recording = writer.begin()
    recording.add(replace(recordings.row(SMALL, 0, 0), task=task))
    writer.commit(recording)
    writer.close()
    assert task in run("show", tmp_path / "set").stdout


def test_an_episode_cannot_be_both_a_success_and_a_failure() -> None:
    """It is refused before the fleet is asked."""
    done = CliRunner().invoke(episodes, ["stop", "r1", "--success", "--failure"])
    assert done.exit_code != 0 and "one of them" in done.output
