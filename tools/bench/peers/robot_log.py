"""The fake robot of `actorctl bench stutter`: every observation has a number, every action says
from which one it was made and which step of its chunk it is, and both are logged with their time.

A line is `seen NUMBER NS`, or `played NUMBER INDEX NS`; NS is time.monotonic_ns.
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .work import JOINTS, STEPS

HZ = 30.0
POLICY_S = 0.15


class RobotLog:
    """The log at `path`. A write of it takes some microseconds and waits for no disk."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._number = 0

    def see(self) -> NDArray[np.float32]:
        """The joints of the next observation, [14], the first of which is its number."""
        self._number += 1
        os.write(self._file, f"seen {self._number} {time.monotonic_ns()}\n".encode())
        state = np.zeros(JOINTS, np.float32)
        state[0] = self._number
        return state

    def play(self, action: Any) -> None:
        """An action, [14], was commanded."""
        line = f"played {round(float(action[0]))} {round(float(action[1]))} {time.monotonic_ns()}\n"
        os.write(self._file, line.encode())


def infer(state: Any) -> NDArray[np.float32]:
    """The policy: after 150 ms, [50, 14] for the joints [14]."""
    time.sleep(POLICY_S)
    chunk = np.zeros((STEPS, JOINTS), np.float32)
    chunk[:, 0] = float(state[0])
    chunk[:, 1] = np.arange(STEPS)
    return chunk
