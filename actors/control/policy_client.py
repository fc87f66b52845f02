"""`PolicyClient`: the control actor's connection to its robot's network actor. It never blocks.

It turns what `RequestCycle` wants sent into messages and what arrives into calls on it; it decides
nothing. A message that cannot be sent now is not queued: the call returns False.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from time import monotonic_ns

from ...errors import WireError
from ...robot.base import RobotSpec
from ...transport import bodies, messages
from ...transport.arrays import Buffer
from ...transport.bodies import Close, Heartbeat, Open, Request, Reset, Vitals
from ...transport.header import Header, Kind
from ...transport.messages import Blobs
from ...transport.packet_client import PacketClient
from ...transport.poll import Poll, Source
from .config import ControlConfig
from .observation_history import ObservationHistory, most_steps
from .plan import Floats
from .planned_request import PlannedRequest
from .request_cycle import RequestCycle

_DRAINED = 8
"""Messages handled per call: one reply can be outstanding, so more than a few is a fault."""
_NEAR = frozenset(("stale-frame", "unreachable"))
"""What this robot's own network actor refuses a request for."""


class PolicyClient:
    """One connection. `malformed` counts what arrived and could not be read, by reason."""

    def __init__(self, config: ControlConfig, incarnation: int):
        self._config = config
        self._incarnation = incarnation
        self._connection = PacketClient(config.endpoint, f"{config.robot}/control:{incarnation}")
        self.malformed: Counter[str] = Counter()

    def watch(self, poll: Poll) -> None:
        """Wake `poll` for messages."""
        self._connection.watch(poll)

    def awake(self, ready: Collection[Source]) -> bool:
        """Whether the poll that returned `ready` was woken by a message: `drain` then."""
        return self._connection.awake(ready)

    def open(self, spec: RobotSpec, epoch: int, session: int, service: str, task: str) -> bool:
        """Ask for a session with the id `session`. The network actor adds what it knows: cameras,
        shared memory."""
        body = opening(self._config, spec, service, task, self._incarnation, session)
        return self._send(Header(Kind.OPEN, epoch=epoch), body)

    def ask(
        self,
        request: PlannedRequest,
        state: Floats,
        now_ns: int,
        history: ObservationHistory | None = None,
    ) -> bool:
        """Send a request made from `state` [S] and the observations before it, if the policy sees
        them."""
        blobs = Blobs()
        asked, prefix, prefix_robot = request.asked, request.prefix, request.prefix_robot
        rtc = self._config.plan_settings.rtc
        body = Request(
            state=blobs.array(state),
            task=request.task,
            delay_steps=request.delay_steps,
            prefix=None if prefix is None else blobs.array(prefix),
            prefix_robot=None if prefix_robot is None else blobs.array(prefix_robot),
            slack_s=request.slack_s,
            episode_start=request.episode_start,
            seed=request.seed,
            execution_horizon=rtc.execution_horizon,
            guidance_schedule=rtc.schedule,
            guidance_clip=rtc.clip,
            state_history=None if history is None else blobs.array(history.states),
            history_age_s=() if history is None else tuple(ns / 1e9 for ns in history.age_ns),
            episode_age_s=0.0 if history is None else history.episode_age_ns / 1e9,
        )
        header = Header(Kind.REQUEST, asked.seq, asked.episode, asked.epoch, now_ns)
        return self._send(header, body, blobs)

    def reset(self, episode: int, epoch: int) -> bool:
        """Announce to the replica that `episode` has begun; losing this costs nothing."""
        header = Header(Kind.RESET, episode=episode, epoch=epoch, token=monotonic_ns())
        return self._send(header, Reset())

    def beat(self, epoch: int, progress: int, vitals: Vitals) -> bool:
        """Send a heartbeat. `epoch` is that of the session, 0 without one; a network actor that
        lost the session answers so. `progress` grows with the loop's ticks."""
        beat = Heartbeat(progress=progress, vitals=vitals)
        return self._send(Header(Kind.HEARTBEAT, epoch=epoch), beat)

    def leave(self, epoch: int, reason: str) -> bool:
        """End the session; losing this costs nothing but the service's place until the next."""
        return self._send(Header(Kind.CLOSE, epoch=epoch), Close(reason=reason))

    def close(self, epoch: int, reason: str) -> None:
        """End the session and the connection."""
        self.leave(epoch, reason)
        self.disconnect()

    def disconnect(self) -> None:
        """End the connection; what was sent still arrives."""
        self._connection.close()

    def drain(self, cycle: RequestCycle, step: int, now_ns: int) -> bool:
        """Handle what has arrived; True if a chunk became part of the plan. `step` is the policy
        step of the next pop."""
        merged = False
        for _ in range(_DRAINED):
            try:
                frames = self._receive()
                if frames is None:
                    break
                merged |= _dispatch(messages.decode(frames), cycle, step, now_ns)
            except WireError as error:
                self.malformed[error.reason] += 1
        return merged

    def _send(self, header: Header, body: bodies.Body, blobs: Blobs | None = None) -> bool:
        return self._connection.send(messages.encode(header, body, blobs or ()))

    def _receive(self) -> list[Buffer] | None:
        return self._connection.receive()


def opening(
    config: ControlConfig,
    spec: RobotSpec,
    service: str,
    task: str,
    incarnation: int,
    session: int = 0,
) -> Open:
    """What a robot asks a `service` for, in its own names, as far as control knows it."""
    rtc = config.plan_settings.rtc
    return Open(
        robot=config.robot,
        service=service,
        action_names=spec.action_names,
        state_names=spec.state_names,
        cameras={},
        fps=config.fps,
        control_mode=spec.control_mode.value,
        rtc=config.plan_settings.merge == "replace",
        task=task,
        tags=config.tags,
        incarnation=incarnation,
        max_action_age_s=config.safety.max_action_age_s,
        buffer_time_s=config.plan_settings.buffer_time_s,
        execution_horizon=rtc.execution_horizon,
        guidance_schedule=rtc.schedule,
        guidance_clip=rtc.clip,
        observation_window_steps=most_steps(spec, config.interpolate),
        session=session,
    )


def _dispatch(
    message: messages.Message[bodies.Body], cycle: RequestCycle, step: int, now_ns: int
) -> bool:
    header, body = message.header, message.body
    key = (header.seq, header.episode, header.epoch)
    match body:
        case bodies.Reply():
            try:
                model, robot = message.array(body.chunk_model), message.array(body.chunk)
            except WireError as error:  # a useless answer, but no longer awaited
                cycle.failed(f"{error.reason}: {error}", key, now_ns)
                raise
            age_ns = round(body.oldest_input_age_s * 1e9)
            interval_ns = round(body.interval_s * 1e9)
            spent = round(body.queue_s * 1e9), round(body.inference_s * 1e9)
            fault = cycle.replied(model, robot, key, step, now_ns, age_ns, interval_ns, *spent)
            return fault is None
        case bodies.Accept():
            cycle.session.accepted(body, header.epoch, now_ns)
        case bodies.Reject():
            cycle.session.rejected(body, header.epoch, now_ns)
        case bodies.Error(reason="connection-lost"):
            cycle.lost(body.message, key, now_ns)
        case bodies.Error(reason="uplink-limit"):
            cycle.waits(body.message, key, now_ns)
        case bodies.Error():
            near = body.reason in _NEAR
            cycle.failed(f"{body.reason}: {body.message}", key, now_ns, near=near)
        case bodies.Heartbeat():
            cycle.session.heard(body.progress, header.epoch, now_ns)
        case bodies.Event(what="lost"):
            cycle.session.lost(body.message, header.epoch, now_ns)
        case bodies.Event(what="reset"):
            cycle.acknowledged(header.episode)
        case bodies.Event(what="available"):
            cycle.session.available(now_ns)
        case bodies.Event(what="waiting"):
            cycle.session.waiting(body.message)
    return False
