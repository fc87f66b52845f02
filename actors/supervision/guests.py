"""The robots that a fleet's file does not have: of scripts, and of clients of other projects, which
use its broker while they run."""

from __future__ import annotations

from ...errors import ControlSocketError
from ..runtime.robots_file import KnownRobot, KnownRobots
from ..runtime.runtime_dir import SOCKET, runtime_base
from .control_socket import ask

PATIENCE_S = 0.5


def guests(fleet: KnownRobots) -> list[KnownRobot]:
    """Those that the supervisor of `fleet` shows; none if it does not answer, or is hung."""
    try:
        socket = runtime_base() / fleet.fleet / SOCKET
        status = ask(socket, timeout_s=PATIENCE_S, do="status")["status"]
    except ControlSocketError:
        return []
    known = {robot.name for robot in fleet.robots}
    rows = status.get("site", {}).get("robots", ())
    return [
        KnownRobot(row["name"], host=row["where"], is_client=not row.get("stoppable", True))
        for row in rows
        if row["name"] not in known
    ]
