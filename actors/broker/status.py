"""What the broker says about itself on its board: the routing as plain values, of bounded size."""

from __future__ import annotations

from typing import Any

from .peers import label
from .placement import Placement


def status_of(placement: Placement, now: int, rows: int) -> dict[str, Any]:
    """Replicas, sessions and counters; tables hold at most `rows`, counts are of everything."""
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
        "replicas": replicas[:rows],
        "sessions": sessions[:rows],
        "counters": reasons,
        "peers": placement.tally.worst(rows // 4),
        "quarantined": [label(peer) for peer in placement.quarantine.held(now)][: rows // 4],
    }


def _state(settled: bool, accepted: bool) -> str:
    if settled:
        return "open"
    return "moving" if accepted else "opening"
