"""What a robot does while its link to the policy is cut: our control loop, LeRobot's and openpi's.

    actorctl bench stutter [--quick] [--json] [--plot FILE] [--only CASE ...]

Each loop is as its project ships it, LeRobot's and openpi's from their own packages; policy and
robot alone are written here, and log. The same fake robot at 30 Hz with one 640x480 camera, a
policy that takes 150 ms for 50 actions, on this host. The robot's side reaches the policy by a TCP
link through a proxy, through which for 2 s nothing passes.

idle: ticks without a new action, by second before the cuts, and from a cut to the recovery.
stale: actions that were played 0.5 s or more after the tick that they were meant for.
recovery: from the end of a cut to the first action that was made from an observation after it and
is not stale.

openpi's loop waits for each chunk by design, and so is idle without any cut. --plot needs
matplotlib (the plots extra).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from . import figures, stutter_report
from .link_proxy import LinkProxy
from .peers import environment
from .peers.measured import end_session, program_of, said_last
from .peers.robot_log import HZ
from .peers.turns import free_port
from .played import Cut, PlayedAction, commands_of, figures_of, idle_ticks

CUT_S = 2.0
BEFORE_S, AFTER_S = 4.0, 5.0
PHASE_S = 0.37
"""By which each cut comes later: a loop asks at intervals, and is not to be met always alike."""

PLAYING = 45
"""Actions after which a loop has begun."""
_START_S = 240.0


class WatchedLoop(NamedTuple):
    """`program` is one of `peers/`, run in `environment`; None: our own."""

    name: str
    program: str
    environment: str | None


LOOPS = (
    WatchedLoop("holdfast/control", "stutter_holdfast", None),
    WatchedLoop("lerobot/async", "stutter_lerobot", "lerobot-0.6"),
    WatchedLoop("openpi/action-chunk-broker", "stutter_openpi", "openpi"),
)


def main() -> int:
    names = [loop.name for loop in LOOPS]
    parser = figures.parser("stutter", __doc__, "one cut each")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="CASE")
    parser.add_argument("--cuts", type=figures.count, help="of each loop's link (5)")
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="where the environments are")
    parser.add_argument("--no-install", action="store_true", help="download nothing")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the first cut of each")
    options = parser.parse_args()
    if options.plot and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install 'holdfast[plots]'")
    about = figures.machine()
    cuts = options.cuts or (1 if options.quick else 5)
    rows, played = [], {}
    for loop in LOOPS:
        if loop.name in options.only:
            row, *found = measured(loop, options, cuts)
            rows.append(row)
            if found:
                played[loop.name] = found[0]
    report: dict[str, Any] = {
        "bench": "stutter",
        "date": figures.today(),
        "machine": about,
        "cut_s": CUT_S,
        "rows": rows,
    }
    if options.plot and played:
        stutter_report.plot(played, options.plot)
    print(json.dumps(report) if options.json else stutter_report.markdown(report))
    return 0


Played = tuple[list[PlayedAction], list[Cut]]


def measured(loop: WatchedLoop, options: argparse.Namespace, cuts: int) -> tuple[Any, ...]:
    """The row of a loop, and what it played; without the latter the row says why."""
    say = None if options.no_install else _say
    try:
        python = (
            environment.interpreter(loop.environment, environment.peers_folder(options.peers), say)
            if loop.environment
            else sys.executable
        )
        _say(f"{loop.name}: {cuts} cuts of {CUT_S:g} s")
        around_s = (2.0, 3.0) if options.quick else (BEFORE_S, AFTER_S)
        commands, found = play(loop, python, cuts, *around_s)
    except (OSError, RuntimeError) as error:
        return ({"case": loop.name, "n": 0, "unit": "cuts", "why": str(error)},)
    period_s = 1 / HZ
    each = [figures_of(commands, cut, period_s) for cut in found]
    row = {"case": loop.name, "n": len(each), "unit": "cuts"}
    row |= {key: [of_cut[key] for of_cut in each] for key in each[0]}
    begin_s = commands[PLAYING - 1].at_s
    idle = idle_ticks(commands, begin_s, found[0].begin_s, period_s)
    row["idle_before_per_s"] = round(idle / (found[0].begin_s - begin_s), 2)
    return row, (commands, found)


def play(loop: WatchedLoop, python: str, cuts: int, before_s: float, after_s: float) -> Played:
    """Run the loop and cut its link so often. Raises RuntimeError with what it said last."""
    server = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="hf-") as name,
        LinkProxy(server) as link,
        tempfile.TemporaryFile() as said,
    ):
        folder = Path(name)
        log = folder / "log"
        argv = program_of(loop.program, python)
        environ = {"HOLDFAST_RUNTIME": f"{name}/r", "HOLDFAST_STATE": f"{name}/s"}
        process = subprocess.Popen(
            [*argv.words, str(server), str(link.port), str(log)],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            cwd=folder,
            env={**os.environ, **argv.environment(folder), **environ},
            start_new_session=True,
        )
        try:
            deadline_s = time.monotonic() + _START_S
            while not log.exists() or log.read_text().count("played") < PLAYING:
                if process.poll() is not None or time.monotonic() > deadline_s:
                    raise RuntimeError(f"{loop.program} did not begin: {said_last(said)}")
                time.sleep(0.1)
            found = []
            for number in range(cuts):
                time.sleep(before_s + number * PHASE_S)
                begin_s = time.monotonic()
                link.cut()
                time.sleep(CUT_S)
                link.mend()
                end_s = time.monotonic()
                time.sleep(after_s)
                found.append(Cut(begin_s, end_s, time.monotonic()))
            if process.poll() is not None:
                raise RuntimeError(f"{loop.program} ended: {said_last(said)}")
        finally:
            end_session(process)
        return commands_of(log.read_text(), 1 / HZ), found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    figures.run(main)
