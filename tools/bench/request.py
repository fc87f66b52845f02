"""From control asking to the chunk in its plan, every process of the way real.

    actorctl bench request [--quick] [--json] [--only CASE ...]

An observation of three 640x480 RGB cameras, 14 joints and a task is answered by a constant chunk of
50 steps: through shared memory, raw through sockets where robot and replica share none, and as from
another host, by a broker at loopback TCP, raw (`raw-tcp`) and as JPEG (`jpeg-tcp`). `-224` is a
policy of that resolution, to which the robot's side resizes. The cameras are filled at 30 Hz
meanwhile. One request follows the other, in turns of some dozens, so that all cases and floors meet
the same machine.

The floors are of the same run: `echo-direct` goes through nothing, `echo` through one bare process,
as a request that goes straight to its replica, `echo-three` through two, as one that goes by the
broker (`shm-by-broker`). In `echo-raw` and `echo-three-raw` the first of them adds the three
frames; `memcpy` copies them once, `jpeg` encodes and decodes them. `pipe-...` are the ways by a
broker that decides nothing, so that the difference is what the real one costs.

A request that fails, as on a machine that is busy with other work, is counted (`failed`) and made
again. `cpu_ms` is by request, over all processes; `request_bytes` and `reply_bytes` are those
between network actor and broker.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path as Directory
from typing import Any

import cv2

from . import figures, floors
from .answered_requests import AnsweredRequests
from .bench_cameras import cameras, images
from .request_path import WAYS, Path

TURN = 25
QUALITY = 90
AIMS: tuple[tuple[str, float, dict[str, float]], ...] = (
    ("holdfast/shm", 0.65, {}),
    ("holdfast/jpeg-tcp", 0.0, {"floor/jpeg": 1.15, "floor/echo-three": 1.0}),
)
"""(case, at most so many ms, and so many times these floors), p50."""


def main() -> int:
    cases = [way.case for way in WAYS]
    parser = figures.parser("request", __doc__, "fewer requests")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=cases,
        default=cases,
        metavar="CASE",
        help=f"of {', '.join(cases)}",
    )
    parser.add_argument("-n", type=figures.count, help="requests of each case (2000)")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    about = figures.machine()
    rows = measure(options.only, options.n or (200 if options.quick else 2000))
    report = {"bench": "request", "machine": about, "rows": rows, "aims": aims(rows)}
    print(json.dumps(report) if options.json else _text(report))
    return 0


def measure(cases: list[str], n: int) -> list[dict[str, Any]]:
    """One row for each case and floor, of at least `n` values each."""
    took: defaultdict[str, list[float]] = defaultdict(list)
    cpu_s: defaultdict[str, float] = defaultdict(float)
    with ExitStack() as stack:
        directory = Directory(stack.enter_context(tempfile.TemporaryDirectory(prefix="hf-")))
        seen = images()
        once = {"floor/memcpy": floors.memcpy(seen), "floor/jpeg": floors.jpeg(seen, QUALITY)}
        names = ("floor/echo-direct", "floor/echo", "floor/echo-three")
        for proxies, name in enumerate(names):
            once[name] = stack.enter_context(floors.echo(directory, proxies))
        once["floor/echo-raw"] = stack.enter_context(floors.echo(directory, 1, len(seen)))
        once["floor/echo-three-raw"] = stack.enter_context(floors.echo(directory, 2, len(seen)))
        rings = stack.enter_context(cameras(directory))
        paths: dict[str, Path] = {}
        answered: dict[str, AnsweredRequests] = {}
        for way in WAYS:
            if way.case in cases:
                path = Path(way, directory / str(len(paths)), rings)
                stack.callback(path.close)
                paths[way.case] = path
                answered[way.case] = AnsweredRequests(path)
        for turn in range(-(-n // TURN) + 1):
            for name, path in paths.items():
                answered[name].times_ms(5)  # the others' turns have cooled it down
                before = path.cpu_s()
                values = answered[name].times_ms(TURN)
                used = path.cpu_s() - before
                for other in paths.values():
                    other.idle()
                if turn:  # the first is for warming up
                    took[name] += values
                    cpu_s[name] += used
            for name, floor in once.items():
                floor()
                values = [floor() for _ in range(TURN)]
                took[name] += values if turn else []
        settings = {
            name: {"request_bytes": path.request_bytes, "reply_bytes": path.reply_bytes}
            for name, path in paths.items()
        }
    return [figures.row(name, took[name], "ms") for name in once] + [
        figures.row(
            name,
            took[name],
            "ms",
            cpu_ms=round(cpu_s[name] / len(took[name]) * 1e3, 3),
            failed=answered[name].failed,
            **settings[name],
        )
        for name in paths
    ]


def aims(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How each aim's p50 stands to what it may be at most."""
    p50 = {row["case"]: row["p50"] for row in rows}
    found = []
    for case, most_ms, of in AIMS:
        if case in p50:
            most_ms += sum(times * p50[floor] for floor, times in of.items())
            found.append({"case": case, "p50": p50[case], "aim": round(most_ms, 3)})
    return found


def _text(report: dict[str, Any]) -> str:
    lines = [figures.text(report)]
    for row in report["rows"]:
        if "cpu_ms" in row:
            travelled = f"{row['request_bytes']} bytes of request, {row['reply_bytes']} of reply"
            lines.append(f"{row['case']}: {row['cpu_ms']:.2f} ms of CPU, {travelled}")
    lines += [
        f"{aim['case']}: p50 {aim['p50']:.2f} ms, aim {aim['aim']:.2f} ms" for aim in report["aims"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    figures.run(main)
