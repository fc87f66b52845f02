"""`Supply`: when chunks are asked for, from whom, and which answers count.

It joins the plan, the fail-safe and the latency estimate into the robot's side of a session:
handshake, one request in flight, time-outs, loss and reconnection. Pure: messages and instants come
from the caller, and what is to be sent is returned to it.

Guarantees: an epoch, and a seq, is used once, over all incarnations; an answer counts only if it is
the one outstanding; a server that serves another model than the robot was accepted under is never
played.
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

from ...robot.base import RobotSpec
from ...transport.messages import Accept, Reject
from .buffer import ChunkBuffer
from .config import ControlConfig
from .contract import Contract, Kept
from .failsafe import Bounds, Event, FailSafe, State
from .latency import LatencyWindow
from .plan import Drop, Floats, MergeRule, Snapshot
from .segment import PlanSegment, Word

_ERROR_PAUSE_NS = 100_000_000
_NEW_EPISODE_PAUSE_NS = 40_000_000
"""Until the cameras have seen the new episode: a request before that is refused."""
_UNSENT_PAUSE_NS = 50_000_000
_MAX_STATE_AGE_NS = 500_000_000
"""A chunk from an older state than this would be about a robot that has moved on."""
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to send: the snapshot it belongs to, and what the policy needs beside the state."""

    asked: Snapshot
    prefix: Floats | None
    prefix_robot: Floats | None
    delay_steps: int
    slack_s: float
    episode_start: bool
    seed: int
    task: str


class Supply:
    """One robot's session, over all its reconnections."""

    def __init__(
        self, config: ControlConfig, spec: RobotSpec, segment: PlanSegment, buffer: ChunkBuffer
    ):
        plan, safety = config.plan_settings, config.safety
        self._segment, self._words = segment, segment.words
        self._actions = spec.action_names
        self._dt_ns = config.dt_ns
        self._buffer_ns = round(plan.buffer_time_s * _NS)
        self._max_offline_s = safety.max_offline_s
        self._liveness_ns = round(safety.liveness_s * _NS)
        self._configured = MergeRule(plan.merge, plan.trim, plan.blend_weight)
        self._seed = crc32(config.robot.encode()) << 31
        self.buffer = buffer
        self.latency = LatencyWindow(segment.latency)
        self.failsafe = FailSafe(
            Bounds(
                degraded_after=round(safety.degraded_after_s * _NS),
                request_timeout=round(safety.request_timeout_s * _NS),
                max_offline=round(safety.max_offline_s * _NS),
                open_timeout=round(safety.open_timeout_s * _NS),
                backoff=round(safety.backoff_s * _NS),
                max_backoff=round(safety.max_backoff_s * _NS),
            ),
            supplied_ns=self._words[Word.SUPPLIED_NS],
            paused_ns=self._words[Word.PAUSED_NS],
        )
        kept = Kept.unpack(segment.recall())
        self.contract = kept.contract
        self.task = config.task if kept.task is None else kept.task
        self.terms: Accept | None = None
        self.rule = self._configured
        self.reason = ""
        """Why the state is what it is, in a sentence, where somebody gave one."""
        self._opened: int | None = None
        """The epoch of the handshake that awaits its answer, however late that may be."""
        self._asked_ns = 0
        self._ask_after_ns = 0
        self._settling = False
        self._heard_ns = 0
        self._progress = -1
        self._episode_start = len(buffer) == 0

    @property
    def epoch(self) -> int:
        return self._words[Word.EPOCH]

    @property
    def enabled(self) -> bool:
        """Whether the robot may be driven: some handshake was once accepted."""
        return self.contract is not None

    @property
    def state(self) -> State:
        return self.failsafe.state

    @property
    def plan_ns(self) -> int:
        """How long the plan lasts."""
        return len(self.buffer) * self._dt_ns

    def elapse(self, now_ns: int) -> None:
        """Let time pass: time-outs, silence, a plan that grows old. Once a tick, before `ask`."""
        machine = self.failsafe
        if machine.session_open and now_ns - self._heard_ns > self._liveness_ns:
            self._lose("the network actor fell silent", now_ns)
        if machine.request_timed_out(now_ns):
            self.buffer.settle(Drop.TIMEOUT)
        if not machine.paused:
            self.buffer.expire(now_ns)
        before = machine.state
        machine.elapse(now_ns, dry=not len(self.buffer), due=self._due)
        if machine.state is State.DEAD and before is not State.DEAD:
            last = f"; the last that was known: {self.reason}" if self.reason else ""
            self.reason = f"no chunk came for {self._max_offline_s:g} s (max_offline_s){last}"
        self._settle()

    def open_epoch(self, now_ns: int) -> int | None:
        """The epoch of the handshake to send now, if it is time for one; then report `opening`."""
        return self.epoch + 1 if self.failsafe.should_open(now_ns) else None

    def opening(self, epoch: int, now_ns: int) -> None:
        """The handshake of `epoch` is on its way."""
        self._words[Word.EPOCH] = self._opened = epoch
        self.failsafe.opening(now_ns)

    def ask(self, observed_ns: int, step: int, now_ns: int) -> Ask | None:
        """The request to send now, if one is due. Call it before the pop of the policy step `step`,
        whose observation it is made from; report `asked` or `unsent` afterwards."""
        terms = self.terms
        if self._settling:
            self._settling = False
            self._ask_after_ns = now_ns + _NEW_EPISODE_PAUSE_NS
        if (
            not self._due
            or not self.failsafe.may_request
            or terms is None
            or self.buffer.outstanding is not None
            or now_ns < self._ask_after_ns
            or now_ns - observed_ns > _MAX_STATE_AGE_NS
        ):
            return None
        snapshot = self.buffer.snapshot(self.epoch, observed_ns, step, now_ns)
        prefix = min(len(snapshot.model), terms.max_prefix_steps)
        if terms.prefix == "none" or self.rule.mode == "append":
            prefix = 0
        return Ask(
            asked=snapshot,
            prefix=snapshot.model[:prefix] if prefix else None,
            prefix_robot=snapshot.robot[:prefix] if prefix else None,
            delay_steps=self.latency.delay_steps(self._dt_ns, terms.chunk_size),
            slack_s=self.plan_ns / _NS,
            episode_start=self._episode_start,
            seed=self._seed + (snapshot.seq & 0x7FFFFFFF),
            task=self.task,
        )

    def asked(self, now_ns: int) -> None:
        """The request is on its way."""
        self._asked_ns = now_ns
        self._words[Word.REQUESTS] += 1
        self.failsafe.asked(now_ns)

    def unsent(self, now_ns: int) -> None:
        """The request could not be sent: it is no longer outstanding, and the next one waits."""
        self.buffer.settle(Drop.UNSENT)
        self._ask_after_ns = now_ns + _UNSENT_PAUSE_NS

    def accepted(self, terms: Accept, epoch: int, now_ns: int) -> None:
        """The handshake of `epoch` succeeded, on these terms."""
        if epoch != self._opened or self.state is State.DEAD:
            return
        self._opened = None
        contract = Contract.of(terms)
        if self.contract is not None and contract != self.contract:
            self._end(Event.CHANGED, self.contract.changes(contract), now_ns)
            return
        unfit = self._unfit(terms)
        if unfit:
            self._end(Event.REFUSED, unfit, now_ns)
            return
        if self.contract is None:
            self.contract = contract
            self._keep()
        self.terms, self.reason = terms, ""
        # A policy that cannot continue a plan must not replace it half-way.
        no_prefix = terms.prefix == "none" and self._configured.mode == "replace"
        self.rule = MergeRule("append") if no_prefix else self._configured
        self.latency.connected()
        self._heard_ns, self._progress = now_ns, -1
        self.failsafe.on(Event.ACCEPTED, now_ns)
        self._settle()

    def rejected(self, answer: Reject, epoch: int, now_ns: int) -> None:
        """The handshake of `epoch` was refused."""
        if epoch != self._opened:
            return
        self._opened = None
        self.reason = f"{answer.reason}: {answer.message}"
        if answer.final:
            self._end(Event.REFUSED, self.reason, now_ns)
        else:
            self.failsafe.open_failed(now_ns, round(answer.retry_after_s * _NS))

    def replied(
        self, model: Floats, robot: Floats, key: tuple[int, int, int], step: int, now_ns: int
    ) -> Drop | None:
        """A chunk arrived for (seq, episode, epoch) `key`; None if it became part of the plan.
        `step` is the policy step of the next pop."""
        asked = self._claim(key, now_ns)
        if asked is None:
            return Drop.UNASKED
        self.latency.record(now_ns - self._asked_ns)
        fault = self.buffer.merge(model, robot, asked, self.rule, step=step, now_ns=now_ns)
        if fault is None:
            self._episode_start, self.reason = False, ""
            self.failsafe.on(Event.MERGED, now_ns)
            self._settle()
        return fault

    def failed(self, reason: str, key: tuple[int, int, int], now_ns: int) -> None:
        """The request `key` was answered by an error. The next one waits a little."""
        if self._claim(key, now_ns) is not None:
            self.reason = reason
            self.buffer.count(Drop.ERROR)
            self._ask_after_ns = now_ns + _ERROR_PAUSE_NS

    def heard(self, progress: int, epoch: int, now_ns: int) -> None:
        """A heartbeat of the network actor, which says whose session it holds. It keeps nothing
        when it restarts: another epoch than ours means that ours is gone."""
        if progress != self._progress:
            self._progress, self._heard_ns = progress, now_ns
        if self.failsafe.session_open and epoch != self.epoch:
            self._lose("the network actor restarted", now_ns)

    def lost(self, message: str, epoch: int, now_ns: int) -> None:
        """The broker or the network actor says that the session of `epoch` is gone."""
        if self.failsafe.session_open and epoch == self.epoch:
            self._lose(message, now_ns)

    def pause(self, now_ns: int) -> None:
        self.failsafe.pause(now_ns)
        self._settle()

    def resume(self, now_ns: int) -> None:
        self.failsafe.resume(now_ns)
        self._settle()

    def reset(self, task: str | None = None) -> int:
        """An episode begins, with another `task` if one is given; returns its number. Latency
        history and session go on."""
        if task is not None and task != self.task:
            self.task = task
            self._keep()
        self.failsafe.reset()
        self._episode_start = self._settling = True
        return self.buffer.reset()

    def follow_task(self, task: str) -> None:
        """The robot's surroundings say what is to be done; they say it again after a restart."""
        self.task = task

    def forget(self) -> None:
        """The actor ends in order: time until its next start is not time offline, and if a person
        starts it after it was DEAD, nothing of before binds it."""
        self._words[Word.SUPPLIED_NS] = 0
        if self.state is State.DEAD:
            self.contract = None
            self._keep()

    @property
    def _due(self) -> bool:
        return self.plan_ns < self._buffer_ns

    def _unfit(self, terms: Accept) -> str:
        """Why this robot cannot play what the service would send; empty if it can."""
        if terms.action_names != self._actions:
            return (
                f"the service's actions are {', '.join(terms.action_names)}; this robot's are "
                f"{', '.join(self._actions)}: use a service that was trained for it"
            )
        if not 0 < terms.chunk_size <= self.buffer.capacity:
            return (
                f"the service's chunks have {terms.chunk_size} steps; this robot's plan holds 1 to "
                f"{self.buffer.capacity}: use a policy of shorter chunks"
            )
        return ""

    def _claim(self, key: tuple[int, int, int], now_ns: int) -> Snapshot | None:
        asked = self.buffer.claim(*key)
        if asked is not None:
            self._heard_ns = now_ns
            self.failsafe.answered()
        return asked

    def _keep(self) -> None:
        self._segment.keep(Kept(self.contract, self.task).pack())

    def _lose(self, why: str, now_ns: int) -> None:
        self.reason = why
        self.failsafe.on(Event.LOST, now_ns)
        self._settle()

    def _end(self, event: Event, why: str, now_ns: int) -> None:
        self.reason = why
        self.failsafe.on(event, now_ns)
        self._settle()

    def _settle(self) -> None:
        """Draw the consequences of a transition, and keep what the next incarnation must know."""
        machine = self.failsafe
        if not machine.session_open:
            self.terms = None
            self.buffer.settle(Drop.ABANDONED)
        if self._words[Word.SUPPLIED_NS] != machine.supplied_ns:
            self._words[Word.SUPPLIED_NS] = machine.supplied_ns
        if self._words[Word.PAUSED_NS] != machine.paused_ns:
            self._words[Word.PAUSED_NS] = machine.paused_ns
