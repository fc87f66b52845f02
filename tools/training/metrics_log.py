"""`MetricsLog`: the metrics of a run in metrics.jsonl, and in TensorBoard or W&B if asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Self

Tracker = Literal["tensorboard", "wandb"]
_NEEDS = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}


class MetricsLog:
    """One JSON object a line. Lines of steps after `step`, at which a run is resumed, are dropped:
    these steps come again. Raises ValueError for a tracker that is not installed."""

    def __init__(self, folder: Path, step: int, trackers: Sequence[Tracker] = ()) -> None:
        modules = {tracker: _imported(tracker) for tracker in trackers}
        path = folder / "metrics.jsonl"
        kept = [line for line in _lines(path) if json.loads(line)["step"] <= step]
        path.write_text("".join(f"{line}\n" for line in kept))
        self._file = path.open("a")
        self._board = self._run = None
        if "tensorboard" in modules:
            self._board = modules["tensorboard"].SummaryWriter(str(folder / "tensorboard"))
        if "wandb" in modules:
            self._run = modules["wandb"].init(
                project="holdfast", name=folder.resolve().name, dir=str(folder)
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()
        if self._run is not None:
            self._run.finish()

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Add the metrics of `step`."""
        self._file.write(
            json.dumps({"step": step, **{k: round(v, 6) for k, v in metrics.items()}}) + "\n"
        )
        self._file.flush()
        if self._board is not None:
            for name, value in metrics.items():
                self._board.add_scalar(name, value, step)
        if self._run is not None:
            self._run.log(metrics, step=step)


def _imported(tracker: Tracker) -> Any:
    try:
        return import_module(_NEEDS[tracker])
    except ModuleNotFoundError as error:
        raise ValueError(
            f"--track {tracker}: {error.name} is not installed; pip install {tracker}"
        ) from None


def _lines(path: Path) -> list[str]:
    """The whole lines: a run that was killed may have left half of one."""
    if not path.is_file():
        return []
    return [line[:-1] for line in path.read_text().splitlines(keepends=True) if line[-1] == "\n"]
