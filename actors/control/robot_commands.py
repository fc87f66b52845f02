"""`RobotCommands`: what a person commands a control loop: pause, resume, an episode, a task."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns

import msgspec

from ...transport.limits import DEFAULT
from ..runtime.link_messages import Command
from .handover import Handover
from .plan import Floats
from .pose_motion import PoseMotion
from .request_cycle import RequestCycle

VERBS = ("pause", "resume", "reset", "episode", "task", "take-over", "go-to")


class RobotCommands:
    """Of one loop, whose `service` is empty for a robot that a person alone moves. `reset` begins
    an episode, with another task unless it gets None; `task` is another task in the same episode.
    `take-over`: the teleoperator commands the robot, until `resume` gives it back to the policy, or
    `pause` to neither. `go-to`: a slow motion to a pose, then it is paused."""

    def __init__(
        self,
        cycle: RequestCycle,
        handover: Handover,
        motion: PoseMotion,
        position: Callable[[], Floats],
        reset: Callable[[str | None], None],
        service: str,
    ) -> None:
        self._cycle, self._handover, self._reset = cycle, handover, reset
        self._service = service
        self._motion, self._position = motion, position

    def carry_out(self, command: Command) -> dict[str, object]:
        """Carry out one of VERBS; returns what the acknowledgement carries. Raises ValueError for
        a task that is none, or that the service does not do, and for a take-over without a
        teleoperator."""
        match command.verb:
            case "go-to":
                self._go_to(command.args.get("pose"))
            case "take-over":
                self._take_over()
            case "pause":
                self._pause()
            case "resume":
                self._give_back()
            case "reset" | "episode":
                self._reset(self._task(command.args.get("task")))
            case "task":
                task = self._task(command.args.get("task"))
                if task is None:
                    raise ValueError("`task` needs the task, a sentence")
                self._cycle.change_task(task)
        return {
            "state": self._state,
            "paused": self._cycle.failsafe.paused,
            "manual": self._handover.manual,
            "moves": self._motion.active,
            "episode": self._cycle.buffer.episode,
            "task": self._cycle.session.task.sentence,
        }

    @property
    def _state(self) -> str:
        if self._handover.manual:
            return "MANUAL"
        return "PAUSED" if self._cycle.failsafe.paused else self._cycle.state.value

    def toggle(self) -> None:
        """The person takes over or, if they have, gives back to the policy."""
        if self._handover.manual and self._service:
            self._give_back()
        elif self._handover.manual:
            self._pause()
        else:
            self._take_over()

    def _take_over(self) -> None:
        if not self._handover.possible:
            raise ValueError(
                "it has no teleoperator: name one by `teleop` in the robot's entry of the fleet "
                "file"
            )
        now_ns = monotonic_ns()
        self._motion.end()
        self._cycle.pause(now_ns)
        self._cycle.void_plan()
        self._handover.take(now_ns)

    def _pause(self) -> None:
        self._motion.end()
        self._handover.give_back()
        self._cycle.pause(monotonic_ns())

    def _give_back(self) -> None:
        if not self._service:
            raise ValueError(
                "it has no service to give back to: `pause` stops following the teleoperator"
            )
        self._motion.end()
        self._handover.give_back()
        self._cycle.resume(monotonic_ns())

    def _go_to(self, pose: object) -> None:
        try:
            named = msgspec.convert(pose, dict[str, float] | None)
        except msgspec.ValidationError as error:
            raise ValueError(f"a pose is a map of joints' names to numbers: {error}") from None
        now_ns = monotonic_ns()
        self._motion.begin(named, self._position(), now_ns)
        self._handover.give_back()
        self._cycle.pause(now_ns)
        self._cycle.void_plan()

    def _task(self, asked: object) -> str | None:
        """The task in a command; None where it names none, which keeps the present one."""
        if asked is None:
            return None
        most = DEFAULT.max_text_chars
        if not isinstance(asked, str) or len(asked) > most:
            raise ValueError(
                f"a task is a sentence of at most {most} characters, not {asked!r:.60}"
            )
        fault = self._cycle.session.task_fault(asked)
        if fault:
            raise ValueError(fault)
        return asked
