"""The recorder actor: one robot's episodes as a dataset on disk.

Reads control's tick log and the cameras' rings in shared memory, one row for each policy step that
was executed, and takes nothing from control: no message and no lock. Guaranteed: an episode is
durable when `episode_stop` is answered, and a kill at any instant costs at most the episode in
progress. A full or absent disk costs that episode and a sentence in the report.

Not guaranteed: a row for a step in which nothing was commanded (the robot held still; `idle`
counts them), or that this process was too slow for (`lost`).
"""

from __future__ import annotations

import select
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import cv2

from ...errors import DatasetError, RefusedError
from ...robot.dataset.provenance import FALLBACK, MOTION, PERSON
from ...robot.dataset.recording_schema import Row
from ...transport.seqlock import SteadyReader
from ..control.plan_memory import PLAN_BYTES
from ..control.tick_log import Commander, TickReader, TickRecord
from ..runtime.actor import Actor
from ..runtime.runtime_dir import SOCKET
from ..runtime.status_board import StatusBoardReader
from . import make_strategy
from .dataset_recorder import DatasetRecorder
from .episode_tasks import EpisodeTasks
from .frame_taker import FrameTaker
from .idle_work import IdleWork
from .record_settings import RecorderConfig
from .recorder_commands import VERBS, RecorderCommands
from .robot_commander import RobotCommander
from .row_ring import RowRing
from .saved_progress import SavedProgress
from .session_priority import SessionPriority
from .strategy import (
    Begin,
    ControlVerb,
    Discard,
    Finish,
    MarkIntervention,
    RecordingEffect,
    RobotStep,
    Strategy,
    StrategyEvent,
)
from .strategy_settings import HighlightSettings
from .surroundings_watch import Surroundings

_REPORT_NS = 250_000_000
_SESSIONS: dict[Commander | None, int] = {"motion": MOTION, "fallback": FALLBACK}
"""What stands in for the session of a chunk."""


class RecorderActor(Actor):
    """One robot's recorder."""

    kind = "recorder"
    Config = RecorderConfig
    verbs = VERBS

    def setup(self) -> None:
        cv2.setNumThreads(1)
        config: RecorderConfig = self.config
        try:
            self.phase(f"opens the dataset {config.record.root}")
            root, encoding = Path(config.record.root), config.record.encoding
            self._dataset = DatasetRecorder(root, config.robot, config.schema, encoding, self.log)
            self._dataset.open()
            self._idle_work = IdleWork(config.record, self.log)
        except DatasetError as error:
            raise RefusedError(f"robot {config.robot} cannot be recorded: {error}") from error
        self.resources.callback(self._dataset.close)
        self.resources.callback(self._idle_work.close)
        self._priority = SessionPriority()
        self.resources.callback(self._priority.restore)
        self._takers = {
            name: FrameTaker(self.segment(feed.segment)) for name, feed in config.cameras.items()
        }
        self._ticks = memoryview(self.segment(config.plan))[PLAN_BYTES:]
        self._tasks = EpisodeTasks(StatusBoardReader(self.segment(config.board)))
        self._reader: TickReader | None = None
        self._strategy: Strategy | None = None
        """None until the pose is known in which the robot begins."""
        held = config.strategy if isinstance(config.strategy, HighlightSettings) else None
        self._ring = RowRing(held.before_ns, held.memory_bytes) if held else None
        self._commander = RobotCommander(self.rundir / SOCKET, config.robot, self.log)
        self.resources.callback(self._commander.close)
        self._surroundings = Surroundings(
            StatusBoardReader(self.segment(config.driver_board)) if config.driver_board else None,
            SteadyReader(self.segment(config.teleop)) if config.teleop else None,
            len(config.action_names),
        )
        self._finishing: list[Future[int]] = []
        """Episodes on their way to the disk."""
        self._progress = SavedProgress(self.rundir, config.robot, self.incarnation)
        if self._progress.interrupted:
            self.log.warning("the episode in progress was lost with the process before this one")
        self._commands = RecorderCommands(
            self._dataset,
            self._heard,
            self._said,
            lambda: self._strategy is not None,
            self.link.acknowledge,
            highlights=bool(held),
        )
        self._intervention = False
        self._idle = self._lost = self._steps = self._report_ns = 0

    def run(self) -> None:
        self.ready(root=self.config.record.root)
        half_step_s, turned_ns = 0.5 / self.config.fps, time.monotonic_ns()
        while not self.stopping:
            if select.select([self.link], [], [], half_step_s)[0]:
                self._serve_commands()
            self._follow()
            now_ns = time.monotonic_ns()
            self._commands.serve(now_ns)
            self._dataset.serve(now_ns)
            waits = self._dataset.saving or self._commands.waits
            late_ns, turned_ns = now_ns - turned_ns - round(half_step_s * 1e9), now_ns
            self._priority.follow(
                self._dataset.waiting, self._dropped, now_ns, waits=waits, late_ns=late_ns
            )
            busy = waits or self._dataset.recording
            self._idle_work.serve(now_ns, self._dataset.next_index, busy=busy)
            if self._commands.due:
                self._dataset.serve(time.monotonic_ns())
                self.board.report(self._status())  # first: the status shows what is answered
                self._commands.answer()
            self._count_lost()
            if now_ns >= self._report_ns:
                self._report_ns = now_ns + _REPORT_NS
                self.board.report(self._status())
            self.board.progress()

    # The steps of the robot

    def _follow(self) -> None:
        """Record what control has executed since the last call."""
        if self._reader is None:
            states, actions = len(self.config.state_names), len(self.config.action_names)
            try:
                self._reader = TickReader(self._ticks, states, actions)
            except ValueError:
                return  # control has not started yet
        for tick in self._reader.read():
            if tick.begins_step:
                self._take_step(tick)
        self._lost = self._reader.lost
        for event in self._surroundings.pressed():
            self._heard(event, time.monotonic_ns())

    def _take_step(self, tick: TickRecord) -> None:
        if self._strategy is None:
            self._strategy = self._begin(tick)
        seen = RobotStep(
            episode=tick.episode,
            now_ns=tick.instant_ns,
            manual=tick.manual,
            outcome=self._surroundings.outcome(tick.episode),
            own_pace=self._surroundings.own_pace,
            size_bytes=self._dataset.size_bytes,
        )
        self._carry_out(self._strategy.step(seen))
        self._record(tick)

    def _begin(self, tick: TickRecord) -> Strategy:
        """The strategy, at its beginning or, after this process was killed, where it was."""
        config, names = self.config, self.config.state_names
        home = {
            joint: float(tick.state[names.index(name)])
            for joint, name in zip(config.joints, config.action_names, strict=False)
            if name in names
        }
        strategy = make_strategy.make(config.strategy, self._progress.home(home))
        strategy.kept = self._progress.kept()
        return strategy

    def _heard(self, event: StrategyEvent, now_ns: int) -> Future[Any] | None:
        return None if self._strategy is None else self._carry_out(self._strategy.on(event, now_ns))

    def _record(self, tick: TickRecord) -> None:
        if not self._dataset.recording and self._ring is None:
            return
        if tick.command is None:
            self._idle += 1
            return
        origin = tick.provenance
        self._steps += 1
        row = Row(
            state=tick.state,
            action=tick.command,
            task=self._tasks.of(tick.episode),
            session=origin.session if origin else _SESSIONS.get(tick.commander, PERSON),
            seq=origin.seq if origin else 0,
            step=origin.step if origin else 0,
            latency_s=(tick.instant_ns - tick.observed_ns) / 1e9 if tick.observed_ns else 0.0,
            intervention=tick.manual or self._intervention,
            images={n: taker.take(tick.instant_ns) for n, taker in self._takers.items()},
        )
        if self._dataset.recording:
            self._dataset.add(row)
        elif self._ring is not None:
            self._ring.add(tick.instant_ns, row)

    def _carry_out(self, effects: list[RecordingEffect]) -> Future[Any] | None:
        """Returns what the last of the effects has to wait for, if anything."""
        last: Future[Any] | None = None
        for effect in effects:
            match effect:
                case Begin(held):
                    self._intervention = False
                    last = self._dataset.begin()
                    if held and self._ring is not None:
                        for row in self._ring.drain():
                            self._dataset.add(row)
                case Finish(success):
                    last = self._dataset.finish(success)
                    if last is None:
                        self._lost_episode()
                    else:
                        self._finishing.append(last)
                case Discard():
                    self._dataset.discard()
                case MarkIntervention(intervention):
                    self._intervention = intervention
                case ControlVerb():
                    self._commander.send(effect)
        if effects and self._strategy is not None:
            self._report_ns = 0
            self._progress.keep(self._strategy.kept, recording=self._dataset.recording)
        return last

    def _count_lost(self) -> None:
        """Let the strategy know of episodes that the disk did not take."""
        for future in [each for each in self._finishing if each.done()]:
            self._finishing.remove(future)
            if future.exception() is not None:
                self._lost_episode()

    def _lost_episode(self) -> None:
        if self._strategy is not None:
            self._strategy.lost(time.monotonic_ns())
            self._progress.keep(self._strategy.kept, recording=False)

    # Commands

    def _serve_commands(self) -> None:
        for command in self.link.commands():
            if command.verb not in self.verbs:
                self.link.acknowledge(command.id, error=self.refusal(command))
                continue
            self._follow()  # what was executed before the command
            self._commands.carry_out(command, time.monotonic_ns())

    @property
    def _dropped(self) -> int:
        late = sum(taker.late for taker in self._takers.values())
        return self._lost + self._dataset.dropped + late

    def _said(self) -> str:
        return self._strategy.progress if self._strategy is not None else ""

    def _done(self) -> bool | None:
        """Whether all episodes are on the disk; None for a strategy that has no last one."""
        if not hasattr(self.config.strategy, "episodes"):
            return None
        return self._strategy is not None and self._strategy.done and not self._dataset.saving

    def _status(self) -> dict[str, Any]:
        dataset = self._dataset
        faults = [f"{name}: {t.fault}" for name, t in self._takers.items() if t.fault]
        return {
            "state": self._dataset.state,
            "reason": dataset.reason or "; ".join(faults) or self._commander.fault,
            "strategy": self._said(),
            "done": self._done(),
            "awaits": self._strategy.awaits if self._strategy is not None else "",
            "held_s": round(self._ring.span_s, 1) if self._ring is not None else None,
            "root": self.config.record.root,
            "episode": dataset.next_index,
            "frames": dataset.frames,
            "rows": self._steps,
            "saved": dataset.saved,
            "repeated": dataset.repeated,
            "dropped": self._dropped,
            "waiting_mb": round(dataset.waiting_bytes / 1e6, 1),
            "idle": self._idle,
            "encoder": dataset.encoder,
            "yields": self._priority.low,
            **self._idle_work.report(),
        }
