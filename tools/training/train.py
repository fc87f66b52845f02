"""The command `holdfast-train`, which is also `python -m holdfast.tools.training`.

Importing it, and so `--help`, imports no torch.
"""

from __future__ import annotations

import importlib
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, get_args

import msgspec
import typer

from ...errors import DatasetError, PolicyError
from .dataset_statistics import main as statistics
from .metrics_log import Tracker
from .pi_config import PiConfig, sized
from .presets import CONFIGS, named_config
from .training_config import OptimizationConfig, TrainingConfig, for_recordings
from .training_console import console

if TYPE_CHECKING:
    import torch

    from .batches import BatchSource


def main(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CONFIG [KEY=VALUE]...",
            help=f"What to train ({', '.join(CONFIGS)}), and its keys that are to be others, as "
            "steps=200 network.width=64.",
        ),
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="What to train, where it is not the first argument.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the checkpoint, the metrics and the progress.")
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="A LeRobotDataset v3.0 to train on, on this machine.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the demonstrations that are made, or of the dataset's decoded images. "
            "Default: OUT/data."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, noise and order.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="The same as steps=N.")] = None,
    shards: Annotated[int | None, typer.Option(min=1, help="The same as shards=N.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="The same as batch=N.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that make demonstrations.")] = 2,
    device_name: Annotated[
        str, typer.Option("--device", help="cpu, cuda, cuda:N, or auto: a GPU if there is one.")
    ] = "auto",
    loaders: Annotated[
        int, typer.Option(min=0, help="Threads that draw the next batches; 0: between steps.")
    ] = 1,
    threads: Annotated[
        int, typer.Option(min=1, help="Threads that train; more than free cores slow it down.")
    ] = 1,
    episodes: Annotated[
        int,
        typer.Option(
            "--eval",
            min=0,
            help="Episodes of the simulator to evaluate over at the end, without --dataset; 0 for "
            "none.",
        ),
    ] = 200,
    resume: Annotated[
        bool, typer.Option(help="Resume from the progress in OUT if there is some, or start over.")
    ] = True,
    check: Annotated[
        bool,
        typer.Option("--check", help="One batch of fake data through the whole pipeline; no OUT."),
    ] = False,
    track: Annotated[
        list[str] | None,
        typer.Option(help="Send the metrics to tensorboard or wandb too; may be repeated."),
    ] = None,
    imports: Annotated[
        list[str] | None,
        typer.Option("--import", help="A module that calls register_config; may be repeated."),
    ] = None,
) -> None:
    """Train a policy on a dataset, or on demonstrations from the simulator.

    Ctrl-C saves a checkpoint and the progress; the same command resumes from there. The folder OUT
    is what a service's `policy: flow`, `act`, `pi0` or `pi05` takes as `checkpoint`.

    Example: holdfast-train flow --dataset ~/data/pick --out runs/pick steps=20000

    `holdfast-train stats PATH` shows the statistics of a dataset.
    """
    words = list(arguments or ())
    try:
        _import_modules(imports or ())
        name = config or (words.pop(0) if words and "=" not in words[0] else "")
        if not name:
            raise ValueError(f"no config is named; there are: {', '.join(CONFIGS)}")
        chosen = named_config(name)
        trackers = _trackers(track or ())
        if out is None and not check:
            raise ValueError("--out is missing: the folder of the checkpoint")
        if dataset is None and not check and not isinstance(chosen, TrainingConfig):
            raise ValueError(f"{name} trains on recorded episodes: give --dataset PATH")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        import torch

        from .overrides import override
        from .ranks import Ranks
        from .trainer import Trainer
        from .training_device import training_device
        from .training_run import assess, fit
    except ModuleNotFoundError as error:
        _fail(
            f"training needs {error.name}, which is not installed; install the policy extra: "
            "pip install 'holdfast[policy]'"
        )
    if dataset is not None or check:
        chosen = for_recordings(chosen)
    words += _settings(steps=steps, shards=shards, batch=batch)
    try:
        chosen = override(chosen, words)
        device = training_device(device_name, threads)
        if check:
            _check(chosen, dataset, seed, device)
            return
        assert out is not None
        chosen, ranks = _sized(chosen), Ranks.joined(device)
        console.quiet = ranks.rank > 0
        out.mkdir(parents=True, exist_ok=True)
        with ranks.first_alone():
            source = _source(chosen, dataset, data or out / "data", seed, workers)
        again = _again(name, dataset, seed, words)
        finished = fit(
            Trainer(chosen, source, device, ranks, loaders), out, resume, again, trackers
        )
        ranks.left()
        if finished and episodes and dataset is None and ranks.rank == 0:
            assess(out, chosen.kind, episodes)
    except ModuleNotFoundError as error:
        _fail(
            f"datasets need {error.name}, which is not installed; install the data extra: "
            "pip install 'holdfast[data]'"
        )
    except (ValueError, PolicyError, DatasetError, torch.OutOfMemoryError) as error:
        _fail(str(error))
    if not finished:
        raise typer.Exit(130)


def _sized(config: OptimizationConfig) -> OptimizationConfig:
    return sized(config) if isinstance(config, PiConfig) else config


def _settings(**options: int | None) -> list[str]:
    """The keys that have options of their own."""
    return [f"{key}={value}" for key, value in options.items() if value is not None]


def _again(name: str, dataset: Path | None, seed: int, words: list[str]) -> str:
    """The command that makes the same checkpoint."""
    given = f" --dataset {shlex.quote(dataset.name)}" if dataset else ""
    keys = " ".join(map(shlex.quote, words))
    return f"holdfast-train --config {name}{given} --out DIRECTORY --seed {seed} {keys}".strip()


def _fail(message: str) -> NoReturn:
    """Print an error, of several processes with the number of this one, and end."""
    rank = os.environ.get("RANK", "")
    console.quiet = False
    console.print(f"process {rank}: {message}" if rank else message, style="red", markup=False)
    raise typer.Exit(1) from None


def command() -> None:
    """Run `main`, or `stats`, with the arguments of this process."""
    if sys.argv[1:2] == ["stats"]:
        sys.argv = [f"{sys.argv[0]} stats", *sys.argv[2:]]
        typer.run(statistics)
    typer.run(main)


def _source(
    config: OptimizationConfig, dataset: Path | None, folder: Path, seed: int, workers: int
) -> BatchSource:
    from .training_run import demonstrated, recorded

    if dataset is not None:
        return recorded(dataset, for_recordings(config), seed, folder)
    assert isinstance(config, TrainingConfig)
    return demonstrated(folder, config, seed, workers)


def _check(
    config: OptimizationConfig, dataset: Path | None, seed: int, device: torch.device
) -> None:
    """Print the loss of a fake batch, of the dataset's spec if one is given."""
    from ...robot.dataset.dataset_reader import Dataset
    from .recording import Recording
    from .training_check import check, fake_spec, ready_for_check

    with ready_for_check(for_recordings(config)) as ready:
        if dataset is None:
            spec = fake_spec(ready)
        else:
            spec = Recording.of(Dataset(dataset), ready).spec
        loss = check(ready, spec, seed, device)
    console.print(f"a batch of fake data trained (loss {loss:.4f}), was saved, loaded and served")


def _import_modules(names: list[str] | tuple[str, ...]) -> None:
    """Import modules, also of the current directory. Raises ValueError for one that is not
    found."""
    if names and "" not in sys.path:
        sys.path.insert(0, "")
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise ValueError(f"--import {name}: there is no module {error.name}") from None


def _trackers(names: list[str] | tuple[str, ...]) -> list[Tracker]:
    try:
        return [msgspec.convert(name, Tracker) for name in names]
    except msgspec.ValidationError:
        raise ValueError(
            f"--track {' '.join(names)}: expected {' or '.join(get_args(Tracker))}"
        ) from None


if __name__ == "__main__":
    command()
