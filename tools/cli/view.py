"""What `supervisor start` shows while the fleet runs: one live screen on a terminal, else a line
for each change.

It runs in a daemon thread of its own and gets copies: a terminal that is stopped, slow or gone
delays only the view.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...actors.gateway.address import one_click
from ...actors.supervision.health import cause, refusal, warnings

HINT = "Ctrl-C stops the fleet; beside it: actorctl status, logs -f, kill NAME, ..."
STOPPING = "it is being stopped, in order; Ctrl-C once more ends it at once"
REFRESH_S = 0.25


class View(threading.Thread):
    """Shows the newest status that it was given."""

    def __init__(self, live: bool, rundir: Path) -> None:
        super().__init__(name="view", daemon=True)
        self._live = live
        self._rundir = rundir
        self._latest: dict[str, Any] | None = None
        self._stopping = False
        self._changed = threading.Event()
        self._done = False

    def show(self, status: dict[str, Any], *, stopping: bool = False) -> None:
        """Make `status` the newest. Returns at once."""
        self._latest, self._stopping = status, stopping
        self._changed.set()

    def end(self, patience_s: float = 0.5) -> None:
        """Draw the latest status and stop; give up after `patience_s` on a blocked terminal."""
        self._done = True
        self._changed.set()
        self.join(patience_s)

    def run(self) -> None:
        try:
            if self._live:
                self._draw()
            else:
                self._print_changes()
        except OSError:
            return  # the terminal or the pipe is closed

    def _statuses(self) -> Iterator[dict[str, Any]]:
        """The newest status whenever there is one; once more at the end."""
        while True:
            self._changed.wait()
            self._changed.clear()
            ending = self._done
            if self._latest is not None:
                yield self._latest
            if ending:
                return

    def _draw(self) -> None:
        from rich.console import Console
        from rich.live import Live

        from .tables import live_screen

        console = Console()
        with Live(console=console, auto_refresh=False, transient=False) as live:
            for status in self._statuses():
                address = one_click(self._rundir)
                hint = f"dashboard {address}\n{HINT}" if address else HINT
                hint = STOPPING if self._stopping else hint
                live.update(live_screen(status, hint, console.height, console.width), refresh=True)
                time.sleep(REFRESH_S)

    def _print_changes(self) -> None:
        known: dict[object, object] = {}
        for status in self._statuses():
            for subject, value, line in _lines(status):
                if known.get(subject) != value:
                    known[subject] = value
                    print(f"{status['uptime_s']:9.2f} s  {line}", flush=True)


def _lines(status: dict[str, Any]) -> Iterator[tuple[object, object, str]]:
    """(subject, value, line) of each: a line is printed when the value of its subject changes."""
    for kind, rows in {"own": [*status["actors"], *status["robots"]], **status["site"]}.items():
        for row in rows:
            refused = refusal(row)
            text = refused or ": ".join(filter(None, (row["state"], cause(row))))
            state = row["state"], bool(refused)
            yield (kind, row["name"]), state, f"{row['name']:<16} {text}"
    for name, warning in warnings(status):
        yield (name, warning), True, f"{name:<16} warning: {warning}"


def stopped(status: dict[str, Any]) -> str:
    """What was stopped, in a sentence, by the `status` at the moment the stop began."""
    robots = ", ".join(row["name"] for row in status["robots"])
    whose = f", those of {robots} among them" if robots else ""
    actors, after_s = len(status["actors"]), status["uptime_s"]
    ended = f"{actors} actor{'s' if actors != 1 else ''} ended"
    return f"{status['fleet']!r} is stopped after {after_s:.0f} s: {ended}{whose}"


def on_terminal() -> bool:
    """Whether a live screen would be seen."""
    return sys.stdout is not None and sys.stdout.isatty()
