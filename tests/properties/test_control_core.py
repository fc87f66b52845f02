"""A request cycle and its command source, against a server that answers late, twice, out of order
or not at all, through resets, pauses, reconnections and kills: every action that reaches the robot
is checked, and every transition against the table."""

from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.actors.control.buffer import ChunkBuffer
from holdfast.actors.control.command_source import CommandSource
from holdfast.actors.control.config import ControlConfig
from holdfast.actors.control.plan import Drop
from holdfast.actors.control.plan_memory import SEGMENT_BYTES, PlanMemory
from holdfast.actors.control.request_cycle import RequestCycle
from holdfast.actors.control.supply_state import TABLE, SupplyEvent, SupplyState
from holdfast.robot.base import ControlMode, RobotSpec
from holdfast.transport.bodies import Accept, Reject

MS = 1_000_000
DT = 40 * MS
HORIZON = 16
RESUME_NS = 500 * MS
SPEC = RobotSpec(
    ("a", "b"), ("a", "b"), ControlMode.POSITION, (-1e9, -1e9), (1e9, 1e9), (np.inf, np.inf)
)
CONFIG = msgspec.convert(
    {
        "robot": "r1",
        "driver": "sim",
        "service": "s",
        "endpoint": "ipc://nowhere",
        "plan": "r1/plan",
        "fps": 25.0,
        "plan_settings": {"buffer_time_s": 0.4},
        "safety": {"max_action_age_s": 1.0, "request_timeout_s": 2.0, "max_offline_s": 20.0},
    },
    ControlConfig,
)
TERMS = Accept(
    session="x",
    replica="s/0",
    model="m",
    revision="1",
    checkpoint="c",
    chunk_size=HORIZON,
    fps=25.0,
    action_names=("a", "b"),
    cameras={},
    prefix="guided",
    max_prefix_steps=8,
)
CHECKPOINTS = {"s": "c", "t": "d"}
"""Of the services that the robot may use."""


class CoreMachine(RuleBasedStateMachine):
    """Answers, silence, resets, pauses, kills and a driver that comes and goes, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = bytearray(SEGMENT_BYTES)
        self.now_ns = 10_000 * MS
        self.transitions: list[tuple[SupplyState, SupplyState]] = []
        self.asked: list[tuple[int, int, int, int]] = []
        self.sent_seqs: set[int] = set()
        self.epochs: set[int] = set()
        self.played: list[tuple[int, int]] = []
        self.merged: set[int] = set()
        self.paused = self.dead = False
        self.episode = 0
        self.task = ""
        self.surroundings: str | None = None
        self.task_of: dict[int, str] = {}
        self.for_a_change: set[int] = set()
        self.service_of: dict[int, str] = {}
        self.accepted_by = "s"
        """The service that accepted the robot last, or is configured."""
        self._begin()

    def _begin(self) -> None:
        self.awaited = False
        segment = PlanMemory(self.memory, "r1", 2)
        buffer = ChunkBuffer(segment, round(CONFIG.safety.max_action_age_s * 1e9))
        self.cycle = RequestCycle(CONFIG, SPEC, segment, buffer)
        self.source = CommandSource(CONFIG, SPEC, segment, buffer)
        machine, enter = self.cycle.failsafe, self.cycle.failsafe._enter

        def watched(state: SupplyState, cause: SupplyEvent, now_ns: int) -> None:
            assert TABLE[machine.state][cause] is state
            enter(state, cause, now_ns)

        machine._enter = watched  # type: ignore[method-assign]

    @property
    def step(self) -> int:
        return self.now_ns // DT

    @rule(ticks=st.integers(1, 40), latency=st.integers(0, 12), waited=st.integers(0, 12))
    def all_goes_well(self, ticks: int, latency: int, waited: int) -> None:
        """The server beats, accepts, and answers after `latency` ticks; it says that the requests
        had to wait for those of others for `waited`."""
        for n in range(ticks):
            self.tick(0)
            self.cycle.session.heard(1000 + n, self.cycle.session.epoch, self.now_ns)
            if self.awaited:
                self.the_server_accepts(1)
            asked = self.cycle.buffer.outstanding
            if asked is not None and self.now_ns >= self.asked[-1][3] + latency * DT:
                self._reply(asked.seq, asked.episode, asked.epoch, HORIZON, waited * DT)

    @rule(ticks=st.integers(1, 20))
    def the_server_is_slow(self, ticks: int) -> None:
        for n in range(ticks):
            self.tick(0)
            self.cycle.session.heard(2000 + n, self.cycle.session.epoch, self.now_ns)

    @rule(idle=st.integers(0, 3))
    def tick(self, idle: int) -> None:
        """One tick; `idle` grid points before it were missed."""
        self.now_ns += DT * (1 + idle)
        self.cycle.elapse(self.now_ns)
        self.dead |= self.cycle.state is SupplyState.DEAD
        if self.dead:
            return
        outstanding = self.cycle.buffer.outstanding
        if self.cycle.failsafe.paused:
            assert self.source.rest() is None, "a position-controlled arm holds by itself"
        else:
            ask = self.cycle.ask(self.now_ns - MS, self.step, self.now_ns)
            if ask is not None:
                assert outstanding is None, "one request in flight"
                assert ask.asked.seq not in self.sent_seqs, "a seq is used once"
                assert ask.prefix is None or len(ask.prefix) <= TERMS.max_prefix_steps
                self.sent_seqs.add(ask.asked.seq)
                assert ask.task == self.task, "of an earlier task"
                self.task_of[ask.asked.seq] = ask.task
                self.service_of[ask.asked.seq] = self.cycle.session.service
                if self.cycle.session.task.pending:
                    self.for_a_change.add(ask.asked.seq)
                self.asked.append((ask.asked.seq, ask.asked.episode, ask.asked.epoch, self.now_ns))
                self.cycle.asked(self.now_ns)
            elif self.cycle.session.task.pending and self.cycle.session.terms is not None:
                waits = self.cycle.buffer.outstanding is not None
                assert waits or not self.cycle._pause.over(self.now_ns), "not asked for at once"
            else:
                self._check_unasked()
            dry = len(self.cycle.buffer) == 0
            command = self.source.command(self.now_ns)
            if dry:
                assert command is None, "the fallback of a dry plan"
            else:
                assert command is not None
                self._check_played(command)
        epoch = self.cycle.session.open_epoch(self.now_ns)
        if epoch is not None:
            assert epoch not in self.epochs, "an epoch is used once"
            self.epochs.add(epoch)
            self.cycle.session.opening(epoch, self.now_ns)
            self.awaited = True

    def _check_unasked(self) -> None:
        """Whatever a robot waits for, an answer at the next tick still comes before its plan is
        dry."""
        cycle = self.cycle
        if (
            cycle.session.terms is not None
            and cycle.buffer.outstanding is None
            and cycle.failsafe.may_request
            and not cycle.why.driver
            and cycle._pause.over(self.now_ns)
        ):
            plan_ns = cycle.plan_ns
            buffer_ns = CONFIG.plan_settings.buffer_time_s * 1e9
            lasts = plan_ns - DT > cycle.latency.expected_ns
            assert plan_ns >= buffer_ns or lasts, "asked for too late"

    def _check_played(self, command: np.ndarray) -> None:
        action = self.source.action
        assert action is not None and command is not None
        origin = action.provenance
        assert float(command[0]) == origin.seq * 100 + origin.step
        assert origin.seq in self.merged
        assert origin.episode == self.episode, "of an earlier episode"
        assert self.service_of[origin.seq] == self.cycle.session.service, "of another service"
        assert self.now_ns - action.observed_ns <= CONFIG.safety.max_action_age_s * 1e9
        assert not self.played or (origin.seq, origin.step) > self.played[-1]
        self.played.append((origin.seq, origin.step))

    @rule(changed=st.integers(0, 30))
    def the_server_accepts(self, changed: int) -> None:
        epoch, awaited = self.cycle.session.epoch, self.awaited
        self.awaited = False
        checkpoint = "other" if changed == 0 else CHECKPOINTS[self.cycle.session.service]
        terms = msgspec.structs.replace(TERMS, checkpoint=checkpoint)
        changes = self.changes
        before, opened = self.cycle.session.contract, self.cycle.failsafe.session_open
        self.cycle.session.accepted(terms, epoch, self.now_ns)
        if self.dead or not awaited:
            assert self.cycle.failsafe.session_open == opened, "an answer to no question"
        elif changes:
            contract = self.cycle.session.contract
            assert contract is not None and contract.checkpoint == checkpoint
            self.accepted_by = self.cycle.session.service
        elif before is not None and before.checkpoint != terms.checkpoint:
            assert self.cycle.state is SupplyState.DEAD, "another model is never played"
        else:
            assert self.cycle.failsafe.session_open and self.cycle.session.enabled
        self.dead |= self.cycle.state is SupplyState.DEAD

    @rule()
    def an_old_epoch_is_accepted(self) -> None:
        before = self.cycle.state, self.cycle.failsafe.session_open
        self.cycle.session.accepted(TERMS, self.cycle.session.epoch + 1, self.now_ns)
        self.cycle.session.accepted(TERMS, max(0, self.cycle.session.epoch - 1), self.now_ns)
        assert (self.cycle.state, self.cycle.failsafe.session_open) == before

    @rule()
    def the_server_rejects_for_now(self) -> None:
        self.cycle.session.rejected(
            Reject(reason="capacity", message="full"), self.cycle.session.epoch, self.now_ns
        )
        self.awaited = False

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), length=st.integers(1, HORIZON), waited=st.integers(0, 12))
    def a_reply_arrives(self, data: st.DataObject, length: int, waited: int) -> None:
        """Any request's, at any time: late, doubled, of an earlier episode or epoch; of a request
        that had to wait for those of others, or not."""
        seq, episode, epoch, _ = data.draw(
            st.one_of(st.just(self.asked[-1]), st.sampled_from(self.asked))
        )
        self._reply(seq, episode, epoch, length, waited * DT)

    def _reply(self, seq: int, episode: int, epoch: int, length: int, waited_ns: int = 0) -> None:
        values = seq * 100 + np.arange(length, dtype=np.float32)[:, None] + np.zeros(2, np.float32)
        outstanding = self.cycle.buffer.outstanding
        failsafe = self.cycle.failsafe
        stalled_ns = failsafe.stalled_ns if failsafe.state is SupplyState.STALLED else None
        key = seq, episode, epoch
        why = self.cycle.replied(
            -values, values, key, self.step + 1, self.now_ns, waited_ns=waited_ns
        )
        if why is Drop.STALLED:
            assert stalled_ns is not None
            assert self.asked[-1][3] < stalled_ns < self.now_ns - RESUME_NS, "a robot at rest asked"
        if why is None:
            assert outstanding is not None
            assert (outstanding.seq, outstanding.episode, outstanding.epoch) == (
                seq,
                episode,
                epoch,
            )
            assert seq not in self.merged, "merged twice"
            assert self.task_of[seq] == self.task or seq in self.for_a_change
            assert self.cycle.session.task.pending == (self.task_of[seq] != self.task)
            assert epoch == self.cycle.session.epoch and episode == self.episode
            self.merged.add(seq)

    @precondition(lambda self: self.cycle.buffer.outstanding is not None)
    @rule(late=st.integers(0, 6))
    def the_reply_that_is_awaited_arrives(self, late: int) -> None:
        asked = self.cycle.buffer.outstanding
        assert asked is not None
        self._reply(asked.seq, asked.episode, asked.epoch, HORIZON)

    @precondition(lambda self: self.cycle.buffer.outstanding is not None)
    @rule()
    def the_request_fails(self) -> None:
        asked = self.cycle.buffer.outstanding
        assert asked is not None
        self.cycle.failed("error: no", (asked.seq, asked.episode, asked.epoch), self.now_ns)
        assert self.cycle.buffer.outstanding is None

    @rule(ours=st.booleans(), progress=st.integers(0, 3))
    def a_heartbeat_arrives(self, ours: bool, progress: int) -> None:
        self.cycle.session.heard(progress, self.cycle.session.epoch if ours else 0, self.now_ns)

    @rule()
    def the_server_is_lost(self) -> None:
        self.cycle.session.lost("gone", self.cycle.session.epoch, self.now_ns)
        self.awaited = False
        assert not self.cycle.failsafe.session_open
        assert self.cycle.buffer.outstanding is None

    @rule(ticks=st.integers(1, 20))
    def the_driver_is_gone_for_a_while(self, ticks: int) -> None:
        """What was planned and asked for before is void, and nothing is asked for meanwhile."""
        if self.dead:
            return
        self.cycle.driver_lost("its cable is out")
        assert len(self.cycle.buffer) == 0 and self.cycle.buffer.outstanding is None
        for _ in range(ticks):
            self.now_ns += DT
            self.cycle.elapse(self.now_ns)
            if self.cycle.state is not SupplyState.DEAD:
                assert self.cycle.reason == "its cable is out"
                assert self.cycle.ask(self.now_ns, self.step, self.now_ns) is None
        self.dead |= self.cycle.state is SupplyState.DEAD
        self.cycle.driver_found()

    @rule()
    def a_person_pauses(self) -> None:
        self.cycle.pause(self.now_ns)
        self.paused |= not self.dead

    @rule()
    def a_person_resumes(self) -> None:
        self.cycle.resume(self.now_ns)
        self.paused = False

    @rule()
    def an_episode_begins(self) -> None:
        assert self.cycle.reset() == self.episode + 1
        assert not self.cycle.session.task.pending, "there is no plan of another task"
        self.source.interrupt()
        self.episode += 1

    @property
    def changes(self) -> bool:
        """Whether a change of the service is under way."""
        change = self.cycle.session.change
        return change is not None and change.pending

    @precondition(lambda self: not self.dead and not self.changes)
    @rule()
    def a_person_names_the_other_service(self) -> None:
        """Nothing is played or asked for until it has accepted the robot."""
        other = "t" if self.cycle.session.service == "s" else "s"
        contract = self.cycle.session.contract
        self.cycle.session.use(other, self.now_ns)
        self.an_episode_begins()
        self.awaited = False
        assert self.cycle.session.service == other and not self.cycle.session.open
        assert self.cycle.session.contract == contract and len(self.cycle.buffer) == 0

    @rule(task=st.sampled_from(["", "pick", "place"]), surroundings=st.booleans())
    def the_task_changes(self, task: str, surroundings: bool) -> None:
        """What is asked for is withdrawn, unless for a change before; the plan stays."""
        plan, asked = len(self.cycle.buffer), self.cycle.buffer.outstanding
        same = task == self.surroundings if surroundings else task == self.task
        under_way = self.cycle.session.task.pending
        if surroundings:
            self.surroundings = task
            self.cycle.follow_task(task)
        else:
            self.cycle.change_task(task)
        if not same:
            self.task = task
        assert len(self.cycle.buffer) == plan
        left = self.cycle.buffer.outstanding
        assert left is asked or (left is None and not same and not under_way)
        if left is not None and not same and self.task_of[left.seq] != task:
            assert left.seq in self.for_a_change

    @precondition(lambda self: not self.dead)
    @rule(ms=st.integers(0, 500))
    def the_process_is_killed(self, ms: int) -> None:
        self.now_ns += ms * MS
        before, pending = len(self.cycle.buffer), self.cycle.session.task.pending
        self._begin()
        assert self.cycle.session.service == self.accepted_by
        assert len(self.cycle.buffer) == before
        assert self.cycle.session.task.pending == pending
        assert self.cycle.state is SupplyState.CONNECTING

    @invariant()
    def dead_stays_dead(self) -> None:
        if self.dead:
            assert self.cycle.state is SupplyState.DEAD
            assert self.cycle.session.open_epoch(self.now_ns) is None
        else:
            assert self.cycle.failsafe.paused == self.paused

    @invariant()
    def the_last_to_name_a_task_decides(self) -> None:
        assert self.cycle.session.task.sentence == self.task

    @invariant()
    def the_service_is_the_one_that_accepted_or_is_asked_now(self) -> None:
        if not self.changes:
            assert self.cycle.session.service == self.accepted_by

    @invariant()
    def a_wait_has_a_reason(self) -> None:
        waits = self.cycle.state is not SupplyState.STREAMING
        assert bool(self.cycle.reason) == waits
        if self.cycle.failsafe.session_open:
            assert "handshake" not in self.cycle.reason, "an old reason"
        elif not self.dead:
            assert "chunk is awaited" not in self.cycle.reason

    @invariant()
    def nothing_is_awaited_without_a_session(self) -> None:
        if not self.cycle.failsafe.session_open:
            assert self.cycle.buffer.outstanding is None
            assert self.cycle.session.terms is None


TestCore = CoreMachine.TestCase
TestCore.settings = settings(max_examples=80, stateful_step_count=60, deadline=None)
