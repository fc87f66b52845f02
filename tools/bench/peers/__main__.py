"""What a request costs here, and with LeRobot, openpi, GR00T, Zenoh and Ray, on the same work.

    actorctl bench peers [--quick] [--json] [--only CASE ...] [--write FOLDER] [--into FILE]

Three 640x480 RGB images and 14 joints are answered by a chunk of 50 steps, on this host. Each peer
is its own packages in an environment of its own ($HOLDFAST_PEERS; what is missing there is
downloaded, and said); only policy and robot are no-ops. The answer is a function of the
observation and is checked.

Rounds go through all cases in turn; each starts the case's processes anew, asks some times for
warming up, then back to back, then 30 ms apart. p50 and CPU time are the medians of the rounds,
with their quartiles; p99 and max are of all requests. CPU time is by request, over all processes.

A case that cannot be measured is a row that says why. A request that fails, or has another answer
than it should, is counted in its row; after five in a row a peer is given up for that turn. The
exit status is 1 if a request or a case failed, for other reasons than that a peer is absent.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from .. import figures
from . import environment
from .cases import CASES, Case
from .measured import Measured, run_program
from .peers_table import inserted, markdown


def main() -> int:
    names = [case.name for case in CASES]
    parser = figures.parser("peers", __doc__, "one round of few requests")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="CASE")
    parser.add_argument("--rounds", type=figures.count, help="of all cases in turn (5)")
    parser.add_argument("-n", type=figures.count, help="requests back to back a round (200)")
    parser.add_argument("--apart", type=figures.count, help="requests 30 ms apart a round (100)")
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="where the environments are")
    parser.add_argument("--no-install", action="store_true", help="download nothing")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="peers.md and peers.json too")
    parser.add_argument(
        "--into",
        type=Path,
        metavar="FILE",
        help="put the table into that Markdown file, in place of the one there",
    )
    options = parser.parse_args()
    if options.into:
        inserted(options.into.read_text(), "")  # before anything is measured
    report = measure([case for case in CASES if case.name in options.only], options)
    text = markdown(report)
    if options.write:
        options.write.mkdir(parents=True, exist_ok=True)
        (options.write / "peers.md").write_text(text)
        (options.write / "peers.json").write_text(json.dumps(report, indent=1))
    if options.into:
        options.into.write_text(inserted(options.into.read_text(), text))
    print(json.dumps(report) if options.json else text)
    return int(any("failed" in row for row in report["rows"]))


def measure(cases: list[Case], options: argparse.Namespace) -> dict[str, Any]:
    """The report: two rows of figures for each case."""
    about = figures.machine()
    rounds = options.rounds or (1 if options.quick else 5)
    asked = (
        options.n or (20 if options.quick else 200),
        options.apart or (10 if options.quick else 100),
    )
    found = {case.name: Measured(case) for case in cases}
    pythons = _interpreters(cases, options, found)
    with tempfile.TemporaryDirectory(prefix="hf-") as place:
        for number in range(rounds):
            for case in cases:
                if not (measured := found[case.name]).why:
                    _say(f"round {number + 1} of {rounds}: {case.name}")
                    measured.add(
                        partial(run_program, case, pythons[case.name], Path(place), *asked)
                    )
    rows = [row for measured in found.values() for row in measured.rows()]
    return {
        "bench": "peers",
        "date": figures.today(),
        "machine": about,
        "rounds": rounds,
        "rows": rows,
    }


def _interpreters(
    cases: list[Case], options: argparse.Namespace, found: dict[str, Measured]
) -> dict[str, str]:
    """The interpreter of each case; a case without one has its reason in `found` afterwards."""
    folder = environment.peers_folder(options.peers)
    say: Callable[[str], None] | None = None if options.no_install else _say
    pythons: dict[str, str] = {}
    for case in cases:
        try:
            pythons[case.name] = (
                environment.interpreter(case.environment, folder, say)
                if case.environment
                else sys.executable
            )
        except (OSError, RuntimeError) as error:
            found[case.name].why = str(error)
    return pythons


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    figures.run(main)
