"""`FleetRobot`: a robot of the fleet benchmark, without arm and without processes of its own.

Its plan, its fail-safe, its session and its requests are those of a control actor, and its OPEN is
completed as a network actor does it; both talk to the broker by one socket. What it leaves out: the
hop between those two processes, cameras, and commands.
"""

from __future__ import annotations

import msgspec
import numpy as np

from ...actors.control.buffer import ChunkBuffer
from ...actors.control.config import ControlConfig, PlanSettings
from ...actors.control.conversation import Conversation
from ...actors.control.plan_memory import PlanMemory, Word
from ...actors.control.policy_client import PolicyClient, opening
from ...actors.control.request_cycle import RequestCycle
from ...actors.control.tick_log import TickLog
from ...actors.network.beat_schedule import BeatSchedule
from ...actors.network.broker_paths import dead_after_ns
from ...actors.network.opening import completed
from ...actors.runtime.configs import NetworkConfig
from ...robot.base import RobotSpec
from ...transport import bodies, messages, sockets
from ...transport.arrays import Buffer
from ...transport.bodies import Vitals
from ...transport.header import Header, Kind
from ...transport.messages import Blobs
from .request_path import ROBOT, TASK

FPS = 30.0
CHUNK_STEPS = 50
SERVICE = "bench"
QUEUE = 32
"""Messages that may wait in the socket, which stays empty where one request is exchanged at a time.
After every half of a queue libzmq wakes the thread at its other end, which mostly has nothing to
do: a queue of 4 costs a wake-up for every second message, on either side."""
_LOG_BYTES = 8 << 10


class RobotConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One robot, and the broker's `front`. It asks when `buffer_time_s` of its plan is left."""

    name: str
    front: str
    buffer_time_s: float


class DirectClient(PolicyClient):
    """Control's client, and what its network actor adds to it, at the broker itself. Call `tick` in
    every tick. `sent` counts its messages."""

    def __init__(
        self, context: sockets.Context, config: ControlConfig, network: NetworkConfig
    ) -> None:
        super().__init__(config, 1)
        self.socket = sockets.dealer(context, config.endpoint, f"{config.robot}:1", hwm=QUEUE)
        self._control, self._network = config, network
        self._beats = BeatSchedule(round(network.heartbeat_s * 1e9), dead_after_ns(network))
        self._beat: tuple[int, Vitals] | None = None
        self._epoch = 0
        self.sent = 0
        self.now_ns = 0

    def open(self, spec: RobotSpec, epoch: int, session: int, service: str, task: str) -> bool:
        self._epoch = epoch
        asked = opening(self._control, spec, service, task, 1, session)
        body = completed(asked, self._network, None, 1)
        return self._send(Header(Kind.OPEN, epoch=epoch), body)

    def beat(self, epoch: int, progress: int, vitals: Vitals) -> bool:
        # A network actor sends it on when one is due.
        self._beat = progress, vitals
        return True

    def tick(self, now_ns: int) -> None:
        """Send the heartbeat that is due."""
        if self._beat is not None and self._beats.due(self._beat[1].state, now_ns):
            self._beats.beaten(self._beat[1].state, now_ns)
            # It claims the session from the handshake on, not from its answer.
            super().beat(self._epoch, *self._beat)

    def _send(self, header: Header, body: bodies.Body, blobs: Blobs | None = None) -> bool:
        gone = sockets.send(self.socket, messages.encode(header, body, blobs or ()))
        self.sent += gone
        if header.kind is Kind.REQUEST:
            self._beats.asked(header.seq, self.now_ns)
        return gone

    def _receive(self) -> list[Buffer] | None:
        frames = sockets.receive(self.socket)
        if frames is not None:
            header = Header.unpack(frames[0])
            if header.kind in (Kind.REPLY, Kind.ERROR):
                self._beats.answered(header.seq)
        return frames

    def disconnect(self) -> None:
        self.socket.close(linger=50)


class FleetRobot:
    """One robot. Call `tick` 30 times a second, and `receive` when its socket has something.

    `latencies_ms`: from asking to a chunk in the plan; `failed`: requests that brought none.
    """

    def __init__(self, context: sockets.Context, config: RobotConfig) -> None:
        control = ControlConfig(
            robot=config.name,
            driver="bench",
            service=SERVICE,
            endpoint=config.front,
            plan="plan",
            fps=FPS,
            task=TASK,
            plan_settings=PlanSettings(buffer_time_s=config.buffer_time_s),
        )
        network = NetworkConfig(
            robot=config.name,
            service=SERVICE,
            control="",
            brokers=(config.front,),
            cameras={},
            state_names=ROBOT.state_names,
            action_names=ROBOT.action_names,
        )
        actions = len(ROBOT.action_names)
        memory = PlanMemory.private(config.name, actions)
        self._words = memory.words
        self._buffer = ChunkBuffer(memory, round(control.safety.max_action_age_s * 1e9))
        self._cycle = RequestCycle(control, ROBOT, memory, self._buffer)
        self._client = DirectClient(context, control, network)
        log = TickLog(memoryview(bytearray(_LOG_BYTES)), actions, actions)
        self._conversation = Conversation(
            control, self._cycle, self._client, ROBOT, memory, self._vitals, log
        )
        self._state = np.zeros(actions, np.float32)
        self._step = 0
        self._asked_ns = 0
        self.stalled = 0
        """Ticks without an action after the first chunk."""
        self.failed = 0
        self.latencies_ms: list[float] = []

    @property
    def socket(self) -> sockets.Socket:
        return self._client.socket

    @property
    def sent(self) -> int:
        """How many messages it has sent."""
        return self._client.sent

    @property
    def is_streaming(self) -> bool:
        """Whether it has a session, and has had a chunk."""
        return self._cycle.session.open and bool(self.latencies_ms)

    @property
    def reason(self) -> str:
        """Why it has no session, or no chunk."""
        return self._cycle.reason

    def tick(self, now_ns: int) -> None:
        """One step of the control loop."""
        cycle, buffer = self._cycle, self._buffer
        self._client.now_ns = now_ns
        self._conversation.elapse(now_ns)
        self._conversation.keep_in_touch(now_ns)
        request = cycle.ask(now_ns, self._step, now_ns)
        if buffer.pop(now_ns) is None and self.latencies_ms:
            self.stalled += 1
        if request is not None and self._conversation.ask(request, self._state, now_ns):
            self._asked_ns = now_ns
        self._client.tick(now_ns)
        self._step += 1
        self._words[Word.TICKS] += 1

    def receive(self, now_ns: int) -> None:
        """Handle what has arrived."""
        waited = self._buffer.outstanding is not None
        while sockets.has_message(self._client.socket):
            if self._conversation.receive(self._step, now_ns):
                self.latencies_ms.append((now_ns - self._asked_ns) / 1e6)
                waited = False
        if waited and self._buffer.outstanding is None:
            self.failed += 1

    def forget(self) -> None:
        """What was measured so far does not count."""
        self.stalled = self.failed = 0
        self.latencies_ms = self.latencies_ms[-1:]  # it goes on streaming

    def close(self) -> None:
        self._conversation.close("the benchmark ended")

    def _vitals(self) -> Vitals:
        return Vitals(
            state=self._cycle.state,
            reason=self._cycle.reason,
            plan_s=self._cycle.plan_ns / 1e9,
            fps=FPS,
            steps=self._step,
            latency_ms={k: v for k, v in self._cycle.latency.summary_ms().items() if v is not None},
        )
