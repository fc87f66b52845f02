"""What a replica adds to a request beside the model: decoding, scheduling, preparing the images.

    actorctl bench replica [--quick] [--json]

Three 224x224 cameras, by each way that their images can take, interleaved so that all meet the same
machine; `640x480` is what a robot costs that leaves the resizing to the replica.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from ...policy.base import CameraFeature, Chunk, Observation, PolicySpec
from ...transport.header import Header, Kind
from ...transport.outbox import Outbox, OutboxReader
from . import figures
from .bare_service import MAX_WAIT_S, join, ns, request, service_of


def main() -> int:
    parser = figures.parser("replica", __doc__, "fewer rounds")
    options = parser.parse_args()
    cv2.setNumThreads(1)  # as replicas do
    rows = overhead(200 if options.quick else 2000)
    report = {"bench": "replica", "machine": figures.machine(), "rows": rows}
    print(json.dumps(report) if options.json else _text(report))
    return 0


class NoModel:
    """Costs nothing, so that what is left is the replica's own work."""

    checkpoint_hash = "none"
    spec = PolicySpec(
        model="none",
        revision="1",
        cameras=tuple(CameraFeature(name, 224, 224) for name in ("left", "right", "wrist")),
        state_names=tuple(f"joint{i}" for i in range(14)),
        action_names=tuple(f"joint{i}" for i in range(14)),
        chunk_size=50,
        fps=50.0,
        prefix="trained",
        max_prefix_steps=25,
    )

    def __init__(self) -> None:
        values = np.zeros((50, 14), np.float32)
        self._chunk = Chunk(values, values)

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        return [self._chunk] * len(batch)


def overhead(rounds: int) -> list[dict[str, Any]]:
    """What a request costs beside the model, by the way its images take: the ways interleaved."""
    memory = bytearray(Outbox.size_for(1 << 20))
    outbox, policy = Outbox(memory), NoModel()
    service = service_of(policy, {"shm": OutboxReader(memory)}, max_sessions=4, max_batch=1)
    seen, big = policy.spec.example(1), _camera_images(640, 480)
    makers: dict[str, Callable[[], list[Any]]] = {
        "shm": lambda: request(seen, outbox=outbox),
        "raw": lambda: request(seen),
        "jpeg": lambda: request(seen, quality=90),
        "raw-640x480": lambda: request(seen, images=big),
    }
    for name in makers:
        join(service, name, policy.spec, outbox.nonce if name == "shm" else 0)
    seconds: dict[str, list[float]] = {name: [] for name in makers}
    for seq in range(1, rounds + 1):
        for name, make in makers.items():
            header = Header(Kind.REQUEST, seq=seq, epoch=1)
            frames = [header.pack(), *make()[1:]]
            started_s = time.perf_counter()
            now_ns = time.monotonic_ns()
            service.receive(name, header, frames, now_ns)
            answers = list(service.work(now_ns + ns(MAX_WAIT_S)))
            seconds[name].append(time.perf_counter() - started_s)
            assert Header.unpack(answers[0][1][0]).kind is Kind.REPLY
    return [figures.row(f"holdfast/{name}", np.array(s) * 1e3, "ms") for name, s in seconds.items()]


def _camera_images(width: int, height: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        c.name: rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for c in NoModel.spec.cameras
    }


def _text(report: dict[str, Any]) -> str:
    lines = [f"{report['machine']}"]
    for r in report["rows"]:
        costs = f"p50 {r['p50']:8.2f}  p99 {r['p99']:8.2f}  max {r['max']:8.2f} ms"
        lines.append(f"{r['case']:28} {costs}")
    return "\n".join(lines)


if __name__ == "__main__":
    figures.run(main)
