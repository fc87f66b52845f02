"""`FakeArm`: an arm behind a bus that blocks, stumbles and fails, as a real one does.

The arm itself outlives its driver's process: its pose, and whether it has torque, are in a file.
Everything that was written to it is appended to another.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import numpy as np

from holdfast import ControlMode, Robot, RobotError, RobotSpec


class FakeArm(Robot):
    """Joints that are where they were commanded a bus transaction ago."""

    def __init__(
        self,
        joints: list[str],
        mode: str = "position",
        max_rate: float = float("inf"),
        journal: str | None = None,
        bus_ms: tuple[float, float] = (0.0, 0.0),
        hiccup_every: int = 0,
        errors_every: int = 0,
        period_s: float | None = None,
    ) -> None:
        """`journal` is the path of the file to append to; the pose is beside it. A transaction
        takes `bus_ms`, from and to; of so many one takes 50 ms, or fails."""
        names = tuple(joints)
        self.spec = RobotSpec(names, names, ControlMode(mode), max_rate=(max_rate,) * len(names))
        self.period_s = period_s
        self._journal = None if journal is None else Path(journal)
        self._pose = np.zeros(len(names), np.float32)
        self._bus_ms, self._hiccup_every, self._errors_every = bus_ms, hiccup_every, errors_every
        self._random = random.Random(7)
        self._unplugged = None if journal is None else Path(f"{journal}.unplugged")

    def connect(self) -> None:
        if self._journal is not None:
            pose = self._journal.with_suffix(".pose")
            if pose.exists():
                self._pose[:] = json.loads(pose.read_text())
        self._transfer()
        self._note("connect", None)

    def read_state(self, out: np.ndarray) -> int:
        self._transfer()
        out[:] = self._pose if self.spec.control_mode == "position" else 0
        return time.monotonic_ns()

    def write_action(self, action: np.ndarray) -> None:
        began = time.monotonic_ns()
        self._transfer()
        self._note("write", action.tolist(), began)
        self._pose[:] = action
        if self._journal is not None:
            self._journal.with_suffix(".pose").write_text(json.dumps(action.tolist()))

    def hold(self) -> None:
        self._transfer()
        self._note("hold", None)
        if self.spec.control_mode == "velocity":
            self._pose[:] = 0

    def release(self) -> None:
        self._note("torque off", None)

    def flush(self) -> None:
        self._note("flush", None)

    def _transfer(self) -> None:
        """One transaction on the bus."""
        if self._unplugged is not None and self._unplugged.exists():
            raise RobotError("the bus is silent")
        if self._errors_every and self._random.random() * self._errors_every < 1:
            raise OSError(5, "a damaged packet")
        ms = self._random.uniform(*self._bus_ms)
        if self._hiccup_every and self._random.random() * self._hiccup_every < 1:
            ms = 50.0
        if ms:
            time.sleep(ms / 1000)

    def _note(self, what: str, values: object, began_ns: int | None = None) -> None:
        if self._journal is None:
            return
        row = {"at_ns": began_ns or time.monotonic_ns(), "what": what, "values": values}
        row["pose"] = self._pose.tolist()
        with self._journal.open("a") as file:
            file.write(json.dumps(row) + "\n")
