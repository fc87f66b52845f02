"""The command `holdfast-train`, which is also `python -m holdfast.tools.training`.

Importing it, and so `--help`, imports no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from ...errors import PolicyError
from .evaluate import console
from .presets import CONFIGS


def main(
    config: Annotated[str, typer.Option(help=f"What to train, one of: {', '.join(CONFIGS)}.")],
    out: Annotated[
        Path, typer.Option(help="Folder of the checkpoint, the metrics and the progress.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the demonstrations, made if missing. Default: OUT/data."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, noise and order.")] = 0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimizer steps, instead of the config's.")
    ] = None,
    shards: Annotated[
        int | None, typer.Option(min=1, help="Shards of demonstrations, instead of the config's.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Observations in a step, instead of the config's.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that make demonstrations.")] = 2,
    threads: Annotated[
        int, typer.Option(min=1, help="Threads that train; more than free cores slow it down.")
    ] = 1,
    episodes: Annotated[
        int, typer.Option("--eval", min=0, help="Episodes to evaluate over at the end; 0 for none.")
    ] = 200,
    resume: Annotated[
        bool, typer.Option(help="Resume from the progress in OUT if there is some, or start over.")
    ] = True,
) -> None:
    """Train a policy on demonstrations from the simulator, and evaluate it.

    Ctrl-C saves a checkpoint and the progress; the same command resumes from there.

    Example: holdfast-train --config conveyor-flow --out runs/flow
    """
    if config not in CONFIGS:
        raise typer.BadParameter(f"no config '{config}'; there are: {', '.join(CONFIGS)}")
    changes = {"steps": steps, "shards": shards, "batch": batch}
    chosen = msgspec.structs.replace(
        CONFIGS[config], **{k: v for k, v in changes.items() if v is not None}
    )
    try:
        import torch

        from .trainer import Trainer
        from .training_run import assess, fit, prepare
    except ModuleNotFoundError as error:
        console.print(
            f"[red]training needs {error.name}, which is not installed; install the policy extra: "
            "pip install 'holdfast\\[policy]'[/red]"
        )
        raise typer.Exit(1) from None
    out.mkdir(parents=True, exist_ok=True)
    try:
        demonstrations = prepare(data or out / "data", chosen, workers)
        torch.set_num_threads(threads)
        trainer = Trainer(chosen, demonstrations, seed)
        again = (
            f"holdfast-train --config {config} --out DIRECTORY "
            f"--seed {seed} --steps {chosen.steps} --shards {chosen.shards} --batch {chosen.batch}"
        )
        finished = fit(trainer, out, resume, again)
        if finished and episodes:
            assess(out, chosen.kind, episodes)
    except (ValueError, PolicyError) as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from None
    if not finished:
        raise typer.Exit(130)


def command() -> None:
    """Run `main` with the arguments of this process."""
    typer.run(main)


if __name__ == "__main__":
    command()
