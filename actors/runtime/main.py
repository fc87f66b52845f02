"""The process of an actor: `python -P -m holdfast.actors.runtime.main NAME`.

Only the supervisor starts it. It reads its boot from the link (the descriptor in HOLDFAST_LINK),
imports the one module that its kind needs, and runs the three phases. Nothing heavy is imported
before the boot: the supervisor's patience is for the actor's own work. With `--preload MODULE,...`
the process imports those first and then waits, which makes it a warm spare: it becomes whichever
actor its boot names, and answers pings until then.

Exit codes: 0 stopped as asked; 1 crashed; 3 the configuration was refused, a restart is pointless;
4 dead for good, a person must say so before it starts again (2 is Python's own usage error).
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

from . import actor as _actor
from .allocator import keep_blocks
from .log import log_to_supervisor
from .supervisor_link import Link, receive_boot, say_ready

KINDS = {
    "broker": "holdfast.actors.broker.broker:BrokerActor",
    "inference": "holdfast.actors.inference.replica:InferenceActor",
    "control": "holdfast.actors.control.loop:ControlActor",
    "network": "holdfast.actors.network.network:NetworkActor",
    "sensor": "holdfast.actors.sensor:SensorActor",
    "world": "holdfast.actors.driver:DriverActor",
    "witness": "holdfast.actors.jitter_probe:JitterProbeActor",
    "gateway": "holdfast.actors.gateway.gateway:GatewayActor",
}
"""Where each kind lives. Anyone's own kind is written `module:Class` in place of its name."""

_AROUND = ("network", "sensor", "broker", "world")
WARM = {
    "control": ("control",),
    **dict.fromkeys(_AROUND, _AROUND),
}
"""The kinds that one warm spare can become. Control has its own, because its process carries
nothing that it does not need."""

POLICIES = {
    "flow": "holdfast.policy.flow",
    "act": "holdfast.policy.act",
}
"""What a replica of these policies imports besides its own: torch takes longer than all the rest of
its start. Its weights are too much memory to keep twice."""


def modules_of(kind: str, policy: str | None = None) -> str | None:
    """What a spare for `kind`, a replica of `policy`, imports in advance; None for what starts
    cold."""
    if kind == "inference":
        own = KINDS[kind].partition(":")[0]
        return f"{own},{POLICIES[policy]}" if policy in POLICIES else None
    together = WARM.get(kind)
    if together is None:
        return None
    return ",".join(KINDS[other].partition(":")[0] for other in together)


def load(kind: str) -> type[_actor.Actor]:
    """Import the class of `kind`. Raises Refused when there is no such kind."""
    where = KINDS.get(kind, kind)
    module, colon, name = where.partition(":")
    if not colon:
        raise _actor.RefusedError(
            f"no actor kind {kind!r}: expected one of {', '.join(KINDS)}, or module:Class"
        )
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise _actor.RefusedError(
            f"actor kind {kind!r} cannot be loaded from {where}: {error}"
        ) from error
    assert isinstance(found, type) and issubclass(found, _actor.Actor)
    return found


def main(argv: list[str]) -> int:
    name = argv[0] if argv else "unnamed"
    log_to_supervisor(name, 0)
    keep_blocks()
    try:
        sock = socket.socket(fileno=int(os.environ.pop("HOLDFAST_LINK")))
    except (KeyError, ValueError, OSError):
        logging.error("HOLDFAST_LINK holds no socket: actors are started by `supervisor start`")
        return _actor.EXIT_REFUSED
    sock.set_inheritable(False)
    if len(argv) == 3 and argv[1] == "--preload":
        for module in argv[2].split(","):
            importlib.import_module(module)
        say_ready(sock)
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
    except _actor.RefusedError as error:
        logging.error("refused: %s", error)
        link.farewell(str(error))
        return _actor.EXIT_REFUSED
    return actor.main()


def _title(name: str) -> None:
    """Show the actor's name in `ps` and `top`, which display 15 characters of it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name[:15])


def _end(code: int) -> NoReturn:
    """Leave at once, when everybody who wanted to has said goodbye. The interpreter's own end frees
    what the kernel frees anyway; with torch that takes half a second and more, in which the
    supervisor cannot start the next incarnation."""
    logging.shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    _end(main(sys.argv[1:]))
