"""`FakeArm`: an arm behind a bus that blocks, stumbles and fails, as a real one does.

The arm outlives its driver's process: its pose is in a file. Everything that is done to it is
appended to another, its journal.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast import ControlMode, Robot, RobotError, RobotSpec

HICCUP_MS = 50.0


class FakeArm(Robot):
    """Joints that are where they were commanded last, or where a hand has put them since."""

    def __init__(
        self,
        joints: list[str],
        mode: str = "position",
        max_rate: float = float("inf"),
        journal: str | None = None,
        creep: float = 0.0,
        bus_ms: tuple[float, float] = (0.0, 0.0),
        hiccup_every: int = 0,
        error_every: int = 0,
        home: list[float] | None = None,
    ) -> None:
        """`journal` is the file to append to; beside it are `pose.json`, the arm, and, while it is
        there, `unplugged`. The arm is measured `creep` beyond its pose, so that a policy which
        holds it moves it on. A transaction takes `bus_ms`, from and to; on the average one of so
        many takes 50 ms, or fails."""
        names = tuple(joints)
        rates = (float(max_rate),) * len(names)
        rest = None if home is None else tuple(home)
        self.spec = RobotSpec(names, names, ControlMode(mode), max_rate=rates, home=rest)
        self._journal = None if journal is None else Path(journal)
        self._pose = [0.0] * len(names)
        self._creep = creep
        self._bus_ms, self._hiccup_every, self._error_every = bus_ms, hiccup_every, error_every
        self._random = random.Random(7)

    def connect(self) -> None:
        self._transfer()
        self._note("connect")

    def read_state(self, out: NDArray[np.float32]) -> int:
        self._transfer()
        measured_ns = time.monotonic_ns()
        out[:] = np.array(self.pose, np.float32) + self._creep
        return measured_ns

    def write_action(self, action: NDArray[np.float32]) -> None:
        began_ns = time.monotonic_ns()
        self._transfer()
        self._note("write", action.tolist(), began_ns)
        self.pose = action.tolist()

    def hold(self) -> None:
        self._transfer()
        self._note("hold")

    def release(self) -> None:
        self._note("torque off")

    def flush(self) -> None:
        self._note("flush")

    def close(self) -> None:
        self._note("close")

    @property
    def pose(self) -> list[float]:
        """Where the joints are."""
        if self._journal is not None and (place := self._journal.with_name("pose.json")).exists():
            self._pose = json.loads(place.read_text())
        return self._pose

    @pose.setter
    def pose(self, pose: list[float]) -> None:
        self._pose = pose
        if self._journal is not None:
            draft = self._journal.with_name("pose.draft")
            draft.write_text(json.dumps(pose))
            draft.replace(self._journal.with_name("pose.json"))

    def _transfer(self) -> None:
        """One transaction on the bus."""
        if self._journal is not None and self._journal.with_name("unplugged").exists():
            raise RobotError("the bus is silent")
        if self._now_and_then(self._error_every):
            raise OSError(5, "a damaged packet")
        hiccup = self._now_and_then(self._hiccup_every)
        time.sleep((HICCUP_MS if hiccup else self._random.uniform(*self._bus_ms)) / 1000)

    def _now_and_then(self, every: int) -> bool:
        return every > 0 and self._random.random() * every < 1

    def _note(self, what: str, values: Any = None, at_ns: int | None = None) -> None:
        if self._journal is not None:
            row = {"at_ns": at_ns or time.monotonic_ns(), "what": what}
            row |= {"values": values, "pose": self.pose}
            with self._journal.open("a") as file:
                file.write(json.dumps(row) + "\n")
