"""`RoughArm`: an arm of six joints behind a bus that blocks, stumbles and fails, as real ones do.

Its joints are where they were commanded last. It keeps a journal of what its bus did.
"""

from __future__ import annotations

import random
import struct
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...robot.base import Robot, RobotSpec

JOINTS = tuple(f"joint_{number}" for number in range(1, 7))
BUS_MS = (3.0, 8.0)
"""What a transaction takes, from and to."""
HICCUP_MS = 50.0
HICCUP_EVERY = 300
"""On the average one of so many transactions takes HICCUP_MS: one in 3 s at 50 Hz."""
ERROR_EVERY = 200
"""Likewise, raises OSError at once."""

_ROW = struct.Struct("=Bqq")
_READ, _WRITE = 0, 1


class Transaction(NamedTuple):
    """One on the bus, from the call of the driver's method to its return, monotonic ns."""

    writes: bool
    began_ns: int
    ended_ns: int


class RoughArm(Robot):
    """`journal` is the file of the recorded spans, `seed` that of the delays and errors."""

    def __init__(self, journal: str, seed: int = 7) -> None:
        self.spec = RobotSpec(JOINTS, JOINTS)
        self._journal = Path(journal)
        self._pose = np.zeros(len(JOINTS), np.float32)
        self._random = random.Random(seed)

    def connect(self) -> None:
        return

    def read_state(self, out: NDArray[np.float32]) -> int:
        self._transfer(_READ)
        out[:] = self._pose
        return time.monotonic_ns()

    def write_action(self, action: NDArray[np.float32]) -> None:
        self._transfer(_WRITE)
        self._pose[:] = action

    def _transfer(self, kind: int) -> None:
        began_ns = time.monotonic_ns()
        try:
            if self._random.random() * ERROR_EVERY < 1:
                raise OSError(5, "a damaged packet")
            hiccup = self._random.random() * HICCUP_EVERY < 1
            time.sleep((HICCUP_MS if hiccup else self._random.uniform(*BUS_MS)) / 1000)
        finally:
            with self._journal.open("ab") as file:
                file.write(_ROW.pack(kind, began_ns, time.monotonic_ns()))


def transactions(journal: Path) -> list[Transaction]:
    """What is in a journal, oldest first."""
    data = journal.read_bytes()
    whole = len(data) // _ROW.size * _ROW.size
    return [Transaction(kind == _WRITE, *span) for kind, *span in _ROW.iter_unpack(data[:whole])]
