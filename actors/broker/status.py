"""What the broker says about itself on its board: the routing as plain values, of bounded size."""

from __future__ import annotations

from typing import Any

from .peers import label
from .placement import Placement

MOST_ROWS = 48
"""Rows per table: a board holds a few kilobytes. The counts beside them are of everything."""
MOST_PEERS = 12


def status_of(placement: Placement, now: int) -> dict[str, Any]:
    """Replicas, sessions and counters."""
    loads = placement.sessions.loads()
    replicas = [
        {
            "name": replica.name,
            "service": replica.service,
            "incarnation": replica.peer.incarnation,
            "sessions": loads[replica.identity],
            "capacity": replica.offer.capacity,
            "load": round(replica.load, 3),
            "progress_age_s": round((now - replica.progress_at) / 1e9, 3),
            "draining": replica.draining,
        }
        for replica in placement.registry
    ]
    sessions = [
        {
            "robot": session.robot,
            "epoch": session.epoch,
            "service": session.service,
            "replica": label(session.replica),
            "state": _state(session.settled, session.terms is not None),
            "waiting": session.request is not None,
            "silent_s": round((now - session.seen_at) / 1e9, 3),
        }
        for session in placement.sessions
    ]
    reasons = dict(placement.tally.reasons)
    return {
        "replica_count": len(replicas),
        "session_count": len(sessions),
        "requests": reasons.get("requests", 0),
        "replies": reasons.get("replies", 0),
        "replays": reasons.get("replays", 0),
        "replicas": replicas[:MOST_ROWS],
        "sessions": sessions[:MOST_ROWS],
        "counters": reasons,
        "peers": placement.tally.worst(MOST_PEERS),
        "quarantined": [label(peer) for peer in placement.quarantine.held(now)][:MOST_PEERS],
    }


def _state(settled: bool, accepted: bool) -> str:
    if settled:
        return "open"
    return "moving" if accepted else "opening"
