"""The supervisor's helpers: the cleanup process, the warm standbys, and the reaper of orphans.

A helper that died or froze is replaced, and none of them keeps the supervisor's loop waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from ..runtime.log import Record
from ..runtime.runtime_dir import RuntimeDir
from ..runtime.spec import ActorSpec
from .actor_process import Started
from .cleanup_client import CleanupClient
from .event_loop import EventLoop
from .process import Process
from .spares import Spares
from .subreaper import Subreaper

SPARE_S = 1.0
"""Between the starts of two spares, so that their imports do not compete for the processor."""
CHECK_S = 1.0


class HelperProcesses:
    """Starts the helpers, checks them and replaces them.

    `living` returns the actors' present processes, `warn` logs a sentence of the supervisor's.
    """

    def __init__(
        self,
        actors: Iterable[ActorSpec],
        runtime: RuntimeDir,
        event_loop: EventLoop,
        living: Callable[[], list[Process]],
        keep: Callable[[Record], None],
        warn: Callable[[str], None],
    ) -> None:
        self._event_loop = event_loop
        self._living = living
        self._warn = warn
        self._cleanup = CleanupClient(runtime)
        self._spares = Spares(actors, self._cleanup.environment, keep)
        self._subreaper = Subreaper(self._cleanup.mark)
        self._next_spare_s = self._next_check_s = 0.0

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of every actor, with the fleet's mark."""
        return self._cleanup.environment

    def start_cleanup_process(self) -> None:
        """Start it, and another one whenever it dies, which is sent every live process."""
        pidfd = self._cleanup.open(self._living())

        def on_exit() -> None:
            self._event_loop.forget(pidfd)
            self._cleanup.close()
            self._warn("the cleanup process died and is replaced")
            self.start_cleanup_process()

        self._event_loop.add(pidfd, on_exit)

    def adapt(self, actors: Iterable[ActorSpec]) -> None:
        """Prepare spares for `actors` from now on."""
        self._spares.adapt(actors)

    def take_spare(self, modules: str | None) -> Started | None:
        """A live spare that has imported `modules`; None if there is none."""
        spare = self._spares.take(modules)
        if spare:
            self._event_loop.forget_process(*spare)
        return spare

    def watch(self, process: Process) -> None:
        """Let the cleanup process end this one if the supervisor is killed."""
        self._cleanup.watch(process)

    def forget(self, pid: int) -> None:
        """The process was reaped."""
        self._cleanup.forget(pid)

    def turn(self, now_s: float, calm: bool) -> None:
        """The periodic work: prepare a missing spare when `calm` (no actor starts), and ping all
        helpers."""
        modules = self._spares.missing(now_s, calm)
        if modules and now_s >= self._next_spare_s:
            self._next_spare_s = now_s + SPARE_S
            self._prepare(modules)
        if now_s >= self._next_check_s:
            self._next_check_s = now_s + CHECK_S
            for fault in self._spares.check(now_s):
                self._warn(fault)
            if not self._cleanup.check():
                self._warn("the cleanup process is frozen and is killed")
        self._cleanup.flush()

    def end_orphans(self) -> None:
        """End the fleet's processes that belong to no live actor or helper."""
        pids = {process.pid for process in self._living()}
        self._subreaper.sweep(pids | self._cleanup.pids() | self._spares.pids())

    def report(self) -> dict[str, int]:
        """How many spares are wanted, and how many are ready."""
        return self._spares.report()

    def close(self) -> None:
        """End all helpers and orphans. All actors have to be reaped before."""
        self._spares.close()
        self._cleanup.close()
        self._subreaper.sweep(set(), patient=True)

    def _prepare(self, modules: str) -> None:
        spare = self._spares.prepare(modules)
        if spare is None:
            return
        process = spare.process
        self._cleanup.watch(process)

        def on_exit() -> None:
            self._event_loop.forget_process(process, spare.streams)
            self._cleanup.forget(process.pid)
            self._spares.lost(spare, time.monotonic())

        self._event_loop.add(process.pidfd, on_exit)
        for stream in spare.streams:
            self._event_loop.add_stream(stream)
