"""The command `holdfast-train stats PATH`: how a dataset's states and actions are distributed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from ...errors import DatasetError
from ...policy.normalize import Stats
from ...policy.steps.running_stats import RunningStats
from ..cli.option_types import AsJson
from .training_console import console

if TYPE_CHECKING:
    from ...robot.dataset.dataset_reader import Dataset


def measure_stats(dataset: Dataset) -> dict[str, Stats]:
    """The statistics of states and actions, recomputed from the frames. Raises DatasetError or
    ValueError."""
    state, action = RunningStats(), RunningStats()
    for episode in dataset:
        state.update(episode.states)
        action.update(episode.actions)
    return {"state": state.stats(), "action": action.stats()}


def main(
    path: Annotated[Path, typer.Argument(help="A LeRobotDataset v3.0.")],
    as_json: AsJson = False,
) -> None:
    """Recompute the mean, deviation and quantiles of a dataset's states and actions; as JSON they
    are not rounded.

    A column of almost no deviation, or of extremes far beyond its quantiles, is worth a look before
    training: a motor that did not move, or a unit that changed.
    """
    try:
        from ...robot.dataset.dataset_info import ACTION, STATE
        from ...robot.dataset.dataset_reader import Dataset
    except ModuleNotFoundError as error:
        console.print(
            f"[red]datasets need {error.name}, which is not installed; install the data extra: "
            "pip install 'holdfast\\[data]'[/red]"
        )
        raise typer.Exit(1) from None
    try:
        dataset = Dataset(path)
        found = measure_stats(dataset)
        names = {"state": dataset.names(STATE), "action": dataset.names(ACTION)}
    except (DatasetError, ValueError) as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from None
    if as_json:
        print(json.dumps(msgspec.to_builtins(found)))
        return
    table = Table("", "name", "mean", "std", "q01", "q99")
    for key, stats in found.items():
        for place, row in enumerate(zip(*msgspec.structs.astuple(stats), strict=True)):
            name = names[key][place] if place < len(names[key]) else str(place)
            table.add_row(key, name, *(f"{value:.4g}" for value in row))
    Console().print(table)
    print(f"{len(dataset)} episodes, {dataset.frames} frames at {dataset.fps:g} per second")
