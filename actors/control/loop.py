"""The control actor: one robot's tick. Shell of `RequestCycle`, `CommandSource` and `TickClock`.

A tick reads the robot's state, takes the plan's next command or the fallback and writes it, then
asks for a chunk if one is due. What arrives is merged while the loop waits for the next deadline,
until shortly before it. Nothing in it waits for another process.

The robot is enabled (connected, then driven) when a handshake was accepted for the first time; a
restarted loop finds that in its segment and drives on with the next action of the plan before it
has spoken to anybody.

Nothing heavy may be imported here: a warm spare is this module, imported.
"""

from __future__ import annotations

import gc
from logging import INFO, WARNING
from time import monotonic_ns

import numpy as np
import zmq

from ...errors import DeadError, RefusedError
from ...robot.base import Robot
from ...transport.limits import DEFAULT
from ...transport.poll import Poll
from ...transport.seqlock import SteadyReader
from ..runtime.actor import Actor
from ..runtime.supervisor_link import Command
from . import drivers, realtime
from .buffer import ChunkBuffer
from .clock import TickClock, resume_grid
from .command_source import CommandSource
from .config import ControlConfig, faults
from .driver_watch import DriverWatch
from .failsafe import SupplyState
from .histogram import Histogram, Recent
from .losses import Losses
from .missed_ticks import MissedTicks, pauses_in
from .pace import Pace
from .plan_memory import PLAN_BYTES, PlanMemory, Word
from .policy_client import PolicyClient
from .request_cycle import PlannedRequest, RequestCycle
from .robot_status import status
from .tick_log import TickLog
from .vitals import vitals

_REPORT_NS = 200_000_000
_BEAT_NS = 200_000_000
_COLLECT_NS = 10_000_000_000
_TELL_NS = 1_000_000_000
"""Between two lines of the log about one state."""
_QUIET_NS = 2_500_000
"""Before a deadline, in which nothing is handled any more: a merge costs a tenth of it."""
_START_NS = 10_000_000
_BREAK_NS = 10_000_000_000
"""Between two ticks: longer than any pause of a machine; only a stopped process is away so long."""


class ControlActor(Actor):
    """See the module."""

    kind = "control"
    Config = ControlConfig
    verbs = ("pause", "resume", "reset", "episode")

    def setup(self) -> None:
        config: ControlConfig = self.config
        self._readers: dict[str, SteadyReader] = {}
        self._robot: Robot = drivers.create(config, self.segment, self._reader)
        spec = self._robot.spec
        self._connected = False
        wrong = faults(config, spec.control_mode)
        if wrong:
            raise RefusedError(f"robot {config.robot}: " + "; ".join(map(str, wrong)))
        memory = memoryview(self.segment(config.plan))
        self._plan = PlanMemory(memory[:PLAN_BYTES], config.robot, len(spec.action_names))
        self._log = TickLog(memory[PLAN_BYTES:], len(spec.state_names), len(spec.action_names))
        self._words: memoryview[int] = self._plan.words
        self._words[Word.INCARNATION] = self.incarnation
        self._buffer = ChunkBuffer(self._plan, round(config.safety.max_action_age_s * 1e9))
        self._supply = RequestCycle(config, spec, self._plan, self._buffer)
        self._playback = CommandSource(config, spec, self._plan, self._buffer)
        self._driver = DriverWatch(config.driver_lost_after_ns)
        self._state = np.zeros(len(spec.state_names), np.float32)
        self._lateness = Histogram(self._plan.lateness)
        self._recent = Recent(self._lateness, monotonic_ns())
        witness = self._reader(config.witness) if config.witness else None
        self._misses = MissedTicks(
            self._words, config.tick_ns, (lambda: pauses_in(witness.read())) if witness else None
        )
        self._timing = realtime.take(config.timing)
        if self._supply.enabled:
            self._connect()
        self._clock = self._start_clock()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._uplink = PolicyClient(self._context, config, self.incarnation)
        self._poll = Poll(self._uplink.socket, self.link.fileno())
        self._pace = Pace(_BREAK_NS)
        self._shown = ""
        self._told = ("", "", False)
        self._told_ns = 0
        self._warned: list[str] = []
        dropped, refused = self._supply.buffer.dropped, self._playback.refused
        self._losses = Losses(dropped, refused, monotonic_ns())
        self._stop_by_ns = 0
        self._next_step = 0
        """The policy step of the next pop, counted on the clock's grid."""
        self._report_ns = self._beat_ns = self._collect_ns = 0
        self.resources.callback(self._shut_down)
        # What exists now lives as long as the process: no collection looks at it again, and none
        # runs at a moment that it chooses.
        gc.freeze()
        gc.disable()

    def run(self) -> None:
        self.ready(plan=self._plan.found)
        while not self.stopping:
            self._wait()
            if not self.stopping:
                self._tick(self._clock.wait())
        self._settle_down()

    def _shut_down(self) -> None:
        """Bring the robot to rest, end the session, and report for the last time."""
        gc.enable()  # a process that embeds the actor goes on
        gc.unfreeze()
        try:
            self._rest()
        finally:
            if self._supply.failsafe.session_open:
                self._uplink.close(self._supply.epoch, "stopping")
            else:
                self._uplink.socket.close(linger=0)
            self._context.term()
            self._report()

    def _reader(self, name: str) -> SteadyReader:
        """Of the register that somebody else writes to the segment `name`."""
        return self._readers.setdefault(name, SteadyReader(self.segment(name)))

    def _settle_down(self) -> None:
        """An end in order: the time until the next start is neither a gap nor time offline."""
        self._words[Word.GRID_NS] = self._words[Word.COMMAND_NS] = 0
        self._supply.forget()

    def _start_clock(self) -> TickClock:
        """Continue the grid of the incarnation before, if it was killed; else begin one."""
        now, period = monotonic_ns(), self.config.tick_ns
        last = self._words[Word.GRID_NS]
        if not last or last > now + period:  # the grid point after now is the last that can be
            return TickClock(period, now + _START_NS)
        start, unattended = resume_grid(last, period, now)
        self._words[Word.MISSED_RESTART] += unattended
        self._playback.missed(unattended)
        return TickClock(period, start)

    def _wait(self) -> None:
        """Handle what arrives, until shortly before the deadline."""
        now = monotonic_ns()
        timeout_ms = (self._clock.deadline_ns - now - _QUIET_NS) // 1_000_000
        if timeout_ms < 1:  # a fast or late loop still looks, without waiting
            timeout_ms = 0
        while True:
            ready = self._poll.wait(timeout_ms)
            if self._uplink.socket in ready:
                self._receive()
            if self.link.fileno() in ready:
                self._obey()
            if self.stopping:
                return
            timeout_ms = (self._clock.deadline_ns - monotonic_ns() - _QUIET_NS) // 1_000_000
            if timeout_ms < 1:
                return

    def _tick(self, lateness_ns: int) -> None:
        due, words = self._clock.deadline_ns, self._words
        missed = self._clock.advance(lateness_ns)
        now = due + lateness_ns
        words[Word.GRID_NS] = self._clock.deadline_ns - self._clock.period_ns
        words[Word.TICKS] += 1
        self._pace.step(now)
        if self._playback.begins_step:
            self._next_step = (words[Word.GRID_NS] + self.config.dt_ns // 2) // self.config.dt_ns
        self._lateness.record(lateness_ns)
        if missed:
            self._misses.missed(missed, due, now)
            self._playback.missed(missed)
            self._receive()  # what waited meanwhile is news, not silence
        self._supply.elapse(now)
        if self._supply.state is SupplyState.DEAD:
            self._die(now)
        elif self._connected:
            self._drive(now, lateness_ns)
        elif self._supply.enabled:
            self._connect()
            self._clock = TickClock(self.config.tick_ns, monotonic_ns() + _START_NS)
        self._keep_in_touch(now)
        self.board.progress()

    def _drive(self, now: int, lateness_ns: int) -> None:
        """Read the state, write the next command, log both, ask for a chunk if one is due."""
        supply, playback = self._supply, self._playback
        observed = self._robot.read_state(self._state)
        self._follow_episode()
        playback.locate(self._state)
        ask: PlannedRequest | None = None
        begins_step = playback.begins_step
        gone = self._driver.gone(observed, now)
        if gone and not supply.why.driver:
            supply.driver_lost(self._why_gone())
        elif supply.why.driver and not gone:
            supply.driver_found()
        if gone or supply.failsafe.paused:
            command = playback.rest()
        else:
            if begins_step:
                ask = supply.ask(observed, self._next_step, now)
            command = playback.command(now, due=supply.failsafe.action_due)
        if command is not None:
            self._robot.write_action(command)
        self._next_step += begins_step
        action = playback.action if playback.accepted else None
        self._log.write(
            now, lateness_ns, self._buffer.episode, self._state, command, action, begins_step
        )
        self._note_command(playback.accepted)
        if ask is not None:
            if self._uplink.ask(ask, self._state, now):
                supply.asked(now)
            else:
                supply.unsent(now)

    def _why_gone(self) -> str:
        bound_s = self.config.driver_lost_after_ns / 1e9
        faults = [f"; {name}: {r.fault}" for name, r in self._readers.items() if r.fault]
        return (
            f"the robot's driver is gone: its state stands still for more than {bound_s:g} s "
            f"(driver_lost_after_s){''.join(faults)}"
        )

    def _note_command(self, played: bool) -> None:
        """Keep the longest gap between two commands of the plan. A command is remembered across a
        kill; a tick without one, by design or for want of a plan, begins anew."""
        words = self._words
        last, now = words[Word.COMMAND_NS], monotonic_ns()
        if played and last and now - last > words[Word.MAX_GAP_NS]:
            words[Word.MAX_GAP_NS] = now - last
        words[Word.COMMAND_NS] = now if played else 0

    def _follow_episode(self) -> None:
        """The robot's surroundings begin an episode by themselves: so does the plan."""
        episode = self._robot.episode()
        if episode is None:
            return
        number = episode.number + 1  # 0 is: none seen yet
        if self._words[Word.WORLD_EPISODE] != number:
            seen = self._words[Word.WORLD_EPISODE] != 0
            self._words[Word.WORLD_EPISODE] = number
            if seen:
                self._reset(episode.task)
        self._supply.follow_task(episode.task)

    def _reset(self, task: str | None = None) -> int:
        episode = self._supply.reset(task)
        self._playback.interrupt()
        if self._supply.failsafe.session_open:
            self._uplink.reset(episode, self._supply.epoch)
        return episode

    def _receive(self) -> None:
        self._uplink.drain(self._supply, self._next_step, monotonic_ns())

    def _keep_in_touch(self, now: int) -> None:
        """Handshakes, heartbeats, the board, and what else is due now and then."""
        supply = self._supply
        epoch = supply.open_epoch(now)
        if epoch is not None:
            if self._uplink.open(self._robot.spec, epoch, supply.task):
                supply.opening(epoch, now)
            else:
                supply.unopened()
        if now - self._beat_ns >= _BEAT_NS:
            self._beat_ns = now
            self._beat()
        if supply.state.value != self._shown:
            self._shown = supply.state.value
            self._report_ns = 0
            self._tell(now)
        if now - self._report_ns >= _REPORT_NS:
            self._report_ns = now
            self._misses.settle(now)
            self._report()
            if now - self._told_ns >= _TELL_NS:
                self._tell(now)
        if now - self._collect_ns >= _COLLECT_NS:
            self._collect_ns = now
            gc.collect()  # what is frozen is not looked at: a fraction of a millisecond

    def _beat(self) -> None:
        """Sent without a session too: whoever waits is seen, and told why."""
        supply, interpolate = self._supply, self.config.interpolate
        fps = self._pace.hz / interpolate
        said = vitals(self._plan, supply, self._playback, fps=fps, interpolate=interpolate)
        epoch = supply.epoch if supply.failsafe.session_open else 0
        self._uplink.beat(epoch, self._words[Word.TICKS], said)

    def _tell(self, now: int) -> None:
        """Log the state, and why it is so, if that is news."""
        refusing = self._playback.refusing if self._playback.refusing_s >= 1 else ""
        cause = self._supply.why.cause(self._supply.state)
        news = f"{self._shown} {cause}".rstrip()
        if refusing:
            news += f"; every command is refused for {self._playback.refusing_s:.0f} s: {refusing}"
        if (self._shown, cause, bool(refusing)) != self._told:
            self._told, self._told_ns = (self._shown, cause, bool(refusing)), now
            self.log.log(WARNING if refusing else INFO, news)
        self._warn(now)

    def _warn(self, now: int) -> None:
        """Log the warnings of the session once; what was lost, at most once a minute."""
        warnings = self._supply.warnings
        for text in warnings:
            if text not in self._warned:
                self.log.warning("the session warns: %s", text)
        self._warned = warnings
        lost = self._losses.news(self._supply.buffer.dropped, self._playback.refused, now)
        if lost:
            self.log.warning("not played since the last such line: %s", lost)

    def _obey(self) -> None:
        for command in self.link.commands():
            try:
                result = self._carry_out(command)
            except ValueError as error:
                self.link.acknowledge(command.id, error=str(error))
            else:
                self._report()  # first: whoever gets the answer finds it in the status
                self.link.acknowledge(command.id, result)

    def _carry_out(self, command: Command) -> dict[str, object]:
        match command.verb:
            case "pause":
                self._supply.pause(monotonic_ns())
            case "resume":
                self._supply.resume(monotonic_ns())
            case "reset" | "episode":
                self._reset(_task(command.args.get("task")))
            case _:
                raise ValueError(self.refusal(command))
        return {
            "state": self._supply.state.value,
            "paused": self._supply.failsafe.paused,
            "episode": self._buffer.episode,
        }

    def _connect(self) -> None:
        self._robot.connect()
        self._connected = True

    def _die(self, now: int) -> None:
        """Bring the robot to its safe rest, a step per tick; then end for good."""
        reason = self._supply.reason
        if not self._connected:
            self._settle_down()
            raise RefusedError(f"robot {self.config.robot} was not enabled: {reason}")
        if not self._stop_by_ns:
            self._stop_by_ns = now + round(self.config.safety.safe_stop_timeout_s * 1e9)
            self._report()
        if self._robot.safe_stop() or now > self._stop_by_ns:
            self._settle_down()
            raise DeadError(f"robot {self.config.robot}: {reason}")

    def _rest(self) -> None:
        """Leave the robot at rest: a velocity-controlled one is told so, others hold anyway."""
        if self._connected:
            command = self._playback.rest()
            if command is not None:
                self._robot.write_action(command)
            self._robot.close()

    def _report(self) -> None:
        report = status(self._plan, self._supply, self._playback, self._lateness, self._misses)
        report["tick_lateness_recent_us"] = self._recent.summary_us(monotonic_ns())
        report["timing"] = self._timing
        report["malformed"] = dict(self._uplink.malformed)
        report["damaged"] = {name: r.damaged for name, r in self._readers.items() if r.damaged}
        self.board.report(report)


def _task(asked: object) -> str | None:
    """The task in a command, None for the one there was. Raises ValueError for what is no task."""
    if asked is None or (isinstance(asked, str) and len(asked) <= DEFAULT.max_text_chars):
        return asked
    raise ValueError(
        f"a task is a sentence of at most {DEFAULT.max_text_chars} characters, not {asked!r:.60}"
    )
