"""`EvaluationFolder`: an evaluation on disk, from which it can go on and its report is made.

    plan.json         what is to be done
    episodes.jsonl    one line for each attempt at an episode, in the order of their ends
    steps/0007.npz    what the robot was commanded in episode 7 of the plan
    report.*          made anew at each end

A line is written after the steps that it needs; one that a kill cut off is no line.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

import msgspec

from ...errors import EvaluationError
from .evaluated_episode import EvaluatedEpisode, ExecutedSteps
from .evaluation_plan import EvaluationPlan, Slot

_PLAN, _EPISODES, _STEPS = "plan.json", "episodes.jsonl", "steps"


class EvaluationFolder:
    """One folder. Raises EvaluationError where it cannot be read or written."""

    def __init__(self, path: Path, plan: EvaluationPlan) -> None:
        self.path, self.plan = path, plan

    @classmethod
    def create(cls, path: Path, plan: EvaluationPlan) -> Self:
        """A new one. `path` may not exist yet, or be an empty folder."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise EvaluationError(
                    f"{path} is not empty: name another --out, or go on by --resume {path}"
                )
            (path / _STEPS).mkdir()
            (path / _PLAN).write_bytes(msgspec.json.format(msgspec.json.encode(plan)))
        except OSError as error:
            raise EvaluationError(f"the evaluation cannot be kept in {path}: {error}") from error
        return cls(path, plan)

    @classmethod
    def open(cls, path: Path) -> Self:
        """One that was begun before."""
        try:
            plan = msgspec.json.decode((path / _PLAN).read_bytes(), type=EvaluationPlan)
        except OSError as error:
            raise EvaluationError(f"no evaluation was begun in {path}: {error}") from error
        except msgspec.MsgspecError as error:
            raise EvaluationError(f"{path / _PLAN} is no plan of an evaluation: {error}") from error
        return cls(path, plan)

    def episodes(self) -> list[EvaluatedEpisode]:
        """Those that ended, in the order of their ends; of a slot at most one is valid."""
        file = self.path / _EPISODES
        try:
            lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
            return [msgspec.json.decode(line, type=EvaluatedEpisode) for line in lines if line]
        except (OSError, msgspec.MsgspecError) as error:
            raise EvaluationError(f"{file} cannot be read: {error}") from error

    def ahead(self) -> list[Slot]:
        """What of the plan is still to be done, in order."""
        done = {episode.slot for episode in self.episodes() if episode.valid}
        return [slot for slot in self.plan.slots() if slot.number not in done]

    def add(self, episode: EvaluatedEpisode, steps: ExecutedSteps | None) -> None:
        """Keep an episode; the steps of a valid one."""
        try:
            if steps is not None:
                steps.save(self._steps_at(episode.slot))
            with (self.path / _EPISODES).open("a+b") as file:
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)  # what a kill left of a line
                file.write(msgspec.json.encode(episode) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise EvaluationError(f"{self.path} cannot be written: {error}") from error

    def steps(self, slot: int) -> ExecutedSteps | None:
        """Those of a valid episode; None where the robot was commanded nothing that was seen."""
        path = self._steps_at(slot)
        try:
            return ExecutedSteps.load(path) if path.exists() else None
        except (OSError, ValueError, KeyError) as error:
            raise EvaluationError(f"{path} cannot be read: {error}") from error

    def _steps_at(self, slot: int) -> Path:
        return self.path / _STEPS / f"{slot:04d}.npz"
