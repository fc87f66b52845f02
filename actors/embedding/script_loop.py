"""`ScriptLoop`: plan, fail-safe, conversation and stops of a script's robot, a call for each step.

It is what the control actor is in a fleet, without its process. Instants come from the caller, and
no call waits.
"""

from __future__ import annotations

from mmap import mmap

import numpy as np
from numpy.typing import NDArray

from ...errors import PolicyLostError
from ..control.buffer import ChunkBuffer
from ..control.command_source import CommandSource
from ..control.conversation import Conversation
from ..control.plan_memory import SEGMENT_BYTES, PlanMemory, Word
from ..control.policy_client import PolicyClient
from ..control.request_cycle import RequestCycle
from ..control.supply_state import SupplyState
from ..network.network import NetworkActor
from .loop_report import LoopReport
from .observation import Declared
from .pacing import Pacing
from .script_config import ScriptConfig
from .script_stop import ScriptStop
from .seen_observations import Images, SeenObservations
from .worker import Worker


class ScriptLoop:
    """That of the robot of `config`.

    Attributes:
        declared: the observations that `step` takes.
        buffer: the plan.
        cycle: the requests that fill it.
        conversation: handshakes, requests and answers, by the worker.
        worker: the network actor in the background.
        report: the state and the figures.
        closed: whether `close` was called.
    """

    def __init__(self, config: ScriptConfig) -> None:
        self._config = config
        loop, robot, name = config.control, config.robot, config.control.robot
        self.declared = Declared(robot.state_names, config.cameras)
        # What may still fail comes before the worker, which would have to be ended.
        memory = PlanMemory(mmap(-1, SEGMENT_BYTES), name, len(robot.action_names))
        self.buffer = ChunkBuffer(memory, round(loop.safety.max_action_age_s * 1e9))
        self._source = CommandSource(loop, robot, memory, self.buffer)
        self.cycle = RequestCycle(loop, robot, memory, self.buffer, self._source.begin)
        self.worker = Worker(NetworkActor, f"{name}/network", config.network, config.rings)
        loop = config.loop(self.worker.directory)
        self._seen = SeenObservations(
            loop, robot, self.declared.shapes, self._ring_memory, memory.words
        )
        self.closed = False
        # Epochs rise over restarts of the script too: the broker forgets an old session late.
        memory.words[Word.EPOCH] = self.worker.incarnation
        self._pacing = Pacing(loop, memory.words, self.cycle, self.buffer)
        stops = config.stops_in(self.worker.directory)
        self._stop = ScriptStop(name, stops, config.keyring, self.cycle)
        self.report = LoopReport(
            name,
            config.brokers,
            memory,
            self.cycle,
            self._source,
            self._pacing,
            self.worker,
            self._stop,
        )
        client = PolicyClient(loop, self.worker.incarnation)
        self.conversation = Conversation(
            loop, self.cycle, client, robot, memory, self.report.heartbeat, self._seen.log
        )
        self._source.attach()
        self._action: NDArray[np.float32] | None = None

    def step(
        self, state: NDArray[np.float32], images: Images, task: str | None, now_ns: int
    ) -> NDArray[np.float32] | None:
        """The action, float32 [A], for an observation as declared, or None to hold; `task` is
        another one from now on. Raises PolicyLostError once the policy must not be used."""
        if task is not None:
            self.cycle.change_task(task)
        begins_step = self._pacing.call(now_ns)
        if self._pacing.had_break:
            self._source.interrupt()
            self._source.attach()
        self._source.locate(state)
        self._source.follow_pace(self._pacing.missed, self.cycle.step_ns)
        if self._source.strayed:
            self.cycle.plan_refused(self._source.refusing)
        self._converse(now_ns)
        terms = self.cycle.session.terms
        if begins_step:
            self._seen.keep(state, images, now_ns, terms)
        if self.cycle.failsafe.paused:
            return self._rest()
        if self._pacing.by_time:
            if not begins_step:
                return None if self._action is None else self._action.copy()
            self._pacing.leave_out(now_ns)
        before = self.buffer.outstanding
        try:
            request = self.cycle.ask(now_ns, self._pacing.next_step, now_ns)
            command = self._source.command(now_ns, due=self.cycle.failsafe.action_due)
            self._pacing.played()
            if request is not None:
                if not begins_step:
                    self._seen.keep(state, images, now_ns, terms)
                self._seen.send(images, now_ns)
                self.conversation.ask(request, state, now_ns)
        except BaseException:  # a notebook's stop button too: no request may seem under way
            if self.buffer.outstanding is not before:
                self.cycle.unsent(now_ns)
            raise
        self._action = None if command is None else command.copy()
        return None if command is None else command.copy()

    def listen(self, now_ns: int) -> None:
        """Handle what arrived while the script asks for no action. Raises PolicyLostError."""
        self._pacing.notice(now_ns)
        self._converse(now_ns)

    def pause(self, now_ns: int) -> None:
        """Ask for no chunks and play nothing until `resume`."""
        self._pacing.notice(now_ns)
        self._stop.pause(now_ns)
        self.conversation.beat(now_ns)

    def resume(self, now_ns: int) -> None:
        """Go on after `pause`."""
        if self.cycle.failsafe.paused:
            self._pacing.notice(now_ns)
            self._stop.resume(now_ns)

    def reset(self, task: str | None) -> None:
        """An episode begins, with another `task` if one is given."""
        self.conversation.reset(task)
        self._source.interrupt()
        self._source.attach()
        self._action = None

    def close(self) -> None:
        """End the session and the worker. Idempotent."""
        if self.closed:
            return
        self.conversation.close("the script ended")
        self.closed = True
        self.worker.close()

    def _ring_memory(self, camera: str) -> mmap:
        return self.worker.memory[self._config.ring(camera)]

    def _rest(self) -> NDArray[np.float32] | None:
        self._action = None
        command = self._source.rest()
        self._source.attach()
        return None if command is None else command.copy()

    def _converse(self, now_ns: int) -> None:
        """Between two actions: handle what arrived, let time pass, send what is due."""
        self.worker.keep()
        self._stop.heed(now_ns)
        if self.conversation.receive(self._pacing.next_step, now_ns):
            self._pacing.merged()
        self.conversation.elapse(now_ns)
        if self.cycle.state is SupplyState.DEAD:
            self.conversation.beat(now_ns)
            raise PolicyLostError(self.report.reason)
        self.conversation.keep_in_touch(now_ns)
