"""`PolicySession`: a robot's session with its service, over all its reconnections.

Handshakes, the terms and the contract that they bring, liveness and loss. Pure: messages and
instants come from the caller, and what is to be sent is returned to it.

Guarantees: an epoch is used once, over all incarnations; a service that serves another model than
the robot was accepted under is never played.
"""

from __future__ import annotations

from ...transport.bodies import Accept, Reject
from ...transport.session_id import new_session_id
from .buffer import ChunkBuffer
from .config import ControlConfig
from .contract import Contract, Kept, misfit
from .failsafe import FailSafe
from .plan import Drop
from .plan_memory import PlanMemory, Word
from .policy_task import Task
from .reason import Reason
from .service_change import CHANGE_NS, ServiceChange
from .supply_state import SupplyEvent, SupplyState

_NS = 1_000_000_000


class PolicySession:
    """One robot's. What `failsafe` decides takes effect here: `settle` it after each of its events.

    Attributes:
        change: the last change of the service; None before the first.
        contract: the model that the robot was accepted under; None until the first handshake.
        next_id: the id of the session that the next handshake asks for.
        task: what the policy is asked to do.
        terms: what the session was accepted on; None without one.
        why: the reason of the present state, in parts.
    """

    def __init__(
        self,
        config: ControlConfig,
        actions: tuple[str, ...],
        plan: PlanMemory,
        buffer: ChunkBuffer,
        failsafe: FailSafe,
    ):
        self._plan, self._words, self._buffer = plan, plan.words, buffer
        self._actions = actions
        self._configured, self._endpoint = config.service, config.endpoint
        self._open_timeout_s = config.safety.open_timeout_s
        self._liveness_s = config.safety.liveness_s
        self._liveness_ns = round(self._liveness_s * _NS)
        self.failsafe = failsafe
        kept = Kept.unpack(plan.recall()).under(config.service)
        self.why = Reason(kept.service)
        self.change: ServiceChange | None = None
        self.contract = kept.contract
        self.task = Task.resume(kept.task, config.task)
        self.next_id = new_session_id()
        self.terms: Accept | None = None
        self._opened: int | None = None
        """The epoch of the handshake that awaits its answer, however late that may be."""
        self._heard_ns = 0
        self._progress = -1

    @property
    def epoch(self) -> int:
        """The number of the last handshake."""
        return self._words[Word.EPOCH]

    @property
    def id(self) -> int:
        """The id of the session that the last handshake asked for."""
        return self._words[Word.SESSION]

    @property
    def service(self) -> str:
        """The service that it asks for."""
        return self.why.service

    @property
    def open(self) -> bool:
        """Whether there is a session now."""
        return self.failsafe.session_open

    @property
    def enabled(self) -> bool:
        """Whether the robot may be driven: some handshake was once accepted."""
        return self.contract is not None

    def open_epoch(self, now_ns: int) -> int | None:
        """The epoch of the handshake to send now, if it is time for one; then report `opening` or
        `unopened`."""
        waiting = self.failsafe.handshake_open
        due = self.failsafe.should_open(now_ns)
        if waiting and not self.failsafe.handshake_open:
            self.why.session = (
                f"the broker took the handshake with service '{self.service}', which was not "
                f"answered within {self._open_timeout_s:g} s"
            )
        return self.epoch + 1 if due else None

    def opening(self, epoch: int, now_ns: int) -> None:
        """The handshake of `epoch` is on its way."""
        self._words[Word.EPOCH] = self._opened = epoch
        self._words[Word.SESSION], self.next_id = self.next_id, new_session_id()
        self.failsafe.opening(now_ns)

    def unopened(self) -> None:
        """The handshake could not be sent: the network actor is not there. It is tried again."""
        self.why.session = f"the network actor does not answer at {self._endpoint}"

    def available(self, now_ns: int) -> None:
        """The service has room for this robot now: the next handshake goes out at once."""
        self.failsafe.available(now_ns)

    def waiting(self, why: str) -> None:
        """The network actor reports why it cannot reach the broker."""
        if not self.open:
            self.why.session = why

    def accepted(self, terms: Accept, epoch: int, now_ns: int) -> None:
        """The handshake of `epoch` succeeded, on these terms."""
        if epoch != self._opened or self.failsafe.state is SupplyState.DEAD:
            return
        self._opened = None
        contract = Contract.of(terms)
        unfit = misfit(terms, self._actions, self._buffer.capacity)
        changes = self._changes
        if changes is not None:
            if fault := unfit or self.task.misfit(terms.pin_task, self.service):
                self._stay(fault, now_ns)
                return
            changes.accepted()
        elif self.contract is not None and contract != self.contract:
            self._end(SupplyEvent.CHANGED, self.contract.changes(contract), now_ns)
            return
        elif unfit:
            self._end(SupplyEvent.REFUSED, unfit, now_ns)
            return
        if changes or self.contract is None or self.task.pinned != terms.pin_task:
            self.contract, self.task.pinned = contract, terms.pin_task
            self.keep()
        self.terms = terms
        self.why.opened(terms.replica, now_ns)
        self._heard_ns, self._progress = now_ns, -1
        self.failsafe.on(SupplyEvent.ACCEPTED, now_ns)
        self.settle()

    def rejected(self, answer: Reject, epoch: int, now_ns: int) -> None:
        """The handshake of `epoch` was refused."""
        if epoch != self._opened:
            return
        self._opened = None
        self.why.session = f"{answer.reason}: {answer.message}"
        if self._changes:
            self._stay(self.why.session, now_ns)
        elif answer.final:
            self._end(SupplyEvent.REFUSED, self.why.session, now_ns)
        else:
            self.failsafe.open_failed(now_ns, round(answer.retry_after_s * _NS))

    def heard(self, progress: int, epoch: int, now_ns: int) -> None:
        """A heartbeat of the network actor, with the epoch of the session that it holds. It keeps
        nothing when it restarts: another epoch than ours means that ours is gone."""
        if progress != self._progress:
            self._progress, self._heard_ns = progress, now_ns
        if self.open and epoch != self.epoch:
            self._lose("the network actor restarted", now_ns)

    def answered(self, now_ns: int) -> None:
        """A request was answered: that renews the session."""
        self._heard_ns = now_ns

    def lost(self, message: str, epoch: int, now_ns: int) -> None:
        """The broker or the network actor reports that the session of `epoch` is lost, or that its
        handshake was not forwarded."""
        if self.open and epoch == self.epoch:
            self._lose(message, now_ns)
        elif epoch == self._opened:
            self._opened = None
            self.why.session = message
            self.failsafe.open_failed(now_ns)
            if self._changes:
                self._stay(message, now_ns)

    def use(self, service: str, now_ns: int) -> None:
        """Go over to another `service`: the next handshake asks it, and what it accepts the robot
        under is the contract from then on. Unless it accepts within `CHANGE_NS`, the robot goes
        back to the one before; `change` says how it went."""
        self.change = ServiceChange(self.service, service, now_ns + CHANGE_NS)
        self._ask(service, f"it goes over to service '{service}'", now_ns)

    def elapse(self, now_ns: int) -> None:
        """Let time pass: the session is lost if the network actor was silent for too long."""
        change = self._changes
        if change is not None and now_ns >= change.deadline_ns:
            waited_s = CHANGE_NS / _NS
            self._stay(f"not accepted within {waited_s:g} s: {self.why.session}", now_ns)
        if self.open and now_ns - self._heard_ns > self._liveness_ns:
            self._lose(f"the network actor has been silent for {self._liveness_s:g} s", now_ns)

    def settle(self) -> None:
        """Draw the consequences of the fail-safe's state: without a session there are no terms and
        no answer is awaited; what the next incarnation must know is kept."""
        failsafe = self.failsafe
        if not failsafe.session_open:
            self.terms = None
            self._buffer.settle(Drop.ABANDONED)
        if self._words[Word.SUPPLIED_NS] != failsafe.supplied_ns:
            self._words[Word.SUPPLIED_NS] = failsafe.supplied_ns
        if self._words[Word.PAUSED_NS] != failsafe.paused_ns:
            self._words[Word.PAUSED_NS] = failsafe.paused_ns

    def task_fault(self, task: str) -> str:
        """Why the service would refuse requests of `task`; empty if it would not, or nothing is
        known of it yet."""
        return self.task.fault(task, self.service)

    def keep(self) -> None:
        """Keep service, contract and task for the next incarnation."""
        # Until another service has accepted the robot, it is the one before that is kept.
        service = self._changes.before if self._changes else self.service
        self._plan.keep(Kept(self.contract, self.task, service, self._configured).pack())

    def forget(self) -> None:
        """The actor ends in order: time until its next start is not time offline, and if a person
        starts it after it was DEAD, no earlier contract binds it."""
        self._words[Word.SUPPLIED_NS] = 0
        if self.failsafe.state is SupplyState.DEAD:
            self.contract = None
            self.keep()

    @property
    def _changes(self) -> ServiceChange | None:
        """The change of the service that is under way."""
        return self.change if self.change is not None and self.change.pending else None

    def _stay(self, why: str, now_ns: int) -> None:
        """The other service did not accept: go back to the one before, under its contract."""
        assert self.change is not None, "a change is under way"
        self.change.refused(why)
        self._ask(self.change.before, f"service '{self.change.after}' refused it: {why}", now_ns)

    def _ask(self, service: str, why: str, now_ns: int) -> None:
        """End what session and handshake there is; the next handshake, now, is with `service`."""
        self.why.service = service
        self._opened = None
        if self.open:
            self._lose(why, now_ns)
        else:
            self.why.session = why
            self.failsafe.open_failed(now_ns)
        self.failsafe.available(now_ns)

    def _lose(self, why: str, now_ns: int) -> None:
        self.why.closed(why, now_ns)
        self.failsafe.on(SupplyEvent.LOST, now_ns)
        self.settle()

    def _end(self, event: SupplyEvent, why: str, now_ns: int) -> None:
        self.why.dead = why
        self.failsafe.on(event, now_ns)
        self.settle()
