"""`RequestCycle`: when chunks are asked for, from whom, and which answers count.

It joins the plan, the fail-safe and the latency estimate into the robot's side of a session:
handshake, one request in flight, time-outs, loss and reconnection. Pure: messages and instants come
from the caller, and what is to be sent is returned to it.

Guarantees: an epoch, and a seq, is used once, over all incarnations; an answer counts only if it is
the one outstanding; a server that serves another model than the robot was accepted under is never
played.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from zlib import crc32

from ...robot.base import RobotSpec
from ...transport.messages import Accept, Reject
from .buffer import ChunkBuffer
from .config import ControlConfig
from .contract import Contract, Kept
from .failsafe import Bounds, FailSafe, SupplyEvent, SupplyState
from .latency_window import LatencyWindow
from .plan import Drop, Floats, MergeRule, Snapshot
from .plan_memory import PlanMemory, Word
from .reason import Reason

_ERROR_PAUSE_NS = 100_000_000
_MAX_ERROR_PAUSE_NS = 5_000_000_000
"""A robot whose requests keep failing takes less and less of a service that others share."""
_NEW_EPISODE_PAUSE_NS = 40_000_000
"""Until the cameras have seen the new episode: a request before that is refused."""
_UNSENT_PAUSE_NS = 50_000_000
_RESET_NS = 1_000_000_000
"""In which a replica acknowledges a reset. A lost one costs nothing: requests say the episode."""
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """A request to send: the snapshot it belongs to, and what the policy needs beside the state."""

    asked: Snapshot
    prefix: Floats | None
    prefix_robot: Floats | None
    delay_steps: int
    slack_s: float
    episode_start: bool
    seed: int
    task: str


class RequestCycle:
    """One robot's session, over all its reconnections."""

    def __init__(
        self, config: ControlConfig, spec: RobotSpec, segment: PlanMemory, buffer: ChunkBuffer
    ):
        plan, safety = config.plan_settings, config.safety
        self._segment, self._words = segment, segment.words
        self._actions = spec.action_names
        self._service = config.service
        self.step_ns = config.dt_ns
        """Between two policy steps. A loop that takes them at another pace than it meant to says so
        here: what the plan lasts and how many steps a chunk will be late follow from it."""
        self._buffer_ns = round(plan.buffer_time_s * _NS)
        self._safety = safety
        self._max_state_age_ns = round(safety.max_state_age_s * _NS)
        self._liveness_ns = round(safety.liveness_s * _NS)
        self.rule = MergeRule(plan.merge, plan.trim, plan.blend_weight)
        self._seed = crc32(config.robot.encode()) << 31
        self.buffer = buffer
        self.latency = LatencyWindow(segment.latency, quantile=plan.latency_quantile)
        self.failsafe = FailSafe(
            Bounds(
                degraded_after=round(safety.degraded_after_s * _NS),
                request_timeout=round(safety.request_timeout_s * _NS),
                max_offline=safety.max_offline_ns,
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
        self.why = Reason(config.service)
        self._endpoint = config.endpoint
        self._now_ns = 0
        self._opened: int | None = None
        """The epoch of the handshake that awaits its answer, however late that may be."""
        self._asked_ns = 0
        self._ask_after_ns = 0
        self._error_pause_ns = _ERROR_PAUSE_NS
        self._settling = False
        self._reset_ns = 0
        """When the reset that awaits its acknowledgement was made; 0 if none does."""
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
    def state(self) -> SupplyState:
        return self.failsafe.state

    @property
    def reason(self) -> str:
        """Why the state is what it is, in a sentence. Never empty but while all is well."""
        return self.why.sentence(self.state, self._now_ns)

    @property
    def warnings(self) -> list[str]:
        """What is not as it should be, though the session is open."""
        told = list(self.terms.warnings) if self.terms else []
        if self.terms and self._reset_ns and self._now_ns - self._reset_ns >= _RESET_NS:
            told.append(
                f"{self.why.replica} has not acknowledged the reset to episode "
                f"{self.buffer.episode} within {_RESET_NS / _NS:g} s"
            )
        return told

    @property
    def plan_ns(self) -> int:
        """How long the plan lasts."""
        return len(self.buffer) * self.step_ns

    def elapse(self, now_ns: int) -> None:
        """Let time pass: time-outs, silence, a plan that grows old. Once a tick, before `ask`."""
        machine, self._now_ns = self.failsafe, now_ns
        if machine.session_open and now_ns - self._heard_ns > self._liveness_ns:
            silent_s = self._safety.liveness_s
            self._lose(f"the network actor has been silent for {silent_s:g} s", now_ns)
        if machine.request_timed_out(now_ns):
            self.buffer.settle(Drop.TIMEOUT)
            timeout_s = self._safety.request_timeout_s
            self.why.request = f"{self.why.replica} did not answer a request within {timeout_s:g} s"
        if not machine.paused:
            self.buffer.expire(now_ns)
        before, cause = machine.state, self.why.cause(machine.state)
        machine.elapse(now_ns, dry=not len(self.buffer), due=self._due)
        if machine.state is not before:
            self._note(before, cause)
        self._settle()

    def open_epoch(self, now_ns: int) -> int | None:
        """The epoch of the handshake to send now, if it is time for one; then report `opening` or
        `unopened`."""
        waiting = self.failsafe.handshake_open
        due = self.failsafe.should_open(now_ns)
        if waiting and not self.failsafe.handshake_open:
            self.why.session = (
                f"the broker took the handshake with service '{self._service}', which was not "
                f"answered within {self._safety.open_timeout_s:g} s"
            )
        return self.epoch + 1 if due else None

    def unopened(self) -> None:
        """The handshake could not be sent: the network actor is not there. It is tried again."""
        self.why.session = f"the network actor does not answer at {self._endpoint}"

    def available(self, now_ns: int) -> None:
        """The service has room for this robot now: the next handshake goes out at once."""
        self.failsafe.available(now_ns)

    def waiting(self, why: str) -> None:
        """The network actor says why there is no way to the broker."""
        if not self.failsafe.session_open:
            self.why.session = why

    def opening(self, epoch: int, now_ns: int) -> None:
        """The handshake of `epoch` is on its way."""
        self._words[Word.EPOCH] = self._opened = epoch
        self.failsafe.opening(now_ns)

    def ask(self, observed_ns: int, step: int, now_ns: int) -> PlannedRequest | None:
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
        ):
            return None
        if now_ns - observed_ns > self._max_state_age_ns:
            self.why.request = (
                f"the robot's state is more than {self._safety.max_state_age_s:g} s old "
                "(max_state_age_s): no request is made from it"
            )
            return None
        snapshot = self.buffer.snapshot(self.epoch, observed_ns, step, now_ns)
        prefix = min(len(snapshot.model), terms.max_prefix_steps)
        if terms.prefix == "none" or self.rule.mode == "append":
            prefix = 0
        return PlannedRequest(
            asked=snapshot,
            prefix=snapshot.model[:prefix] if prefix else None,
            prefix_robot=snapshot.robot[:prefix] if prefix else None,
            delay_steps=self.latency.delay_steps(self.step_ns, terms.chunk_size),
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
        self.why.request = f"the network actor takes no request at {self._endpoint}"
        self._ask_after_ns = now_ns + _UNSENT_PAUSE_NS

    def accepted(self, terms: Accept, epoch: int, now_ns: int) -> None:
        """The handshake of `epoch` succeeded, on these terms."""
        if epoch != self._opened or self.state is SupplyState.DEAD:
            return
        self._opened = None
        contract = Contract.of(terms)
        if self.contract is not None and contract != self.contract:
            self._end(SupplyEvent.CHANGED, self.contract.changes(contract), now_ns)
            return
        unfit = self._unfit(terms)
        if unfit:
            self._end(SupplyEvent.REFUSED, unfit, now_ns)
            return
        if self.contract is None:
            self.contract = contract
            self._keep()
        self.terms, self._reset_ns = terms, 0
        self.why.opened(terms.replica, now_ns)
        self._error_pause_ns = _ERROR_PAUSE_NS
        self.latency.connected()
        self._heard_ns, self._progress = now_ns, -1
        self.failsafe.on(SupplyEvent.ACCEPTED, now_ns)
        self._settle()

    def rejected(self, answer: Reject, epoch: int, now_ns: int) -> None:
        """The handshake of `epoch` was refused."""
        if epoch != self._opened:
            return
        self._opened = None
        self.why.session = f"{answer.reason}: {answer.message}"
        if answer.final:
            self._end(SupplyEvent.REFUSED, self.why.session, now_ns)
        else:
            self.failsafe.open_failed(now_ns, round(answer.retry_after_s * _NS))

    def replied(
        self,
        model: Floats,
        robot: Floats,
        key: tuple[int, int, int],
        step: int,
        now_ns: int,
        oldest_age_ns: int = 0,
    ) -> Drop | None:
        """A chunk arrived for (seq, episode, epoch) `key`; None if it became part of the plan.
        `step` is the policy step of the next pop; `oldest_age_ns` says how old the oldest input was
        when the request was made, which may be older than the robot's state."""
        asked = self._claim(key, now_ns)
        if asked is None:
            return Drop.UNASKED
        if oldest_age_ns:
            oldest_ns = min(asked.observed_ns, self._asked_ns - oldest_age_ns)
            asked = replace(asked, observed_ns=oldest_ns)
        self.latency.record(now_ns - self._asked_ns)
        fault = self.buffer.merge(model, robot, asked, self.rule, step=step, now_ns=now_ns)
        if fault is None:
            self._episode_start, self._error_pause_ns = False, _ERROR_PAUSE_NS
            self.why.merged(now_ns)
            self.failsafe.on(SupplyEvent.MERGED, now_ns)
            self._settle()
        elif fault is Drop.EXPIRED:
            self.why.request = f"{self.why.replica} answers too late: the chunk was expired"
        else:
            self.why.request = f"{self.why.replica} sends chunks that cannot be played: {fault}"
            self._slow_down(now_ns)
        return fault

    def failed(
        self, reason: str, key: tuple[int, int, int], now_ns: int, *, near: bool = False
    ) -> None:
        """The request `key` was answered by an error, of this robot's own network actor if `near`.
        The next one waits, the longer the more have failed in a row; a near one costs nobody."""
        if self._claim(key, now_ns) is None:
            return
        self.why.request = reason
        self.buffer.count(Drop.ERROR)
        if near:
            self._ask_after_ns = now_ns + _ERROR_PAUSE_NS
        else:
            self._slow_down(now_ns)

    def heard(self, progress: int, epoch: int, now_ns: int) -> None:
        """A heartbeat of the network actor, which says whose session it holds. It keeps nothing
        when it restarts: another epoch than ours means that ours is gone."""
        if progress != self._progress:
            self._progress, self._heard_ns = progress, now_ns
        if self.failsafe.session_open and epoch != self.epoch:
            self._lose("the network actor restarted", now_ns)

    def lost(self, message: str, epoch: int, now_ns: int) -> None:
        """The broker or the network actor says that the session of `epoch` is gone, or that its
        handshake got nowhere."""
        if self.failsafe.session_open and epoch == self.epoch:
            self._lose(message, now_ns)
        elif epoch == self._opened:
            self._opened = None
            self.why.session = message
            self.failsafe.open_failed(now_ns)

    def driver_lost(self, why: str) -> None:
        """The robot cannot be commanded: what was planned does not happen, and what was asked for
        does not continue it. No chunk is due until `driver_found`."""
        self.why.driver = why
        self._words[Word.DRIVER_GAPS] += 1
        self.buffer.void()
        self.failsafe.answered()

    def driver_found(self) -> None:
        """The robot can be commanded (again)."""
        self.why.driver = ""

    def pause(self, now_ns: int) -> None:
        self.failsafe.pause(now_ns)
        self._settle()

    def resume(self, now_ns: int) -> None:
        if self.failsafe.paused:  # how long a request took is told without the pause
            self._asked_ns += now_ns - self.failsafe.paused_ns
        self.failsafe.resume(now_ns)
        self._settle()

    def reset(self, task: str | None = None) -> int:
        """An episode begins, with another `task` if one is given; returns its number. Latency
        history and session go on."""
        if task is not None and task != self.task:
            self.task = task
            self._keep()
        self.failsafe.reset()
        self._reset_ns = self._now_ns if self.failsafe.session_open else 0
        self._episode_start = self._settling = True
        return self.buffer.reset()

    def acknowledged(self, episode: int) -> None:
        """The replica knows that `episode` has begun."""
        if episode == self.buffer.episode:
            self._reset_ns = 0

    def follow_task(self, task: str) -> None:
        """The robot's surroundings say what is to be done; they say it again after a restart."""
        self.task = task

    def forget(self) -> None:
        """The actor ends in order: time until its next start is not time offline, and if a person
        starts it after it was DEAD, nothing of before binds it."""
        self._words[Word.SUPPLIED_NS] = 0
        if self.state is SupplyState.DEAD:
            self.contract = None
            self._keep()

    @property
    def _due(self) -> bool:
        return not self.why.driver and self.plan_ns < self._buffer_ns

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

    def _slow_down(self, now_ns: int) -> None:
        self._ask_after_ns = now_ns + self._error_pause_ns
        self._error_pause_ns = min(2 * self._error_pause_ns, _MAX_ERROR_PAUSE_NS)

    def _lose(self, why: str, now_ns: int) -> None:
        self.why.closed(why, now_ns)
        self.failsafe.on(SupplyEvent.LOST, now_ns)
        self._settle()

    def _note(self, before: SupplyState, cause: str) -> None:
        """Say why time led from the state `before`, whose cause was `cause`, to the present one."""
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

    def _end(self, event: SupplyEvent, why: str, now_ns: int) -> None:
        self.why.dead = why
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
