"""`EvaluatedEpisode`: what is known of one episode of an evaluation, and `ExecutedSteps`, what the
robot was commanded in it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...actors.control.tick_log import TickRecord
from .chunk_seams import NO_CHUNK

End = Literal["environment", "person", "time limit", "fault", "repeat"]


class EvaluatedEpisode(msgspec.Struct, frozen=True, kw_only=True):
    """One episode, or an attempt at it.

    Attributes:
        slot: the number in the plan.
        began_at: the time of day, seconds.
        length_s: from the command to go on until its end.
        valid: whether it counts; of one that does not, `reason` says why, and it comes again.
        reason: what else is to be known of it.
        stalled, missed, missed_machine: ticks without an action though there had been a plan, that
            the loop missed by itself, and that the whole machine missed.
        stale, refused: actions that were too old to be played, and that the limits refused.
        latency_ms: of each answered request.
        shm: whether images travelled by shared memory.
        unseen: ticks that the evaluation was too slow to see.
    """

    slot: int
    robot: str
    service: str
    began_at: float
    length_s: float
    ended_by: End
    valid: bool = True
    reason: str = ""
    success: bool = False
    stalled: int = 0
    missed: int = 0
    missed_machine: int = 0
    stale: int = 0
    refused: int = 0
    latency_ms: tuple[float, ...] = ()
    shm: bool = False
    unseen: int = 0


class ExecutedSteps:
    """The policy steps of one episode.

    Attributes:
        actions: what was commanded, float32 [n, A], the last command where nothing was.
        chunks: the number of the chunk that each is from, int64 [n], or `NO_CHUNK`.
        rate_hz: of policy steps.
    """

    def __init__(
        self,
        action_names: tuple[str, ...],
        actions: NDArray[np.float32],
        chunks: NDArray[np.int64],
        rate_hz: float,
    ) -> None:
        self.action_names, self.rate_hz = action_names, rate_hz
        self.actions, self.chunks = actions, chunks

    @classmethod
    def of(
        cls, action_names: tuple[str, ...], ticks: list[TickRecord], rate_hz: float
    ) -> ExecutedSteps:
        """Of the ticks that began a step, from the first command on."""
        last: NDArray[np.float32] | None = None
        actions, chunks = [], []
        for tick in ticks:
            last = last if tick.command is None else tick.command
            if last is not None:
                actions.append(last)
                chunks.append(NO_CHUNK if tick.provenance is None else tick.provenance.seq)
        made = np.array(actions, np.float32).reshape(-1, len(action_names))
        return cls(action_names, made, np.array(chunks, np.int64), rate_hz)

    def save(self, path: Path) -> None:
        """Write it, whole or not at all. Raises OSError."""
        draft = path.with_suffix(".draft")
        with draft.open("wb") as file:
            np.savez_compressed(
                file,
                action_names=np.array(self.action_names),
                actions=self.actions,
                chunks=self.chunks,
                rate_hz=np.array(self.rate_hz),
            )
        draft.replace(path)

    @classmethod
    def load(cls, path: Path) -> ExecutedSteps:
        """Raises OSError or ValueError."""
        with np.load(path) as data:
            names = tuple(str(name) for name in data["action_names"])
            return cls(names, data["actions"], data["chunks"], float(data["rate_hz"]))
