"""`python -m holdfast.tools.training.train`: demonstrations, training, evaluation.

Ctrl-C saves what there is; the same command again goes on from there.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from typing import Annotated

import msgspec
import torch
import typer

from ...errors import PolicyError
from ...policy.kinds import load_policy
from .batches import TrainingConfig
from .dataset import Demonstrations, generate, load
from .evaluate import bar_of, console, measure, one_core
from .presets import CONFIGS
from .trainer import Trainer

SAVE_EVERY_S = 60.0
LOG_EVERY = 20


def main(
    config: Annotated[str, typer.Option(help=f"One of: {', '.join(CONFIGS)}.")],
    out: Annotated[Path, typer.Option(help="Where the checkpoint and the metrics go.")],
    data: Annotated[
        Path | None, typer.Option(help="Demonstrations, made if missing. Default: OUT/data.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, noise and order.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of the config's.")] = None,
    shards: Annotated[
        int | None, typer.Option(min=1, help="Shards of demonstrations, instead of the config's.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Instead of the config's.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that make demonstrations.")] = 2,
    threads: Annotated[
        int, typer.Option(min=1, help="Threads that train; more than free cores slow it down.")
    ] = 1,
    episodes: Annotated[
        int, typer.Option("--eval", min=0, help="Episodes to evaluate over at the end.")
    ] = 200,
    resume: Annotated[
        bool, typer.Option(help="Go on from OUT's progress if there is some, or start over.")
    ] = True,
) -> None:
    """Train a policy on demonstrations from the simulator and say how good it is.

    Example: python -m holdfast.tools.training.train --config conveyor-flow --out runs/flow
    """
    if config not in CONFIGS:
        raise typer.BadParameter(f"no config '{config}'; there are: {', '.join(CONFIGS)}")
    changes = {"steps": steps, "shards": shards, "batch": batch}
    chosen = msgspec.structs.replace(
        CONFIGS[config], **{k: v for k, v in changes.items() if v is not None}
    )
    out.mkdir(parents=True, exist_ok=True)
    try:
        demonstrations = prepare(data or out / "data", chosen, workers)
        torch.set_num_threads(threads)
        trainer = Trainer(chosen, demonstrations, seed)
        command = (
            f"python -m holdfast.tools.training.train --config {config} --out DIRECTORY "
            f"--seed {seed} --steps {chosen.steps} --shards {chosen.shards} --batch {chosen.batch}"
        )
        finished = fit(trainer, out, resume, command)
        if finished and episodes:
            assess(out, chosen.kind, episodes)
    except (ValueError, PolicyError) as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from None
    if not finished:
        raise typer.Exit(130)


def prepare(directory: Path, config: TrainingConfig, workers: int) -> Demonstrations:
    """The demonstrations, made where they are missing."""
    with bar_of() as progress:
        bar = progress.add_task("demonstrations", total=config.shards)
        for finished in generate(directory, config.dataset, config.shards, workers):
            progress.update(bar, completed=finished)
    return load(directory, config.shards)


def fit(trainer: Trainer, out: Path, resume: bool, command: str) -> bool:
    """Train to the end, or until Ctrl-C or SIGTERM; True if it got to the end. Saves either way.
    `command` goes into the checkpoint: it makes the same one again."""
    progress_file, metrics = out / "progress.pt", out / "metrics.jsonl"
    if resume and progress_file.exists():
        trainer.load_progress(progress_file)
        console.print(f"going on at step {trainer.step}")
    else:
        metrics.unlink(missing_ok=True)
    stop, resumed_at = threading.Event(), trainer.step
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    saved = time.monotonic()

    def save() -> None:
        trainer.save(out, command=command, seconds=round(trainer.seconds))
        trainer.save_progress(progress_file)

    try:
        with bar_of() as progress, metrics.open("a") as log:
            bar = progress.add_task("training", total=trainer.config.steps)
            while trainer.step < trainer.config.steps and not stop.is_set():
                row = trainer.advance()
                progress.update(bar, completed=trainer.step, description=f"{row['loss']:.4f}")
                if trainer.step % LOG_EVERY == 0:
                    row = {"step": trainer.step, **row, "seconds": trainer.seconds}
                    log.write(json.dumps({k: round(v, 6) for k, v in row.items()}) + "\n")
                    log.flush()
                if time.monotonic() - saved > SAVE_EVERY_S:
                    save()
                    saved = time.monotonic()
        if trainer.step > resumed_at:
            save()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return trainer.step >= trainer.config.steps


def assess(out: Path, kind: str, episodes: int) -> None:
    """Say how often the checkpoint in `out` succeeds, and keep it beside it."""
    one_core()
    success = measure(load_policy(kind, out), episodes)
    console.print(f"success: {success}")
    (out / "evaluation.json").write_text(json.dumps(success.row()) + "\n")


if __name__ == "__main__":
    typer.run(main)
