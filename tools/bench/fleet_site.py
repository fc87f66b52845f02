"""`Site`: the broker and the replicas of the fleet benchmark, as the supervisor starts them, and
what they have used so far."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import msgspec
import psutil

from ...actors.runtime.configs import BrokerConfig, InferenceConfig
from ...policy.base import PolicySpec
from ...policy.synthetic import write_spec
from ...transport import sockets
from .fleet_robot import CHUNK_STEPS, FPS, SERVICE
from .request_path import JOINTS, cpu_s_of
from .started import Started

_PATIENCE_S = 120.0
SPEC = PolicySpec(
    model="bench",
    revision="1",
    cameras=(),
    state_names=JOINTS,
    action_names=JOINTS,
    chunk_size=CHUNK_STEPS,
    fps=FPS,
    prefix="trained",
    max_prefix_steps=25,
)


class Used(msgspec.Struct, frozen=True):
    """What was used until now. `wakes`: turns of the broker's loop; `batches` of both replicas by
    their size, MB of private memory; `placed`: how many sessions each replica has, the most first,
    which a broker that decides nothing does not say."""

    at_s: float
    cpu_s: float
    wakes: int
    requests: int
    replies: int
    errors: int
    replays: int
    batches: Counter[str]
    broker_mb: float
    replica_mb: float
    placed: list[int]


class UsedIdle(msgspec.Struct, frozen=True):
    """What the broker used without robots: of a core, and turns of its loop."""

    cpu: float
    wakes_per_s: float

    @classmethod
    def of(cls, began: Used, ended: Used) -> UsedIdle:
        """Between the two."""
        seconds = ended.at_s - began.at_s
        cpu_s, wakes = ended.cpu_s - began.cpu_s, ended.wakes - began.wakes
        return cls(cpu_s / seconds, wakes / seconds)


class Site:
    """One broker, of the kind `broker`, and `replicas` replicas of a policy whose batch takes
    `service_s`, whatever its size up to `batch`."""

    def __init__(
        self,
        directory: Path,
        replicas: int,
        batch: int,
        service_s: float,
        robots: int,
        broker: str = "broker",
    ) -> None:
        directory.mkdir()
        place = directory / "checkpoint"
        write_spec(place, SPEC)
        self.front, back = (sockets.ipc(directory, name) for name in ("front", "back"))
        self._replicas = [f"{SERVICE}/{k}" for k in range(replicas)]
        self._started = started = Started(directory)
        with ExitStack() as opened:
            opened.callback(started.close)
            routes = BrokerConfig(front=self.front, back=back)
            self._pid = started.start(broker, "broker", routes, {}).pid
            for k, name in enumerate(self._replicas):
                config = InferenceConfig(
                    service=SERVICE,
                    replica=k,
                    brokers=(back,),
                    policy="constant",
                    checkpoint=str(place),
                    options={"delay_s": service_s},
                    max_batch=batch,
                    max_sessions=robots,
                )
                started.start("inference", name, config, {})
            self._wait_for_replicas()
            self._resources = opened.pop_all()

    def _wait_for_replicas(self) -> None:
        deadline_s = time.monotonic() + _PATIENCE_S
        while self._started.status("broker").get("replica_count") != len(self._replicas):
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"the replicas did not register within {_PATIENCE_S:g} s")
            time.sleep(0.05)

    def used(self) -> Used:
        """What the site has used until now; its counts are up to half a second old."""
        status = self._started.status("broker")
        counters = status["counters"]
        batches: Counter[str] = Counter()
        for name in self._replicas:
            batches.update(self._started.status(name)["batches"])
        by_pid = {pid: _private_mb(pid) for pid in self._started.pids}
        return Used(
            at_s=time.monotonic(),
            cpu_s=cpu_s_of(self._pid),
            wakes=self._started.turns("broker"),
            requests=status["requests"],
            replies=status["replies"],
            errors=counters.get("errors", 0),
            replays=status["replays"],
            batches=batches,
            broker_mb=by_pid.pop(self._pid),
            replica_mb=max(by_pid.values()),
            placed=sorted((r["sessions"] for r in status.get("replicas", ())), reverse=True),
        )

    def close(self) -> None:
        self._resources.close()


def _private_mb(pid: int) -> float:
    memory = psutil.Process(pid).memory_info()
    return round((memory.rss - memory.shared) / 1e6, 1)
