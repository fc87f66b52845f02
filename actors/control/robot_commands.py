"""`RobotCommands`: what a person commands a control loop to do: pause, resume, begin an episode."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns

from ...transport.limits import DEFAULT
from ..runtime.supervisor_link import Command
from .request_cycle import RequestCycle

VERBS = ("pause", "resume", "reset", "episode")


class RobotCommands:
    """Of one loop. `reset` begins an episode, with another task unless it gets None."""

    def __init__(self, cycle: RequestCycle, reset: Callable[[str | None], None]) -> None:
        self._cycle, self._reset = cycle, reset

    def carry_out(self, command: Command) -> dict[str, object]:
        """Carry out one of VERBS; returns what the acknowledgement carries. Raises ValueError for
        a task that is none."""
        match command.verb:
            case "pause":
                self._cycle.pause(monotonic_ns())
            case "resume":
                self._cycle.resume(monotonic_ns())
            case "reset" | "episode":
                self._reset(_task(command.args.get("task")))
        return {
            "state": self._cycle.state.value,
            "paused": self._cycle.failsafe.paused,
            "episode": self._cycle.buffer.episode,
        }


def _task(asked: object) -> str | None:
    """The task in a command; None where it names none, which keeps the present one."""
    if asked is None or (isinstance(asked, str) and len(asked) <= DEFAULT.max_text_chars):
        return asked
    raise ValueError(
        f"a task is a sentence of at most {DEFAULT.max_text_chars} characters, not {asked!r:.60}"
    )
