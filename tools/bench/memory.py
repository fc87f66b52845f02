"""What a fleet takes of memory: each kind of process, all together, and one robot more.

    actorctl bench memory [--quick] [--json]

The fleet is that of `supervisor init`, started as a user starts it, with its two robots and then
with three. MB of 10^6 bytes: `pss` is the set that a process has for itself and its part of what
it shares with others, so that the processes' sum is the fleet's; `rss` counts what is shared whole,
in each process anew. Processes are measured when every robot has had a plan for a while.

`holdfast/added-robot` is the difference of the sums: control, network, driver and two cameras.
"""

from __future__ import annotations

import copy
import json
import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil
import yaml

from ...actors.embedding.embedded_fleet import Fleet
from . import figures
from .request_path import free_port

FLEET = Path(__file__).parents[2] / "fleet.yaml"
PATIENCE_S = 180.0
SETTLE_S, QUICK_SETTLE_S = 5.0, 1.0


def main() -> int:
    parser = figures.parser("memory", __doc__, "measured after a second")
    options = parser.parse_args()
    about = figures.machine()
    rows = measure(QUICK_SETTLE_S if options.quick else SETTLE_S)
    report = {"bench": "memory", "machine": about, "rows": rows}
    print(json.dumps(report) if options.json else figures.text(report))
    return 0


def measure(settle_s: float) -> list[dict[str, Any]]:
    """One row for each kind of process, for the sums of two and of three robots, and for what the
    third added."""
    two, three = (_fleet(robots, settle_s) for robots in (2, 3))
    rows = [
        figures.row(
            f"holdfast/{kind}", [pss for pss, _ in each], "MB", rss=max(rss for _, rss in each)
        )
        for kind, each in sorted(two.items())
    ]
    sums = {2: _sum(two), 3: _sum(three)}
    rows += [figures.row(f"holdfast/fleet-{robots}", [mb], "MB") for robots, mb in sums.items()]
    return [*rows, figures.row("holdfast/added-robot", [sums[3] - sums[2]], "MB")]


def _sum(kinds: dict[str, list[tuple[float, float]]]) -> float:
    return sum(pss for each in kinds.values() for pss, _ in each)


def _fleet(robots: int, settle_s: float) -> dict[str, list[tuple[float, float]]]:
    """(PSS, RSS) in MB of each process of a fleet of so many robots, by kind."""
    described = yaml.safe_load(FLEET.read_text(encoding="utf-8"))
    described["gateway"]["port"] = free_port()
    while len(described["robots"]) < robots:
        another = copy.deepcopy(described["robots"][0])
        another["name"] = f"r{len(described['robots']) + 1}"
        described["robots"].append(another)
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        folder = Path(directory)
        # A fleet of the user's own may run under the same name.
        os.environ["HOLDFAST_RUNTIME"] = str(folder / "run")
        os.environ["HOLDFAST_STATE"] = str(folder / "state")
        path = folder / "fleet.yaml"
        path.write_text(yaml.safe_dump(described), encoding="utf-8")
        with Fleet(path) as fleet:
            kinds = {row["pid"]: row["kind"] for row in fleet.wait(PATIENCE_S)["actors"]}
            time.sleep(settle_s)  # until pages that only the start needed are given back
            found: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
            for process in psutil.Process().children(recursive=True):
                found[kinds.get(process.pid, _role(process))].append(_taken_mb(process.pid))
    return found


def _role(process: psutil.Process) -> str:
    """What a process is that is no actor: the supervisor, or one that stands ready."""
    return "supervisor" if process.ppid() == os.getpid() else "spare"


def _taken_mb(pid: int) -> tuple[float, float]:
    kib: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, size = line.partition(":")
        kib[name] = int(size.split()[0])
    return kib["Pss"] * 1024 / 1e6, round(kib["Rss"] * 1024 / 1e6, 1)


if __name__ == "__main__":
    figures.run(main)
