"""Supply and playback together, against a server that answers late, twice, out of order or not at
all, through resets, pauses, reconnections and kills: what reaches the robot is checked action by
action, and every transition against the table."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.actors.control.buffer import ChunkBuffer
from holdfast.actors.control.command_source import CommandSource
from holdfast.actors.control.config import ControlConfig
from holdfast.actors.control.plan_memory import SEGMENT_BYTES, PlanMemory
from holdfast.actors.control.request_cycle import RequestCycle
from holdfast.actors.control.supply_state import TABLE, SupplyState
from holdfast.robot.base import ControlMode, RobotSpec
from holdfast.transport.messages import Accept, Reject

MS = 1_000_000
DT = 40 * MS
HORIZON = 16
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


class CoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.memory = bytearray(SEGMENT_BYTES)
        self.now = 10_000 * MS
        self.transitions: list[tuple[SupplyState, SupplyState]] = []
        self.asked: list[tuple[int, int, int, int]] = []
        self.sent_seqs: set[int] = set()
        self.epochs: set[int] = set()
        self.played: list[tuple[int, int]] = []
        self.merged: set[int] = set()
        self.paused = self.dead = False
        self.episode = 0
        self._begin()

    def _begin(self) -> None:
        self.awaited = False
        segment = PlanMemory(self.memory, "r1", 2)
        buffer = ChunkBuffer(segment, round(CONFIG.safety.max_action_age_s * 1e9))
        self.supply = RequestCycle(CONFIG, SPEC, segment, buffer)
        self.playback = CommandSource(CONFIG, SPEC, segment, buffer)
        machine, enter = self.supply.failsafe, self.supply.failsafe._enter

        def watched(state: SupplyState, cause: Any, now: int) -> None:
            assert TABLE[machine.state][cause] is state
            enter(state, cause, now)

        machine._enter = watched  # type: ignore[method-assign]

    @property
    def step(self) -> int:
        return self.now // DT

    @rule(ticks=st.integers(1, 40), latency=st.integers(0, 12))
    def all_goes_well(self, ticks: int, latency: int) -> None:
        """The server beats, accepts, and answers after `latency` ticks."""
        for n in range(ticks):
            self.tick(0)
            self.supply.session.heard(1000 + n, self.supply.session.epoch, self.now)
            if self.awaited:
                self.the_server_accepts(1)
            asked = self.supply.buffer.outstanding
            if asked is not None and self.now >= self.asked[-1][3] + latency * DT:
                self._reply(asked.seq, asked.episode, asked.epoch, HORIZON)

    @rule(ticks=st.integers(1, 20))
    def the_server_is_slow(self, ticks: int) -> None:
        for n in range(ticks):
            self.tick(0)
            self.supply.session.heard(2000 + n, self.supply.session.epoch, self.now)

    @rule(idle=st.integers(0, 3))
    def tick(self, idle: int) -> None:
        """One tick; `idle` grid points before it were missed."""
        self.now += DT * (1 + idle)
        self.supply.elapse(self.now)
        self.dead |= self.supply.state is SupplyState.DEAD
        if self.dead:
            return
        outstanding = self.supply.buffer.outstanding
        if self.supply.failsafe.paused:
            assert self.playback.rest() is None, "a position-controlled arm holds by itself"
        else:
            ask = self.supply.ask(self.now - MS, self.step, self.now)
            if ask is not None:
                assert outstanding is None, "one request in flight"
                assert ask.asked.seq not in self.sent_seqs, "a seq is used once"
                assert ask.prefix is None or len(ask.prefix) <= TERMS.max_prefix_steps
                self.sent_seqs.add(ask.asked.seq)
                self.asked.append((ask.asked.seq, ask.asked.episode, ask.asked.epoch, self.now))
                self.supply.asked(self.now)
            dry = len(self.supply.buffer) == 0
            command = self.playback.command(self.now)
            if dry:
                assert command is None, "the fallback of a dry plan"
            else:
                assert command is not None
                self._check_played(command)
        epoch = self.supply.session.open_epoch(self.now)
        if epoch is not None:
            assert epoch not in self.epochs, "an epoch is used once"
            self.epochs.add(epoch)
            self.supply.session.opening(epoch, self.now)
            self.awaited = True

    def _check_played(self, command: np.ndarray) -> None:
        action = self.playback.action
        assert action is not None and command is not None
        origin = action.provenance
        assert float(command[0]) == origin.seq * 100 + origin.step
        assert origin.seq in self.merged
        assert origin.episode == self.episode, "of an earlier episode"
        assert self.now - action.observed_ns <= CONFIG.safety.max_action_age_s * 1e9
        assert not self.played or (origin.seq, origin.step) > self.played[-1]
        self.played.append((origin.seq, origin.step))

    @rule(changed=st.integers(0, 30))
    def the_server_accepts(self, changed: int) -> None:
        epoch, awaited = self.supply.session.epoch, self.awaited
        self.awaited = False
        terms = TERMS
        if changed == 0:
            terms = msgspec.structs.replace(TERMS, checkpoint="other")
        before, opened = self.supply.session.contract, self.supply.failsafe.session_open
        self.supply.session.accepted(terms, epoch, self.now)
        if self.dead or not awaited:
            assert self.supply.failsafe.session_open == opened, "an answer to no question"
        elif before is not None and before.checkpoint != terms.checkpoint:
            assert self.supply.state is SupplyState.DEAD, "another model is never played"
        else:
            assert self.supply.failsafe.session_open and self.supply.session.enabled
        self.dead |= self.supply.state is SupplyState.DEAD

    @rule()
    def an_old_epoch_is_accepted(self) -> None:
        before = self.supply.state, self.supply.failsafe.session_open
        self.supply.session.accepted(TERMS, self.supply.session.epoch + 1, self.now)
        self.supply.session.accepted(TERMS, max(0, self.supply.session.epoch - 1), self.now)
        assert (self.supply.state, self.supply.failsafe.session_open) == before

    @rule()
    def the_server_rejects_for_now(self) -> None:
        self.supply.session.rejected(
            Reject(reason="capacity", message="full"), self.supply.session.epoch, self.now
        )
        self.awaited = False

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), length=st.integers(1, HORIZON))
    def a_reply_arrives(self, data: st.DataObject, length: int) -> None:
        """Any request's, at any time: late, doubled, of an earlier episode or epoch."""
        seq, episode, epoch, _ = data.draw(
            st.one_of(st.just(self.asked[-1]), st.sampled_from(self.asked))
        )
        self._reply(seq, episode, epoch, length)

    def _reply(self, seq: int, episode: int, epoch: int, length: int) -> None:
        values = seq * 100 + np.arange(length, dtype=np.float32)[:, None] + np.zeros(2, np.float32)
        outstanding = self.supply.buffer.outstanding
        why = self.supply.replied(-values, values, (seq, episode, epoch), self.step + 1, self.now)
        if why is None:
            assert outstanding is not None
            assert (outstanding.seq, outstanding.episode, outstanding.epoch) == (
                seq,
                episode,
                epoch,
            )
            assert seq not in self.merged, "merged twice"
            assert epoch == self.supply.session.epoch and episode == self.episode
            self.merged.add(seq)

    @precondition(lambda self: self.supply.buffer.outstanding is not None)
    @rule(late=st.integers(0, 6))
    def the_reply_that_is_awaited_arrives(self, late: int) -> None:
        asked = self.supply.buffer.outstanding
        assert asked is not None
        self._reply(asked.seq, asked.episode, asked.epoch, HORIZON)

    @precondition(lambda self: self.supply.buffer.outstanding is not None)
    @rule()
    def the_request_fails(self) -> None:
        asked = self.supply.buffer.outstanding
        assert asked is not None
        self.supply.failed("error: no", (asked.seq, asked.episode, asked.epoch), self.now)
        assert self.supply.buffer.outstanding is None

    @rule(ours=st.booleans(), progress=st.integers(0, 3))
    def a_heartbeat_arrives(self, ours: bool, progress: int) -> None:
        self.supply.session.heard(progress, self.supply.session.epoch if ours else 0, self.now)

    @rule()
    def the_server_is_lost(self) -> None:
        self.supply.session.lost("gone", self.supply.session.epoch, self.now)
        self.awaited = False
        assert not self.supply.failsafe.session_open
        assert self.supply.buffer.outstanding is None

    @rule(ticks=st.integers(1, 20))
    def the_driver_is_gone_for_a_while(self, ticks: int) -> None:
        """What was planned and asked for before is void, and nothing is asked for meanwhile."""
        if self.dead:
            return
        self.supply.driver_lost("its cable is out")
        assert len(self.supply.buffer) == 0 and self.supply.buffer.outstanding is None
        for _ in range(ticks):
            self.now += DT
            self.supply.elapse(self.now)
            if self.supply.state is not SupplyState.DEAD:
                assert self.supply.reason == "its cable is out"
                assert self.supply.ask(self.now, self.step, self.now) is None
        self.dead |= self.supply.state is SupplyState.DEAD
        self.supply.driver_found()

    @rule()
    def a_person_pauses(self) -> None:
        self.supply.pause(self.now)
        self.paused |= not self.dead

    @rule()
    def a_person_resumes(self) -> None:
        self.supply.resume(self.now)
        self.paused = False

    @rule()
    def an_episode_begins(self) -> None:
        assert self.supply.reset() == self.episode + 1
        self.playback.interrupt()
        self.episode += 1

    @precondition(lambda self: not self.dead)
    @rule(ms=st.integers(0, 500))
    def the_process_is_killed(self, ms: int) -> None:
        self.now += ms * MS
        before = len(self.supply.buffer)
        self._begin()
        assert len(self.supply.buffer) == before
        assert self.supply.state is SupplyState.CONNECTING

    @invariant()
    def what_is_for_good_stays(self) -> None:
        if self.dead:
            assert self.supply.state is SupplyState.DEAD
            assert self.supply.session.open_epoch(self.now) is None
        else:
            assert self.supply.failsafe.paused == self.paused

    @invariant()
    def whoever_waits_is_told_for_what(self) -> None:
        waits = self.supply.state is not SupplyState.STREAMING
        assert bool(self.supply.reason) == waits
        if self.supply.failsafe.session_open:
            assert "handshake" not in self.supply.reason, "an old reason"
        elif not self.dead:
            assert "chunk is awaited" not in self.supply.reason

    @invariant()
    def nothing_is_awaited_without_a_session(self) -> None:
        if not self.supply.failsafe.session_open:
            assert self.supply.buffer.outstanding is None
            assert self.supply.session.terms is None


TestCore = CoreMachine.TestCase
TestCore.settings = settings(max_examples=80, stateful_step_count=60, deadline=None)
