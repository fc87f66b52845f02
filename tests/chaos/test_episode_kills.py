"""Kills of a recording process, as many as the suite has time for."""

from __future__ import annotations

import subprocess
import sys


def test_no_finished_episode_is_lost_in_a_row_of_kills() -> None:
    """Ten kills at random instants: every episode that was reported durable is there and whole."""
    command = [sys.executable, "-m", "holdfast.tests.chaos.episode_kills", "10", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "10 kills" in done.stdout
    reported = int(done.stdout.split(": ")[1].split()[0])
    assert reported > 0, "the kills left time for an episode"
