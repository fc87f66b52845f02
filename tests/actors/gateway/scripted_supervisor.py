"""A supervisor without actors: it answers the gateway with facts that a test sets."""

from __future__ import annotations

import select
import threading
from pathlib import Path
from typing import Any

from holdfast.actors.control.histogram import Histogram
from holdfast.actors.runtime.runtime_dir import SOCKET
from holdfast.actors.runtime.spec import Member, Rules
from holdfast.actors.supervision import report
from holdfast.actors.supervision.control_socket import ControlClient, ControlSocket
from holdfast.actors.supervision.report import ActorFacts
from holdfast.actors.supervision.site import Stops
from holdfast.actors.supervision.supervised import ActorRecord, ActorState

KINDS = {
    "witness": "witness",
    "broker": "broker",
    "pick/0": "inference",
    "r1/overhead": "sensor",
    "r1/wrist": "sensor",
    "r1/network": "network",
    "r1/control": "control",
    "r1/recorder": "recorder",
}
LINK = {
    "request_bytes": 45000.0,
    "kbps": 312.0,
    "max_kbps": 400.0,
    "jpeg_quality": 72.0,
    "round_trip_ms": 21.0,
    "waiting_ms": 0.0,
}
CONTROL: dict[str, Any] = {
    "state": "STREAMING",
    "paused": False,
    "reason": "",
    "ticks": 300,
    "missed_ticks": 0,
    "missed_ticks_machine": 2,
    "missed_ticks_restart": 1,
    "tick_lateness_us": {"p50": 40.0, "p99": 120.0, "p999": 300.0, "max": 410.0},
    "tick_lateness_buckets_us": Histogram().buckets_us(),
    "tick_lateness_recent_us": {"p50": 35.0, "p99": 90.0, "p999": 95.0, "max": 99.0},
    "plan_s": 0.8,
    "action_age_s": 0.4,
    "epoch": 3,
    "requests": 50,
    "merged": 48,
    "dropped": {"expired": 2},
    "request_latency_ms": {"p50": 60.0, "p99": 90.0},
    "stalled_ticks": 3,
    "void_dropped": 5,
    "driver_gaps": 1,
    "stale_dropped": 0,
    "refused_commands": {"range": 1},
    "refusing_s": 0.0,
    "refusing": "",
    "warnings": [],
    "fallback_ticks": 4,
    "episodes": 5,
    "successes": 4,
    "task": "put the red parcel in the left bin",
}
GUEST: dict[str, Any] = {
    "robot": "bench-arm",
    "epoch": 7,
    "service": "pick",
    "replica": "pick/lab-12",
    "state": "open",
    "waiting": False,
    "silent_s": 0.1,
    "kind": "script",
    "host": "lab",
    "pid": 17,
    "vitals": {
        "state": "STREAMING",
        "reason": "",
        "plan_s": 0.7,
        "fps": 29.8,
        "steps": 900,
        "missed_steps": 3,
        "stalled_steps": 2,
        "refused": 1,
        "refusing_s": 0.0,
        "refusing": "",
        "dropped": {"expired": 4},
        "latency_ms": {"p50": 40.0, "p99": 70.0},
        "uplink": LINK,
        "uplink_limit": "",
        "warnings": [],
    },
}
GUEST_REPLICA = {
    "name": "pick/lab-12",
    "service": "pick",
    "incarnation": 1,
    "sessions": 1,
    "capacity": 8,
    "load": 0.4,
    "progress_age_s": 0.2,
    "draining": False,
    "kind": "script",
    "host": "lab",
    "pid": 12,
}
GUEST_ACTOR = {
    "name": "r2/driver",
    "kind": "driver",
    "state": "READY",
    "pid": 21,
    "restarts": 1,
    "up_s": 12.0,
    "progress_age_s": 0.1,
    "memory_mb": 18.0,
    "last_exit": "killed by SIGKILL",
    "reason": "",
    "host": "cell2",
    "reporter": "r2",
    "heard_s": 0.2,
}
REPORTS: dict[str, dict[str, Any]] = {
    "witness": {
        "ticks": 310,
        "pauses": 2,
        "oversleep_us": {"p50": 60.0, "p99": 900.0, "max": 4000.0},
    },
    "broker": {
        "session_count": 1,
        "replica_count": 1,
        "counters": {"requests": 50, "replies": 48},
        "sessions": [GUEST],
        "replicas": [GUEST_REPLICA],
        "actors": [GUEST_ACTOR],
        "services": [
            {
                "name": "pick",
                "replicas": 1,
                "sessions": 1,
                "capacity": 8,
                "load": 0.25,
                "waiting": 0,
                "offered": 0.4,
                "requests_per_s": 2.0,
                "misses_per_s": 0.1,
                "superseded_per_s": 0.2,
                "queue_ms": {"p50": 5.0, "p95": 12.0},
                "latency_ms": {"p50": 46.0, "p95": 60.0},
                "slo_ms": 200.0,
                "wanted": 1,
                "why_wanted": "the fewest",
            }
        ],
    },
    "r1/recorder": {
        "state": "recording",
        "reason": "",
        "root": "/data/pick",
        "episode": 3,
        "frames": 412,
        "rows": 1412,
        "saved": 3,
        "repeated": 5,
        "dropped": 1,
        "idle": 2,
        "encoder": "libx264",
    },
    "pick/0": {
        "service": "pick",
        "load": 0.25,
        "sessions": ["r1"],
        "max_sessions": 8,
        "queue": 0,
        "inference_ms": {"p50": 40.0, "p99": 55.0},
        "queue_ms": {"p50": 5.0, "p99": 16.0},
        "counts": {"served": 48, "superseded": 2},
        "batches": {"1": 48},
    },
    "r1/overhead": {"frames": 300, "frame_age_ms": 12.0},
    "r1/wrist": {"frames": 300, "frame_age_ms": 12.0},
    "r1/network": {
        "bytes_out": 123456,
        "bytes_in": 45678,
        "reconnects": 2,
        "uplink": LINK,
        "uplink_limit": "quality",
    },
    "r1/control": CONTROL,
}


class ScriptedSupervisor:
    """The real control socket and the real report, over facts that a test sets."""

    def __init__(self, rundir: Path) -> None:
        self.asked: list[dict[str, Any]] = []
        self.silent = False
        self.robots = ["r1"]
        self.pids = {name: 1000 + k for k, name in enumerate(KINDS)}
        self.cores = {name: ActorRecord(ActorState.READY, incarnation=1) for name in KINDS}
        self.reports = {name: dict(report) for name, report in REPORTS.items()}
        self.reported = True
        """Whether the actors have reported."""
        self.last_exit: dict[str, str] = {}
        self.ages: dict[str, float] = {}
        self.stops_elsewhere: Stops | None = None
        self._control_socket = ControlSocket(rundir / SOCKET, self._handle)
        self._clients: list[ControlClient] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, name: str, state: ActorState, incarnation: int = 1, reason: str = "") -> None:
        self.cores[name] = ActorRecord(state, incarnation=incarnation, reason=reason)

    def status(self) -> dict[str, Any]:
        facts = [
            ActorFacts(
                name=name,
                kind=kind,
                robot="r1" if name.startswith("r1/") else None,
                pid=self.pids[name] if self.cores[name].state is ActorState.READY else None,
                uptime_s=12.0,
                progress_age_s=self.ages.get(name, 0.01),
                memory_mb=40.0,
                last_exit=self.last_exit.get(name),
                last_error=None,
                report=self.reports[name] if self.reported else None,
            )
            for name, kind in KINDS.items()
        ]
        rules = Rules(hang_timeout_s=5.0)
        members = {name: Member(name, rules) for name in KINDS}
        elsewhere = self.stops_elsewhere
        return report.status(
            "cell", 12.0, facts, self.cores, self.robots, members, stops_elsewhere=elsewhere
        )

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        for client in self._clients:
            client.sock.close()
        self._control_socket.close()

    def _handle(self, client: ControlClient, request: dict[str, Any]) -> None:
        if self.silent:
            return
        if request["do"] == "status":
            client.reply({"ok": True, "status": self.status()})
            return
        self.asked.append(request)
        if request["names"][0] not in ("r1", *KINDS):
            client.refuse(f"no actor {request['names'][0]!r}; did you mean 'r1/network'?")
        else:
            client.reply({"ok": True, "result": None})

    def _run(self) -> None:
        while not self._ended.is_set():
            sockets = {c.sock.fileno(): c for c in self._clients if not c.closed}
            listener = self._control_socket.listener.fileno()
            poll = select.poll()  # not select: it knows only the first 1024 descriptors
            for fd in (listener, *sockets):
                poll.register(fd, select.POLLIN)
            for source, _ in poll.poll(10):
                if source != listener:
                    self._control_socket.read(sockets[source])
                elif client := self._control_socket.accept():
                    self._clients.append(client)
            for client in [c for c in self._clients if c.closed]:
                client.sock.close()
                self._clients.remove(client)
