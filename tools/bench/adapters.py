"""What each adapter adds to a chunk, over the direct call of the library behind it.

    actorctl bench adapters [--quick] [--json] [--lerobot-python PATH] [--openpi-python PATH]

A `holdfast/...` case is the whole way, every process of it real: from control asking to the chunk
in its plan, or from the other project's client sending to its chunk. Its floor is the direct call
on the same machine, in turns of ten. `over`: p50 and p99, less those of the floor.

own: a user's class, in a service against a call of it here; its chunk costs nothing.
lerobot: a small ACT of random weights in the interpreter that has LeRobot, against the library
alone in that interpreter (preprocessor, policy, postprocessor). `lerobot-call` is the adapter's
class alone, without another process.
openpi: the floor is openpi's own, unmodified client at a bare server of its protocol, which answers
by a prepared chunk. `openpi-port` is the same client at the port of the service of `own`, which a
robot asks as `service`; `openpi` is a robot whose service's policy is that bare server.
groot: the same with GR00T's protocol and a client of it that is written from its description.

A case whose peer is absent is skipped, by name. tests/peers/install makes interpreters that have
them. A request that fails is counted in its row; after five in a row a case is given up, and the
others are measured. The exit status is 1 if a request or a case failed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path as Directory
from typing import Any

import msgspec

from ...actors.runtime.client_configs import GrootConfig, OpenpiConfig
from ...errors import HoldfastError
from ...policy.base import Observation
from . import bare_groot, bare_openpi, figures
from .bench_cameras import cameras
from .failed_requests import FailedRequests
from .floors import Once
from .own_policy import OwnPolicy
from .peer_program import PeerProgram, importable, interpreter
from .peers.work import CAMERAS
from .request_path import JOINTS, Path, Served, Way, free_port, spec_of

TURN, COOLED = 10, 3
"""Requests of a turn, and those before it that are not counted."""
SEEN, SMALL = (224, 224), (64, 48)
"""Sizes of the cameras and of the policy alike: resizing is no part of an adapter."""

# With two sessions, a robot's and a client's, a replica would wait for a batch of two.
OWN = Served(policy=f"{OwnPolicy.__module__}:OwnPolicy", max_wait_ms=0.0)

Cases = dict[str, Once]
OVER = {
    "holdfast/own": "floor/own",
    "holdfast/lerobot-call": "floor/lerobot",
    "holdfast/lerobot": "floor/lerobot",
    "holdfast/openpi-port": "floor/openpi",
    "holdfast/openpi": "floor/openpi",
    "holdfast/groot-port": "floor/groot",
    "holdfast/groot": "floor/groot",
}
"""The floor of each case."""


class Bench:
    """The groups of cases, each of which is set up, measured and taken down."""

    def __init__(self, options: argparse.Namespace, directory: Directory) -> None:
        self._options, self._directory = options, directory
        self._imports = importable(directory / "imports")
        self._paths: list[Path] = []

    @contextmanager
    def own(self) -> Iterator[Cases]:
        policy = OwnPolicy()
        seen = policy.spec.example()
        given = [Observation(seen.state, seen.images, "")]
        with self._served(OWN, SEEN) as path:
            yield {
                "floor/own": figures.timed(lambda: policy.predict_chunk(given)),
                "holdfast/own": path.ask,
            }

    @contextmanager
    def lerobot(self) -> Iterator[Cases]:
        python = interpreter(
            self._options.lerobot_python, "lerobot-0.6", "lerobot", "--lerobot-python"
        )
        checkpoint = str(self._directory / "act")
        options = {"action_names": JOINTS, "state_names": JOINTS, "fps": 50.0}
        words = (checkpoint, json.dumps(options))
        with PeerProgram(python, "lerobot_direct", self._imports, *words) as direct:
            direct.ready()
            served = Served("lerobot", checkpoint, options, python, self._imports)
            with self._served(served, SMALL) as path:
                yield {
                    "floor/lerobot": lambda: direct.once("library"),
                    "holdfast/lerobot-call": lambda: direct.once("adapter"),
                    "holdfast/lerobot": path.ask,
                }

    @contextmanager
    def openpi(self) -> Iterator[Cases]:
        python = interpreter(
            self._options.openpi_python, "openpi", "openpi_client", "--openpi-python"
        )
        with (
            PeerProgram(python, "openpi_direct", self._imports) as client,
            bare_openpi.running(len(JOINTS)) as bare,
            self._served(OWN, SEEN) as service,
            self._served(_openpi(bare), SEEN) as policy,
        ):
            port = free_port()
            spec = msgspec.to_builtins(spec_of(*SEEN))
            config = OpenpiConfig(service="bench", broker=service.front, spec=spec, port=port)
            service.start("openpi", "openpi", config)
            client.ready()
            yield {
                "floor/openpi": lambda: client.once(str(bare)),
                "holdfast/service": service.ask,
                "holdfast/openpi-port": lambda: client.once(str(port)),
                "holdfast/openpi": policy.ask,
            }

    @contextmanager
    def groot(self) -> Iterator[Cases]:
        with (
            bare_groot.running(len(JOINTS)) as bare,
            bare_groot.asking(bare, len(JOINTS)) as direct,
            self._served(OWN, SEEN) as service,
            self._served(_groot(bare), SEEN) as policy,
        ):
            port = free_port()
            spec = msgspec.to_builtins(spec_of(*SEEN))
            config = GrootConfig(service="bench", broker=service.front, spec=spec, port=port)
            service.start("groot", "groot", config)
            with bare_groot.asking(port, len(JOINTS)) as client:
                yield {
                    "floor/groot": direct,
                    "holdfast/groot-port": client,
                    "holdfast/groot": policy.ask,
                }

    def measured(self, cases: Cases, n: int) -> list[dict[str, Any]]:
        """One row for each case, of at least `n` values each where none fails, in turns."""
        took: defaultdict[str, list[float]] = defaultdict(list)
        failed = {name: FailedRequests() for name in cases}
        for turn in range(-(-n // TURN) + 1):
            for name, once in cases.items():
                for path in self._paths:
                    path.idle()  # or its session ends while others have their turn
                for number in range(COOLED + TURN):
                    if failed[name].given_up:
                        break
                    one_ms = failed[name].attempt(once)
                    # The first turn is for warming up, and the others' turns have cooled it down.
                    if turn and number >= COOLED and one_ms is not None:
                        took[name].append(one_ms)
        rows = {name: figures.row(name, took[name], "ms", **failed[name].about()) for name in cases}
        for name, row in rows.items():
            floor = rows.get(OVER.get(name, ""))
            if floor and row["n"] and floor["n"]:
                less = {key: round(row[key] - floor[key], 3) for key in ("p50", "p99")}
                row["over"] = {"case": floor["case"], **less}
        return list(rows.values())

    @contextmanager
    def _served(self, served: Served, size: tuple[int, int]) -> Iterator[Path]:
        """The whole way to a policy that sees what the cameras deliver, by shared memory."""
        with tempfile.TemporaryDirectory(prefix="hf-", dir=self._directory) as name:
            place = Directory(name)
            way = Way(served.policy, shared=True, size=size, seen=size)
            with cameras(place, *size) as rings:
                path = Path(way, place / "path", rings, served)
                self._paths.append(path)
                try:
                    yield path
                finally:
                    self._paths.remove(path)
                    path.close()


def _openpi(port: int) -> Served:
    """A service whose policy is the server at `port`."""
    options = {
        "address": f"ws://127.0.0.1:{port}",
        "state_names": JOINTS,
        "action_names": JOINTS,
        "chunk_size": bare_openpi.STEPS,
        "fps": 50.0,
        "cameras": {f"observation/{name}": SEEN for name in CAMERAS},
    }
    return Served("openpi", options=options)


def _groot(port: int) -> Served:
    """The same for a server of GR00T's protocol."""
    options = {
        "address": f"tcp://127.0.0.1:{port}",
        "state": {bare_groot.ARM: JOINTS},
        "action": {bare_groot.ARM: JOINTS},
        "fps": 50.0,
        "cameras": dict.fromkeys(CAMERAS, SEEN),
    }
    return Served("groot", options=options)


GROUPS: dict[str, tuple[Callable[[Bench], Any], tuple[str, ...]]] = {
    "own": (Bench.own, ("holdfast/own",)),
    "lerobot": (Bench.lerobot, ("holdfast/lerobot-call", "holdfast/lerobot")),
    "openpi": (Bench.openpi, ("holdfast/openpi-port", "holdfast/openpi")),
    "groot": (Bench.groot, ("holdfast/groot-port", "holdfast/groot")),
}
"""Each with the cases that are absent where its peer is."""


def main() -> int:
    parser = figures.parser("adapters", __doc__, "fewer requests")
    parser.add_argument("-n", type=figures.count, help="requests of each case (1000)")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    for peer in ("lerobot", "openpi"):
        parser.add_argument(f"--{peer}-python", metavar="PATH", help=f"one that has {peer}")
    options = parser.parse_args()
    about = figures.machine()
    n = options.n or (30 if options.quick else 1000)
    rows: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    with tempfile.TemporaryDirectory(prefix="hf-") as place:
        bench = Bench(options, Directory(place))
        for name in options.only:
            group, cases = GROUPS[name]
            try:
                with group(bench) as once:
                    rows += bench.measured(once, n)
            except ModuleNotFoundError as error:
                skipped += [{"case": case, "why": str(error)} for case in cases]
            except (HoldfastError, RuntimeError, OSError, ValueError) as error:
                none = {"n": 0, "unit": "ms", "why": str(error)}
                rows += [{"case": case, **none} for case in cases]
    report = {"bench": "adapters", "machine": about, "rows": rows, "skipped": skipped}
    print(json.dumps(report) if options.json else _text(report))
    return int(any("why" in row for row in rows))


def _text(report: dict[str, Any]) -> str:
    plain = [{k: v for k, v in row.items() if k != "over"} for row in report["rows"]]
    lines = [figures.text({**report, "rows": plain})]
    for row in report["rows"]:
        if over := row.get("over"):
            added = f"{over['p50']:+.2f} ms (p50), {over['p99']:+.2f} ms (p99)"
            lines.append(f"{row['case']}: {added} over {over['case']}")
    lines += [f"{each['case']}: skipped: {each['why']}" for each in report["skipped"]]
    return "\n".join(lines)


if __name__ == "__main__":
    figures.run(main)
