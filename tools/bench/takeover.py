"""From the SIGKILL of a control actor to the next command its robot gets: with a warm spare, and
without one.

A real control process drives a simulated arm along a plan in its segment, without a server, and is
killed at a random moment. What takes over is started the way the supervisor does it: it polls the
pidfd, and either boots the process that waits or starts one. The driver's end of the command
register is watched for the next command.
"""

from __future__ import annotations

import os
import random
import select
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ...actors.control.buffer import ChunkBuffer
from ...actors.control.config import ControlConfig, SafetySettings
from ...actors.control.contract import Contract, Kept
from ...actors.control.plan import MergeRule
from ...actors.control.plan_memory import PLAN_BYTES, SEGMENT_BYTES, PlanMemory
from ...actors.driver.registers import (
    CommandKind,
    DriverPhase,
    RobotState,
    command_bytes,
    pack_state,
    state_bytes,
    unpack_command,
)
from ...actors.runtime.device_configs import SpecConfig
from ...actors.runtime.kinds import modules_of
from ...actors.runtime.link_messages import BootMessage, SegmentEntry
from ...actors.runtime.status_board import BOARD_SIZE
from ...actors.supervision.process import Process
from ...robot.sim.arm import HOME, SPEC
from ...transport import segment
from ...transport.seqlock import Seqlock

SIZES = {
    "r1/control/board": BOARD_SIZE,
    "r1/plan": SEGMENT_BYTES,
    "r1/state": Seqlock.size_for(state_bytes(len(SPEC.state_names))),
    "r1/command": Seqlock.size_for(command_bytes(len(SPEC.action_names))),
}
_REFILL_BELOW = 300
_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_SERVICE = "none"
_PATIENCE_S = 120.0


class Stand:
    """One robot's segments, the process that drives it, and perhaps a spare."""

    def __init__(self, rundir: Path, fps: float) -> None:
        self._segments = {name: segment.create(size, name) for name, size in SIZES.items()}
        self._maps = {name: s.map(writable=True) for name, s in self._segments.items()}
        self._commands = Seqlock(memoryview(self._maps["r1/command"]), writable=False)
        self._config = ControlConfig(
            robot="r1",
            service=_SERVICE,
            endpoint=f"ipc://{rundir}/unbound",
            plan="r1/plan",
            spec=SpecConfig.of(SPEC),
            state="r1/state",
            command="r1/command",
            wake=f"{rundir}/nobody",
            fps=fps,
            safety=SafetySettings(
                max_action_age_s=3600.0, max_offline_s=None, driver_lost_after_s=3600.0
            ),
        )
        self._rundir = rundir
        self._incarnation = 0
        self.process: Process | None = None
        self.spare: Process | None = None
        home = np.zeros(len(SPEC.state_names), np.float32)
        home[: len(HOME)] = HOME
        now_ns = time.monotonic_ns()
        said = RobotState(1, now_ns, now_ns, DriverPhase.ENABLED, home)
        Seqlock(self._maps["r1/state"]).write(pack_state(said))
        plan = self._plan()
        contract = Contract("m", "1", "c", SPEC.action_names, continues_a_plan=True)
        kept = Kept(contract, service=_SERVICE, configured=_SERVICE)
        plan.keep(kept.pack())

    def _plan(self) -> PlanMemory:
        memory = memoryview(self._maps["r1/plan"])[:PLAN_BYTES]
        return PlanMemory(memory, "r1", len(SPEC.action_names))

    def fill(self) -> None:
        """Give the robot as long a plan as fits: it stays at home. No other process may write."""
        buffer = ChunkBuffer(self._plan(), 10**15)
        asked = buffer.snapshot(1, time.monotonic_ns(), 0, 0)
        buffer.claim(asked.seq, asked.episode, 1)
        rows = np.repeat(np.array([HOME], np.float32), buffer.capacity, 0)
        buffer.merge(rows, rows, asked, MergeRule(), step=0, now_ns=time.monotonic_ns())

    @property
    def left(self) -> int:
        return len(ChunkBuffer(self._plan(), 10**15))

    def start(self) -> None:
        """Boot the next incarnation: the spare, if there is one."""
        process = self.spare or Process("r1/control", _ENVIRONMENT)
        self.process, self.spare = process, None
        self._incarnation += 1
        entries = tuple(SegmentEntry(name, SIZES[name], writable=True) for name in SIZES)
        message = BootMessage(
            kind="control",
            name="r1/control",
            incarnation=self._incarnation,
            rundir=str(self._rundir),
            config=msgspec.to_builtins(self._config),
            segments=entries,
        )
        process.link.boot(message, [self._segments[name].fd for name in SIZES])

    def prepare_spare(self) -> None:
        """Start one and wait until it has imported all it needs: it sleeps in its receive."""
        self.spare = Process("spare", _ENVIRONMENT, preload=modules_of("control"))
        self._until(lambda: self._waits(self.spare), "the spare to be ready")

    @staticmethod
    def _waits(process: Process | None) -> bool:
        assert process is not None
        where = Path(f"/proc/{process.pid}/wchan").read_text()
        state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        # Asleep in a receive, or, where the kernel hides that, having used no time for a while.
        if "recv" in where or "unix_stream" in where or "datagram" in where:
            return True
        before = int(state[11]) + int(state[12])
        time.sleep(0.1)
        after = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return state[0] == "S" and before == int(after[11]) + int(after[12]) and before > 5

    def commanded_ns(self) -> int:
        """When the robot got its newest command; 0 before the first."""
        block = self._commands.read()
        if block is None:
            return 0
        said = unpack_command(block, len(SPEC.action_names))
        return said.instant_ns if said.kind is CommandKind.ACTION else 0

    def await_command(self, after_ns: int) -> int:
        self._until(lambda: self.commanded_ns() > after_ns, "a command")
        return self.commanded_ns()

    def kill(self) -> float:
        """SIGKILL the actor, boot the next one as soon as it is dead; ms until its command."""
        assert self.process is not None
        dying = self.process
        killed_ns = time.monotonic_ns()
        dying.kill()
        select.select([dying.pidfd], [], [])
        last_ns = self.commanded_ns()
        dying.reap()
        self.start()
        gap_ms = (self.await_command(max(last_ns, killed_ns)) - killed_ns) / 1e6
        dying.close()
        return gap_ms

    def end(self) -> None:
        for process in (self.process, self.spare):
            if process is not None:
                process.signal(signal.SIGKILL)
                select.select([process.pidfd], [], [])
                process.reap()
                process.close()
        self.process = self.spare = None

    def close(self) -> None:
        self.end()
        for s in self._segments.values():
            s.close()

    def _until(self, condition: Any, what: str) -> None:
        deadline_s = time.monotonic() + _PATIENCE_S
        while not condition():
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"waited {_PATIENCE_S:g} s for {what}")
            time.sleep(0.0005)


@contextmanager
def stand(fps: float = 30.0) -> Iterator[Stand]:
    """A stand that leaves nothing behind."""
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        built = Stand(Path(directory), fps)
        try:
            yield built
        finally:
            built.close()


def gaps(kills: int, spare: bool) -> list[float]:
    """Kill-to-next-command gaps in ms, at 30 Hz."""
    found: list[float] = []
    with stand() as robot:
        while len(found) < kills:
            if robot.left < _REFILL_BELOW:
                robot.end()
                robot.fill()
            if robot.process is None:
                robot.start()
            robot.await_command(time.monotonic_ns())
            if spare:
                robot.prepare_spare()
            robot.await_command(time.monotonic_ns())
            time.sleep(random.random() * 0.1)
            found.append(robot.kill())
    return found
