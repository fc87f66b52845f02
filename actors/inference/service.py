"""The core of a replica: messages of its robots in, answers out. No sockets, no polls.

`work` runs one batch on the device; every other method returns at once. Each request that the
device takes gets exactly one answer; routing it is the broker's.
"""

from __future__ import annotations

import dataclasses
import logging
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ...transport.arrays import Buffer
from ...transport.bodies import Demand, Request
from ...transport.header import Header
from ...transport.messages import Message
from ..runtime.audit import Audit
from ..runtime.configs import InferenceConfig
from .batch_execution import BatchExecution
from .capacity import (
    Load,
    capacity,
    request_rate_hz,
    request_s,
    slowed_capacity,
    slowed_interval_s,
)
from .capture import Capture
from .handshake import Answer, Handshake
from .history import Histories
from .policy_runner import PolicyRunner
from .replica_metrics import Ledger, Meters
from .request_intake import RequestIntake, ns
from .robot_memory import RobotMemory
from .schedule import Schedule
from .served_session import BY_BROKER, ServedSession, TaskRule
from .service_terms import Occupancy, Terms


class ReplicaCore:
    """The sessions and requests of one replica around its policy.

    `memories` are those that it shares with this host's robots, by robot. It closes them, the audit
    and the capture.
    """

    def __init__(
        self,
        replica: str,
        config: InferenceConfig,
        runner: PolicyRunner,
        memories: Mapping[str, RobotMemory],
        meters: Meters,
        audit: Audit,
        capture: Capture,
        histories: Histories | None = None,
        log: logging.Logger | None = None,
    ) -> None:
        shared = runner.mode == "shared"
        histories = histories or Histories()
        self.limit = config.max_sessions if shared else 1
        self._config, self._runner = config, runner
        self._meters, self._audit, self._capture = meters, audit, capture
        self._histories = histories
        ledger = Ledger(meters, audit)
        terms = Terms(
            config.service,
            runner.spec,
            self.limit,
            config.pin_task,
            config.default_task,
            config.strict_fps,
            alone="" if shared else runner.mode_reason,
            request_timeout_s=config.request_timeout_s,
        )
        self.handshake = Handshake(
            replica,
            terms,
            runner.policy.checkpoint_hash,
            memories,
            meters,
            self._occupancy,
            config.host or socket.gethostname(),
        )
        self._intake = RequestIntake(
            replica, config, max(runner.times), self.handshake, histories, meters, ledger
        )
        self._execution = BatchExecution(
            runner,
            self.sessions,
            TaskRule(config.pin_task, config.default_task),
            histories,
            meters,
            ledger,
            capture,
            log or logging.getLogger(replica),
            self.interval_s,
        )

    @property
    def sessions(self) -> dict[str, ServedSession]:
        """The open sessions by robot."""
        return self.handshake.sessions

    @property
    def by_broker(self) -> Counter[int]:
        """How many sessions came by each broker."""
        return Counter(session.broker for session in self.sessions.values())

    @property
    def waiting(self) -> Schedule[Message[Request]]:
        """The requests that wait for the device."""
        return self._intake.waiting

    @property
    def longest_batch_ns(self) -> int:
        """The longest usual duration of a batch, of all sizes."""
        return ns(max(self._runner.times.values()))

    def receive(
        self,
        robot: str,
        header: Header,
        frames: list[Buffer],
        now_ns: int,
        broker: int = 0,
        way: bytes = BY_BROKER,
    ) -> list[Answer]:
        """Handle one message of a robot that came by the `broker` of that number, or a request that
        came straight by another `way`; return the immediate answers. Raises WireError for a message
        that is to be dropped and counted."""
        return self._intake.receive(robot, header, frames, now_ns, broker, way)

    def displaced(self) -> list[tuple[int, str, Answer]]:
        """What is to be sent to brokers whose robots have gone on by another one: broker, robot,
        message. Each is returned once."""
        return self._intake.displaced()

    def share(self, memories: Mapping[str, RobotMemory]) -> None:
        """Robots of this host came or went: these are the shared memories of those that are there
        now. The sessions under way keep theirs."""
        self.handshake.memories = memories

    def end_sessions_by(self, broker: int) -> None:
        """End every session that came by `broker`: that is gone, or has moved them."""
        self._intake.end_sessions_by(broker)

    def due_ns(self, now_ns: int) -> int | None:
        """The instant from which `work` runs a batch; None while nothing waits."""
        return self._intake.due_ns(now_ns)

    def work(self, now_ns: int) -> Iterator[tuple[str, Answer]]:
        """Run the next batch, if it is due; its answers by robot, and the errors of requests that
        expired. Raises PolicyBrokenError."""
        yield from self._intake.expire(now_ns)
        batch, failed = self._execution.prepare(self._intake.take(now_ns))
        for job, error in failed:
            yield job.session, self._intake.fail(job.session, job.payload.header, error)
        if batch.jobs:
            reset = self._intake.episode_began or self._runner.disturbed
            self._intake.episode_began = False
            yield from self._execution.run(batch, reset)

    def load(self) -> Load:
        """The demand of one robot: its rate by the policy's chunks, the round-trip time of the
        farthest robot here."""
        spec, latency_s = self._runner.spec, self._runner.times[1]
        return Load(
            request_rate_hz(spec.chunk_size / spec.fps, self._config.buffer_time_s, latency_s),
            spec.execution_horizon / spec.fps,
            rtt_s=max((session.away_s for session in self.sessions.values()), default=0.0),
        )

    def capacity(self) -> int:
        """The number of such robots that this replica can serve, by its measured times."""
        carried = capacity(self._runner.times, self.load())
        return carried if self._runner.mode == "shared" else min(carried, 1)

    def interval_s(self) -> float:
        """In how much time each robot is to ask once at most, 0 for no bound: see `capacity`."""
        robots = len(self.sessions)
        if robots < 2:  # as below, without the load: a reply waits for this
            return 0.0
        return slowed_interval_s(self._runner.times, robots, self.load(), self._chunk_s)

    @property
    def _chunk_s(self) -> float:
        return self._runner.spec.chunk_size / self._runner.spec.fps

    def demand(self, now_ns: int) -> Demand:
        """What the robots of this replica want of it."""
        nominal_hz = len(self.sessions) * self.load().rate_hz
        return self._meters.demand.demand(now_ns, nominal_hz, request_s(self._runner.times))

    def _occupancy(self, others: int) -> Occupancy:
        load = self._meters.busy.load(time.monotonic_ns())
        times = self._runner.times
        rate_hz, most = self.load().rate_hz, None
        if self._runner.mode == "shared":
            # Without round-trip times: one distant robot does not keep others out.
            most = slowed_capacity(self._runner.fastest, self._chunk_s)
        return Occupancy(others, load, self.capacity(), times[1], rate_hz, most)

    def status(self, now_ns: int) -> dict[str, Any]:
        """The board's report: MessagePack types only, bounded in size."""
        runner, meters = self._runner, self._meters
        return {
            "service": self._config.service,
            "model": runner.spec.model,
            "revision": runner.spec.revision,
            "checkpoint": runner.policy.checkpoint_hash,
            "mode": runner.mode,
            "mode_reason": runner.mode_reason,
            "execution": runner.execution,
            "sessions": sorted(self.sessions)[:64],
            "max_sessions": self.limit,
            "capacity": self.capacity(),
            "each": {k: round(v, 3) for k, v in dataclasses.asdict(self.load()).items()},
            "queue": len(self.waiting),
            "load": round(meters.busy.load(now_ns), 4),
            "batch_ms": {str(b): round(s * 1e3, 2) for b, s in sorted(runner.times.items())},
            "batches": {str(b): n for b, n in sorted(meters.batches.items())},
            "inference_ms": meters.inference_ms.summary(),
            "queue_ms": meters.wait_ms.summary(),
            "counts": dict(meters.counts),
            "robots": self._histories.rows(),
            "evidence_lost": self._audit.lost + self._capture.lost,
        }

    def keep_records(self, now_ns: int) -> None:
        """Let time pass: write the audit's lines that have waited long enough."""
        self._audit.keep(now_ns)

    def close(self) -> None:
        """Close the audit, the capture and the shared memories."""
        self._audit.close()
        self._capture.close()
        for memory in self.handshake.memories.values():
            memory.close()
