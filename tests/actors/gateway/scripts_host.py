"""The process that drives a script's robot, as the files of its fleet's host show it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Self

from holdfast.actors.runtime.held_robots import HeldRobots
from holdfast.actors.runtime.site_stop_store import SiteStopStore
from holdfast.transport.stop_bodies import HeldRobot

EVERY_S = 0.02


class ScriptsHost:
    """It confirms each stop of `robot` in the fleet's `state_dir` once it finds it, and each
    lift."""

    def __init__(self, state_dir: Path, robot: str) -> None:
        self._store = SiteStopStore(state_dir, None)
        self._held = HeldRobots(state_dir, "network")
        self._robot = robot
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(60)

    def _serve(self) -> None:
        while not self._ended.wait(EVERY_S):
            self._store.look()
            stops = tuple(stop.id for stop in self._store.stops.holding(self._robot))
            is_held = bool(stops)
            row = HeldRobot(
                robot=self._robot,
                host="script",
                stops=stops,
                confirmed=is_held,
                latched=is_held,
                seen=self._store.stops.digest,
            )
            self._held.heard([row])
            self._held.write()
