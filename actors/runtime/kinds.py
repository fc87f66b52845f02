"""The kinds of actors: the module of each one's class, and what a process kept ready imports.

The classes are named as text and imported by `load` alone, so that this module imports no actor.
"""

from __future__ import annotations

import importlib

from ...errors import RefusedError
from .actor import Actor

KINDS = {
    "broker": "holdfast.actors.broker.broker:BrokerActor",
    "inference": "holdfast.actors.inference.replica:InferenceActor",
    "control": "holdfast.actors.control.loop:ControlActor",
    "network": "holdfast.actors.network.network:NetworkActor",
    "executed": "holdfast.actors.network.executed_actor:ExecutedActor",
    "sensor": "holdfast.actors.sensor.sensor:SensorActor",
    "driver": "holdfast.actors.driver.driver:DriverActor",
    "teleoperator": "holdfast.actors.teleoperator.teleoperator_actor:TeleoperatorActor",
    "recorder": "holdfast.actors.recorder.recorder:RecorderActor",
    "witness": "holdfast.actors.jitter_probe:JitterProbeActor",
    "gateway": "holdfast.actors.gateway.gateway:GatewayActor",
    "telemetry": "holdfast.actors.telemetry.telemetry:TelemetryActor",
    "pool": "holdfast.actors.pool.pool:PoolActor",
    "openpi": "holdfast.actors.clients.openpi_server:OpenpiActor",
    "groot": "holdfast.actors.clients.groot_server:GrootActor",
}
"""The class of each kind. A kind that is not built in is written `module:Class`."""

_AROUND = ("network", "sensor", "broker", "driver")
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
"""What a spare for a replica of these policies imports too, because torch takes longer than the
rest of its start. It does not load the weights: they are too large to keep twice."""


def modules_of(kind: str, policy: str | None = None) -> str | None:
    """The modules that a spare for `kind` imports in advance, separated by commas; None for one
    that starts cold. `policy` is a replica's."""
    # The module of a robot's driver is imported by its actor, which reports its faults.
    if kind == "inference":
        own = _module(KINDS[kind])
        return f"{own},{POLICIES[policy]}" if policy in POLICIES else None
    together = WARM.get(kind)
    if together is None:
        return None
    return ",".join(_module(KINDS[other]) for other in together)


def _module(place: str) -> str:
    return place.partition(":")[0]


def load(kind: str) -> type[Actor]:
    """Import the class of `kind`. Raises RefusedError when there is no such kind."""
    where = KINDS.get(kind, kind)
    module, colon, name = where.partition(":")
    if not colon:
        raise RefusedError(
            f"no actor kind {kind!r}: expected one of {', '.join(KINDS)}, or module:Class"
        )
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise RefusedError(f"actor kind {kind!r} cannot be loaded from {where}: {error}") from error
    assert isinstance(found, type)
    assert issubclass(found, Actor)
    return found
