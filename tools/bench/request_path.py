"""The whole way of a request, every process of it real, and control's side of it here.

A `Path` has a broker, a replica that answers with a constant chunk and a network actor, each
exec'ed and booted as the supervisor does it. The asking side is a control process's own code, in
this process: what it waits for is the chunk in its plan.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path as Directory
from typing import Any

import msgspec
import numpy as np

from ...actors.control.buffer import ChunkBuffer
from ...actors.control.config import ControlConfig, PlanSettings
from ...actors.control.conversation import Conversation
from ...actors.control.plan import Floats
from ...actors.control.plan_memory import PlanMemory, Word
from ...actors.control.policy_client import PolicyClient
from ...actors.control.request_cycle import RequestCycle
from ...actors.control.tick_log import TICK_BYTES, TickLog
from ...actors.runtime.configs import BrokerConfig, CameraFeed, InferenceConfig, NetworkConfig
from ...policy.base import CameraFeature, PolicySpec
from ...policy.synthetic import write_spec
from ...robot.base import ControlMode, RobotSpec
from ...transport import segment, sockets
from ...transport.bodies import Vitals
from ...transport.outbox import Outbox
from ...transport.poll import Poll
from .bare_broker import BareBroker
from .bench_cameras import RINGS
from .peers.work import CAMERAS, HEIGHT, WIDTH
from .started import Started

JOINTS = tuple(f"joint{i}" for i in range(14))
ROBOT = RobotSpec(
    action_names=JOINTS,
    state_names=JOINTS,
    control_mode=ControlMode.POSITION,
    lower=(-1.0,) * 14,
    upper=(1.0,) * 14,
    max_rate=(10.0,) * 14,
)
TASK = "put the red parcel in the left bin"
_FRAME_MS = 33
_PATIENCE_S = 30.0
_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Served:
    """The policy of a path, as in fleet.yaml; the default one answers with a constant chunk.
    `python` is the interpreter of its replica, which finds holdfast by `path`."""

    policy: str = "constant"
    checkpoint: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    python: str | None = None
    path: str | None = None
    max_wait_ms: float = 4.0


CONSTANT = Served()


def spec_of(width: int, height: int) -> PolicySpec:
    return PolicySpec(
        model="bench",
        revision="1",
        cameras=tuple(CameraFeature(name, width, height) for name in CAMERAS),
        state_names=JOINTS,
        action_names=JOINTS,
        chunk_size=50,
        fps=50.0,
        prefix="trained",
        max_prefix_steps=25,
    )


@dataclass(frozen=True)
class Way:
    """How the images go. `size` is the policy's, `seen` the cameras'; `hosts` says that robot and
    replica are apart, as far as they can tell: their broker is reached by TCP and they share no
    memory. `direct_late_s` as in `NetworkConfig`: 0 sends all by the broker. `bare` has the pipe
    in the broker's place.
    """

    case: str
    shared: bool = False
    hosts: bool = False
    quality: int = 0
    size: tuple[int, int] = (WIDTH, HEIGHT)
    seen: tuple[int, int] = (WIDTH, HEIGHT)
    direct_late_s: float = 0.04
    bare: bool = False

    @property
    def reads_rings(self) -> bool:
        """Whether the replica maps the cameras' rings: where images travel as they are captured."""
        return self.shared and self.size == self.seen


WAYS = (
    Way("holdfast/shm", shared=True),
    Way("holdfast/shm-224", shared=True, size=(224, 224)),
    Way("holdfast/shm-by-broker", shared=True, direct_late_s=0.0),
    Way("holdfast/raw"),
    Way("holdfast/raw-tcp", hosts=True),
    Way("holdfast/jpeg-tcp", hosts=True, quality=90),
    Way("holdfast/jpeg-tcp-224", hosts=True, quality=90, size=(224, 224)),
    Way("floor/pipe-shm", shared=True, direct_late_s=0.0, bare=True),
    Way("floor/pipe-raw", direct_late_s=0.0, bare=True),
    Way("floor/pipe-jpeg-tcp", hosts=True, quality=90, bare=True),
)


class Path:
    """One way's broker, replica and network actor, and control's side of it in this process.
    `started` has the processes, `service` is the replica's configuration."""

    def __init__(
        self,
        way: Way,
        directory: Directory,
        rings: Mapping[str, segment.Segment],
        served: Served = CONSTANT,
    ) -> None:
        self.way, self._served = way, served
        directory.mkdir()
        self.started = started = Started(directory, served.python, served.path)
        self._rings = rings
        self._step = 0
        with ExitStack() as opened:
            opened.callback(started.close)
            self._start(started)
            self._connect()
            self._resources = opened.pop_all()

    def _start(self, started: Started) -> None:
        way, directory, served = self.way, started.directory, self._served
        checkpoint = served.checkpoint
        if served.policy == "constant":
            checkpoint = str(directory / "checkpoint")
            write_spec(checkpoint, spec_of(*way.size))
        self.front, back = (
            [_tcp(), _tcp()]
            if way.hosts
            else [sockets.ipc(directory, n) for n in ("front", "back")]
        )
        outbox = {}
        if way.shared:
            started.memory("r1/outbox", Outbox.size_for(len(CAMERAS) * WIDTH * HEIGHT * 3 + 256))
            outbox = {"r1/outbox": True}
        for name in RINGS.values():
            ring = self._rings[name]
            started.segments[name] = segment.Segment(os.dup(ring.fd), ring.size, name)
        broker = BareBroker.kind if way.bare else "broker"
        started.start(broker, "broker", BrokerConfig(front=self.front, back=back), {})
        self.service = service = InferenceConfig(
            service="bench",
            replica=0,
            brokers=(back,),
            policy=served.policy,
            checkpoint=checkpoint,
            options=served.options,
            max_wait_ms=served.max_wait_ms,
            outboxes={"r1": "r1/outbox"} if outbox else {},
            rings={"r1": RINGS} if way.reads_rings else {},
        )
        started.start("inference", "bench/0", service, self.uses)
        network = NetworkConfig(
            robot="r1",
            host="elsewhere" if way.hosts else None,
            service="bench",
            control=sockets.ipc(directory, "network"),
            brokers=(self.front,),
            cameras={
                n: CameraFeed(segment=r, width=way.seen[0], height=way.seen[1])
                for n, r in RINGS.items()
            },
            state_names=JOINTS,
            action_names=JOINTS,
            outbox=next(iter(outbox), None),
            direct_late_s=way.direct_late_s,
            jpeg_quality=way.quality,
        )
        rings = dict.fromkeys(RINGS.values(), False)
        started.start("network", "r1/network", network, {**rings, **outbox})

    @property
    def uses(self) -> dict[str, bool]:
        """The segments of a replica, and whether it writes to them."""
        rings = RINGS.values() if self.way.reads_rings else ()
        return dict.fromkeys([*(["r1/outbox"] if self.way.shared else []), *rings], False)

    def _connect(self) -> None:
        config = ControlConfig(
            robot="r1",
            driver="bench",
            service="bench",
            endpoint=sockets.ipc(self.started.directory, "network"),
            plan="plan",
            fps=50.0,
            task=TASK,
            # Longer than a chunk: a request is always due.
            plan_settings=PlanSettings(buffer_time_s=2.0),
        )
        plan = PlanMemory.private("r1", len(JOINTS))
        self._buffer = ChunkBuffer(plan, round(config.safety.max_action_age_s * 1e9))
        self._words = plan.words
        self._cycle = RequestCycle(config, ROBOT, plan, self._buffer)
        client = PolicyClient(config, 1)
        log = TickLog(memoryview(bytearray(TICK_BYTES)), len(JOINTS), len(JOINTS))
        self._conversation = Conversation(config, self._cycle, client, ROBOT, plan, Vitals, log)
        self._poll = Poll()
        client.watch(self._poll)
        self._zeros = np.zeros(len(JOINTS), np.float32)
        deadline_s = time.monotonic() + _PATIENCE_S
        while not self._cycle.session.open:
            self._keep_in_touch()
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"{self.way.case}: no session: {self._cycle.reason}")
            time.sleep(0.005)

    @property
    def planned(self) -> Floats:
        """What is left to play, [steps, joints]: of the chunk asked for last, all but what it took
        the place of."""
        return self._buffer.rest

    def ask(self, state: Floats | None = None) -> float:
        """Ask for a chunk, from that state of the joints, or zeros; how long it took until it was
        in the plan, in ms. Raises RuntimeError for a request that fails."""
        took_ms = self.attempt(state)
        if took_ms is None:
            raise RuntimeError(f"{self.way.case}: a request failed: {self.reason}")
        return took_ms

    @property
    def reason(self) -> str:
        """Why the last request failed, or what there is to wait for."""
        return self._cycle.reason

    def attempt(self, state: Floats | None = None) -> float | None:
        """`ask` once; None if the request fails. Raises RuntimeError where none can be made."""
        cycle, buffer = self._cycle, self._buffer
        self._keep_in_touch()
        deadline_ns = time.monotonic_ns() + round(_PATIENCE_S * 1e9)
        started_ns = time.monotonic_ns()
        while (request := cycle.ask(started_ns, self._step, started_ns)) is None:
            if started_ns > deadline_ns:
                raise RuntimeError(f"{self.way.case}: {cycle.state}: {cycle.reason}")
            time.sleep(0.005)  # it was just refused, and lets time pass
            self._keep_in_touch()
            started_ns = time.monotonic_ns()
        buffer.pop(started_ns)
        if not self._conversation.ask(request, self._zeros if state is None else state, started_ns):
            raise RuntimeError(f"{self.way.case}: the network actor takes no request")
        self._step += 1
        self._words[Word.TICKS] += 1
        while True:
            self._poll.wait(1000)
            if self._conversation.receive(self._step, time.monotonic_ns()):
                return (time.monotonic_ns() - started_ns) / 1e6
            if buffer.outstanding is None or time.monotonic_ns() > deadline_ns:
                return None

    def start(
        self, kind: str, name: str, config: msgspec.Struct, uses: Mapping[str, bool] | None = None
    ) -> None:
        """Another actor beside those of the path; `uses` as in `Started`."""
        self.started.start(kind, name, config, uses or {})

    def idle(self) -> None:
        """Stay in touch while others are asked."""
        self._keep_in_touch()

    def _keep_in_touch(self) -> None:
        now_ns = time.monotonic_ns()
        self._conversation.receive(self._step, now_ns)
        self._conversation.elapse(now_ns)
        self._conversation.keep_in_touch(now_ns)

    @property
    def request_bytes(self) -> int:
        """Between network actor and broker, by request; its few heartbeats are counted too."""
        status = self.started.status("r1/network")
        return round(int(status["bytes_out"]) / max(int(status["sent"]), 1))

    @property
    def reply_bytes(self) -> int:
        """Between broker and network actor, by reply; the few heartbeats are counted too."""
        status = self.started.status("r1/network")
        return round(int(status["bytes_in"]) / max(int(status["received"]), 1))

    def cpu_s(self) -> float:
        """What its processes and this one have used so far, all threads."""
        return sum(cpu_s_of(pid) for pid in [*self.started.pids, os.getpid()])

    def close(self) -> None:
        self._resources.close()


def cpu_s_of(pid: int) -> float:
    """From the scheduler's own account: that of psutil counts in hundredths of a second."""
    total = 0
    for task in Directory(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def _tcp() -> str:
    """A loopback endpoint that is free now."""
    return f"tcp://127.0.0.1:{free_port()}"


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
