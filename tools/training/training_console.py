"""What the training tools print: on standard error, as long as it is read."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class TrainingConsole(Console):
    """A console whose reader may leave: a training goes on, and is saved at its end, without
    one."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        # What Python and torch still write goes there too, instead of failing at exit.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stderr.fileno())
        os.close(null)


console = TrainingConsole(stderr=True)


def bar_of() -> Progress:
    """The progress bar of the training tools."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
