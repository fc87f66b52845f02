"""The three stages of a training: demonstrations, optimization, evaluation.

An interrupted run saves its state; a run in the same folder resumes from there.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path

from ...policy.kinds import load_policy
from .dataset import Demonstrations, generate, load
from .evaluate import bar_of, console, measure, one_core
from .trainer import Trainer
from .training_config import TrainingConfig

SAVE_EVERY_S = 60.0
LOG_EVERY_STEPS = 20


def prepare(directory: Path, config: TrainingConfig, workers: int) -> Demonstrations:
    """The demonstrations in `directory`, which are made where they are missing."""
    with bar_of() as progress:
        bar = progress.add_task("demonstrations", total=config.shards)
        for finished in generate(directory, config.dataset, config.shards, workers):
            progress.update(bar, completed=finished)
    return load(directory, config.shards)


def fit(trainer: Trainer, out: Path, resume: bool, command: str) -> bool:
    """Train to the end, or until Ctrl-C or SIGTERM; True at the end. Saves in both cases.
    `command`, which makes the same checkpoint again, is stored in it."""
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
    saved_s = time.monotonic()

    def save() -> None:
        trainer.save(out, command=command, seconds=round(trainer.seconds))
        trainer.save_progress(progress_file)

    try:
        with bar_of() as progress, metrics.open("a") as log:
            bar = progress.add_task("training", total=trainer.config.steps)
            while trainer.step < trainer.config.steps and not stop.is_set():
                row = trainer.advance()
                progress.update(bar, completed=trainer.step, description=f"{row['loss']:.4f}")
                if trainer.step % LOG_EVERY_STEPS == 0:
                    row = {"step": trainer.step, **row, "seconds": trainer.seconds}
                    log.write(json.dumps({k: round(v, 6) for k, v in row.items()}) + "\n")
                    log.flush()
                if time.monotonic() - saved_s > SAVE_EVERY_S:
                    save()
                    saved_s = time.monotonic()
        if trainer.step > resumed_at:
            save()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return trainer.step >= trainer.config.steps


def assess(out: Path, kind: str, episodes: int) -> None:
    """Print the success rate of the checkpoint in `out` and write it to evaluation.json there."""
    one_core()
    success = measure(load_policy(kind, out), episodes)
    console.print(f"success: {success}")
    (out / "evaluation.json").write_text(json.dumps(success.row()) + "\n")
