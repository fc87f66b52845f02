"""The process of an actor: `python -P -m holdfast.actors.runtime.main NAME`.

Only the supervisor starts it. It reads its boot from the link (the descriptor in HOLDFAST_LINK),
imports the one module that its kind needs, and runs the three phases. Nothing heavy is imported
before the boot, so that the start timeout covers the actor's own work only. With `--preload
MODULE,...` the process imports those first and then waits, as a warm standby: it becomes the actor
that its boot names, and answers pings until then.

Exit codes: 0 stopped as asked; 1 crashed; 3 the configuration was refused, a restart is pointless;
4 dead, not restarted until a person starts it (2 is Python's own usage error).
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

from ...errors import RefusedError
from . import actor as _actor
from .allocator import keep_blocks
from .kinds import load
from .log import log_to_supervisor
from .supervisor_link import Link, receive_boot, send_ready

_log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    name = argv[0] if argv else "unnamed"
    log_to_supervisor(name, 0)
    keep_blocks()
    try:
        sock = socket.socket(fileno=int(os.environ.pop("HOLDFAST_LINK")))
    except (KeyError, ValueError, OSError):
        _log.error("HOLDFAST_LINK holds no socket: actors are started by `supervisor start`")
        return _actor.EXIT_REFUSED
    sock.set_inheritable(False)
    if len(argv) == 3 and argv[1] == "--preload":
        for module in argv[2].split(","):
            importlib.import_module(module)
        send_ready(sock)
    received = receive_boot(sock)
    if received is None:
        return _actor.EXIT_STOPPED
    boot = _actor.map_boot(*received)
    log_to_supervisor(boot.name, boot.incarnation)
    _title(boot.name)
    link = Link(sock)
    link.catch_signals()
    try:
        actor = load(boot.kind)(boot, link)
    except RefusedError as error:
        _log.error("refused: %s", error)
        link.report_exit(str(error))
        return _actor.EXIT_REFUSED
    return actor.main()


def _title(name: str) -> None:
    """Show the actor's name in `ps` and `top`, which display 15 characters of it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name[:15])


def _end(code: int) -> NoReturn:
    """Run the exit handlers and end the process without the interpreter's own teardown."""
    # It frees what the kernel frees anyway; with torch that takes half a second and more, in which
    # the supervisor cannot start the next incarnation.
    logging.shutdown()
    atexit._run_exitfuncs()  # noqa: SLF001 what the interpreter does at its own end
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    _end(main(sys.argv[1:]))
