"""`ExecutedLog`: what a robot executed, policy step by policy step, on disk.

Reads control's tick log in shared memory and appends one JSON line per policy step to a
`BoundedFile`. Each file, and what each writer appends to one, begins with a line that names the
robot's joints and the difference between the host's monotonic clock and the time of day. A line of
a step joins the audit's lines of the same `session` and `seq`.

Does not guarantee: that a step is in the file. Those of the last quarter of a second may be missing
after a kill of this process by the fleet's end, and those that a longer outage than the ring's
length hid are counted in `lost`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from mmap import mmap
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..control.plan_memory import PLAN_BYTES
from ..control.tick_log import Commander, TickReader, TickRecord
from ..runtime.audit import log_change
from ..runtime.bounded_file import TAIL_BYTES, BoundedFile
from ..runtime.configs import NetworkConfig
from ..runtime.executed_config import ExecutedConfig

_log = logging.getLogger(__name__)


class ExecutedHead(msgspec.Struct, frozen=True, kw_only=True, tag="head", tag_field="kind"):
    """The first line of a writer. `epoch_ns` is the time of day minus the monotonic clock."""

    robot: str
    fps: float
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    epoch_ns: int


class ExecutedStep(msgspec.Struct, frozen=True, kw_only=True, tag="step", tag_field="kind"):
    """One policy step, at its first tick.

    Attributes:
        tick: the number of the tick, since the fleet's start.
        at_ns: its instant, on the host's monotonic clock.
        late_ns: how late it began.
        episode: the robot's episode.
        state: the measured state, in the robot's units.
        command: what was written to the robot; None if nothing was.
        by: whose command that was; None if there was none.
        session, seq, step: the session and the request of the chunk that it came from, and the
            place in that chunk; None for the fallback and for what no policy planned.
        observed_ns: the instant of the observation that the action came from.
    """

    tick: int
    at_ns: int
    late_ns: int
    episode: int
    state: list[float]
    command: list[float] | None = None
    by: Commander | None = None
    session: int | None = None
    seq: int | None = None
    step: int | None = None
    observed_ns: int | None = None


def step_of(tick: TickRecord) -> ExecutedStep:
    """The line of a tick that begins a policy step."""
    origin = tick.provenance
    return ExecutedStep(
        tick=tick.number,
        at_ns=tick.instant_ns,
        late_ns=tick.lateness_ns,
        episode=tick.episode,
        state=_shortest(tick.state),
        command=None if tick.command is None else _shortest(tick.command),
        by=tick.commander,
        session=origin.session if origin else None,
        seq=origin.seq if origin else None,
        step=origin.step if origin else None,
        observed_ns=tick.observed_ns,
    )


def _shortest(values: NDArray[np.float32]) -> list[float]:
    """The numbers of the fewest digits that are the same float32."""
    return [float(str(value)) for value in values]


class ExecutedLog:
    """The writer for one robot: call `drain` a few times a second.

    `memory` is the tick log's, which may not be laid out yet. The `first` incarnation of a fleet's
    run begins at the oldest tick there is, a later one after the last that the file holds.
    """

    def __init__(
        self, path: Path, head: ExecutedHead, memory: memoryview, max_bytes: int, first: bool
    ) -> None:
        self._memory = memory
        self._sizes = len(head.state_names), len(head.action_names)
        self._after = -1 if first else _last_tick(path)
        self._file = BoundedFile(path, max_bytes // 2, preamble=msgspec.json.encode(head) + b"\n")
        self._reader: TickReader | None = None

    @classmethod
    def of(
        cls,
        config: NetworkConfig | ExecutedConfig,
        rundir: Path,
        segment: Callable[[str], mmap | bytearray],
        *,
        first: bool,
    ) -> ExecutedLog | None:
        """The log of the robot of `config`, None where none is kept; `segment` maps one by name."""
        if config.plan is None or config.executed_bytes == 0:
            return None
        plan = memoryview(segment(config.plan))
        head = ExecutedHead(
            robot=config.robot,
            fps=config.fps,
            state_names=config.state_names,
            action_names=config.action_names,
            epoch_ns=time.time_ns() - time.monotonic_ns(),
        )
        path = Path(config.evidence or rundir) / "executed" / f"{config.robot}.jsonl"
        return cls(path, head, plan[PLAN_BYTES:], config.executed_bytes, first)

    @property
    def lost(self) -> int:
        """Steps that the disk did not take, and ticks that were overwritten unread."""
        return self._file.lost + (self._reader.lost if self._reader else 0)

    def drain(self) -> None:
        """Append what control has executed since the last call. Never raises for the disk's sake:
        what it does not take is counted, and logged once."""
        if self._reader is None and not self._attach():
            return
        assert self._reader is not None
        steps = [step_of(tick) for tick in self._reader.read() if tick.begins_step]
        if steps:
            before = self._file.error
            lines = b"".join(msgspec.json.encode(step) + b"\n" for step in steps)
            self._file.append(lines, len(steps))
            log_change(self._file, before)

    def close(self) -> None:
        self.drain()
        self._file.close()

    def _attach(self) -> bool:
        try:
            self._reader = TickReader(self._memory, *self._sizes, after=self._after)
        except ValueError:
            return False  # control has not started yet
        return True


def read(path: Path) -> list[ExecutedHead | ExecutedStep]:
    """The lines of one file. Raises OSError, or ValueError that names the line which is none."""
    decoder = msgspec.json.Decoder(ExecutedHead | ExecutedStep)
    lines: list[ExecutedHead | ExecutedStep] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break  # being written, or cut off by a kill: it is no record
            try:
                lines.append(decoder.decode(line))
            except msgspec.MsgspecError as error:
                raise ValueError(
                    f"{path}, line {number}: expected a line of executed steps: {error}"
                ) from None
    return lines


def _last_tick(path: Path) -> int:
    """The number of the newest tick in the file, by its end alone; -1 without one."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = file.read().split(b"\n")[:-1]  # after the last newline: none, or cut off
    except FileNotFoundError:
        return -1
    except OSError as error:
        _log.warning("the executed steps before this start are not continued: %s", error)
        return -1
    decoder = msgspec.json.Decoder(ExecutedHead | ExecutedStep)
    for line in reversed(lines):
        try:
            decoded = decoder.decode(line)
        except msgspec.MsgspecError:
            continue  # the first line of the tail may be half of one
        if isinstance(decoded, ExecutedStep):
            return decoded.tick
    return -1
