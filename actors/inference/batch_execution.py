"""One batch on the device: requests to observations, chunks to replies, and the record of both."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ...errors import PolicyBrokenError, WireError
from ...policy.base import Chunk, Observation
from .capture import Capture, CapturedExchange, exchange, self_contained
from .handshake import Answer
from .history import Histories
from .observed_images import Views
from .policy_runner import PolicyRunner
from .replica_metrics import Ledger, Meters
from .request_intake import Waiting
from .served_session import (
    BY_BROKER,
    Cost,
    ServedSession,
    TaskRule,
    answer,
    message_of,
    observe,
)

BRIEF_S = 0.005
"""In a batch that takes less, also with each request once more alone after an error, frames may
stay in their rings: a camera of 200 Hz writes one frame meanwhile. To copy three of 640x480 takes
0.15 ms."""


@dataclass
class Batch:
    """Requests that the device takes together, their observations, and which images of these are
    views of shared memory."""

    jobs: list[Waiting] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    views: list[Views | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.jobs)

    @property
    def robots(self) -> list[str]:
        """The robots, in order."""
        return [job.session for job in self.jobs]


class BatchExecution:
    """Runs batches of the robots in `sessions` and records what became of each request."""

    def __init__(
        self,
        runner: PolicyRunner,
        sessions: Mapping[str, ServedSession],
        tasks: TaskRule,
        histories: Histories,
        meters: Meters,
        ledger: Ledger,
        capture: Capture,
        log: logging.Logger,
        interval_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`interval_s()`: in how much time each robot is to ask once at most."""
        self._interval_s = interval_s
        self._runner, self._sessions, self._tasks = runner, sessions, tasks
        self._histories, self._meters, self._ledger = histories, meters, ledger
        self._capture, self._log = capture, log
        # A stateful policy and the capture use images after their chunk was made.
        self._keeps_images = runner.mode == "exclusive" or capture.enabled

    def prepare(self, jobs: list[Waiting]) -> tuple[Batch, list[tuple[Waiting, WireError]]]:
        """The batch of those `jobs` that can be decoded, and the others with their errors."""
        batch, failed = Batch(), list[tuple[Waiting, WireError]]()
        brief = self._longest_s(len(jobs)) < BRIEF_S
        # Those whose frames may stay in their rings come last: others take time to decode.
        for job in sorted(jobs, key=self._in_place):
            views = None if self._keeps_images else Views(rings=brief)
            try:
                observation = observe(
                    job.payload,
                    job.session,
                    self._runner.spec,
                    self._tasks,
                    self._sessions[job.session].memory,
                    views,
                )
            except WireError as error:
                failed.append((job, error))
                continue
            batch.jobs.append(job)
            batch.observations.append(observation)
            batch.views.append(views)
        return batch, failed

    def run(self, batch: Batch, reset: bool) -> Iterator[tuple[str, Answer]]:
        """Predict, after a reset of the policy if asked for; the answers by robot. Raises
        PolicyBrokenError."""
        if reset:
            self._runner.reset()
        usual_s = self._runner.times.get(len(batch), 0.0)
        start_ns = time.monotonic_ns()
        try:
            results, seconds = self._runner.predict(
                batch.observations, learn=self._representative(batch.robots)
            )
        except PolicyBrokenError as error:
            shared = len(self._sessions) > 1
            self._histories.lost(batch.robots, str(error), time.monotonic_ns(), shared)
            raise
        end_ns = time.monotonic_ns()
        self._meters.ran(len(batch), start_ns, end_ns)
        load, interval_s = self._meters.busy.load(end_ns), self._interval_s()
        exchanges: list[CapturedExchange] = []
        each = zip(batch.jobs, batch.observations, batch.views, results, strict=True)
        for job, observation, views, result in each:
            session = self._sessions[job.session]
            gone = None if views is None else views.overwritten()
            result = gone or result
            queue_s = (start_ns - job.arrived_ns) / 1e9
            cost = Cost(queue_s, seconds, len(batch), session.superseded, load, interval_s)
            session.superseded = 0
            delay_s = observation.delay_steps / self._runner.spec.fps
            session.away_s = max(0.0, delay_s - queue_s - seconds)
            frames = answer(job.payload.header, result, cost)
            yield job.session, frames  # before the records, because the robot waits for it
            if gone is None:  # that the machine was slow is not the robot's fault
                self._remember(job.session, result, seconds, usual_s, len(batch), end_ns)
            if self._capture.enabled:
                request = self_contained(job.payload, observation)
                exchanges.append(exchange(job.session, session.id, request, frames))
            self._ledger.answered(
                session.id,
                job.payload.header,
                observation,
                result,
                cost,
                slack_s=job.payload.body.slack_s,
                late=end_ns > job.deadline_ns,
                tags=session.tags,
                answer_s=(time.monotonic_ns() - start_ns) / 1e9 - seconds,
                direct=session.ways[0] != BY_BROKER,
            )
        if exchanges:
            self._capture.batch(exchanges, reset)

    def _in_place(self, job: Waiting) -> bool:
        """Whether an image of the request may be used in its camera's ring."""
        images = job.payload.body.images
        return any(
            image.frame is not None and (image.width, image.height) == (camera.width, camera.height)
            for camera in self._runner.spec.cameras
            if (image := images.get(camera.name)) is not None
        )

    def _longest_s(self, size: int) -> float:
        """How long a batch takes usually, with each request alone after an error of them all."""
        times = self._runner.times
        again_s = size * times.get(1, math.inf) if size > 1 else 0.0
        return times.get(size, math.inf) + again_s

    def _representative(self, robots: list[str]) -> bool:
        """Whether the duration of a batch of these robots is typical: not if one of them is slower
        than all others."""
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
        now_ns: int,
    ) -> None:
        shared = len(self._sessions) > 1
        if isinstance(result, Chunk):
            self._histories.clipped(robot, result.clipped)
            line = self._histories.served(robot, seconds, usual_s, batch == 1, now_ns, shared)
            if line:
                self._log.info(line)
            return
        own_s = seconds / batch  # about its own share, if the batch was retried one by one
        line = self._histories.failed(robot, message_of(result), own_s, now_ns, shared)
        if line:
            self._log.warning(line)
