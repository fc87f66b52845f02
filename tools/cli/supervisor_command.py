"""`supervisor`: start a fleet, check its file, write a first one, stop it.

Exit status: 0 all was well, 1 the fleet ran and was not healthy at its end, 2 it was not started.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import (
    BrokerUnreachableError,
    ControlSocketError,
    FleetError,
    HeadroomError,
    RuntimeDirError,
    SegmentError,
)
from .option_types import AsJson, FleetName, Version, run, seconds
from .running_fleet import ask, fail, reach

app = typer.Typer(
    help="Runs robots and their policies: every part a process, restarted when it fails.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
FleetFile = Annotated[
    Path, typer.Argument(help="The file that describes the fleet.", metavar="FILE")
]
HostOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Which of the file's `hosts` this machine is; without it, the one called as `hostname`"
        " says.",
    ),
]
HERE = Path("fleet.yaml")
DETACHED_S = 60.0


@app.callback()
def common(version: Version = False) -> None:
    """What comes before the command."""


@app.command()
def start(
    fleet_file: FleetFile = HERE,
    duration: Annotated[
        float | None,
        typer.Option(
            parser=seconds,
            metavar="SECONDS",
            help="Stop by itself after so long; exit status 1 if it was then not healthy.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the last status here, as `status --json` has it."),
    ] = None,
    host: HostOption = None,
    detach: Annotated[
        bool,
        typer.Option(
            "--detach", help="Return once it runs, and let it go on; `supervisor stop` ends it."
        ),
    ] = False,
    until_stdin_closes: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Start what belongs to this host, show it, and stop it in order on Ctrl-C.

    For example: supervisor start fleet.yaml --duration 60 --report run.json
    """
    if detach:
        _detach(fleet_file, duration, report, host)
        return
    from ...actors.fleet.expand import expand
    from ...actors.fleet.hosts import here
    from ...actors.fleet.loading import load
    from ...actors.fleet.surroundings import require
    from ...actors.runtime.runtime_dir import RuntimeDir, state_dir
    from ...actors.supervision import headroom
    from ...actors.supervision.logstore import LogStore
    from ...actors.supervision.supervisor import Supervisor
    from .view import View, on_terminal

    if report is not None:
        _check_writable(report)
    try:
        fleet = load(fleet_file)
        place = here(fleet, host)
        for missing in require(fleet, place, fleet_file):
            print(f"{missing}; its sensor waits for it", file=sys.stderr)
        runtime = RuntimeDir(fleet.name)
        try:
            actors = expand(fleet, place, runtime.path, state_dir(fleet.name))
            headroom.require(headroom.needs(actors))
            logs = LogStore(state_dir(fleet.name), fleet.logs.file_mb * 1_000_000, fleet.logs.files)
            view = View(on_terminal(), runtime.path)
            supervisor = Supervisor(fleet.name, actors, runtime, logs, view.show)
        except BaseException:
            runtime.remove()
            raise
    except (
        FleetError,
        RuntimeDirError,
        HeadroomError,
        SegmentError,
        ControlSocketError,
        ValueError,
        OSError,
    ) as error:
        fail(str(error))
    view.start()
    final = supervisor.run(duration, lifeline=0 if until_stdin_closes else None)
    view.end()
    if report is not None:
        _write(report, final)
    _conclude(final, duration is not None)


@app.command()
def check(
    fleet_file: FleetFile = HERE,
    host: HostOption = None,
    online: Annotated[
        bool,
        typer.Option(
            "--online",
            help="Also ask the running services whether they would accept each robot, one by one, "
            "without enabling any; exit status 1 if one would not.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with the file and what this machine lacks for it; start nothing.

    Exit status 2 if there is anything."""
    import msgspec

    from ...actors.fleet.expand import expand
    from ...actors.fleet.hosts import here
    from ...actors.fleet.loading import load
    from ...actors.fleet.surroundings import require

    said: dict[str, Any] = {"faults": []}
    try:
        fleet = load(fleet_file)
        place = here(fleet, host)
        require(fleet, place, fleet_file, strict=True)
        actors = expand(fleet, place, Path("/run"))
    except FleetError as error:
        if as_json:
            rows = [{"path": f.path, "message": f.message, "line": f.line} for f in error.faults]
            print(json.dumps({"faults": rows}, indent=2))
            raise SystemExit(2) from None
        fail(str(error))
    said |= {"fleet": fleet.name, "actors": [actor.name for actor in actors]}
    if not as_json:
        print(f"{fleet_file}: {fleet.name!r} is right; {len(actors)} actors on this host")
    if online:
        from .online import accepted, table

        try:
            answers = accepted(fleet)
        except BrokerUnreachableError as problem:
            if as_json:
                print(json.dumps(said | {"problem": str(problem)}, indent=2))
            fail(str(problem), 1)
        said["robots"] = msgspec.to_builtins(answers)
        if not as_json:
            from rich.console import Console

            Console().print(table(answers))
    if as_json:
        print(json.dumps(said, indent=2))
    if online and not all(answer.accepted for answer in answers):
        raise SystemExit(1)


@app.command()
def init(
    fleet_file: FleetFile = HERE,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite the file if it is there.")
    ] = False,
) -> None:
    """Write a commented fleet.yaml to start from: two simulated robots."""
    template = (Path(__file__).parents[2] / "fleet.yaml").read_text(encoding="utf-8")
    try:
        with fleet_file.open("w" if force else "x", encoding="utf-8") as file:
            file.write(template)
    except FileExistsError:
        fail(f"{fleet_file} exists already; --force overwrites it")
    except OSError as error:
        fail(f"{fleet_file} cannot be written: {error.strerror}")
    print(f"wrote {fleet_file}; `supervisor start {fleet_file}` starts it")


@app.command()
def schema() -> None:
    """Print the JSON schema of fleet.yaml, for editors.

    For example: supervisor schema > fleet.schema.json, and in the file's first line
    # yaml-language-server: $schema=fleet.schema.json
    """
    from ...actors.fleet.json_schema import schema as of_fleet

    print(json.dumps(of_fleet(), indent=2))


@app.command()
def stop(fleet: FleetName = None) -> None:
    """Stop the running fleet in order, and wait until it is gone."""
    path = reach(fleet)
    ask(path, do="shutdown")
    deadline = time.monotonic() + 15
    while path.exists():
        if time.monotonic() > deadline:
            fail(f"the fleet {path.parent.name!r} is still there after 15 s", 1)
        time.sleep(0.02)
    print(f"{path.parent.name!r} is stopped")


@app.command()
def reload(
    fleet_file: FleetFile = HERE,
    host: HostOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the difference.")] = False,
) -> None:
    """Make the running fleet the one in the file.

    New actors start, those that are gone stop, only changed ones restart; it says which first."""
    import msgspec

    from ...actors.fleet.expand import expand
    from ...actors.fleet.hosts import here
    from ...actors.fleet.loading import load
    from ...actors.fleet.surroundings import require
    from ...actors.runtime.runtime_dir import state_dir

    try:
        fleet = load(fleet_file)
        path = reach(fleet.name)
        place = here(fleet, host)
        require(fleet, place, fleet_file)
        actors = expand(fleet, place, path.parent, state_dir(fleet.name))
    except FleetError as error:
        fail(str(error))
    plain = msgspec.to_builtins(actors)
    difference = ask(path, do="reform", actors=plain, dry=True)["difference"]
    for name in difference["added"]:
        print(f"+ {name}")
    for name in difference["removed"]:
        print(f"- {name}")
    for name, what in difference["changed"].items():
        print(f"~ {name}  ({'; '.join(what)})")
    print(f"{len(difference['same'])} actors run on as they are")
    if not dry_run:
        ask(path, do="reform", actors=plain)


def _detach(
    fleet_file: Path, duration: float | None, report: Path | None, host: str | None
) -> None:
    """Start it in a session of its own and wait until it answers, or says why not."""
    from ...actors.fleet.loading import load
    from ...actors.runtime.claim import STATE, claim
    from ...actors.runtime.runtime_dir import SOCKET, runtime_base, state_dir
    from ...actors.supervision.control_socket import ask as try_to_ask

    try:
        name = load(fleet_file).name
        claim(state_dir(name), STATE)
    except (FleetError, RuntimeDirError) as error:
        fail(str(error))
    said = state_dir(name) / "supervisor.out"
    command = [
        sys.executable,
        "-P",
        "-m",
        "holdfast.tools.cli.supervisor_command",
        "start",
        str(fleet_file),
    ]
    for option, value in (("--duration", duration), ("--report", report), ("--host", host)):
        command += [] if value is None else [option, str(value)]
    with said.open("w") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    socket = runtime_base() / name / SOCKET
    deadline = time.monotonic() + DETACHED_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            fail(said.read_text().strip(), process.returncode or 2)
        try:
            answer = try_to_ask(socket, do="status")
        except ControlSocketError:
            time.sleep(0.05)
            continue
        if answer["pid"] == process.pid:
            print(f"{name!r} runs as process {process.pid}; `actorctl status`, `supervisor stop`")
            return
        time.sleep(0.05)
    process.terminate()
    fail(f"{name!r} did not answer within {DETACHED_S:g} s; see {said}", 1)


def _check_writable(report: Path) -> None:
    """Better now than after the run."""
    if report.is_dir() or not os.access(report.resolve().parent, os.W_OK):
        fail(f"the report cannot be written to {report}: name a file in a directory of yours")


def _write(report: Path, final: dict[str, Any]) -> None:
    """All of the report or nothing of it."""
    draft = report.with_name(f".{report.name}.{os.getpid()}")
    draft.write_text(json.dumps(final, indent=2) + "\n", encoding="utf-8")
    draft.replace(report)


def _conclude(final: dict[str, Any], judged: bool) -> None:
    """Say what was not well; end with status 1 if the run was to prove that it was."""
    from ...actors.supervision.health import unhealthy

    if final["healthy"] or not judged:
        return
    for sentence in unhealthy(final):
        print(f"not healthy: {sentence}", file=sys.stderr)
    raise SystemExit(1)


def main() -> None:
    from ...actors.supervision.headroom import BARE, require

    try:
        require(BARE)  # or else the imports fail, in words of their own
    except HeadroomError as error:
        fail(str(error))
    run(app)


if __name__ == "__main__":
    main()
