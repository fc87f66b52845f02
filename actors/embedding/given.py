"""`GivenReplica`: the replica that `serve` runs, of a policy that its program made.

Beside what every replica logs, it logs when it is ready and which robots it serves: a script has no
status of its own.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ...policy.base import ChunkPolicy, Observation
from ..inference.given_policy import GivenPolicy
from ..inference.replica import InferenceActor
from ..runtime.actor import Boot
from ..runtime.supervisor_link import Link

_MAX_WAIT_MS = 50
"""How long the loop waits at most, where a program may ask it to stop by an event."""


class StopEvent(Protocol):
    """What ends `serve` from another thread; `threading.Event` is one.

    >>> import threading
    >>> event: StopEvent = threading.Event()
    >>> event.is_set()
    False
    """

    def is_set(self) -> bool: ...


class GivenReplica(InferenceActor):
    """A replica of `policy` in the program's own process. It drains and ends once `stop` is set."""

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
        # Below the package's own logger, which `logged_to_stderr` shows.
        self.log = logging.getLogger(f"holdfast.{self.name}")
        self._registered = False
        self._robots: set[str] = set()

    def setup(self) -> None:
        self.log.info("warming up")
        super().setup()

    def _load_policy(self) -> ChunkPolicy:
        return self._policy

    def _example(self) -> Observation | None:
        return self._given_example

    def _timeout_ms(self, now_ns: int) -> int:
        timeout_ms = super()._timeout_ms(now_ns)
        return timeout_ms if self._stop is None else min(timeout_ms, _MAX_WAIT_MS)

    def _report(self, now_ns: int) -> None:
        """At every turn of the loop."""
        if self._stop is not None and self._stop.is_set():
            self._drain(now_ns, "asked to stop")
        super()._report(now_ns)
        self._announce(now_ns)

    def _announce(self, now_ns: int) -> None:
        """Log what has changed. What a replica waits for is logged by its base."""
        registered = bool(self._brokers.registered)
        if registered and not self._registered:
            at = ", ".join(self.config.brokers[k] for k in self._brokers.registered)
            self.log.info("ready, registered with the broker at %s", at)
        self._registered = registered
        robots = set(self._core.sessions)
        for robot in sorted(robots - self._robots):
            self.log.info("serves robot %s, %d in all", robot, len(robots))
        for robot in sorted(self._robots - robots):
            self.log.info("robot %s has left, %d in all", robot, len(robots))
        self._robots = robots


@contextmanager
def logged_to_stderr() -> Iterator[None]:
    """Show what Holdfast logs, on stderr, in a program that has not set logging up."""
    logger = logging.getLogger("holdfast")
    if logging.getLogger().handlers or logger.handlers:
        yield
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
