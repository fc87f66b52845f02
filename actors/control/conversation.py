"""`Conversation`: one robot's exchange of messages with its network actor.

It joins `RequestCycle`, which decides, and `PolicyClient`, which sends and receives, for every loop
that plays a plan: the control actor, a script's `RemotePolicy`, the request-path benchmark. No call
blocks; what cannot be sent is reported to the cycle, which tries again.
"""

from __future__ import annotations

from collections.abc import Callable

from ...robot.base import RobotSpec
from ...transport.bodies import Vitals
from .config import ControlConfig
from .observation_history import ObservationHistory
from .plan import Floats
from .plan_memory import PlanMemory, Word
from .planned_request import PlannedRequest
from .policy_client import PolicyClient
from .request_cycle import RequestCycle
from .tick_log import TickLog

_BEAT_NS = 200_000_000


class Conversation:
    """Call `receive`, `elapse` and `keep_in_touch` once a tick, in this order.

    `vitals` gives the figures that a heartbeat carries; it is called for each of them. `log` has
    the observations of the policy steps.
    """

    def __init__(
        self,
        config: ControlConfig,
        cycle: RequestCycle,
        client: PolicyClient,
        spec: RobotSpec,
        plan: PlanMemory,
        vitals: Callable[[], Vitals],
        log: TickLog,
    ) -> None:
        self.client = client
        self._cycle, self._session, self._spec = cycle, cycle.session, spec
        self._words = plan.words
        self._vitals = vitals
        self._config, self._log = config, log
        self._beat_ns = 0

    def receive(self, step: int, now_ns: int) -> bool:
        """Handle what has arrived; True if a chunk became part of the plan. `step` is the policy
        step of the next pop."""
        return self.client.drain(self._cycle, step, now_ns)

    def elapse(self, now_ns: int) -> None:
        """Let time pass: time-outs, silence, a plan that grows old."""
        self._cycle.elapse(now_ns)

    def keep_in_touch(self, now_ns: int) -> None:
        """Send the handshake and the heartbeat that are due."""
        session = self._session
        epoch = session.open_epoch(now_ns)
        if epoch is not None:
            asked = session.service, session.task.sentence
            if self.client.open(self._spec, epoch, session.next_id, *asked):
                session.opening(epoch, now_ns)
            else:
                session.unopened()
        if now_ns - self._beat_ns >= _BEAT_NS:
            self.beat(now_ns)

    def beat(self, now_ns: int) -> None:
        """Send a heartbeat now. It goes out without a session too, in epoch 0: the broker's host
        shows a robot that waits, and why."""
        self._beat_ns = now_ns
        epoch = self._session.epoch if self._session.open else 0
        self.client.beat(epoch, self._words[Word.TICKS], self._vitals())

    def ask(self, request: PlannedRequest, state: Floats, now_ns: int) -> bool:
        """Send `request`, made from `state` [S], which is in the log; False if it could not be
        sent."""
        sent = self.client.ask(request, state, now_ns, self._history())
        if sent:
            self._cycle.asked(now_ns)
        else:
            self._cycle.unsent(now_ns)
        return sent

    def _history(self) -> ObservationHistory | None:
        """What the policy sees beside the present observation; None where that is nothing."""
        terms, config = self._session.terms, self._config
        if terms is None or terms.observation_steps < 2:
            return None
        return ObservationHistory.of(
            self._log,
            terms.observation_steps,
            terms.observation_stride_steps,
            config.dt_ns,
            config.interpolate,
        )

    def reset(self, task: str | None = None) -> int:
        """Begin an episode, with another `task` if one is given; returns its number."""
        episode = self._cycle.reset(task)
        if self._session.open:
            self.client.reset(episode, self._session.epoch)
        return episode

    def use(self, service: str, now_ns: int) -> None:
        """Go over to another `service`, see `PolicySession.use`; then `reset`, because what the one
        before has planned is not continued."""
        if self._session.open:
            self.client.leave(self._session.epoch, f"goes over to service {service}")
        self._session.use(service, now_ns)

    def close(self, reason: str) -> None:
        """End the session, if there is one, and close the connection."""
        if self._session.open:
            self.client.close(self._session.epoch, reason)
        else:
            self.client.disconnect()
