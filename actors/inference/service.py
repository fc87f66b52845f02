"""The service that a replica gives: requests of its sessions in, answers out. No sockets, no polls.

`work` runs one batch on the device; everything else returns at once. Images are looked into when
the device takes a request, not when it arrives: what a newer one replaces costs nothing.

An answer is given exactly once per request that is taken; which answers reach whom is the broker's.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ...errors import DeviceLostError, WireError
from ...policy.base import Chunk, Observation
from ...transport.arrays import Buffer
from ...transport.header import Header, Kind
from ...transport.messages import Event, Message, Request, decode, encode
from ...transport.outbox import OutboxReader
from ..runtime.audit import Audit
from ..runtime.configs import InferenceConfig
from .capacity import Load, capacity, request_rate_hz
from .capture import Capture, exchange, self_contained
from .handshake import Answer, Handshake
from .history import Histories, History
from .policy_runner import PolicyRunner
from .replica_metrics import Ledger, Meters
from .schedule import Job, Schedule
from .served_session import (
    Cost,
    ServedSession,
    TaskRule,
    answer,
    has_prefix,
    observe,
    overwritten,
    words_of,
)
from .session_checks import Occupancy, Terms

Waiting = Job[Message[Request]]


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


class ReplicaCore:
    """See the module. `outboxes` are the shared memories of this host's robots, by robot."""

    def __init__(
        self,
        replica: str,
        config: InferenceConfig,
        device: PolicyRunner,
        outboxes: Mapping[str, OutboxReader],
        meters: Meters,
        audit: Audit,
        capture: Capture,
        histories: Histories | None = None,
        log: logging.Logger | None = None,
    ) -> None:
        shared = device.mode == "shared"
        self.limit = config.max_sessions if shared else 1
        self.waiting: Schedule[Message[Request]] = Schedule(
            max_batch=max(device.times),
            max_wait_ns=_ns(config.max_wait_ms / 1e3),
            order=config.scheduling,
        )
        self._replica, self._config, self._device = replica, config, device
        self._outboxes, self._meters = outboxes, meters
        self._audit, self._capture = audit, capture
        self._histories = histories or Histories()
        self._log = log or logging.getLogger(replica)
        self._ledger = Ledger(meters, audit)
        self._tasks = TaskRule(config.pin_task, config.default_task)
        terms = Terms(
            config.service,
            device.spec,
            self.limit,
            config.pin_task,
            config.strict_fps,
            alone="" if shared else device.mode_reason,
            request_timeout_s=config.request_timeout_s,
        )
        self.reception = Handshake(
            replica, terms, device.policy.checkpoint_hash, outboxes, meters, self._occupancy
        )
        self.sessions = self.reception.sessions
        self._keeps_images = not shared or capture.enabled
        """Who looks at images after their chunk was made: a policy that remembers,
        and the capture."""
        self._forget_first = True
        """The next batch begins an episode of a policy that remembers."""

    @property
    def longest_batch_ns(self) -> int:
        """What a batch may take, by the times measured so far."""
        return _ns(max(self._device.times.values()))

    # Messages

    def receive(self, robot: str, header: Header, frames: list[Buffer], now: int) -> list[Answer]:
        """Handle one message of a robot; return what to send to it now. Raises WireError for what
        is to be dropped and counted."""
        if header.kind is Kind.OPEN:
            return self._open(robot, header, frames)
        if header.kind is Kind.INQUIRY:
            return [self.reception.inquire(robot, header, frames)]
        session = self.sessions.get(robot)
        if session is not None and header.epoch < session.epoch:
            raise WireError("stale-epoch", f"epoch {header.epoch} of {robot} is over")
        if session is None or header.epoch > session.epoch:
            return self._unknown(robot, header)
        if header.kind is Kind.CLOSE:
            self._end(session)
        elif header.kind is Kind.RESET:
            self._enter_episode(session, max(header.episode, session.episode))
            return [encode(header._replace(kind=Kind.EVENT), Event(what="reset"))]
        elif header.kind is Kind.REQUEST:
            return self._request(session, header, frames, now)
        else:
            raise WireError("kind", f"a {header.kind.name} from {robot}")
        return []

    def _open(self, robot: str, header: Header, frames: list[Buffer]) -> list[Answer]:
        before = self.sessions.get(robot)
        answer_to_it = self.reception.open(robot, header, frames)
        if self.sessions.get(robot) is not before:
            self.waiting.remove(robot)
            self._forget_first = True
        return [answer_to_it]

    def _unknown(self, robot: str, header: Header) -> list[Answer]:
        if header.kind is not Kind.REQUEST:
            raise WireError("no-session", f"a {header.kind.name} of {robot}, which has no session")
        self._meters.counts["lost-sessions"] += 1
        words = f"replica {self._replica} holds no session of {robot} in epoch {header.epoch}"
        return [encode(header._replace(kind=Kind.EVENT), Event(what="lost", message=words))]

    def _request(
        self, session: ServedSession, header: Header, frames: list[Buffer], now: int
    ) -> list[Answer]:
        history = self._histories.of(session.robot)
        rest_s = self._histories.resting(session.robot, now)
        if rest_s > 0:
            words = f"the next request is taken in {rest_s:.1f} s, because {self._why(history)}"
            return [self._failed(session.robot, header, WireError("resting", words))]
        try:
            message: Message[Request] = decode(frames)
        except WireError as error:
            return [self._failed(session.robot, header, error)]
        # Whatever was said before, in error: the robot is where its request says.
        self._enter_episode(session, header.episode)
        expires_ns = now + _ns(self._config.request_timeout_s)
        job = Job(
            session=session.robot,
            seq=header.seq,
            # Equal shapes share a batch: a robot in trouble has one of its own, and comes last.
            shape=(has_prefix(message.body), session.robot if history.alone else ""),
            arrived_ns=now,
            deadline_ns=expires_ns if history.alone else now + _ns(message.body.slack_s),
            expires_ns=expires_ns,
            payload=message,
        )
        if self.waiting.put(job) is not None:
            session.superseded += 1
            self._meters.counts["superseded"] += 1
        return []

    @staticmethod
    def _why(history: History) -> str:
        if history.losses:
            return f"the device was lost at its requests {history.losses} times: {history.reason}"
        if history.failing:
            return f"the last {history.failing} failed: {history.reason}"
        return f"the last {history.slow} took much longer than other robots'"

    def _enter_episode(self, session: ServedSession, episode: int) -> None:
        if episode == session.episode:
            return
        session.episode = episode
        self.waiting.remove(session.robot)
        self._forget_first = True

    def _end(self, session: ServedSession) -> None:
        del self.sessions[session.robot]
        self.waiting.remove(session.robot)

    def forget_everyone(self) -> None:
        """All sessions are void: whoever told us about them is gone."""
        for session in list(self.sessions.values()):
            self._end(session)

    # Work

    def due(self, now: int) -> int | None:
        """The instant from which `work` has something to do; None while nothing waits."""
        return self.waiting.due(now, len(self.sessions))

    def work(self, now: int) -> Iterator[tuple[str, Answer]]:
        """Run the next batch, if it is time; its answers by robot, and those that come too late."""
        for job in self.waiting.expire(now):
            waited = (now - job.arrived_ns) / 1e9
            words = f"it waited for {waited:.1f} s: this replica has more robots than it carries"
            yield (
                job.session,
                self._failed(job.session, job.payload.header, WireError("expired", words)),
            )
        jobs: list[Waiting] = []
        observations: list[Observation] = []
        for job in self.waiting.take(now, len(self.sessions)):
            session = self.sessions[job.session]
            try:
                observation = observe(
                    job.payload,
                    job.session,
                    self._device.spec,
                    self._tasks,
                    session.outbox,
                    self._keeps_images,
                )
            except WireError as error:
                yield job.session, self._failed(job.session, job.payload.header, error)
                continue
            jobs.append(job)
            observations.append(observation)
        if jobs:
            yield from self._run(jobs, observations)

    def _run(
        self, jobs: list[Waiting], observations: list[Observation]
    ) -> Iterator[tuple[str, Answer]]:
        forget, self._forget_first = self._forget_first or self._device.disturbed, False
        if forget:
            self._device.reset()
        robots = [job.session for job in jobs]
        usual_s = self._device.times.get(len(jobs), 0.0)
        start = time.monotonic_ns()
        try:
            results, seconds = self._device.predict(
                observations, learn=self._representative(robots)
            )
        except DeviceLostError as error:
            self._histories.lost(robots, str(error), time.monotonic_ns())
            raise
        end = time.monotonic_ns()
        self._meters.ran(len(jobs), start, end)
        load = self._meters.busy.load(end)
        exchanges = []
        for job, observation, result in zip(jobs, observations, results, strict=True):
            session = self.sessions[job.session]
            if not self._keeps_images:
                result = overwritten(job.payload, observation.images, session.outbox) or result
            queue_s = (start - job.arrived_ns) / 1e9
            cost = Cost(queue_s, seconds, len(jobs), session.superseded, load)
            session.superseded = 0
            reckoned_s = observation.delay_steps / self._device.spec.fps
            session.away_s = max(0.0, reckoned_s - queue_s - seconds)
            self._remember(job.session, result, seconds, usual_s, len(jobs), end)
            frames = answer(job.payload.header, result, cost)
            yield job.session, frames  # first: robots wait for it, evidence does not
            if self._capture.enabled:
                request = self_contained(job.payload, observation)
                exchanges.append(exchange(job.session, request, frames))
            self._ledger.answered(
                session.name,
                job.payload.header,
                observation,
                result,
                cost,
                slack_s=job.payload.body.slack_s,
                late=end > job.deadline_ns,
                tags=session.tags,
            )
        if exchanges:
            self._capture.batch(exchanges, forget)

    def _representative(self, robots: list[str]) -> bool:
        """Whether the time of a batch of these tells what batches take: not if it is a robot's that
        is slower than all others."""
        return not any(
            self._histories.of(robot).slow and not self._histories.others_slow(robot)
            for robot in robots
        )

    def _remember(
        self,
        robot: str,
        result: Chunk | Exception,
        seconds: float,
        usual_s: float,
        batch: int,
        now: int,
    ) -> None:
        shared = len(self.sessions) > 1
        if isinstance(result, Chunk):
            self._histories.clipped(robot, result.clipped)
            said = self._histories.served(robot, seconds, usual_s, batch == 1, now, shared)
            if said:
                self._log.info(said)
            return
        own_s = seconds / batch  # of a batch that was retried one by one, about its own share
        said = self._histories.failed(robot, words_of(result), own_s, now, shared)
        if said:
            self._log.warning(said)

    def _failed(self, robot: str, header: Header, error: Exception) -> Answer:
        """A request that never came to the device."""
        self._ledger.refused(f"{robot}:{header.epoch}", header, error)
        return answer(header, error, Cost())

    # What it says about itself

    def load(self) -> Load:
        """What each robot asks of this replica, if it asks like its policy's and is as far away as
        the farthest that is served here."""
        spec, latency_s = self._device.spec, self._device.times[1]
        return Load(
            request_rate_hz(spec.chunk_size / spec.fps, self._config.buffer_time_s, latency_s),
            spec.execution_horizon / spec.fps,
            rtt_s=max((session.away_s for session in self.sessions.values()), default=0.0),
        )

    def capacity(self) -> int:
        """Such robots that this replica carries by its measured times."""
        carried = capacity(self._device.times, self.load())
        return carried if self._device.mode == "shared" else min(carried, 1)

    def _occupancy(self, others: int) -> Occupancy:
        load = self._meters.busy.load(time.monotonic_ns())
        times = self._device.times
        return Occupancy(others, load, self.capacity(), times[1], self.load().rate_hz)

    def status(self, now: int) -> dict[str, Any]:
        """For the board: MessagePack types only, bounded in size."""
        device, meters = self._device, self._meters
        return {
            "service": self._config.service,
            "model": device.spec.model,
            "revision": device.spec.revision,
            "checkpoint": device.policy.checkpoint_hash,
            "mode": device.mode,
            "mode_reason": device.mode_reason,
            "execution": device.execution,
            "sessions": sorted(self.sessions)[:64],
            "max_sessions": self.limit,
            "capacity": self.capacity(),
            "each": {k: round(v, 3) for k, v in dataclasses.asdict(self.load()).items()},
            "queue": len(self.waiting),
            "load": round(meters.busy.load(now), 4),
            "batch_ms": {str(b): round(s * 1e3, 2) for b, s in sorted(device.times.items())},
            "batches": {str(b): n for b, n in sorted(meters.batches.items())},
            "inference_ms": meters.inference_ms.summary(),
            "queue_ms": meters.wait_ms.summary(),
            "counts": dict(meters.counts),
            "robots": self._histories.rows(),
            "evidence_lost": self._audit.lost + self._capture.lost,
        }

    def close(self) -> None:
        self._audit.close()
        self._capture.close()
        for outbox in self._outboxes.values():
            outbox.close()
