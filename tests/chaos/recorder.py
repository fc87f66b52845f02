"""Reads a robot's tick log while its fleet runs: every tick, with the chunk of its action."""

from __future__ import annotations

import mmap
import os
import threading
from pathlib import Path
from zlib import crc32

from holdfast.actors.control.plan_memory import PLAN_BYTES
from holdfast.actors.control.tick_log import TickReader, TickRecord
from holdfast.actors.supervision.control_socket import attach
from holdfast.robot.sim.arm import SPEC
from holdfast.tests.waiting import wait_until

MAX_ACTION_AGE_S = 3.0


class Recorder(threading.Thread):
    """Reads the tick log of one robot, which outlives every actor; `faults` judges what it saw."""

    def __init__(self, control_socket: Path, robot: str) -> None:
        super().__init__(daemon=True)
        self.robot = robot
        self.ticks: list[TickRecord] = []
        fd, size = attach(control_socket, f"{robot}/plan")
        memory = memoryview(mmap.mmap(fd, size, prot=mmap.PROT_READ))
        os.close(fd)
        self.reader = TickReader(memory[PLAN_BYTES:], len(SPEC.state_names), len(SPEC.action_names))
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.2):
            self.ticks += self.reader.read()
        self.ticks += self.reader.read()

    def saw(self, instant_ns: int) -> None:
        """Wait until a tick after that instant was read."""
        wait_until(lambda: bool(self.ticks) and self.ticks[-1].instant_ns > instant_ns, "a tick")

    def end(self) -> None:
        self._ended.set()
        self.join(60)

    def faults(self, served: dict[int, set[int]]) -> list[str]:
        """Every action played that was stale, of another episode, played before or out of order, or
        of a chunk that no replica of this robot's service made for it. `served`: see `evidence`."""
        found, last = [], (0, -1)
        for tick in self.ticks:
            of = tick.provenance
            if of is None or tick.observed_ns is None:
                continue
            if tick.instant_ns - tick.observed_ns > MAX_ACTION_AGE_S * 1e9:
                found.append(f"stale: {tick}")
            if of.episode != tick.episode:
                found.append(f"of episode {of.episode} in {tick.episode}: {tick}")
            if (of.seq, of.step) <= last:
                found.append(f"played after {last}: {tick}")
            if of.episode not in served.get(seed_of(self.robot, of.seq), ()):
                found.append(f"of a chunk that no replica made for this robot: {tick}")
            last = (of.seq, of.step)
        return found


def seed_of(robot: str, seq: int) -> int:
    """Of the noise of a robot's request: no two requests of a fleet have the same."""
    return (crc32(robot.encode()) << 31) + (seq & 0x7FFFFFFF)
