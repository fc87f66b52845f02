"""`RobotCommands`: what a person commands a control loop: pause, resume, an episode, a task, a
service."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns
from typing import Any, Protocol

import msgspec

from ...transport.limits import DEFAULT
from ..runtime.link_messages import Command
from .handover import Handover
from .plan import Floats
from .pose_motion import PoseMotion
from .request_cycle import RequestCycle
from .robot_episodes import RobotEpisodes
from .supply_state import SupplyState

VERBS = ("pause", "resume", "reset", "episode", "task", "take-over", "go-to", "use")


class AcknowledgeCommand(Protocol):
    """Answers a command by its id: with a result, or why it was not done."""

    def __call__(self, id: int, result: Any = None, error: str | None = None) -> None: ...


class RobotCommands:
    """Of one loop, whose `service` is empty for a robot that a person alone moves. `reset` begins
    an episode, of the surroundings too where they can begin one, with another task unless it gets
    None, and unless another than the one numbered `after` has begun already; it is answered when it
    has begun. `task` is another task in the same episode.
    `take-over`: the teleoperator commands the robot, until `resume` gives it back to the policy, or
    `pause` to neither. `go-to`: a slow motion to a pose, then it is paused. `use`: from a new
    episode on, another service infers for the robot. `resume` until "episode" is up to where the
    robot's surroundings begin the next one: there it is paused, before anything is commanded."""

    def __init__(
        self,
        cycle: RequestCycle,
        handover: Handover,
        motion: PoseMotion,
        position: Callable[[], Floats],
        episodes: RobotEpisodes,
        use: Callable[[str], None],
        acknowledge: AcknowledgeCommand,
        service: str,
    ) -> None:
        self._cycle, self._handover, self._episodes = cycle, handover, episodes
        self._service, self._use, self._acknowledge = service, use, acknowledge
        self._motion, self._position = motion, position
        self._until_episode = False
        self._changing: int | None = None
        """The command that waits for the other service's answer."""
        self._beginning: list[int] = []
        """Those that wait for the surroundings to begin an episode."""

    def serve(self, command: Command) -> None:
        """Carry out one of VERBS and acknowledge it; by `answer` a change of the service, and an
        episode that the surroundings begin."""
        try:
            self._carry_out(command)
        except ValueError as error:
            self._acknowledge(command.id, error=str(error))
        else:
            if command.id not in (self._changing, *self._beginning):
                self._acknowledge(command.id, self._result)

    def answer(self) -> None:
        """Acknowledge the change of the service once the other one has accepted the robot, or it
        stays with its own, and an episode once it has begun. Once a tick."""
        if self._beginning and not self._episodes.awaited:
            begun, self._beginning = self._beginning, []
            for id in begun:
                fault = self._episodes.fault
                self._acknowledge(id, None if fault else self._result, fault or None)
        change = self._cycle.session.change
        if self._changing is None or change is None or change.pending:
            return
        id, self._changing = self._changing, None
        if change.refusal:
            why = f"service '{change.after}' refused it: {change.refusal}"
            self._acknowledge(id, error=f"{why}; it stays with '{change.before}'")
        else:
            self._acknowledge(id, self._result)

    def episode_began(self) -> None:
        """The robot's surroundings have begun an episode without being asked."""
        if self._until_episode:
            self._pause()

    def _carry_out(self, command: Command) -> None:
        """Raises ValueError for a task that is none, or that the service does not do, for a
        take-over without a teleoperator, and for a service that is none."""
        match command.verb:
            case "use":
                self._change(command.id, command.args.get("service"))
            case "go-to":
                self._go_to(command.args.get("pose"))
            case "take-over":
                self._take_over()
            case "pause":
                self._pause()
            case "resume":
                self._give_back()
                self._until_episode = command.args.get("until") == "episode"
            case "reset" | "episode":
                self._begin(command)
            case "task":
                task = self._task(command.args.get("task"))
                if task is None:
                    raise ValueError("`task` needs the task, a sentence")
                self._cycle.change_task(task)

    @property
    def _result(self) -> dict[str, object]:
        """What the acknowledgement carries."""
        return {
            "state": self._state,
            "paused": self._cycle.failsafe.paused,
            "manual": self._handover.manual,
            "moves": self._motion.active,
            "episode": self._cycle.buffer.episode,
            "task": self._cycle.session.task.sentence,
            "service": self._cycle.session.service,
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

    def _begin(self, command: Command) -> None:
        task, after = self._task(command.args.get("task")), command.args.get("after")
        if after is not None and after != self._cycle.buffer.episode:
            return
        self._episodes.begin(task, monotonic_ns())
        if self._episodes.awaited:
            self._beginning.append(command.id)

    def _change(self, id: int, service: object) -> None:
        if not isinstance(service, str) or not service:
            raise ValueError(f"`use` needs the name of a service, not {service!r:.60}")
        if not self._service:
            raise ValueError(
                "it has no service, so no network actor: name one in the fleet file, and reload it"
            )
        if self._changing is not None:
            raise ValueError("it is going over to another service already: wait for its answer")
        if self._cycle.state is SupplyState.DEAD:
            raise ValueError(f"it is DEAD ({self._cycle.reason}): start it again first")
        if service != self._cycle.session.service:
            self._changing = id
            self._use(service)

    def _pause(self) -> None:
        self._until_episode = False
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
