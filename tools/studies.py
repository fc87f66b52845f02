"""What `actorctl` finds out: about the fleet's make-up, its capacity, this machine, its speed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .options import AsJson, FleetName
from .reach import ask, fail, reach

app = typer.Typer()


@app.command()
def graph(
    dot: Annotated[bool, typer.Option(help="Print it for Graphviz.")] = False,
    as_json: AsJson = False,
    fleet: FleetName = None,
) -> None:
    """Who starts after whom, who shares which memory, who speaks to whom."""
    from . import graph as drawing

    rows = ask(reach(fleet), do="graph")["actors"]
    print(
        json.dumps(rows, indent=2) if as_json else drawing.dot(rows) if dot else drawing.text(rows)
    )


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """What this machine lacks for robots to run well on it, and how to mend it."""
    from . import doctor as practice

    findings = practice.examine()
    if as_json:
        print(json.dumps([practice.plain(finding) for finding in findings], indent=2))
    else:
        practice.show(findings)
    raise SystemExit(1 if any(finding.verdict == "bad" for finding in findings) else 0)


@app.command()
def capacity(as_json: AsJson = False, fleet: FleetName = None) -> None:
    """How many robots each replica carries, by the service times that it measured."""
    rows = [
        {"replica": row["name"], "state": row["state"], **_carried(row["report"] or {})}
        for row in ask(reach(fleet), do="status")["status"]["actors"]
        if row["kind"] == "inference"
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        if row["robots"] is None:
            print(f"{row['replica']}: {row['state']}, not measured yet")
            continue
        times = ", ".join(f"{size} in {ms:g} ms" for size, ms in row["batch_ms"].items())
        print(
            f"{row['replica']}: carries {row['robots']} robots by its times ({times}), "
            f"{row['max_sessions']} by its limit; has {row['sessions']}, load {row['load']:.0%}"
        )


def _carried(report: dict[str, Any]) -> dict[str, Any]:
    return {
        "robots": report.get("capacity"),
        "max_sessions": report.get("max_sessions"),
        "sessions": len(report.get("sessions", [])),
        "load": report.get("load"),
        "batch_ms": report.get("batch_ms", {}),
    }


def benchmarks() -> list[str]:
    """The names of those that are programs."""
    directory = Path(__file__).parent / "bench"
    return sorted(path.stem for path in directory.glob("*.py") if _runs(path))


PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command(context_settings=PASS_ON)
def bench(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(help="Which; without one, their names.", autocompletion=benchmarks),
    ] = None,
) -> None:
    """Run one of the benchmarks that come with Holdfast; options go to it (--quick, --json)."""
    there = benchmarks()
    if name is None:
        print("\n".join(there))
        return
    if name not in there:
        from ..actors.fleet.document import closest

        fail(f"no benchmark {name!r}; {closest(name, there)}")
    _run(f"holdfast.tools.bench.{name}", context.args)


@app.command(context_settings=PASS_ON)
def replay(context: typer.Context) -> None:
    """Run a replica's captured requests again, offline, and compare the answers byte for byte."""
    _run("holdfast.tools.replay", context.args or ["--help"])


def _runs(path: Path) -> bool:
    return '__name__ == "__main__"' in path.read_text(encoding="utf-8")


def _run(module: str, arguments: list[str]) -> None:
    """Become `python -m module`: its output and exit status are ours."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])
