"""A script's loop without processes, sockets and real time (`Loop`), and a real broker."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast import RemotePolicy
from holdfast.actors.broker.broker import BrokerActor
from holdfast.actors.control.observation_history import ObservationHistory
from holdfast.actors.control.plan import Floats
from holdfast.actors.control.planned_request import PlannedRequest
from holdfast.actors.control.request_cycle import RequestCycle
from holdfast.actors.embedding import remote_policy, script_loop
from holdfast.actors.runtime.actor import boot_in_memory
from holdfast.tests.actors.embedding.two_scripts import SCRIPT
from holdfast.tests.free_ports import free_port
from holdfast.transport import sockets
from holdfast.transport.bodies import Accept, Vitals

BROKER = "ipc:///nowhere/broker.front"


class FakeWorker:
    """What `Worker` offers, without a thread."""

    def __init__(self, *_: Any) -> None:
        self.directory = Path("/nowhere")
        self.memory = FakeMemory()
        self.incarnation = 7
        self.failure = ""
        self.alive = True
        self.closed = False

    def keep(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class FakeMemory:
    """Gives a segment of any name, of 1 MiB."""

    def __getitem__(self, name: str) -> bytearray:
        return bytearray(1 << 20)


class Server:
    """Stands in for the `PolicyClient`. It accepts at once and answers each request `took_s` later
    by a chunk whose action i is the instant, in seconds, that it is meant for; or, with
    `from_state`, that continues the plan, or begins at the observed state, at the same pace."""

    def __init__(self, clock: FakeClock, chunk_size: int, fps: float) -> None:
        self.clock = clock
        self.chunk_size, self.fps = chunk_size, fps
        self.took_s = 0.1
        self.answers = True
        self.from_state = False
        self.prefix = "trained"
        self.warnings: tuple[str, ...] = ()
        self.several = (1, 1)
        """How many observations the policy sees, and how many steps apart."""
        self.asked: list[PlannedRequest] = []
        self.histories: list[ObservationHistory | None] = []
        self.opened: list[int] = []
        self.beats: list[tuple[int, Vitals]] = []
        self.raises: BaseException | None = None
        self._due: deque[tuple[int, Callable[[RequestCycle, int], bool]]] = deque()
        self._progress = count()

    def disconnect(self) -> None:
        pass

    def open(self, spec: Any, epoch: int, session: int, service: str, task: str) -> bool:
        if not self.answers:
            return True
        self.opened.append(epoch)
        terms = Accept(
            session="s",
            replica="p/0",
            model="m",
            revision="1",
            checkpoint="c",
            chunk_size=self.chunk_size,
            fps=self.fps,
            action_names=spec.action_names,
            cameras={},
            prefix=self.prefix,  # type: ignore[arg-type]
            max_prefix_steps=self.chunk_size if self.prefix != "none" else 0,
            warnings=self.warnings,
            observation_steps=self.several[0],
            observation_stride_steps=self.several[1],
        )

        def accept(cycle: RequestCycle, step: int) -> bool:
            cycle.session.accepted(terms, epoch, self.clock.now_ns)
            return False

        self._due.append((self.clock.now_ns, accept))
        return True

    def ask(
        self,
        request: PlannedRequest,
        state: Floats,
        now_ns: int,
        history: ObservationHistory | None = None,
    ) -> bool:
        if self.raises is not None:
            raise self.raises
        self.asked.append(request)
        self.histories.append(history)
        if self.answers:
            begins = now_ns / 1e9
            if self.from_state:
                begins = float(
                    (state if request.prefix_robot is None else request.prefix_robot[0])[0]
                )
            meant = begins + np.arange(self.chunk_size) / self.fps
            chunk = np.repeat(meant.astype(np.float32)[:, None], 1, 1)
            key = (request.asked.seq, request.asked.episode, request.asked.epoch)

            def reply(cycle: RequestCycle, step: int) -> bool:
                return cycle.replied(chunk, chunk, key, step, self.clock.now_ns) is None

            self._due.append((now_ns + round(self.took_s * 1e9), reply))
        return True

    def drain(self, cycle: RequestCycle, step: int, now_ns: int) -> bool:
        merged = False
        while self._due and self._due[0][0] <= now_ns:
            merged |= self._due.popleft()[1](cycle, step)
        cycle.session.heard(next(self._progress), cycle.session.epoch, now_ns)
        return merged

    def beat(self, epoch: int, progress: int, vitals: Vitals) -> bool:
        self.beats.append((epoch, vitals))
        return True

    def reset(self, episode: int, epoch: int) -> bool:
        return True

    def close(self, epoch: int, reason: str) -> None:
        pass


class FakeClock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now_ns = 100_000_000_000

    def monotonic_ns(self) -> int:
        return self.now_ns

    def monotonic(self) -> float:
        return self.now_ns / 1e9

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


class Loop:
    """A script's loop: `policy`, its `server`, and the `clock` that only the loop moves."""

    def __init__(
        self, clock: FakeClock, chunk_size: int = 50, policy_fps: float = 30.0, **options: Any
    ) -> None:
        self.clock = clock
        given = {"action_names": ["t"], "state_names": ["t"], "cameras": {}, "robot": "r"}
        self.policy = RemotePolicy("ok", broker=BROKER, **{**given, **options})
        self.policy._loop.conversation.client.disconnect()
        self.server = Server(clock, chunk_size, policy_fps)
        self.policy._loop.conversation.client = self.server  # type: ignore[assignment]

    def act(self, **observation: Any) -> Floats | None:
        return self.policy.act({"state": np.zeros(1), **observation})

    def run(self, hz: float, seconds: float) -> list[tuple[float, float | None]]:
        """Call `act` at `hz`: (instant, what the action is for)."""
        found = []
        for _ in range(round(hz * seconds)):
            action = self.act()
            found.append((self.clock.monotonic(), None if action is None else float(action[0])))
            self.clock.sleep(1 / hz)
        return found


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A broker in a thread; yields its endpoints, `front`, `back`, and `tcp` of the front, and its
    `state` directory."""
    ends = {end: sockets.ipc(tmp_path, end) for end in ("front", "back")}
    tcp = f"tcp://127.0.0.1:{free_port()}"
    state = str(tmp_path / "state")
    config = {**ends, "front_tcp": tcp, "evidence": state}
    boot, inner, outer = boot_in_memory("broker", "broker", config, rundir=tmp_path)
    actor = BrokerActor(boot, inner)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(actor.main()), daemon=True)
    thread.start()
    yield {**ends, "tcp": tcp, "state": state}
    outer.command("stop")
    thread.join(60)
    outer.close()
    inner.close()
    assert codes == [0]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(remote_policy, "time", clock)
    monkeypatch.setattr(script_loop, "Worker", FakeWorker)
    return clock


@pytest.fixture
def loop(clock: FakeClock) -> Iterator[Callable[..., Loop]]:
    """Makes loops, and ends them."""
    made: list[Loop] = []

    def make(**options: Any) -> Loop:
        made.append(Loop(clock, **options))
        return made[-1]

    yield make
    for each in made:
        each.policy.close()


@pytest.fixture
def replica(broker: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The script that serves, in a process, next to files named as our packages are."""
    for name in ("policy.py", "robot.py", "transport.py", "actors.py", "tools.py"):
        (tmp_path / name).write_text("raise ImportError('a file of the user was imported')\n")
    (tmp_path / "serving_script.py").write_text(textwrap.dedent(SCRIPT))
    process = subprocess.Popen(
        [sys.executable, tmp_path / "serving_script.py", broker["back"]],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
    )
    yield process
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert process.stderr is not None
    process.stderr.close()
