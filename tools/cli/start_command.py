"""`supervisor start`: run a fleet in this process, or in one of its own with --detach."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import (
    ControlSocketError,
    FleetError,
    HeadroomError,
    RuntimeDirError,
    SegmentError,
)
from .option_types import HERE, FleetFile, HostOption, seconds
from .running_fleet import fail

DETACHED_S = 120.0


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
    from ...actors.fleet.known_robots import list_robots
    from ...actors.fleet.loading import load
    from ...actors.fleet.surroundings import require
    from ...actors.runtime.runtime_dir import RuntimeDir, state_dir
    from ...actors.supervision import headroom
    from ...actors.supervision.logstore import LogStore
    from ...actors.supervision.service_manager import ServiceManager
    from ...actors.supervision.supervisor import Supervisor
    from .view import View, on_terminal, stopped

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
            list_robots(fleet, place, runtime.path, state_dir(fleet.name))
            view = View(on_terminal(), runtime.path)
            service_manager = ServiceManager()

            def publish(status: dict[str, Any]) -> None:
                stopping = supervisor.final is not None
                view.show(status, stopping=stopping)
                service_manager.report(status, stopping=stopping)

            supervisor = Supervisor(fleet.name, actors, runtime, logs, publish)
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
    with suppress(OSError):  # the terminal may be gone
        print(stopped(final), flush=True)
    service_manager.close()
    if report is not None:
        _write(report, final)
    _conclude(final, supervisor.stop_faults, duration is not None)


def _detach(
    fleet_file: Path, duration: float | None, report: Path | None, host: str | None
) -> None:
    """Start the fleet in a session of its own and wait until it answers or ends."""
    from ...actors.fleet.loading import load
    from ...actors.runtime.claim import STATE, claim
    from ...actors.runtime.runtime_dir import SOCKET, runtime_base, state_dir
    from ...actors.supervision.control_socket import ask as try_to_ask

    try:
        name = load(fleet_file).name
        claim(state_dir(name), STATE)
    except (FleetError, RuntimeDirError) as error:
        fail(str(error))
    output_file = state_dir(name) / "supervisor.out"
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
    with output_file.open("w") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    socket = runtime_base() / name / SOCKET
    deadline_s = time.monotonic() + DETACHED_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            fail(output_file.read_text().strip(), process.returncode or 2)
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
    fail(f"{name!r} did not answer within {DETACHED_S:g} s; see {output_file}", 1)


def _check_writable(report: Path) -> None:
    """Fail before the run rather than after it."""
    if report.is_dir() or not os.access(report.resolve().parent, os.W_OK):
        fail(f"the report cannot be written to {report}: name a file in a directory of yours")


def _write(report: Path, final: dict[str, Any]) -> None:
    """Write the whole report or none of it."""
    draft = report.with_name(f".{report.name}.{os.getpid()}")
    draft.write_text(json.dumps(final, indent=2) + "\n", encoding="utf-8")
    draft.replace(report)


def _conclude(final: dict[str, Any], stop_faults: list[str], judged: bool) -> None:
    """Print what went wrong at the stop, and what was not healthy before it if the run is `judged`;
    end with status 1 for that."""
    from ...actors.supervision.health import unhealthy

    said = [f"at the stop: {sentence}" for sentence in stop_faults]
    if judged and not final["healthy"]:
        said += [f"not healthy: {sentence}" for sentence in unhealthy(final)]
    if said:
        print("\n".join(said), file=sys.stderr)
        raise SystemExit(1)
