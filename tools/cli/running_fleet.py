"""Finding a running fleet, and requests to it. Light: this is most of every command's time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn

from ...actors.runtime.runtime_dir import SOCKET, running, runtime_base, state_dir
from ...actors.supervision import control_socket
from ...errors import ControlSocketError

REFUSED = 2
"""Exit status of a command that could not be carried out, with the reason on stderr."""


def fail(message: str, status: int = REFUSED) -> NoReturn:
    """End the command with a sentence on stderr."""
    print(message, file=sys.stderr)
    raise SystemExit(status)


def reach(fleet: str | None = None) -> Path:
    """The control socket of the fleet called `fleet`, or of the one that runs. With several, asks
    on a terminal; elsewhere, and with none, ends the command with a sentence."""
    found = running()
    if fleet is not None:
        if fleet not in found:
            there = f"running: {', '.join(found)}" if found else "none is running"
            fail(f"no fleet {fleet!r} on this machine; {there}")
        return found[fleet] / SOCKET
    if not found:
        fail(f"no fleet is running (looked in {runtime_base()}); `supervisor start fleet.yaml`")
    if len(found) == 1:
        return next(iter(found.values())) / SOCKET
    if not sys.stdin.isatty():
        fail(f"several fleets are running: {', '.join(found)}; say which one: --fleet NAME")
    names = list(found)
    for number, name in enumerate(names, 1):
        print(f"  {number}  {name}", file=sys.stderr)
    print("which fleet? ", end="", file=sys.stderr, flush=True)
    given = sys.stdin.readline().strip()
    chosen = names[int(given) - 1] if given.isdigit() and 0 < int(given) <= len(names) else given
    return reach(chosen)


def ask(path: Path, **request: Any) -> dict[str, Any]:
    """Ask the fleet; a refusal ends the command with its sentence."""
    try:
        return control_socket.ask(path, **request)
    except ControlSocketError as error:
        fail(str(error))


def log_of(fleet: str | None) -> Path:
    """The log of the running fleet; with `fleet`, also of one that has ended."""
    if fleet is not None and (log := state_dir(fleet) / "log.jsonl").exists():
        return log
    found = running()
    if (fleet or next(iter(found), None)) not in found:
        kept = sorted(path.parent.name for path in state_dir("").glob("*/log.jsonl"))
        what = f"no fleet {fleet!r} is" if fleet else "no fleet is"
        if kept:
            fail(f"{what} running; logs are kept of: {', '.join(kept)} (--fleet NAME)")
    return Path(ask(reach(fleet), do="places")["log"])
