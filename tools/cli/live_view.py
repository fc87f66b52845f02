"""`actorctl top`: the status of a running fleet on the whole terminal, and the emergency stop by a
key.
"""

from __future__ import annotations

import threading
from pathlib import Path

from rich.console import Console
from rich.live import Live

from ...actors.driver import emergency_stop
from ...actors.driver.stop_outcome import StopOutcome
from ...actors.runtime import robots_file
from ...actors.supervision import control_socket
from ...actors.supervision.guests import guests
from ...errors import ControlSocketError
from .keys_pressed import KeysPressed
from .running_fleet import fail
from .tables import live_screen

REFRESH_S = 0.25
HINT = "e stops all robots of the site; Ctrl-C ends this view"


def watch(path: Path) -> None:
    """Show the fleet behind the control socket `path` until KeyboardInterrupt, or its end."""
    console = Console()
    if not console.is_terminal:
        fail("a live view needs a terminal; `actorctl status --watch --json` writes lines")
    with KeysPressed() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        stopping = _Stopping(path.parent, keys)
        stopping.start()
        while True:
            try:
                body = control_socket.ask(path, do="status")["status"]
            except ControlSocketError as error:
                live.stop()
                fail(str(error))
            hint = f"{stopping.said}\n{HINT}" if stopping.said else HINT
            live.update(live_screen(body, hint, console.height, console.width), refresh=True)
            stopping.news.wait(REFRESH_S)
            stopping.news.clear()


class _Stopping(threading.Thread):
    """Waits for the key, so that a supervisor that is slow to answer delays no stop."""

    def __init__(self, rundir: Path, keys: KeysPressed) -> None:
        super().__init__(name="emergency stop", daemon=True)
        self.said = ""
        self.news = threading.Event()
        self._rundir = rundir
        self._keys = keys

    def run(self) -> None:
        while True:
            if "e" in self._keys.wait(60.0).lower():
                self.said = _stop_all(self._rundir)
                self.news.set()


def _stop_all(rundir: Path) -> str:
    """Stop the robots of the site; what became of each."""
    known = robots_file.read(rundir)
    outcomes = emergency_stop.stop([] if known is None else [known], guests=guests)
    return "emergency stop: " + ("; ".join(map(_said, outcomes)) or "the fleet has no robots")


def _said(outcome: StopOutcome) -> str:
    if outcome.robot:
        return f"{outcome.robot} {outcome.message or 'stopped, confirmed by the device'}"
    return outcome.message or "a stop of the whole site is in force"
