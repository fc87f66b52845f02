"""The telemetry actor: reads what the actors of its host record of requests, and sends it as spans.

No other actor waits for it, or knows of it: it follows their audits on disk. What they record while
it is not there is not sent. A collector that is not reachable costs spans, past `MOST_WAITING` the
oldest, which are counted, and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import select
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ...errors import RefusedError
from ..network.executed_log import ExecutedHead, ExecutedStep
from ..runtime.actor import Actor
from ..runtime.outage import Outage
from ..runtime.telemetry_config import TelemetryConfig
from . import otlp_export
from .followed_file import FollowedFile
from .otlp_export import OtlpExport
from .played_requests import PlayedRequests
from .request_spans import Line, Span, of_broker, of_network, of_replica

MOST_WAITING = 8192
_SENT = 512
"""Spans in one message."""
_BEAT_S = 0.25

_steps = msgspec.json.Decoder(ExecutedHead | ExecutedStep)


class RobotRecords:
    """What one robot's network actor recorded."""

    def __init__(self, evidence: Path, robot: str) -> None:
        self._audit = FollowedFile(evidence / "audit" / f"{robot}.network.jsonl")
        self._executed = FollowedFile(evidence / "executed" / f"{robot}.jsonl")
        self._requests = PlayedRequests()

    def spans(self, now_s: float) -> Iterator[Span]:
        """The spans of what was recorded since the last call."""
        epoch_ns = time.time_ns() - time.monotonic_ns()  # of this host, as control's
        for raw in self._executed.read():
            with contextlib.suppress(msgspec.MsgspecError):  # a writer was killed in it
                step = _steps.decode(raw)
                if isinstance(step, ExecutedStep):
                    yield from self._requests.executed(step, epoch_ns)
        for line in _lines(self._audit):
            yield of_network(line)
            yield from self._requests.answered(line, now_s)
        yield from self._requests.expire(now_s)

    def close(self) -> None:
        self._audit.close()
        self._executed.close()


class TelemetryActor(Actor):
    """The traces of one host."""

    kind = "telemetry"
    Config = TelemetryConfig

    def setup(self) -> None:
        config: TelemetryConfig = self.config
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it is said below, once
        try:
            self._export = OtlpExport(config.otlp, config.fleet, config.host)
        except ModuleNotFoundError as error:
            raise RefusedError(f"{otlp_export.MISSING}: {otlp_export.REMEDY}") from error
        self.resources.callback(self._export.close)
        evidence = Path(config.evidence)
        self._robots = [RobotRecords(evidence, robot) for robot in config.robots]
        self._replicas = {
            name: FollowedFile(evidence / "audit" / f"{name.replace('/', '.')}.jsonl")
            for name in config.replicas
        }
        self._broker = FollowedFile(evidence / "audit" / "broker.jsonl") if config.broker else None
        self._waiting: deque[Span] = deque(maxlen=MOST_WAITING)
        self._outage = Outage()
        self._next_s = 0.0
        self._sent = self._lost = 0

    def run(self) -> None:
        self.ready()
        while not self.stopping:
            self._collect(time.monotonic())
            if self._waiting and time.monotonic() >= self._next_s:
                self._send()
            self.board.report(self._status())
            self.board.progress()
            if select.select([self.link], [], [], 0 if self._more else _BEAT_S)[0]:
                self.refuse_commands()
        self._collect(time.monotonic())
        if self._waiting and not self._outage.reason:
            self._send()

    def teardown(self) -> None:
        for records in (*self._robots, *self._replicas.values(), self._broker):
            if records is not None:
                records.close()

    @property
    def _more(self) -> bool:
        """Whether there is more to send than one message, and a collector that takes it."""
        return len(self._waiting) > _SENT and not self._outage.reason

    def _collect(self, now_s: float) -> None:
        for span in self._recorded(now_s):
            self._lost += len(self._waiting) == MOST_WAITING
            self._waiting.append(span)

    def _recorded(self, now_s: float) -> Iterator[Span]:
        for robot in self._robots:
            yield from robot.spans(now_s)
        if self._broker is not None:
            for line in _lines(self._broker):
                yield of_broker(line)
        for name, file in self._replicas.items():
            for line in _lines(file):
                yield from of_replica(line, name)

    def _send(self) -> None:
        """Send the oldest spans; where that fails they are kept, and it is tried again later."""
        spans = [self._waiting[k] for k in range(min(_SENT, len(self._waiting)))]
        taken = self._export.send(spans)
        now_ns = time.monotonic_ns()
        if not taken:
            why = f"the collector at {self.config.otlp} takes no spans"
            if self._outage.failed(why, now_ns):
                self.log.warning("%s: is it there, and the address right?", why)
            self._next_s = time.monotonic() + self._outage.pause_s
            return
        out_s = self._outage.ended(now_ns)
        if out_s is not None:
            self.log.info("the collector takes spans again, after %.1f s", out_s)
        self._sent += len(spans)
        for _ in spans:
            self._waiting.popleft()

    def _status(self) -> dict[str, object]:
        return {
            "otlp": self.config.otlp,
            "reason": self._outage.reason,
            "sent": self._sent,
            "waiting": len(self._waiting),
            "lost": self._lost,
        }


def _lines(file: FollowedFile) -> Iterator[Line]:
    for raw in file.read():
        try:
            line = msgspec.json.decode(raw)
        except msgspec.MsgspecError:
            continue  # a writer was killed in it
        if isinstance(line, dict) and isinstance(line.get("session"), int):
            yield line
