"""What one broker costs, and how evenly it serves, with 1 to 300 robots.

    actorctl bench fleet [--quick] [--json] [--robots N ...] [--replicas 1|2] [--plot FILE]

One real broker process, one or two real replica processes, and simulated robots of 14 joints in
forked processes, many in each: their plans, sessions and requests are the code of a control actor,
at 30 Hz, and each has a connection of its own. The policy takes a fixed time for a batch of any
size up to `--batch`; chunks have 50 steps. Requests have no images, which the broker passes on
unread and uncopied.

All fleets ask for the same number of chunks per second, as far as each can (at most one a tick and
robot, at least one in 1.17 s, as a robot with the default `buffer_time_s` of 0.5), so that from row
to row only the number of robots differs. `load` is that rate, of what the replicas would do in full
batches.

`us_message` is the broker's CPU time, all threads, for a message that it received (request, reply,
heartbeat) and what it sent for it; what the broker uses with its replicas and no robot is measured
first and taken off. `wakes_message` is how often its loop turned for it: near 1 where messages come
alone, and less where several have come whenever it looks. Of three fleets or more the report says
what a wake-up and what a message costs (`cost`): these are to be constant, not `us_message`, which
is both. `ms_request` is all of its CPU time, nothing taken off, by request. The `floor` of both is
what a broker uses in the same place that decides nothing (`bare_broker.py`: it receives, reads one
byte of each header, and sends), for half as long; `us_header` is what reading a header takes beside
that, `kb_robot` the broker's private memory by robot. `starved` counts robots without a chunk.

`fairness` is the slowest robot's p99 over the fastest's, judged where each robot has 20 requests at
least. With few requests a p99 is about a maximum, and maxima differ by chance: `dealt` after it is
the same ratio of the same latencies dealt to the robots at random, each as many as it has (the
median of 21 deals). `p90 ratio` is the slowest robot's p90 over the fastest's, which a tenth of a
robot's requests decide and not one or two, and `dealt` as before. `repeated` is the correlation,
over the robots, of their mean latencies in both halves of the run: near 0 where others are the slow
ones each time, 1 where it is always the same. `placed` is how many robots each replica had at the
end: where one has more, its robots wait longer.

The load measures itself: `late` is the p99 of its own ticks' lateness in ms, `cores` what it used;
where it did not keep its rate the row says so, and its latencies are not the site's.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from ...transport.header import Header, Kind
from . import figures
from .bare_broker import BareBroker
from .fleet_cost import cost_of, memory_of
from .fleet_fairness import fairness_of
from .fleet_load import DT_NS, LoadReport, load_of
from .fleet_report import aims, plot, text
from .fleet_robot import CHUNK_STEPS, FPS, RobotConfig
from .fleet_site import Site, Used, UsedIdle

ROBOTS = (1, 3, 10, 30, 100, 300)
QUICK = (30, 300)
MOST = 1000
BUFFER_S = 0.5
"""The default of fleet.yaml."""
REQUESTS_PER_S = 320.0
"""80 % of what two replicas do in full batches of 8 in 40 ms; of 300 robots, a bit more than with
that buffer."""
LATE_MS = DT_NS / 2e6
"""A load whose p99 is later did not keep its rate."""
KEPT = 0.99
_REPORTS_S = 0.6
"""How old the counts in the boards may be."""


def main() -> int:
    parser = figures.parser("fleet", __doc__, "two fleets, for 3 s each")
    parser.add_argument(
        "--robots", type=_robots, nargs="+", metavar="N", help=f"how many ({_words(ROBOTS)})"
    )
    parser.add_argument("--replicas", type=int, choices=(1, 2), default=2, help="how many (2)")
    parser.add_argument("--batch", type=figures.count, default=8, help="of a replica, at most (8)")
    parser.add_argument(
        "--service-ms", type=_positive, default=40.0, help="what a batch takes, of any size (40)"
    )
    parser.add_argument(
        "--requests-per-s",
        type=_positive,
        default=REQUESTS_PER_S,
        help=f"of all robots together, as far as they can ({REQUESTS_PER_S:g})",
    )
    parser.add_argument("--seconds", type=_positive, help="measured for each fleet (20)")
    parser.add_argument(
        "--processes", type=figures.count, default=2, help="that the robots are in (2)"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="curves (needs matplotlib)")
    options = parser.parse_args()
    logging.basicConfig(format="%(processName)s: %(message)s")
    options.seconds = options.seconds or (3.0 if options.quick else 20.0)
    about = figures.machine()
    fleets = options.robots or (QUICK if options.quick else ROBOTS)
    try:
        rows = [measure(robots, options) for robots in fleets]
    except RuntimeError as error:
        parser.exit(1, f"actorctl bench fleet: {error}\n")
    report = {
        "bench": "fleet",
        "machine": about,
        "rows": rows,
        "cost": cost_of(rows),
        "us_header": header_us(),
        "kb_robot": memory_of(rows),
        "aims": aims(rows),
    }
    if options.plot is not None:
        plot(report, options.plot)
    print(json.dumps(report) if options.json else text(report))
    return 0


def measure(robots: int, options: argparse.Namespace) -> dict[str, Any]:
    """One row: a site of its own, with so many robots, and the floor of its broker's cost."""
    row = _measured(robots, options, "broker", options.seconds)
    floor = _measured(robots, options, BareBroker.kind, options.seconds / 2)
    return row | {f"floor_{key}": floor[key] for key in ("us_message", "ms_request")}


def header_us() -> float:
    """What reading a message's header takes: the least of several turns, as others may work."""
    packed, n = Header(Kind.REQUEST, seq=1, epoch=1).pack(), 2000
    once = figures.timed(lambda: [Header.unpack(packed) for _ in range(n)])
    return round(min(once() for _ in range(10)) * 1e3 / n, 2)


def _measured(
    robots: int, options: argparse.Namespace, broker: str, seconds: float
) -> dict[str, Any]:
    processes = min(options.processes, robots)
    service_s = options.service_ms / 1e3
    with (
        load_of(processes) as load,  # forked before there is anything to inherit
        tempfile.TemporaryDirectory(prefix="hf-") as directory,
    ):
        place = Path(directory) / "s"
        site = Site(place, options.replicas, options.batch, service_s, robots, broker)
        try:
            before = site.used()
            time.sleep(min(3.0, seconds / 2))
            idle = site.used()
            every_s = interval_s(robots, options.requests_per_s)
            load.join(
                [
                    RobotConfig(
                        name=f"r{k}", front=site.front, buffer_time_s=CHUNK_STEPS / FPS - every_s
                    )
                    for k in range(robots)
                ]
            )
            time.sleep(max(_REPORTS_S, 2 * every_s))  # the first chunks come in a crowd
            began = site.used()
            reports = load.measured(round((began.at_s + seconds) * 1e9))
            ended = site.used()
        finally:
            site.close()
    return row_of(robots, options, UsedIdle.of(before, idle), began, ended, reports)


def interval_s(robots: int, requests_per_s: float) -> float:
    """How often each robot asks, so that all together ask for so many chunks per second."""
    return min(max(robots / requests_per_s, 1 / FPS), CHUNK_STEPS / FPS - BUFFER_S)


def row_of(
    robots: int,
    options: argparse.Namespace,
    idle: UsedIdle,
    began: Used,
    ended: Used,
    reports: list[LoadReport],
) -> dict[str, Any]:
    """The figures of one fleet. `idle`: what the broker used without robots."""
    seconds = ended.at_s - began.at_s
    requests, replies = ended.requests - began.requests, ended.replies - began.replies
    broker_s = ended.cpu_s - began.cpu_s
    beats = 2 * seconds * options.replicas
    messages = sum(report.sent for report in reports) + replies + beats
    by_robot = [values for report in reports for values in report.latencies_ms]
    batches = ended.batches - began.batches
    full_per_s = options.batch * options.replicas / (options.service_ms / 1e3)
    ticks, due = (sum(getattr(r, name) for r in reports) for name in ("ticks", "due"))
    late_ms = max(report.late_ms for report in reports)
    return figures.row(
        f"holdfast/fleet-{robots}",
        np.concatenate([np.array(values) for values in by_robot]) if by_robot else [],
        "ms",
        robots=robots,
        requests_per_s=round(requests / seconds, 1),
        load=round(requests / seconds / full_per_s, 3),
        batch=round(sum(int(size) * n for size, n in batches.items()) / max(1, batches.total()), 2),
        messages=round(messages),
        us_message=round((broker_s - idle.cpu * seconds) / max(1.0, messages) * 1e6, 1),
        wakes_message=round(
            (ended.wakes - began.wakes - idle.wakes_per_s * seconds) / max(1.0, messages), 3
        ),
        ms_request=round(broker_s / max(1, requests) * 1e3, 4),
        broker_cpu=round(broker_s / seconds, 4),
        idle_cpu=round(idle.cpu, 4),
        **fairness_of(by_robot),
        placed=ended.placed,
        fewest=min((len(values) for values in by_robot), default=0),
        starved=sum(not values for values in by_robot),
        failed=sum(report.failed for report in reports),
        stalled=sum(report.stalled for report in reports),
        replays=ended.replays - began.replays,
        broker_mb=ended.broker_mb,
        replica_mb=ended.replica_mb,
        late_ms=round(late_ms, 2),
        load_cores=round(sum(report.cpu_s for report in reports) / seconds, 3),
        kept=late_ms <= LATE_MS and ticks >= KEPT * due,
    )


def _robots(text: str) -> int:
    number = figures.count(text)
    if number > MOST:
        raise argparse.ArgumentTypeError(f"{number} is more than {MOST}")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"{number:g} is not more than 0")
    return number


def _words(numbers: tuple[int, ...]) -> str:
    return " ".join(map(str, numbers))


if __name__ == "__main__":
    figures.run(main)
