"""How actors of each kind are restarted and what they may use, as far as the file does not say."""

from __future__ import annotations

from typing import Any

import msgspec

from ..runtime.spec import Rules
from .schema import FleetFile


def rules_of(fleet: FleetFile, kind: str) -> Rules:
    """The restart rules of actors of `kind`: the defaults below, under `supervision.rules`."""
    given = fleet.supervision.rules.get("all", {}) | fleet.supervision.rules.get(kind, {})
    return msgspec.convert(_DEFAULTS.get(kind, {}) | given, Rules)


_DEFAULTS: dict[str, dict[str, Any]] = {
    # Loading and warming a policy, on a busy machine and from a cold disk. How long a batch takes
    # the replica measures itself, and asks for more patience where it needs it.
    "inference": {"start_timeout_s": 300.0, "hang_timeout_s": 3.0, "stop_timeout_s": 3.0},
    # It asks a cluster, which may be far, and stops once its replicas have drained. A cluster that
    # is not there may come at any time: it is not given up.
    "pool": {
        "start_timeout_s": 120.0,
        "hang_timeout_s": 60.0,
        "stop_timeout_s": 10.0,
        "max_restarts": 1_000_000,
    },
    # Robots wait for these: a start that is not over by now would cost them more (`max_offline_s`)
    # than another attempt. The first restart is immediate; control's next ones come soon.
    "control": {
        "start_timeout_s": 10.0,
        "hang_timeout_s": 2.0,
        "stop_timeout_s": 2.5,
        "backoff_s": 0.1,
    },
    "broker": {"start_timeout_s": 10.0, "hang_timeout_s": 3.0},
    "network": {"start_timeout_s": 10.0, "hang_timeout_s": 3.0},
    # A slow disk.
    "executed": {"hang_timeout_s": 20.0},
    # How long a call of a robot's driver may take, safety.io_timeout_s, the driver says itself.
    "driver": {
        "start_timeout_s": 25.0,
        "hang_timeout_s": 0.5,
        "stop_timeout_s": 2.5,
        "backoff_s": 0.1,
    },
    # It looks through the dataset at its start, and saves the episode in progress at its end. What
    # may block, a slow disk, does so in a thread of its own, but for a row's few bytes.
    "recorder": {"start_timeout_s": 300.0, "hang_timeout_s": 20.0, "stop_timeout_s": 30.0},
    # Opening a camera may take many seconds.
    "teleoperator": {"start_timeout_s": 30.0, "hang_timeout_s": 3.0},
    "sensor": {"start_timeout_s": 30.0, "hang_timeout_s": 3.0},
    "gateway": {"hang_timeout_s": 10.0},
    # A message to a collector that does not answer takes 3 s, and the name's resolution may too.
    "telemetry": {"start_timeout_s": 30.0, "hang_timeout_s": 30.0},
    "openpi": {"hang_timeout_s": 10.0},
    "groot": {"hang_timeout_s": 10.0},
}


HANG_HINTS = {
    "inference": "predict_chunk has not returned; where it may take longer, raise "
    "supervision.rules.inference.hang_timeout_s"
}
"""What to do about an actor that hung, by kind."""


def memory_mb_of(fleet: FleetFile, kind: str) -> int | None:
    """The memory in MB above which an actor of `kind` is restarted; None for no limit."""
    given = fleet.supervision.memory_mb
    return given.get(kind, given.get("all", _MEMORY_MB.get(kind)))


def spares_of(fleet: FleetFile, kind: str) -> int:
    """How many warm spares there may be for actors of `kind` on a host: a robot without control
    loses its ticks, other actors' restarts cost it none."""
    if kind == "inference":
        return int(fleet.supervision.policy_spare)
    return fleet.supervision.spares if kind == "control" else min(1, fleet.supervision.spares)


# An actor that receives a message without an end keeps its frames and grows: libzmq has no bound
# for that. A broker of a hundred robots that send raw images stays below.
# Each client of another project may have two of its largest messages on their way.
_MEMORY_MB = {"broker": 1024, "network": 512, "gateway": 512, "openpi": 1536, "groot": 1536}
