"""The broker's status: the routing as plain values, of bounded size."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from ...transport.bodies import Open, Vitals
from .actors_of_hosts import actors_of_hosts
from .callers import Caller
from .peers import label
from .refused_replicas import RefusedReplica
from .replica_choice import room_of
from .replicas import Replica
from .router_state import RouterState
from .service_signals import ServiceSignals
from .sessions import RoutedSession

_CHARS = 240
"""Of a text in a row: texts on the wire may be longer than a table has room for."""
_SERVICE_CHARS = 12_000
"""Of the names of all services in the status: those beyond are left out."""
_WARNINGS = 4
_DROPPED = 16


def status_of(
    state: RouterState, signals: ServiceSignals, now_ns: int, rows: int
) -> dict[str, Any]:
    """Replicas, sessions and counters; tables hold at most `rows`, counts are of everything.

    `sessions` also has the robots that were heard of and have no session, with the state `none`.
    """
    loads = state.placement.loads()
    replicas, sessions = list(state.registry), list(state.sessions)
    callers = state.callers
    waiting = [c for c in callers if c.asked is not None and not state.sessions.of(c.name)]
    reasons = dict(state.counters.reasons)
    return {
        "replica_count": len(replicas),
        "session_count": len(sessions),
        "requests": reasons.get("requests", 0),
        "replies": reasons.get("replies", 0),
        "replays": reasons.get("replays", 0),
        "replicas": [_replica(each, loads[each.identity], now_ns) for each in replicas[:rows]],
        "refused": [_refused(each) for each in list(state.refused)[: rows // 4]],
        "services": _services(state, signals, loads, rows // 4),
        "sessions": [
            *(_session(each, callers.of(each.robot), now_ns) for each in sessions[:rows]),
            *(_caller(each, now_ns) for each in waiting[: max(0, rows - len(sessions))]),
        ],
        "actors": actors_of_hosts(state, now_ns, rows),
        "counters": reasons,
        "peers": state.counters.worst(rows // 4),
        "quarantined": [label(peer) for peer in state.quarantine.held(now_ns)][: rows // 4],
    }


def _services(
    state: RouterState, signals: ServiceSignals, loads: Counter[bytes], rows: int
) -> list[dict[str, Any]]:
    """What each service wants of a robot, and how full it is. Those of scripts are listed without a
    replica too; `listed` is False for one whose names have no room."""
    found = []
    left = _SERVICE_CHARS
    for name in sorted({*state.registry.services(), *state.external})[:rows]:
        replicas = state.registry.of(name)
        row: dict[str, Any] = {
            "name": name,
            "external": name in state.external,
            "replicas": len(replicas),
            "sessions": sum(loads[replica.identity] for replica in replicas),
            "capacity": room_of(replicas),
            "load": round(sum(r.load for r in replicas) / max(1, len(replicas)), 3),
            **signals.row(name, replicas, state.waiting.count(name)),
            "listed": False,
        }
        if replicas:
            offer = _wanted(replicas[0])
            left -= (size := len(msgspec.msgpack.encode(offer)))
            if left >= 0:
                row |= {**offer, "listed": True}
            else:
                left += size
        found.append(row)
    return found


def _wanted(replica: Replica) -> dict[str, Any]:
    """What the replicas of a service have in common."""
    offer = replica.offer
    return {
        "model": offer.model,
        "revision": offer.revision,
        "checkpoint": offer.checkpoint,
        "cameras": {name: list(size) for name, size in offer.cameras.items()},
        "state_names": list(offer.state_names),
        "action_names": list(offer.action_names),
        "control_mode": offer.control_mode,
        "chunk_size": offer.chunk_size,
        "fps": offer.fps,
        "prefix": offer.prefix,
        "max_prefix_steps": offer.max_prefix_steps,
        "pin_task": None if offer.pin_task is None else offer.pin_task[:_CHARS],
        "default_task": offer.default_task[:_CHARS],
        "strict_fps": offer.strict_fps,
        "observation_steps": offer.observation_steps,
        "observation_stride_steps": offer.observation_stride_steps,
    }


def _replica(replica: Replica, sessions: int, now_ns: int) -> dict[str, Any]:
    offer = replica.offer
    return {
        "name": replica.name,
        "service": replica.service,
        "incarnation": replica.peer.incarnation,
        "sessions": sessions,
        "capacity": offer.capacity,
        "load": round(replica.load, 3),
        "progress_age_s": round((now_ns - replica.progress_ns) / 1e9, 3),
        "draining": replica.draining,
        "overdue": replica.suspect,
        "kind": offer.kind,
        "host": offer.host,
        "pid": offer.pid,
        "model": offer.model,
        "revision": offer.revision,
        "batch_ms": {str(k): round(s * 1e3, 2) for k, s in enumerate(offer.batch_s, 1)},
        "chunk_s": round(offer.chunk_size / offer.fps, 3),
        "stateful": offer.stateful,
    }


def _refused(refused: RefusedReplica) -> dict[str, Any]:
    offer = refused.offer
    return {
        "name": offer.replica,
        "service": offer.service,
        "kind": offer.kind,
        "host": offer.host,
        "reason": refused.why[: 2 * _CHARS],
    }


def _session(session: RoutedSession, caller: Caller | None, now_ns: int) -> dict[str, Any]:
    return {
        "robot": session.robot,
        "epoch": session.epoch,
        "service": session.service,
        "replica": label(session.replica),
        "state": _state(session.settled, session.terms is not None),
        "waiting": session.request is not None,
        "silent_s": round((now_ns - session.seen_ns) / 1e9, 3),
        **_home(session.opening.body),
        "vitals": _vitals(caller.vitals if caller else None),
    }


def _caller(caller: Caller, now_ns: int) -> dict[str, Any]:
    """A robot without a session."""
    asked = caller.asked
    assert asked is not None
    return {
        "robot": caller.name,
        "epoch": 0,
        "service": asked.service,
        "replica": "",
        "state": "none",
        "waiting": False,
        "silent_s": round((now_ns - caller.heard_ns) / 1e9, 3),
        **_home(asked),
        "vitals": _vitals(caller.vitals),
    }


def _home(asked: Any) -> dict[str, Any]:
    assert isinstance(asked, Open), "a session begins with an OPEN"
    return {"kind": asked.kind, "host": asked.host, "pid": asked.pid}


def _vitals(vitals: Vitals | None) -> dict[str, Any] | None:
    if vitals is None:
        return None
    return {
        **msgspec.structs.asdict(vitals),
        "reason": vitals.reason[:_CHARS],
        "refusing": vitals.refusing[:_CHARS],
        "dropped": dict(list(vitals.dropped.items())[:_DROPPED]),
        "latency_ms": {name: vitals.latency_ms.get(name) for name in ("p50", "p99")},
        "warnings": [text[:_CHARS] for text in vitals.warnings[:_WARNINGS]],
        "uplink": dict(list(vitals.uplink.items())[:_DROPPED]),
    }


def _state(settled: bool, accepted: bool) -> str:
    if settled:
        return "open"
    return "moving" if accepted else "opening"
