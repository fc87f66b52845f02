"""The warm standbys (spares) of a host: for each list of modules as many as its actors may need at
once.

Guaranteed: a spare that is handed out has answered a ping within the last ANSWER_S; a frozen one is
ended and replaced. The next one is prepared PREPARE_AFTER_S after the last was taken and the last
actor was started, because on a small machine its imports would slow down their starts.
"""

from __future__ import annotations

import select
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from ..runtime.log import Record
from ..runtime.spec import ActorSpec
from .actor_process import Started, environment_for
from .warm_standby import WarmStandby

PREPARE_AFTER_S = 2.0
RETRY_AFTER_S = 10.0
ANSWER_S = 0.1
"""How long the start of an actor waits for a spare's answer to a ping: less than a cold start
takes. A live spare answers within a millisecond."""


class Spares:
    """The owner asks `missing` regularly, polls what `prepare` returns and reports each that is
    `lost`."""

    def __init__(
        self,
        actors: Iterable[ActorSpec],
        environment: Mapping[str, str],
        keep: Callable[[Record], None],
    ) -> None:
        self._environment = environment
        self._keep = keep
        self._spares: list[WarmStandby] = []
        self._wanted: dict[str, int] = {}
        self._kinds: dict[str, str] = {}
        self._calm_since_s: float | None = None
        self._not_before_s: dict[str, float] = {}
        self.adapt(actors)

    def adapt(self, actors: Iterable[ActorSpec]) -> None:
        """Prepare spares for `actors` from now on: one for each actor that needs the same modules,
        at most its `spares`."""
        warm = [actor for actor in actors if actor.warm]
        sharing = Counter(actor.warm for actor in warm)
        self._kinds = {actor.warm or "": actor.kind for actor in warm}
        # Control first, because only its absence costs a robot ticks.
        warm.sort(key=lambda actor: actor.kind != "control")
        self._wanted = {actor.warm or "": min(sharing[actor.warm], actor.spares) for actor in warm}
        for modules in {spare.modules for spare in self._spares}:
            for spare in self._of(modules)[self._wanted.get(modules, 0) :]:
                spare.end()

    def missing(self, now_s: float, calm: bool) -> str | None:
        """The modules of a missing spare, once `calm` (no actor starts) has been true for
        PREPARE_AFTER_S; else None."""
        if not calm:
            self._calm_since_s = None
            return None
        if self._calm_since_s is None:
            self._calm_since_s = now_s
        if now_s - self._calm_since_s < PREPARE_AFTER_S:
            return None
        missing = (
            modules
            for modules, wanted in self._wanted.items()
            if len(self._of(modules)) < wanted and now_s >= self._not_before_s.get(modules, 0.0)
        )
        return next(missing, None)

    def prepare(self, modules: str) -> WarmStandby | None:
        """Start a spare; None if the machine has no room for its process now."""
        environment = environment_for(self._kinds[modules], self._environment)
        try:
            spare = WarmStandby(modules, environment, self._keep)
        except OSError:
            self._calm_since_s = None
            return None
        self._spares.append(spare)
        return spare

    def take(self, modules: str | None) -> Started | None:
        """Hand over a spare of `modules` that answers a ping; None if none does within ANSWER_S."""
        waiting = select.poll()
        pinged = {}
        for spare in self._of(modules):
            spare.receive()
            if spare.ready:
                spare.ping()
                pinged[spare.process.link.fileno()] = spare
                waiting.register(spare.process.link, select.POLLIN)
        deadline_s = time.monotonic() + ANSWER_S
        while pinged and (left_s := deadline_s - time.monotonic()) > 0:
            for fd, _ in waiting.poll(left_s * 1000):
                pinged[fd].receive()
                if pinged[fd].answered:
                    self._spares.remove(pinged[fd])
                    return pinged[fd].started()
                if pinged[fd].process.link.closed:
                    waiting.unregister(fd)
                    del pinged[fd]
        return None

    def check(self, now_s: float) -> list[str]:
        """Ping all, about once a second, and end the frozen ones; returns a sentence for each."""
        faults = []
        for spare in self._spares:
            if not spare.ended and (why := spare.check(now_s)):
                faults.append(f"a warm spare (process {spare.process.pid}) {why}: it is replaced")
                spare.end()
        return faults

    def lost(self, spare: WarmStandby, now_s: float) -> None:
        """Reap a spare that has exited."""
        if not spare.ended:  # it died by itself, and the next one would too
            self._not_before_s[spare.modules] = now_s + RETRY_AFTER_S
        self._spares.remove(spare)
        spare.close()

    def report(self) -> dict[str, int]:
        """How many are wanted, and how many could be taken now."""
        ready = sum(spare.ready and not spare.ended for spare in self._spares)
        return {"wanted": sum(self._wanted.values()), "ready": ready}

    def pids(self) -> set[int]:
        return {spare.process.pid for spare in self._spares}

    def close(self) -> None:
        """End and reap all."""
        for spare in self._spares:
            spare.close()
        self._spares = []

    def _of(self, modules: str | None) -> list[WarmStandby]:
        return [spare for spare in self._spares if spare.modules == modules and not spare.ended]
