"""The commands of `actorctl` that only read: graph, doctor, capacity, services, replay and
benchmarks."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .option_types import HERE, AsJson, FleetFile, FleetName
from .running_fleet import ask, fail, reach

app = typer.Typer()


@app.command()
def graph(
    dot: Annotated[
        bool,
        typer.Option(
            "--dot", help="Print it in Graphviz's language: `actorctl graph --dot | dot -Tsvg`."
        ),
    ] = False,
    as_json: AsJson = False,
    fleet: FleetName = None,
) -> None:
    """The actors in their start order, the memory that they share and their connections."""
    from . import graph as drawing

    rows = ask(reach(fleet), do="graph")["actors"]
    print(
        json.dumps(rows, indent=2) if as_json else drawing.dot(rows) if dot else drawing.text(rows)
    )


@app.command()
def doctor(fleet_file: FleetFile = HERE, as_json: AsJson = False) -> None:
    """What this machine lacks for robots to run well on it, and how to mend it.

    Its serial ports and cameras; if the fleet file is there, its interpreters and drivers."""
    from . import doctor as practice
    from . import doctor_devices

    if fleet_file != HERE and not fleet_file.exists():
        fail(f"there is no {fleet_file}: `supervisor init` writes a fleet file to start from")
    findings = practice.examine() + doctor_devices.examine(fleet_file)
    if as_json:
        print(json.dumps([practice.plain(finding) for finding in findings], indent=2))
    else:
        practice.show(findings)
    raise SystemExit(1 if any(finding.verdict == "bad" for finding in findings) else 0)


@app.command()
def capacity(as_json: AsJson = False, fleet: FleetName = None) -> None:
    """How many robots each replica carries, by the service times that it measured.

    Replicas of scripts and other hosts too, if this host has the broker: for robots with the usual
    `buffer_time_s`.
    """
    from ...actors.embedding.service_list import offers

    body = ask(reach(fleet), do="status")["status"]
    rows = [
        {
            "replica": row["name"],
            "where": "this host",
            "state": row["state"],
            **_carried(row["report"] or {}),
        }
        for row in body["actors"]
        if row["kind"] == "inference"
    ]
    rows += [_carried_elsewhere(row) for row in body["site"]["replicas"]]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        if row["robots"] is None:
            more = "" if row["state"] == "REFUSED" else ", not measured yet"
            print(f"{row['replica']} ({row['where']}): {row['state']}{more}")
            continue
        times = ", ".join(f"{size} in {ms:g} ms" for size, ms in row["batch_ms"].items())
        print(
            f"{row['replica']} ({row['where']}): carries {row['robots']} robots by its times "
            f"({times}), {row['max_sessions']} by `max_sessions`; "
            f"has {row['sessions']}, load {row['load']:.0%}"
        )
        if each := row["each"]:
            print(
                f"  each robot asks {each['rate_hz']:.2g} times a second, and is to be answered "
                f"within half its execution horizon of {each['horizon_s']:.2g} s, less "
                f"{each['rtt_s'] * 1e3:.0f} ms on the way"
            )
    for offer in offers(body) or ():
        serving = [row for row in rows if row["state"] != "REFUSED"]
        carried = [row["robots"] or 0 for row in serving if _service(row) == offer.name]
        if len(carried) > 1:
            print(
                f"{offer.name}: its {len(carried)} replicas carry {sum(carried)} robots by their "
                f"times, {offer.capacity} by `max_sessions`; has {offer.sessions}"
            )


@app.command()
def services(
    names: Annotated[
        list[str] | None, typer.Argument(help="Services, e.g. pick; without any, all.")
    ] = None,
    as_json: AsJson = False,
    fleet: FleetName = None,
) -> None:
    """What each service wants of a robot, and the lines of fleet.yaml for one.

    On the host of the broker: cameras, names in order, chunk, rate, prefix, task rule, load.
    """
    from ...actors.embedding.service_list import offers
    from ...actors.runtime.suggestions import closest
    from . import services as listing

    found = offers(ask(reach(fleet), do="status")["status"])
    if found is None:
        fail("this host has no broker, or it has not reported yet: ask on its host, or again")
    known = [offer.name for offer in found]
    for name in names or ():
        if name not in known:
            fail(f"no service {name!r}; {closest(name, known)}")
    chosen = [offer for offer in found if not names or offer.name in names]
    if as_json:
        print(json.dumps(listing.plain(chosen), indent=2))
    else:
        print(listing.text(chosen))


def _service(row: dict[str, Any]) -> str:
    return str(row["replica"]).rpartition("/")[0]


def _carried(report: dict[str, Any]) -> dict[str, Any]:
    return {
        "robots": report.get("capacity"),
        "max_sessions": report.get("max_sessions"),
        "sessions": len(report.get("sessions", [])),
        "load": report.get("load"),
        "batch_ms": report.get("batch_ms", {}),
        "each": report.get("each") or {},
    }


def _carried_elsewhere(row: dict[str, Any]) -> dict[str, Any]:
    from ...actors.control.config import PlanSettings
    from ...actors.inference.capacity import Load, request_rate_hz
    from ...actors.inference.capacity import capacity as robots_carried

    times = {int(size): ms / 1e3 for size, ms in row["batch_ms"].items() if ms >= 1e-3}
    robots = None
    if times and row["chunk_s"] > 0:
        latency_s = times[min(times)]
        rate_hz = request_rate_hz(row["chunk_s"], PlanSettings().buffer_time_s, latency_s)
        carried = robots_carried(times, Load(rate_hz, row["chunk_s"]))
        robots = min(carried, 1) if row["stateful"] else carried
    return {
        "replica": row["name"],
        "where": row["where"],
        "state": row["state"],
        "robots": robots,
        "max_sessions": row["capacity"],
        "sessions": row["sessions"],
        "load": row["load"],
        "batch_ms": row["batch_ms"],
        "each": {},  # what its robots reported stays with the replica
    }


def benchmarks() -> dict[str, str]:
    """Those that are programs, with what each measures: the first sentence of its file."""
    directory = Path(__file__).parents[1] / "bench"
    programs = {path.stem: path for path in directory.glob("*.py")}
    programs |= {path.parent.name: path for path in directory.glob("*/__main__.py")}
    texts = {name: path.read_text(encoding="utf-8") for name, path in programs.items()}
    return {
        name: " ".join(text.partition('"""')[2].partition(".\n\n")[0].split())
        for name, text in sorted(texts.items())
        if "figures.run(main)" in text  # other programs are parts of one
    }


@app.command()
def replay(
    capture: Annotated[
        Path, typer.Argument(help="A file of a replica, in <state>/FLEET/capture.", metavar="FILE")
    ],
    checkpoint: Annotated[
        str | None,
        typer.Option(metavar="DIRECTORY", help="Where the checkpoint is now, if it has moved."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Another device than then: cpu, cuda, cuda:N or mps.")
    ] = None,
) -> None:
    """Run a replica's captured requests again, offline, and compare the answers byte for byte.

    A service with `capture_bytes` in fleet.yaml keeps them. Exit status 0 only if all are the same.
    """
    from . import replay as again

    raise SystemExit(again.show(capture, checkpoint, device))


def _benchmark(name: str, about: str) -> None:
    """A command that becomes the program: its options, --help among them, are the program's."""

    def run(context: typer.Context) -> None:
        sys.stdout.flush()
        module = f"holdfast.tools.bench.{name}"
        os.execv(sys.executable, [sys.executable, "-P", "-m", module, *context.args])  # noqa: S606

    settings = {
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    }
    bench.command(name, help=about, context_settings=settings)(run)


bench = typer.Typer(
    help="The benchmarks that come with Holdfast: each measures this machine and prints its n, "
    "p50, p99 and max. All take --quick (within 40 s) and --json.",
    no_args_is_help=True,
)
for _name, _about in benchmarks().items():
    _benchmark(_name, _about)
app.add_typer(bench, name="bench")
