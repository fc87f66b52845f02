"""`supervisor`: start a fleet, check its file, write a first one, stop it.

Exit status: 0 all was well, 1 the fleet ran and was not healthy at its end or did not stop well, 2
it was not started.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from ...actors.runtime.runtime_dir import SOCKET, runtime_base
from ...actors.supervision import control_socket
from ...errors import (
    BrokerUnreachableError,
    ControlSocketError,
    Fault,
    FleetError,
    HeadroomError,
)
from .option_types import HERE, AsJson, FleetFile, FleetName, HostOption, Version, run
from .running_fleet import ask, fail, reach
from .start_command import start

STOPPED_WITHIN_S = 15.0

app = typer.Typer(
    help="Runs robots and their policies: every part a process, restarted when it fails.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def common(version: Version = False) -> None:
    """What comes before the command."""


app.command()(start)


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

    Exit status 2 if there is anything; a warning changes it not."""
    import msgspec

    from ...actors.fleet import port_checks
    from ...actors.fleet.expand import expand
    from ...actors.fleet.file_warnings import warnings_of
    from ...actors.fleet.hosts import here
    from ...actors.fleet.loading import load, placed
    from ...actors.fleet.surroundings import checked_elsewhere, require
    from ...actors.supervision.headroom import needs

    result: dict[str, Any] = {"faults": []}
    try:
        fleet = load(fleet_file)
        place = here(fleet, host)
        require(fleet, place, fleet_file, strict=True)
        actors = expand(fleet, place, Path("/run"))
    except FleetError as error:
        if as_json:
            print(json.dumps({"faults": _rows(error.faults)}, indent=2))
            raise SystemExit(2) from None
        fail(str(error))
    found = [*warnings_of(fleet), *port_checks.held(fleet, place, lambda: _processes(fleet.name))]
    warnings = placed(fleet_file.read_text(encoding="utf-8"), found)
    result |= {"fleet": fleet.name, "actors": [actor.name for actor in actors]}
    result["warnings"] = _rows(warnings)
    result["unchecked"] = unchecked = checked_elsewhere(fleet, place)
    need = needs(actors)
    result["needs"] = {
        "shm_bytes": int(need.shm_bytes),
        "processes": int(need.processes),
        "descriptors": int(need.descriptors),
    }
    if not as_json:
        print(f"{fleet_file}: {fleet.name!r} is right; {len(actors)} actors on this host")
        print(
            f"  they need {need.shm_bytes:.0f} bytes of shared memory (a container's --shm-size), "
            f"{need.processes:.0f} processes and {need.descriptors:.0f} open files each at most"
        )
        for warning in warnings:
            print(f"  warning: {warning}")
        for other, wanted in unchecked.items():
            print(f"  not checked here: {', '.join(wanted)} of {other}; check the file there too")
    if online:
        from .online import accepted, table

        try:
            answers = accepted(fleet)
        except BrokerUnreachableError as problem:
            if as_json:
                print(json.dumps(result | {"problem": str(problem)}, indent=2))
            fail(str(problem), 1)
        result["robots"] = msgspec.to_builtins(answers)
        if not as_json:
            from rich.console import Console

            Console().print(table(answers))
    if as_json:
        print(json.dumps(result, indent=2))
    if online and not all(answer.accepted for answer in answers):
        raise SystemExit(1)


def _processes(fleet: str) -> set[int]:
    """Those of the running fleet of this name; none if there is none."""
    try:
        answer = control_socket.ask(runtime_base() / fleet / SOCKET, do="status")
    except ControlSocketError:
        return set()
    return {answer["pid"], *(row["pid"] for row in answer["status"]["actors"])}


def _rows(faults: Iterable[Fault]) -> list[dict[str, Any]]:
    return [{"path": each.path, "message": each.message, "line": each.line} for each in faults]


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
    """Stop the running fleet in order, and wait until it is gone.

    Exit status 1 if an actor ended with an error: a robot that is not at its rest."""
    path = reach(fleet)
    deadline_s = time.monotonic() + STOPPED_WITHIN_S
    try:
        faults = control_socket.ask(path, STOPPED_WITHIN_S, do="shutdown", wait=True)["faults"]
    except ControlSocketError:  # it is stuck, or ends by force
        faults = []
    while path.exists():
        if time.monotonic() > deadline_s:
            within = f"after {STOPPED_WITHIN_S:g} s"
            fail(f"the fleet {path.parent.name!r} is still there {within}", 1)
        time.sleep(0.02)
    print(f"{path.parent.name!r} is stopped")
    if faults:
        fail("\n".join(f"at the stop: {sentence}" for sentence in faults), 1)


@app.command()
def reload(
    fleet_file: FleetFile = HERE,
    host: HostOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the difference.")] = False,
) -> None:
    """Make the running fleet the one in the file.

    New actors start, those that are gone stop, only changed ones restart; some take over a change
    while they run. It says which first."""
    import msgspec

    from ...actors.fleet.expand import expand
    from ...actors.fleet.hosts import here
    from ...actors.fleet.known_robots import list_robots
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
    for name, what in difference["reconfigured"].items():
        print(f"= {name}  runs on with ({'; '.join(what)})")
    print(f"{len(difference['same'])} actors run on as they are")
    if not dry_run:
        ask(path, do="reform", actors=plain)
        list_robots(fleet, place, path.parent, state_dir(fleet.name))


def main() -> None:
    from ...actors.supervision.headroom import BARE, require

    try:
        require(BARE)  # or else the imports fail, in words of their own
    except HeadroomError as error:
        fail(str(error))
    run(app)


if __name__ == "__main__":
    main()
