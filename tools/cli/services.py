"""`actorctl services`: what each service of the fleet wants of a robot, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ...actors.embedding.service_list import ServiceOffer


def plain(offers: Sequence[ServiceOffer]) -> list[dict[str, Any]]:
    """For JSON: each with its task rule in words and the lines of fleet.yaml for a robot."""
    return [
        {
            **msgspec.to_builtins(offer),
            "task_rule": offer.task_rule if offer.listed else "",
            "robot_yaml": offer.robot_yaml,
        }
        for offer in offers
    ]


def text(offers: Sequence[ServiceOffer]) -> str:
    """For a person."""
    return "\n\n".join(map(_one, offers)) or "this fleet has no service"


def _wanted(offer: ServiceOffer) -> str:
    """How many replicas the service should have, and the signals that this follows from."""
    replicas = f"{offer.wanted} replica{'s' * (offer.wanted != 1)} ({offer.why_wanted})"
    signals = [
        f"{offer.requests_per_s:g} requests/s",
        f"{offer.misses_per_s:g} after their slack",
        f"{offer.superseded_per_s:g} superseded",
    ]
    if (latency_ms := offer.latency_ms.get("p95")) is not None:
        objective = f" of {offer.slo_ms:g}" if offer.slo_ms is not None else ""
        signals.append(f"p95 {latency_ms:g}{objective} ms")
    if offer.waiting:
        signals.append(f"{offer.waiting} robots wait")
    return f"{replicas}; {', '.join(signals)}"


def _one(offer: ServiceOffer) -> str:
    if not offer.replicas:
        waits = "its replicas are not ready (`actorctl status`)"
        if offer.external:
            waits = f"a script has to serve it: holdfast.serve(policy, service={offer.name!r})"
        return f"{offer.name}  no replica: {waits}"
    full = f"{offer.sessions} of {offer.capacity} robots, load {offer.load:.0%}"
    head = f"{offer.name}  {offer.replicas} replica{'s' * (offer.replicas > 1)}, {full}"
    if not offer.listed:
        return f"{head}\n  the names of this fleet's services are too many for its status"
    prefix = "none: a chunk replaces the plan, trimmed by what was played"
    if offer.prefix != "none":
        prefix = f"{offer.prefix}, for {offer.max_prefix_steps} steps at most"
    sees = "one observation"
    if offer.observation_steps > 1:
        sees = (
            f"{offer.observation_steps} observations, {offer.observation_stride_steps} steps apart"
        )
    cameras = ", ".join(f"{name} {w} x {h}" for name, (w, h) in offer.cameras.items())
    other = "refused" if offer.strict_fps else "warned"
    rows = {
        "policy": f"{offer.model} {offer.revision}, weights {offer.checkpoint[:12]}",
        "cameras": cameras or "none",
        "state": ", ".join(offer.state_names) or "none",
        "actions": f"{', '.join(offer.action_names)} ({offer.control_mode})",
        "chunk": f"{offer.chunk_size} steps"
        + (f", {offer.chunk_size / offer.fps:.3g} s" if offer.fps else ""),
        "fps": f"{offer.fps:g}; a robot of another rate is {other}",
        "prefix": prefix,
        "sees": sees,
        "task": offer.task_rule,
    }
    if offer.wanted is not None:
        rows["wanted"] = _wanted(offer)
    lines = [f"  {key:<8} {value}" for key, value in rows.items()]
    yaml = ["  under `robots:` of a fleet.yaml:"]
    yaml += [f"    {line}" for line in offer.robot_yaml.splitlines()]
    return "\n".join([head, *lines, *yaml])
