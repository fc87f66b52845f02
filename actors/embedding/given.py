"""`GivenReplica`: the replica that `serve` runs, of a policy that its program made.

It tells its program's log what it waits for, when it is ready, and for whom: a script has no status
of its own to look at.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from ...policy.base import Chunk, ChunkPolicy, Observation, PolicySpec
from ..actor import Boot, Link
from ..inference.replica import InferenceActor

Predict = Callable[[Sequence[Observation]], list[Chunk]]

_PATIENCE_MS = 50
"""How long the loop waits at most, where a program may ask it to stop by an event."""
_SILENCE_NS = 1_000_000_000
"""After which a broker that has not answered is named."""
_log = logging.getLogger(__name__)


class StopEvent(Protocol):
    """`threading.Event` is one."""

    def is_set(self) -> bool: ...


class GivenPolicy:
    """What the program gave, with the name of its weights."""

    def __init__(self, given: Any, spec: PolicySpec, checkpoint_hash: str) -> None:
        self.spec, self.checkpoint_hash = spec, checkpoint_hash
        self.predict_chunk: Predict = getattr(given, "predict_chunk", given)
        self.execution = str(getattr(given, "execution", ""))
        self.reset: Callable[[], object] | None = getattr(given, "reset", None)


class GivenReplica(InferenceActor):
    """See the module. It drains and ends once `stop` is set."""

    def __init__(
        self,
        boot: Boot,
        link: Link,
        policy: GivenPolicy,
        example: Observation | None,
        stop: StopEvent | None,
    ) -> None:
        super().__init__(boot, link)
        self._policy, self._given_example, self._stop = policy, example, stop
        self._begun_ns = 0
        self._registered: bool | None = None
        self._robots: set[str] = set()

    def setup(self) -> None:
        _log.info("%s: warming up", self.name)
        super().setup()
        self._begun_ns = time.monotonic_ns()

    def _load(self) -> ChunkPolicy:
        return self._policy

    def _example(self) -> Observation | None:
        return self._given_example

    def _patience_ms(self, now: int) -> int:
        patience = super()._patience_ms(now)
        return patience if self._stop is None else min(patience, _PATIENCE_MS)

    def _obey(self, now: int) -> None:
        super()._obey(now)
        if self._stop is not None and self._stop.is_set():
            self._drain(now, "asked to stop")

    def _tell(self, now: int) -> None:
        super()._tell(now)
        self._announce(now)

    def _announce(self, now: int) -> None:
        """Log what has changed."""
        registered, broker = self._uplink.registered, self.config.broker
        if registered and not self._registered:
            _log.info("%s: ready, registered with the broker at %s", self.name, broker)
            self._registered = True
        elif not registered and self._registered:
            _log.warning("%s: waiting for the broker at %s to come back", self.name, broker)
            self._registered = False
        elif self._registered is None and now - self._begun_ns > _SILENCE_NS:
            _log.warning(
                "%s: waiting for the broker at %s, which does not answer: is it up, at this "
                "address, and does it know this replica's key, if it uses keys?",
                self.name,
                broker,
            )
            self._registered = False
        robots = set(self._service.sessions)
        for robot in sorted(robots - self._robots):
            _log.info("%s: serves robot %s, %d in all", self.name, robot, len(robots))
        for robot in sorted(self._robots - robots):
            _log.info("%s: robot %s has left, %d in all", self.name, robot, len(robots))
        self._robots = robots


@contextmanager
def spoken() -> Iterator[None]:
    """Show what Holdfast logs, on stderr, in a program that has not set logging up."""
    logger = logging.getLogger("holdfast")
    if logging.getLogger().handlers or logger.handlers:
        yield
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("holdfast: %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
