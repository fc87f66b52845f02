"""The stages of a training: data, optimization, evaluation.

An interrupted run saves its state; a run in the same folder resumes from there.
"""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from ...policy.kinds import load_policy
from .batches import Batches, BatchSource
from .dataset import generate, load
from .evaluate import measure, one_core
from .metrics_log import MetricsLog, Tracker
from .trainer import Trainer
from .training_config import RecordedConfig, TrainingConfig
from .training_console import bar_of, console

SAVE_EVERY_S = 60.0
_SAVING_SHARE = 0.05
"""The most of the time that saving takes: the files of a published π0 are large."""
LOG_EVERY_STEPS = 20


def demonstrated(directory: Path, config: TrainingConfig, seed: int, workers: int) -> Batches:
    """The batches of the demonstrations in `directory`, which are made where they are missing."""
    with bar_of() as progress:
        bar = progress.add_task("demonstrations", total=config.shards)
        for finished in generate(directory, config.dataset, config.shards, workers):
            progress.update(bar, completed=finished)
    return Batches(config, load(directory, config.shards), seed)


def recorded(path: Path, config: RecordedConfig, seed: int, cache: Path) -> BatchSource:
    """The batches of the LeRobotDataset at `path`, whose images are decoded into `cache`. Raises
    DatasetError, PolicyError or ValueError."""
    # Here: the simulator's demonstrations need no pyarrow.
    from ...robot.dataset.dataset_reader import Dataset
    from .chosen_statistics import chosen_statistics
    from .recording import Recording
    from .training_check import batches_of, check_beginning

    dataset = Dataset(path)
    recording = Recording.of(dataset, config)
    spec = recording.spec
    stats = chosen_statistics(dataset, config, spec)
    # Before images are decoded, which takes long. `load_windows` refuses what has no episodes.
    if len(dataset):
        check_beginning(config, spec, dataset.tasks)
    with bar_of() as progress:
        bar = progress.add_task("images", total=dataset.frames * len(spec.cameras))
        data = recording.windows(
            cache,
            lambda images: progress.advance(bar, images),
            skip_failures=config.skip_failures,
        )
    return batches_of(config, spec, data, seed, stats, dataset=dataset.root.resolve().name)


def fit(
    trainer: Trainer, out: Path, resume: bool, command: str, trackers: Sequence[Tracker] = ()
) -> bool:
    """Train to the end, or until Ctrl-C or SIGTERM; True at the end. Saves in both cases.
    `command`, which makes the same checkpoint again, is stored in it. All ranks call this, and the
    first one writes."""
    interrupted = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: interrupted.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        return _fit(trainer, out, resume, command, trackers, interrupted)
    finally:
        trainer.loader.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _fit(
    trainer: Trainer,
    out: Path,
    resume: bool,
    command: str,
    trackers: Sequence[Tracker],
    interrupted: threading.Event,
) -> bool:
    progress_file, ranks = out / "progress.pt", trainer.ranks
    if resume and progress_file.exists():
        before = trainer.load_progress(progress_file)
        other = "" if before == trainer.made_by() else f", until now on {before}"
        console.print(f"going on at step {trainer.step}{other}")
    resumed_at, saved_s, pause_s, stop = trainer.step, time.monotonic(), SAVE_EVERY_S, False

    def save() -> None:
        trainer.save(out, command=command, seconds=round(trainer.seconds))
        trainer.save_progress(progress_file)

    log = MetricsLog(out, trainer.step, trackers) if ranks.rank == 0 else contextlib.nullcontext()
    with bar_of() as progress, log:
        bar = progress.add_task("training", total=trainer.config.steps)
        while trainer.step < trainer.config.steps and not stop:
            row = trainer.advance()
            progress.update(bar, completed=trainer.step, description=f"{row['loss']:.4f}")
            if trainer.step % LOG_EVERY_STEPS == 0 and isinstance(log, MetricsLog):
                log.write(trainer.step, {**row, "seconds": trainer.seconds})
            # The ranks' clocks differ, and a signal reaches one before another.
            due, stop = ranks.any(time.monotonic() - saved_s > pause_s, interrupted.is_set())
            if due:
                began_s = time.monotonic()
                save()
                took_s, saved_s = time.monotonic() - began_s, time.monotonic()
                pause_s = max(SAVE_EVERY_S, took_s / _SAVING_SHARE)
        if trainer.step > resumed_at:
            save()
    finished = trainer.step >= trainer.config.steps
    if not finished:
        console.print(
            f"interrupted: step {trainer.step} of {trainer.config.steps} is saved in {out}; the "
            "same command goes on from there",
            soft_wrap=True,
        )
    return finished


def assess(out: Path, kind: str, episodes: int) -> None:
    """Print the success rate of the checkpoint in `out` and write it to evaluation.json there."""
    one_core()
    success = measure(load_policy(kind, out), episodes)
    console.print(f"success: {success}")
    (out / "evaluation.json").write_text(json.dumps(success.row()) + "\n")
