"""How many robots one replica carries: deadline-aware batching against one at a time.

    actorctl bench batch [--quick] [--json] [--checkpoint NAME] [--device cuda] [--graphs off]

First the policy is timed at every batch size, the sizes interleaved so that all meet the same
machine. Then robots ask as real ones do (a chunk each time half a second of playback is left) of
the replica's own scheduler, whose device takes times drawn from those measured; the largest number
of robots of whose requests at most 1 % come late is what each way of serving carries. Four fifths
of that number are then served for some seconds in real time by the replica's own code, model
included: that shows what the machine makes of it (`cpu_share` below 0.9 means that others used it).

On a GPU all of it is then done once more for π0 (`pi0`), in bfloat16, with random weights and as
many layers as the memory holds; on a CPU that would take minutes.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...actors.inference.schedule import Order
from ...policy.base import ChunkPolicy
from ...policy.checkpoint import read_config, shipped
from ...policy.kinds import load_policy
from ...transport.header import Header, Kind
from . import figures
from .bare_service import BUFFER_TIME_S, join, ns, request, service_of
from .simulated_load import carried, simulate

if TYPE_CHECKING:
    from .random_pi import RandomPi

WAYS: dict[str, Order] = {
    "holdfast/{}batching": "deadline",
    "peer/{}one-at-a-time": "round_robin",
}
PI0 = "pi0-"
"""What the cases of π0 begin with."""


def main() -> int:
    parser = figures.parser("batch", __doc__, "fewer rounds (with a GPU, twice the time)")
    parser.add_argument("--policy", default="flow", help="the kind, flow or act (flow)")
    parser.add_argument("--checkpoint", help="a shipped one's name or a path", default=None)
    parser.add_argument("--device", help="cuda or cpu; without it, what there is")
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        default="float32",
        help="of the shipped policy (float32)",
    )
    parser.add_argument(
        "--graphs", choices=("auto", "off"), default="auto", help="CUDA graphs (auto)"
    )
    parser.add_argument("--threads", type=figures.count, default=1, help="of torch (1)")
    parser.add_argument("--max-batch", type=figures.count, default=8, help="requests (8)")
    o = parser.parse_args()
    fitting = [name for name in shipped() if read_config(name).kind == o.policy]
    checkpoint = o.checkpoint or next(iter(fitting or shipped()), None)
    if checkpoint is None:
        parser.error("no checkpoint is shipped: give one with --checkpoint")
    gpu = has_gpu()
    device = o.device or ("cuda" if gpu else "cpu")
    if device.startswith("cuda") and not gpu:
        parser.error(f"--device {device}: torch finds no CUDA device here; give --device cpu")
    options = {} if o.graphs == "auto" else {"graphs": o.graphs}
    policy = load_policy(o.policy, checkpoint, device, o.dtype, **options)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(o.threads)
    found, left_out = rows(policy, o.max_batch, o.quick), []
    about = {"model": policy.spec.model, "execution": getattr(policy, "execution", "")}
    if device.startswith("cuda"):
        large = pi0(device, o.graphs)
        found += rows(large, o.max_batch, o.quick, PI0)
        about["pi0"] = f"{large.spec.model} in bfloat16, {large.execution}"
    else:
        left_out.append(f"{PI0}*: needs a GPU, this ran on the {device}")
    where = {**figures.machine(), "device": device, "dtype": o.dtype, "threads": o.threads, **about}
    report = {"bench": "batch", "machine": where, "rows": found, "left_out": left_out}
    print(json.dumps(report) if o.json else _text(report))
    return 0


def has_gpu() -> bool:
    """Whether torch is installed and finds one."""
    if find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def pi0(device: str, graphs: Literal["auto", "off"]) -> RandomPi:
    """A π0 of random weights, as deep as that GPU's free memory allows."""
    import torch

    from ...policy.pi0.pi_options import PiOptions
    from .random_pi import RandomPi, fitting

    free, _ = torch.cuda.mem_get_info(torch.device(device))
    options = PiOptions(prefix="none", graphs=graphs)
    return RandomPi(fitting("pi0", free), device, torch.bfloat16, options=options)


def rows(policy: ChunkPolicy, max_batch: int, quick: bool, name: str = "") -> list[dict[str, Any]]:
    """The policy's times by batch size, and how many robots each way of serving carries with them;
    its cases begin with `name`."""
    times = measure(policy, max_batch, rounds=15 if quick else 100)
    found = [_times_row(f"holdfast/{name}batch-{n}", n, seconds) for n, seconds in times.items()]
    for way, order in WAYS.items():
        case = way.format(name)
        robots = carried(times, order, policy.spec)
        chunk_s = policy.spec.chunk_size / policy.spec.fps
        latencies = simulate(max(1, robots), times, order, chunk_s)
        found.append(figures.row(case, latencies * 1e3, "ms", **_late(latencies, robots)))
        fewer, seconds = max(1, robots * 4 // 5), 6.0 if quick else 30.0
        found.append(serve(policy, f"{case}-realtime", order, fewer, max_batch, seconds))
    return found


def measure(policy: ChunkPolicy, max_batch: int, rounds: int) -> dict[int, list[float]]:
    """Seconds of each run, by batch size, the first of each size left out."""
    batches = {
        size: [policy.spec.example(seed) for seed in range(size)]
        for size in range(1, max_batch + 1)
    }
    times: dict[int, list[float]] = {size: [] for size in batches}
    for turn in range(rounds + 1):
        for size, batch in batches.items():
            started_s = time.perf_counter()
            policy.predict_chunk(batch)
            if turn > 0:
                times[size].append(time.perf_counter() - started_s)
    return times


@dataclass
class SimulatedRobot:
    """A robot whose request is encoded once and asked again and again."""

    name: str
    frames: list[Any]
    due_ns: int
    seq: int = 0
    asked_ns: int = 0

    def ask(self, now_ns: int) -> tuple[Header, list[Any]]:
        self.seq, self.asked_ns = self.seq + 1, now_ns
        header = Header(Kind.REQUEST, seq=self.seq, epoch=1)
        return header, [header.pack(), *self.frames[1:]]


def serve(
    policy: ChunkPolicy, case: str, order: Order, robots: int, max_batch: int, duration_s: float
) -> dict[str, Any]:
    """Serve so many robots in real time with the replica's own code, model included."""
    spec, rng = policy.spec, np.random.default_rng(0)
    service = service_of(policy, {}, max_sessions=robots, max_batch=max_batch, scheduling=order)
    period_ns, chunk_ns = (
        ns(spec.chunk_size / spec.fps - BUFFER_TIME_S),
        ns(spec.chunk_size / spec.fps),
    )
    start_ns, used_s = time.monotonic_ns(), time.process_time()
    clients = {
        f"r{i}": SimulatedRobot(
            f"r{i}", request(spec.example(i)), start_ns + int(rng.integers(period_ns))
        )
        for i in range(robots)
    }
    for name in clients:
        join(service, name, spec)
    latencies: list[float] = []
    waiting: set[str] = set()
    while (now_ns := time.monotonic_ns()) < start_ns + ns(duration_s):
        for client in clients.values():
            if client.due_ns <= now_ns and client.name not in waiting:
                waiting.add(client.name)
                service.receive(client.name, *client.ask(client.due_ns), client.due_ns)
        due_ns = service.due_ns(now_ns)
        if due_ns is None or due_ns > now_ns:
            time.sleep(0.0005)
            continue
        for name, _ in service.work(now_ns):
            client, done_ns = clients[name], time.monotonic_ns()
            waiting.remove(name)
            if client.asked_ns > start_ns + chunk_ns:
                latencies.append((done_ns - client.asked_ns) / 1e9)
            client.due_ns = max(done_ns, client.asked_ns + period_ns)
    share = (time.process_time() - used_s) / duration_s
    late = _late(np.array(latencies), robots)
    return figures.row(case, np.array(latencies) * 1e3, "ms", **late, cpu_share=round(share, 2))


def _times_row(case: str, size: int, seconds: list[float]) -> dict[str, Any]:
    timed = figures.row(case, np.array(seconds) * 1e3, "ms")
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
    return "\n".join([*lines, *(f"left out: {what}" for what in report["left_out"])])


if __name__ == "__main__":
    figures.run(main)
