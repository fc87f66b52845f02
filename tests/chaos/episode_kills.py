"""Kills of a process that records, at random instants: no finished episode is lost or damaged.

    python -m holdfast.tests.chaos.episode_kills [KILLS] [SEED]

A process records episodes of a few rows and one small camera, and reports each as soon as it is
said to be durable; it is killed, and another one goes on. The instant is random, counted in turn
from the process's start, from its opening of the dataset, and from its first finished episode. The
number of whole episodes must never be less than what was reported.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from holdfast.robot.dataset.dataset_writer import DatasetWriter
from holdfast.robot.dataset.verification import verify
from holdfast.tests.robot.dataset.recordings import SMALL, record

WITHIN_S = 0.3
AFTER_LINES = (0, 1, 2)
"""What the process has said when the random time begins: nothing, `opened`, an episode's index."""
THOROUGH_EVERY = 50
"""Kills between two checks of every file."""


class Kills(NamedTuple):
    """What was found: `reported` episodes were said to be durable, `found` are there; `begun`
    processes had opened the dataset when they were killed."""

    kills: int
    begun: int
    reported: int
    found: int
    recovered: int
    """Processes that had something to complete or to put aside."""


def kill_loop(root: Path, kills: int, seed: int = 0) -> Kills:
    """Raises AssertionError with the kill at which an episode was lost or damaged."""
    chance = random.Random(seed)
    reported = found = begun = recovered = 0
    for number in range(1, kills + 1):
        after = AFTER_LINES[number % len(AFTER_LINES)]
        said = _recorded(root, reported, after, chance.uniform(0, WITHIN_S))
        if number % 100 == 0:
            print(f"{number} kills, {reported} episodes", file=sys.stderr, flush=True)
        begun += bool(said)
        recovered += said[:1] == ["recovered"]
        known = [int(line) for line in said if line.isdecimal()]
        reported = max([reported, *(index + 1 for index in known)])
        thorough = number % THOROUGH_EVERY == 0 or number == kills
        if reported:
            found = _found(root, thorough)
            assert found >= reported, f"kill {number}: {found} episodes of {reported} reported"
    return Kills(kills, begun, reported, found, recovered)


def _recorded(root: Path, first: int, lines: int, after_s: float) -> list[str]:
    """The lines of a process that records, until it is killed so long after `lines` of them."""
    return _forked(lambda out: _record(root, first, out), lines, after_s)


def _record(root: Path, first: int, out: int) -> None:
    writer = DatasetWriter(root, "r1", SMALL)
    os.write(out, b"recovered\n" if writer.recovered else b"opened\n")
    number = first
    while True:
        number += 1
        index = writer.commit(record(writer, number, 1 + number % 5))
        os.write(out, b"%d\n" % index)


def _found(root: Path, thorough: bool) -> int:
    """The number of episodes after recovery, as the next recorder would do it; -1 where a thorough
    look finds one of them damaged."""

    def look(out: int) -> None:
        writer = DatasetWriter(root, "check", SMALL)
        found = writer.episodes
        writer.close()
        if thorough and not verify(root).whole:
            found = -1
        os.write(out, b"%d\n" % found)

    (line,) = _forked(look)
    return int(line)


def _forked(
    what: Callable[[int], None], lines: int = 0, kill_after_s: float | None = None
) -> list[str]:
    """The lines that a forked process writes; it is killed so long after the first `lines`.

    A fork, because the imports take ten times longer than what is to be interrupted. This process
    never uses the libraries itself, so that none of their threads is missing in the fork.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 1
        with suppress(BaseException):
            what(writing)
            status = 0
        os._exit(status)
    os.close(writing)
    heard = b""
    while heard.count(b"\n") < lines and (more := os.read(reading, 1 << 16)):
        heard += more
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, "rb") as pipe:
        heard += pipe.read()
    _, status = os.waitpid(child, 0)
    if kill_after_s is None:
        assert status == 0, "the check itself failed"
    else:
        assert os.WIFSIGNALED(status), "the recording failed before it was killed"
    return heard.decode().splitlines()


def main() -> None:
    """Run as a program."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory(prefix="hf-kills-") as folder:
        done = kill_loop(Path(folder) / "set", kills, seed)
    print(
        f"{done.kills} kills, {done.begun} of them while recording, {done.recovered} recoveries: "
        f"{done.reported} episodes were reported durable, {done.found} are whole, 0 lost"
    )


if __name__ == "__main__":
    main()
