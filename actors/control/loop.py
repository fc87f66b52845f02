"""`ControlActor`: one robot's tick. Shell of `RequestCycle`, `CommandSource` and `TickGrid`.

A tick reads the robot's state, takes the plan's next command or the fallback and writes it, then
asks for a chunk if one is due. What arrives is merged while the loop waits for the next deadline,
until shortly before it. Nothing in it waits for another process.

The robot is enabled (connected, then driven) when a handshake was accepted for the first time; a
restarted loop finds that in its segment and continues with the plan's next action before it has
exchanged any message.

Nothing heavy may be imported here: a warm standby is this module, imported.
"""

from __future__ import annotations

import gc
from time import monotonic_ns
from typing import Any

from ...errors import DeadError, RefusedError
from ...transport.bodies import Vitals
from ...transport.poll import Poll
from ..runtime.actor import Actor
from . import realtime
from .buffer import ChunkBuffer
from .command_source import CommandSource
from .config import ControlConfig, faults
from .conversation import Conversation
from .driven_robot import DrivenRobot
from .handover import Handover
from .missed_ticks import pauses_in
from .plan import Floats
from .plan_memory import PLAN_BYTES, PlanMemory, Word
from .planned_request import PlannedRequest
from .policy_client import PolicyClient
from .pose_motion import PoseMotion
from .request_cycle import RequestCycle
from .robot_commands import VERBS, RobotCommands
from .robot_episodes import RobotEpisodes
from .robot_status import status
from .supply_state import SupplyState
from .tick_grid import TickGrid
from .tick_log import TickLog
from .transition_log import TransitionLog
from .vitals import vitals

_REPORT_NS = 200_000_000
_COLLECT_NS = 10_000_000_000


class ControlActor(Actor):
    """The process of one robot's control loop."""

    kind = "control"
    Config = ControlConfig
    verbs = VERBS

    def setup(self) -> None:
        config: ControlConfig = self.config
        self._robot = robot = DrivenRobot(config, self.segment, self.incarnation)
        spec = robot.spec
        wrong = faults(config, spec.control_mode)
        if wrong:
            raise RefusedError(f"robot {config.robot}: " + "; ".join(map(str, wrong)))
        memory = memoryview(self.segment(config.plan))
        self._plan = PlanMemory(memory[:PLAN_BYTES], config.robot, len(spec.action_names))
        self._log = TickLog(memory[PLAN_BYTES:], len(spec.state_names), len(spec.action_names))
        self._words: memoryview[int] = self._plan.words
        self._words[Word.INCARNATION] = self.incarnation
        self._buffer = ChunkBuffer(self._plan, round(config.safety.max_action_age_s * 1e9))
        self._source = CommandSource(config, spec, self._plan, self._buffer)
        self._cycle = RequestCycle(config, spec, self._plan, self._buffer, self._source.begin)
        teleop = robot.reader(config.teleop) if config.teleop else None
        actions = len(spec.action_names)
        self._motion = PoseMotion(spec)
        self._handover = Handover(self._plan, teleop, actions, config.tick_ns)
        witness = robot.reader(config.witness) if config.witness else None
        self._timing = realtime.take(config.timing)
        if self._wanted:
            robot.connect()
        self._grid = TickGrid(
            config, self._plan, (lambda: pauses_in(witness.read())) if witness else None
        )
        self.resources.callback(self._grid.close)
        self._source.missed(self._grid.unattended)
        self._client = PolicyClient(config, self.incarnation)
        self._conversation = Conversation(
            config, self._cycle, self._client, spec, self._plan, self._vitals, self._log
        )
        self._poll = Poll(self.link.fileno())
        self._client.watch(self._poll)
        self._episodes = RobotEpisodes(robot, self._cycle, self._words, self._reset)
        self._commands = RobotCommands(
            self._cycle,
            self._handover,
            self._motion,
            lambda: self._source.position,
            self._episodes,
            self._use,
            self._acknowledge,
            config.service,
        )
        if not config.service:  # there is nothing to wait for but a person
            self._cycle.pause(monotonic_ns())
        self._transitions = TransitionLog(self.log, self._cycle, self._source, monotonic_ns())
        self._stop_by_ns = 0
        self._next_step = 0
        """The policy step of the next pop, counted on the clock's grid."""
        self._report_ns = self._collect_ns = 0
        self.resources.callback(self._shut_down)
        # What exists now stays until the process ends: no collection looks at it again, and none
        # runs at a moment that it chooses.
        gc.freeze()
        gc.disable()

    def run(self) -> None:
        self.ready(plan=self._plan.found)
        while not self.stopping:
            self._wait()
            if not self.stopping:
                self._tick()
        self._settle_down()

    def _shut_down(self) -> None:
        """Bring the robot to rest, end the session, and report for the last time."""
        gc.enable()  # a process that embeds the actor goes on
        gc.unfreeze()
        try:
            self._rest()
        finally:
            self._conversation.close("stopping")
            self._report()

    def _settle_down(self) -> None:
        """End in order: the time until the next start is neither a gap nor time offline."""
        self._grid.end()
        self._words[Word.COMMAND_NS] = 0
        self._cycle.session.forget()

    @property
    def _wanted(self) -> bool:
        """Whether the robot is to be connected: a service has accepted it, or a person moves it.
        One without a service is measured from the start, and commanded by a person only."""
        return self._cycle.session.enabled or self._handover.manual or not self.config.service

    def _wait(self) -> None:
        """Handle what arrives, until shortly before the deadline."""
        timeout_ms = max(self._grid.remaining_ms, 0)  # a fast or late loop polls without waiting
        while True:
            ready = self._poll.wait(timeout_ms)
            if self._client.awake(ready):
                self._receive()
            if self.link.fileno() in ready:
                self._serve_commands()
            if self.stopping:
                return
            timeout_ms = self._grid.remaining_ms
            if timeout_ms < 1:
                return

    def _tick(self) -> None:
        missed = self._grid.tick()
        now_ns = self._grid.now_ns
        if self._source.begins_step:
            self._next_step = self._grid.step
        if missed:
            self._source.missed(missed)
            self._receive()  # before time is let pass: what waits unread is not silence
        self._conversation.elapse(now_ns)
        if self._cycle.state is SupplyState.DEAD:
            self._die(now_ns)
        elif self._robot.connected:
            self._drive(now_ns)
        elif self._wanted:
            self._robot.connect()
            self._grid.restart()
        else:
            self._robot.serve()
        self._keep_in_touch(now_ns)
        self.board.progress()

    def _drive(self, now_ns: int) -> None:
        """Read the state, write the next command, log both, ask for a chunk if one is due."""
        robot, cycle, source = self._robot, self._cycle, self._source
        observed_ns, state = robot.read_state(), robot.state
        if self._episodes.follow():
            self._commands.episode_began()
        source.locate(state)
        if robot.at_rest:
            source.attach()
        request: PlannedRequest | None = None
        begins_step = source.begins_step
        gone = robot.gone(observed_ns, now_ns)
        if gone and not cycle.why.driver:
            cycle.driver_lost(robot.why_gone())
        elif cycle.why.driver and not gone:
            cycle.driver_found()
        if source.strayed:
            cycle.plan_refused(source.refusing)
        if self._handover.possible and self._handover.pressed():
            self._commands.toggle()
        manual, moves = self._handover.manual, False
        if gone:
            self._motion.end()
            command = source.rest()
        elif manual:
            command = self._follow(now_ns)
        elif moves := self._motion.active:
            command = source.follow(self._motion.command(now_ns), now_ns)
        elif cycle.failsafe.paused:
            command = source.rest()
        else:
            if begins_step:
                request = cycle.ask(observed_ns, self._next_step, now_ns)
            command = source.command(now_ns, due=cycle.failsafe.action_due)
        robot.write(command)
        self._next_step += begins_step
        action = source.action if source.accepted else None
        self._log.write(
            now_ns,
            self._grid.lateness_ns,
            self._buffer.episode,
            state,
            command,
            action,
            begins_step,
            manual,
            self._grid.waited_ns,
            moves,
        )
        source.written(monotonic_ns())
        if request is not None:
            self._conversation.ask(request, state, now_ns)

    def _follow(self, now_ns: int) -> Floats | None:
        """The command of a tick at which a person commands."""
        target = self._handover.command(self._source.position, now_ns)
        return self._source.rest() if target is None else self._source.follow(target, now_ns)

    def _reset(self, task: str | None = None) -> None:
        self._conversation.reset(task)
        self._source.interrupt()
        self._episodes.note()
        self._report()  # a recorder has to find the task of the first step

    def _use(self, service: str) -> None:
        """Another service, from an episode on that begins with it."""
        self._conversation.use(service, monotonic_ns())
        self._reset()

    def _receive(self) -> None:
        self._conversation.receive(self._next_step, monotonic_ns())

    def _keep_in_touch(self, now_ns: int) -> None:
        """Handshakes, heartbeats, the board, and what else is due now and then."""
        if self.config.service:
            self._conversation.keep_in_touch(now_ns)
        self._episodes.elapse(now_ns)
        self._commands.answer()
        if self._transitions.entered(now_ns):
            self._report_ns = 0
        if now_ns - self._report_ns >= _REPORT_NS:
            self._report_ns = now_ns
            self._grid.missed_ticks.settle(now_ns)
            self._report()
            self._transitions.update(now_ns)
        if now_ns - self._collect_ns >= _COLLECT_NS:
            self._collect_ns = now_ns
            gc.collect()  # what is frozen is not looked at: a fraction of a millisecond

    def _vitals(self) -> Vitals:
        interpolate = self.config.interpolate
        fps = self._grid.hz / interpolate
        return vitals(self._plan, self._cycle, self._source, fps=fps, interpolate=interpolate)

    def _serve_commands(self) -> None:
        for command in self.link.commands():
            if command.verb in self.verbs:
                self._commands.serve(command)
            else:
                self.link.acknowledge(command.id, error=self.refusal(command))

    def _acknowledge(self, id: int, result: Any = None, error: str | None = None) -> None:
        if error is None:
            self._report()  # first: the status shows the result once it is acknowledged
        self.link.acknowledge(id, result, error)

    def _die(self, now_ns: int) -> None:
        """Bring the robot to its safe rest, a step per tick; then end for good."""
        reason = self._cycle.reason
        if not self._robot.connected:
            self._settle_down()
            raise RefusedError(f"robot {self.config.robot} was not enabled: {reason}")
        if not self._stop_by_ns:
            self._stop_by_ns = now_ns + round(self.config.safety.safe_stop_timeout_s * 1e9)
            self._report()
        if self._robot.safe_stop() or now_ns > self._stop_by_ns:
            self._settle_down()
            raise DeadError(f"robot {self.config.robot}: {reason}")

    def _rest(self) -> None:
        """Leave the robot at rest: a velocity-controlled one is commanded so, others hold."""
        if self._robot.connected:
            self._robot.write(self._source.rest())
            self._robot.close()

    def _report(self) -> None:
        now_ns = monotonic_ns()
        report = status(
            self._plan,
            self._cycle,
            self._source,
            self._grid.lateness,
            self._grid.missed_ticks,
            now_ns,
        )
        report["tick_lateness_recent_us"] = self._grid.recent_us(now_ns)
        report["timing"] = self._timing
        report["episode_tasks"] = list(self._episodes.tasks)
        report["manual"] = self._handover.manual
        report["moves"] = self._motion.active
        report["service"] = self._cycle.session.service
        if self._handover.manual or not self.config.service:
            report["reason"] = self._handover.reason
        report["malformed"] = dict(self._client.malformed)
        report["damaged"] = self._robot.damaged
        report["estop"] = self._robot.estop
        report["warnings"] = [*report["warnings"], *self._robot.warnings]
        self.board.report(report)
