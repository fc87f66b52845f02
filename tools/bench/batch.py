"""How many robots one replica carries: deadline-aware batching against one at a time.

    python -m holdfast.tools.bench.batch [--quick] [--json] [--checkpoint NAME] [--device cuda]

First the policy is timed at every batch size, the sizes interleaved so that all meet the same
machine. Then robots ask as real ones do (a chunk each time half a second of playback is left) of
the replica's own scheduler, whose device takes times drawn from those measured; the largest number
of robots of whose requests at most 1 % come late is what each way of serving carries. Four fifths
of that number are then served for some seconds in real time by the replica's own code, model
included: that shows what the machine makes of it (`cpu_share` below 0.9 means that others used it).
"""

from __future__ import annotations

import argparse
import heapq
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...actors.inference.schedule import Job, Order, Schedule
from ...policy.base import ChunkPolicy, PolicySpec
from ...policy.checkpoint import shipped
from ...policy.registry import load_policy
from ...transport.header import Header, Kind
from .serving import BUFFER_TIME_S, MAX_WAIT_S, join, machine, ns, request, row, service_of

LATE_ALLOWED = 0.01
MAX_ROBOTS = 512
WAYS: dict[str, Order] = {"holdfast/batching": "deadline", "peer/one-at-a-time": "round_robin"}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, within 40 s")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--policy", default="flow")
    parser.add_argument("--checkpoint", help="a shipped one's name or a path", default=None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-batch", type=int, default=8)
    o = parser.parse_args()
    checkpoint = o.checkpoint or next(iter(shipped()), None)
    if checkpoint is None:
        parser.error("no checkpoint is shipped: give one with --checkpoint")
    policy = load_policy(o.policy, checkpoint, o.device, o.dtype)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(o.threads)
    times = measure(policy, o.max_batch, rounds=15 if o.quick else 100)
    rows = [_times_row(size, seconds) for size, seconds in times.items()]
    for case, order in WAYS.items():
        robots = carried(times, order, policy.spec)
        latencies = simulate(robots, times, order, policy.spec.chunk_size / policy.spec.fps)
        rows.append({**row(case, latencies.tolist(), "ms", 1e3), **_late(latencies, robots)})
        fewer, seconds = max(1, robots * 4 // 5), 6.0 if o.quick else 30.0
        rows.append(serve(policy, f"{case}-realtime", order, fewer, o.max_batch, seconds))
    report = {
        "bench": "batch",
        "machine": {
            **machine(),
            "device": o.device,
            "dtype": o.dtype,
            "threads": o.threads,
            "model": policy.spec.model,
        },
        "rows": rows,
    }
    print(json.dumps(report) if o.json else _text(report))
    return 0


def measure(policy: ChunkPolicy, max_batch: int, rounds: int) -> dict[int, list[float]]:
    """Seconds of each run, by batch size, the first of each size left out."""
    batches = {
        size: [policy.spec.example(seed) for seed in range(size)]
        for size in range(1, max_batch + 1)
    }
    times: dict[int, list[float]] = {size: [] for size in batches}
    for turn in range(rounds + 1):
        for size, batch in batches.items():
            started = time.perf_counter()
            policy.predict_chunk(batch)
            if turn > 0:
                times[size].append(time.perf_counter() - started)
    return times


def carried(times: dict[int, list[float]], order: Order, spec: PolicySpec) -> int:
    """The largest number of robots that are served in time; 0 if not even one is."""

    def fits(robots: int) -> bool:
        latencies = simulate(robots, times, order, spec.chunk_size / spec.fps)
        return float(np.mean(latencies > BUFFER_TIME_S)) <= LATE_ALLOWED

    good, bad = 0, 1
    while bad <= MAX_ROBOTS and fits(bad):
        good, bad = bad, bad * 2
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


def simulate(
    robots: int,
    times: dict[int, list[float]],
    order: Order,
    chunk_s: float,
    duration_s: float = 40.0,
    seed: int = 0,
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Seconds from request to reply of the requests made after the first two chunks.

    A robot asks when `BUFFER_TIME_S` of its plan is left, and not before the last answer came.
    """
    rng = np.random.default_rng(seed)
    schedule: Schedule[int] = Schedule(
        max_batch=max(times), max_wait_ns=ns(MAX_WAIT_S), order=order
    )
    period, now = chunk_s - BUFFER_TIME_S, 0
    asking = [(ns(float(rng.uniform(0, period))), robot, 0) for robot in range(robots)]
    heapq.heapify(asking)
    latencies: list[float] = []
    while now < ns(duration_s):
        while asking and asking[0][0] <= now:
            at, robot, seq = heapq.heappop(asking)
            never = ns(2 * duration_s)
            schedule.put(Job(str(robot), seq, None, at, at + ns(BUFFER_TIME_S), never, robot))
        due = schedule.due(now, robots)
        if due is None or due > now:
            now = min(t for t in (due, asking[0][0] if asking else None) if t is not None)
            continue
        batch = schedule.take(now, robots)
        seconds = times[len(batch)]
        now += ns(seconds[rng.integers(len(seconds))])
        for job in batch:
            if job.arrived_ns > ns(2 * chunk_s):
                latencies.append((now - job.arrived_ns) / 1e9)
            again = max(now, job.arrived_ns + ns(period))
            heapq.heappush(asking, (again, job.payload, job.seq + 1))
    return np.array(latencies or [np.inf])


@dataclass
class Client:
    """A robot whose request is encoded once and asked again and again."""

    name: str
    frames: list[Any]
    due_ns: int
    seq: int = 0
    asked_ns: int = 0

    def ask(self, now: int) -> tuple[Header, list[Any]]:
        self.seq, self.asked_ns = self.seq + 1, now
        header = Header(Kind.REQUEST, seq=self.seq, epoch=1)
        return header, [header.pack(), *self.frames[1:]]


def serve(
    policy: ChunkPolicy, case: str, order: Order, robots: int, max_batch: int, duration_s: float
) -> dict[str, Any]:
    """Serve so many robots in real time with the replica's own code, model included."""
    spec, rng = policy.spec, np.random.default_rng(0)
    service = service_of(policy, {}, max_sessions=robots, max_batch=max_batch, scheduling=order)
    period, chunk = ns(spec.chunk_size / spec.fps - BUFFER_TIME_S), ns(spec.chunk_size / spec.fps)
    start, used = time.monotonic_ns(), time.process_time()
    clients = {
        f"r{i}": Client(f"r{i}", request(spec.example(i)), start + int(rng.integers(period)))
        for i in range(robots)
    }
    for name in clients:
        join(service, name, spec)
    latencies: list[float] = []
    waiting: set[str] = set()
    while (now := time.monotonic_ns()) < start + ns(duration_s):
        for client in clients.values():
            if client.due_ns <= now and client.name not in waiting:
                waiting.add(client.name)
                service.receive(client.name, *client.ask(client.due_ns), client.due_ns)
        due = service.due(now)
        if due is None or due > now:
            time.sleep(0.0005)
            continue
        for name, _ in service.work(now):
            client, done = clients[name], time.monotonic_ns()
            waiting.remove(name)
            if client.asked_ns > start + chunk:
                latencies.append((done - client.asked_ns) / 1e9)
            client.due_ns = max(done, client.asked_ns + period)
    share = (time.process_time() - used) / duration_s
    late = _late(np.array(latencies), robots)
    return {**row(case, latencies, "ms", 1e3), **late, "cpu_share": round(share, 2)}


def _times_row(size: int, seconds: list[float]) -> dict[str, Any]:
    timed = row(f"holdfast/batch-{size}", seconds, "ms", 1e3)
    return {**timed, "per_sample_p50": round(timed["p50"] / size, 4)}


def _late(seconds: np.ndarray[Any, np.dtype[np.float64]], robots: int) -> dict[str, Any]:
    return {"robots": robots, "late": round(float(np.mean(seconds > BUFFER_TIME_S)), 4)}


def _text(report: dict[str, Any]) -> str:
    lines = [f"{report['machine']}"]
    for r in report["rows"]:
        line = f"{r['case']:28} p50 {r['p50']:8.2f}  p99 {r['p99']:8.2f}  max {r['max']:8.2f} ms"
        if "per_sample_p50" in r:
            line += f"   {r['per_sample_p50']:.2f} ms a robot"
        if "robots" in r:
            line += f"   {r['robots']} robots, {r['late']:.1%} late"
        if "cpu_share" in r:
            line += f", {r['cpu_share']:.0%} of a CPU"
        lines.append(line)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
