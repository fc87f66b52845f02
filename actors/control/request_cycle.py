"""`RequestCycle`: when chunks are asked for, and which answers count.

It joins the plan, the fail-safe, the session and the latency estimate: one request in flight,
time-outs, episodes. Pure: messages and instants come from the caller, and what is to be sent is
returned to it.

Guarantees: a seq is used once, over all incarnations; an answer counts only if it is the one
outstanding.
"""

from __future__ import annotations

from zlib import crc32

import msgspec

from ...robot.base import RobotSpec
from .buffer import ChunkBuffer
from .config import ControlConfig
from .failsafe import Bounds, FailSafe
from .latency_window import LatencyWindow
from .pending_reset import PendingReset
from .plan import Begin, Drop, Floats, MergeRule, Snapshot, by_time
from .plan_memory import PlanMemory, Word
from .planned_request import PlannedRequest
from .policy_session import PolicySession
from .reason import Reason
from .request_pause import RequestPause
from .supply_state import SupplyEvent, SupplyState
from .task_change import TaskChange

_NS = 1_000_000_000


class RequestCycle:
    """One robot's requests. `session` takes what concerns handshakes and liveness."""

    def __init__(
        self,
        config: ControlConfig,
        spec: RobotSpec,
        memory: PlanMemory,
        buffer: ChunkBuffer,
        begin: Begin = by_time,
    ):
        """`begin` says where in a chunk the robot can begin, see `CommandSource.begin`."""
        plan = config.plan_settings
        self._safety = safety = config.safety
        self._words = memory.words
        self.step_ns = config.dt_ns
        """Between two policy steps. A loop whose measured pace differs sets it: how long the plan
        lasts and by how many steps a chunk will be late follow from it."""
        self._buffer_ns = round(plan.buffer_time_s * _NS)
        self._max_state_age_ns = round(safety.max_state_age_s * _NS)
        self._endpoint = config.endpoint
        self._begin = begin
        self._horizon = plan.rtc.execution_horizon
        self.rule = MergeRule(plan.merge, plan.trim, plan.blend_weight)
        self._seed = crc32(config.robot.encode()) << 31
        self.buffer = buffer
        self.latency = LatencyWindow(memory.latency, quantile=plan.latency_quantile)
        self.failsafe = FailSafe(
            Bounds.of(safety),
            supplied_ns=self._words[Word.SUPPLIED_NS],
            paused_ns=self._words[Word.PAUSED_NS],
        )
        self.session = PolicySession(config, spec.action_names, memory, buffer, self.failsafe)
        self._task = TaskChange(self.session, buffer, self.failsafe, self.rule)
        self._pause = RequestPause(crc32(config.robot.encode()))
        self._now_ns = 0
        self._asked_ns = 0
        self._session_epoch = 0
        """Of the session that the last request was made in."""
        self._settling = False
        self._pending_reset = PendingReset()
        self._episode_start = len(buffer) == 0

    @property
    def why(self) -> Reason:
        """Why the state is what it is, in parts."""
        return self.session.why

    @property
    def state(self) -> SupplyState:
        return self.failsafe.state

    @property
    def reason(self) -> str:
        """Why the state is what it is, in a sentence. Never empty but while all is well."""
        return self.why.sentence(self.state, self._now_ns)

    @property
    def warnings(self) -> list[str]:
        """What is not as it should be, though the session is open."""
        terms = self.session.terms
        if terms is None:
            return []
        overdue = self._pending_reset.warning(
            self.why.replica, self.buffer.episode, self.session.epoch, self._now_ns
        )
        slowed = self._pause.warning(self.why.replica) if self._experienced else ""
        return [*terms.warnings, *filter(None, (overdue, slowed))]

    @property
    def plan_ns(self) -> int:
        """How long the plan lasts."""
        return len(self.buffer) * self.step_ns

    def elapse(self, now_ns: int) -> None:
        """Let time pass: time-outs, silence, a plan that grows old. Once a tick, before `ask`."""
        failsafe, self._now_ns = self.failsafe, now_ns
        self.session.elapse(now_ns)
        if failsafe.request_timed_out(now_ns):
            self.buffer.settle(Drop.TIMEOUT)
            timeout_s = self._safety.request_timeout_s
            self.why.request = f"{self.why.replica} did not answer a request within {timeout_s:g} s"
        if not failsafe.paused:
            self.buffer.expire(now_ns)
        before, cause = failsafe.state, self.why.cause(failsafe.state)
        failsafe.elapse(now_ns, dry=not len(self.buffer), due=self._due)
        if failsafe.state is not before:
            self._explain(cause)
        self.session.settle()

    def ask(self, observed_ns: int, step: int, now_ns: int) -> PlannedRequest | None:
        """The request to send now, if one is due. Call it before the pop of the policy step `step`,
        whose observation it is made from; report `asked` or `unsent` afterwards."""
        terms, self._now_ns = self.session.terms, now_ns
        if self._settling:
            self._settling = False
            self._pause.new_episode(now_ns)
        if (
            not self._due
            or not self.failsafe.may_request
            or terms is None
            or self.buffer.outstanding is not None
            or not self._pause.over(now_ns)
        ):
            return None
        if now_ns - observed_ns > self._max_state_age_ns:
            self.why.request = (
                f"the robot's state is more than {self._safety.max_state_age_s:g} s old "
                "(max_state_age_s): no request is made from it"
            )
            return None
        epoch = self.session.epoch
        if epoch != self._session_epoch:  # another replica, perhaps: no experience with it
            self._session_epoch = epoch
            self.latency.connected()
            self._pause.new_session()
        snapshot = self.buffer.snapshot(epoch, observed_ns, step, now_ns)
        limit = terms.max_prefix_steps
        prefix = min(len(snapshot.model), limit, self._horizon or limit)
        if terms.prefix == "none" or self._task.rule.mode == "append":
            prefix = 0
        return PlannedRequest(
            asked=snapshot,
            prefix=snapshot.model[:prefix] if prefix else None,
            prefix_robot=snapshot.robot[:prefix] if prefix else None,
            delay_steps=self.latency.delay_steps(self.step_ns, terms.chunk_size),
            slack_s=self.plan_ns / _NS,
            episode_start=self._episode_start,
            seed=self._seed + (snapshot.seq & 0x7FFFFFFF),
            task=self._task.asked(),
        )

    def asked(self, now_ns: int) -> None:
        """The request is on its way."""
        self._asked_ns = now_ns
        self._words[Word.REQUESTS] += 1
        self.failsafe.asked(now_ns)

    def unsent(self, now_ns: int) -> None:
        """The request could not be sent: it is no longer outstanding, and the next one waits."""
        self.buffer.settle(Drop.UNSENT)
        self.why.request = f"the network actor takes no request at {self._endpoint}"
        self._pause.unsent(now_ns)

    def replied(
        self,
        model: Floats,
        robot: Floats,
        key: tuple[int, int, int],
        step: int,
        now_ns: int,
        oldest_age_ns: int = 0,
        interval_ns: int = 0,
        waited_ns: int = 0,
        batch_ns: int = 0,
    ) -> Drop | None:
        """A chunk arrived for (seq, episode, epoch) `key`; None if it became part of the plan.
        `step` is the policy step of the next pop; `oldest_age_ns` is the age of the oldest input
        when the request was made, which may exceed that of the robot's state; `interval_ns` is the
        pace that the service gives this robot; `waited_ns` is how long the request waited for the
        device, which took `batch_ns` for its batch."""
        asked = self._claim(key, now_ns)
        if asked is None:
            return Drop.UNASKED
        self._pause.interval_ns = interval_ns
        self._pause.answered(self._asked_ns, waited_ns, batch_ns, self.step_ns, asked.seq, now_ns)
        if oldest_age_ns:
            oldest_ns = min(asked.observed_ns, self._asked_ns - oldest_age_ns)
            asked = msgspec.structs.replace(asked, observed_ns=oldest_ns)
        if self.failsafe.motion_has_ended(self._asked_ns, self.latency.expected_ns, now_ns):
            # An outage's latency predicts no other one's.
            self.buffer.count(Drop.STALLED)
            self.why.request = f"{self.why.replica} answered a request from before the plan ran dry"
            return Drop.STALLED
        self.latency.record(now_ns - self._asked_ns)
        fault = self.buffer.merge(
            model, robot, asked, self._task.rule, step=step, now_ns=now_ns, begin=self._begin
        )
        if fault is None:
            self._episode_start = False
            self._pause.succeeded()
            self._task.merged()
            self.why.merged(now_ns)
            self.failsafe.on(SupplyEvent.MERGED, now_ns)
            self.session.settle()
        elif fault is Drop.EXPIRED:
            self.why.request = f"{self.why.replica} answers too late: the chunk was expired"
        else:
            self.why.request = f"{self.why.replica} sends chunks that cannot be played: {fault}"
            self._pause.failed(now_ns)
        return fault

    def failed(
        self, reason: str, key: tuple[int, int, int], now_ns: int, *, near: bool = False
    ) -> None:
        """The request `key` was answered by an error, of this robot's own network actor if `near`.
        The next one waits, the longer the more have failed in a row; a near one costs no other
        robot anything."""
        if self._claim(key, now_ns) is None:
            return
        self.why.request = reason
        self.buffer.count(Drop.ERROR)
        if near:
            self._pause.refused(now_ns)
        else:
            self._pause.failed(now_ns)

    def lost(self, reason: str, key: tuple[int, int, int], now_ns: int) -> None:
        """The request `key` or its answer was lost on the way: the next one need not wait."""
        if self._claim(key, now_ns) is not None:
            self.why.request = reason
            self.buffer.count(Drop.ABANDONED)

    def waits(self, reason: str, key: tuple[int, int, int], now_ns: int) -> None:
        """The request `key` was not sent, because the robot's link has no room for it yet."""
        if self._claim(key, now_ns) is not None:
            self.why.request = reason
            self._pause.refused(now_ns)

    def plan_refused(self, why: str) -> None:
        """The robot does not follow the plan, because its limits refuse that, for the reason `why`:
        the next chunk is to begin where the robot is."""
        self.why.request = f"the robot's limits refuse the plan: {why}"
        self.void_plan()

    def driver_lost(self, why: str) -> None:
        """The robot cannot be commanded: what was planned does not happen, and what was asked for
        does not continue it. No chunk is due until `driver_found`."""
        self.why.driver = why
        self._words[Word.DRIVER_GAPS] += 1
        self.void_plan()

    def void_plan(self) -> None:
        """What was planned does not happen, and what was asked for does not continue it."""
        self.buffer.void()
        self.failsafe.answered()

    def driver_found(self) -> None:
        """The robot can be commanded (again)."""
        self.why.driver = ""

    def pause(self, now_ns: int) -> None:
        self.failsafe.pause(now_ns)
        self.session.settle()

    def resume(self, now_ns: int) -> None:
        if self.failsafe.paused:  # a request's latency excludes the pause
            self._asked_ns += now_ns - self.failsafe.paused_ns
        self.failsafe.resume(now_ns)
        self.session.settle()

    def change_task(self, task: str) -> None:
        """The policy is to do `task` from now on, in the same episode. A chunk of it is asked for
        at once, however long the plan is, and continues the plan, which is played until then."""
        self._task.give(task)

    def follow_task(self, task: str) -> None:
        """The robot's surroundings say that the task is `task`, as they do at every tick: see
        `Task`."""
        self._task.follow(task)

    def reset(self, task: str | None = None) -> int:
        """An episode begins, with another `task` if one is given; returns its number. Latency
        history and session go on."""
        self._task.reset(task)
        self.failsafe.reset()
        if self.failsafe.session_open:
            self._pending_reset.made(self.session.epoch, self._now_ns)
        else:
            self._pending_reset.over()
        self._episode_start = self._settling = True
        return self.buffer.reset()

    def acknowledged(self, episode: int) -> None:
        """The replica knows that `episode` has begun."""
        if episode == self.buffer.episode:
            self._pending_reset.over()

    @property
    def _due(self) -> bool:
        if self.why.driver:
            return False
        if self._task.pending:
            return True
        latency_ns, plan_ns = self.latency.expected_ns, self.plan_ns
        if plan_ns >= self._buffer_ns:
            return False
        return not self._experienced or not self._pause.defers(
            self._asked_ns, plan_ns, self._buffer_ns, latency_ns, self.step_ns, self._now_ns
        )

    @property
    def _experienced(self) -> bool:
        """Whether a request was made in this session: pace and crowd are those of its replica."""
        return self.session.epoch == self._session_epoch

    def _claim(self, key: tuple[int, int, int], now_ns: int) -> Snapshot | None:
        asked = self.buffer.claim(*key)
        if asked is not None:
            self.session.answered(now_ns)
            self.failsafe.answered()
        return asked

    def _explain(self, cause: str) -> None:
        """Give the reason why time led to the present state from one whose cause was `cause`."""
        match self.failsafe.cause:
            case SupplyEvent.OFFLINE:
                last = f"; the last that was known: {cause}" if cause else ""
                self.why.dead = (
                    f"no chunk came for {self._safety.max_offline_s:g} s (max_offline_s){last}"
                )
            case SupplyEvent.UNANSWERED:
                silent_s = 2 * self._safety.request_timeout_s
                self.why.closed(
                    f"{self.why.replica} has not answered for {silent_s:g} s", self._now_ns
                )
