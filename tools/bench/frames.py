"""What a camera frame costs in shared memory, and a search for torn ones.

    actorctl bench frames [--quick] [--json]

Times a ring's put and get of one 640x480 RGB frame beside the memcpy of the same bytes,
interleaved so that all meet the same machine. Then reader processes read from a writer that never
pauses, on the smallest ring, while that writer is killed and replaced, and every pixel of every
frame that a reader was given is compared with the number written into it. Exit status 1 if any was
torn.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ...transport import segment
from ...transport.frame_ring import FrameRing
from ...transport.frames import FrameReader
from . import figures

CAMERA = (480, 640, 3)
SMALL = (120, 160, 3)  # quick to write, and long enough to be caught reading
SEARCH_SLOTS = 2
LIFE = 100_000  # frames; at most so many until a writer is killed
STRIDE = 251  # the largest prime below 256: neighbouring frames never look alike


def main() -> int:
    """Run the benchmark, or one of the processes it starts."""
    parser = figures.parser("frames", __doc__, "fewer rounds")
    parser.add_argument("--reads", type=figures.count, help="frames to read in the search")
    parser.add_argument("--role", choices=["write", "read"], help=argparse.SUPPRESS)
    parser.add_argument("--fd", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role == "write":
        _write(options.fd)
    if options.role == "read":
        return _read(options.fd, options.reads)
    rows = _costs(300 if options.quick else 5000)
    reads = options.reads or (100_000 if options.quick else 1_000_000)
    search = _search(reads, readers=2)
    report = {
        "bench": "frames",
        "machine": figures.machine(),
        "rows": rows,
        "search": search,
    }
    print(json.dumps(report) if options.json else _text(report))
    return 1 if search["torn"] else 0


def _costs(rounds: int) -> list[dict[str, Any]]:
    # Here, because the processes of the search start often and need none of it.
    from ...transport.images import resize
    from ...transport.outbox import Outbox, OutboxReader

    image = np.random.default_rng(0).integers(0, 256, CAMERA, dtype=np.uint8)
    out = np.zeros_like(image)
    ring_memory = segment.create(FrameRing.size_for(CAMERA), "bench")
    box_memory = segment.create(Outbox.size_for(image.nbytes), "bench")
    with ring_memory, box_memory:
        ring = FrameRing(ring_memory.map(writable=True), CAMERA)
        reader = FrameReader(ring_memory.map(writable=False))
        outbox = Outbox(box_memory.map(writable=True))
        viewer = OutboxReader(box_memory.map(writable=False))

        def reserved() -> None:
            reader.latest(outbox.reserve({"top": CAMERA})["top"])
            viewer.view(outbox.publish()["top"])

        def two_copies() -> None:
            np.copyto(ring.slot(), image)
            np.copyto(out, image)

        cases: dict[str, Callable[[], object]] = {
            "floor/memcpy": lambda: np.copyto(out, image),
            "holdfast/put": lambda: ring.put(image, 1),
            "holdfast/publish-in-place": lambda: (ring.slot(), ring.publish(1)),
            "holdfast/get": lambda: reader.latest(out),
            "floor/two-memcpy": two_copies,
            "holdfast/put-and-get": lambda: (ring.put(image, 1), reader.latest(out)),
            "holdfast/get-resized-224": lambda: reader.latest(
                transform=lambda pixels: resize(pixels, 224, 224)
            ),
            "floor/resize-224": lambda: resize(image, 224, 224),
            "holdfast/ring-to-outbox-to-view": reserved,
        }
        times: dict[str, list[int]] = {name: [] for name in cases}
        for _ in range(rounds):
            for name, case in cases.items():
                started_ns = time.perf_counter_ns()
                case()
                times[name].append(time.perf_counter_ns() - started_ns)
    return [
        figures.row(name, np.array(ns[rounds // 10 :]) / 1000, "us") for name, ns in times.items()
    ]


def _search(reads: int, readers: int) -> dict[str, int]:
    """Let `readers` processes take `reads` frames in all, while writers are killed.

    A writer writes a random number of frames, so that it is killed anywhere, and enough to count
    although the next one takes a while to start.
    """
    with segment.create(FrameRing.size_for(SMALL, SEARCH_SLOTS), "search") as shared:
        share = ["--reads", str(-(-reads // readers))]
        searchers = [_start(shared, "read", *share, stdout=subprocess.PIPE) for _ in range(readers)]
        head = FrameReader(shared.map(writable=False))
        killed = 0
        last_words = head.number + random.randrange(LIFE)
        writer = _start(shared, "write")
        try:
            while any(searcher.poll() is None for searcher in searchers):
                time.sleep(0.001)
                if head.number < last_words:
                    continue
                writer.send_signal(signal.SIGKILL)
                writer.wait()
                killed += 1
                last_words = head.number + random.randrange(LIFE)
                writer = _start(shared, "write")
        finally:
            for process in (writer, *searchers):
                process.kill()
                process.wait()
        found = [json.loads(searcher.stdout.read()) for searcher in searchers if searcher.stdout]
    totals = {key: sum(each[key] for each in found) for key in ("reads", "torn", "retries")}
    return {**totals, "killed_writers": killed}


def _start(
    shared: segment.Segment, role: str, *more: str, **keywords: Any
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", __spec__.name, "--role", role, "--fd", str(shared.fd), *more]
    return subprocess.Popen(command, pass_fds=[shared.fd], **keywords)


def _write(fd: int) -> None:
    """Write frames without a pause until killed."""
    memory = segment.map(fd, FrameRing.size_for(SMALL, SEARCH_SLOTS), writable=True)
    ring = FrameRing(memory, SMALL, SEARCH_SLOTS)
    for count in itertools.count():
        ring.slot()[:] = count % STRIDE
        ring.publish(count)


def _read(fd: int, reads: int) -> int:
    """Take frames, each one new; one that is not all of its own colour is torn."""
    reader = FrameReader(segment.map(fd, FrameRing.size_for(SMALL, SEARCH_SLOTS), writable=False))
    out = np.empty(SMALL, np.uint8)
    newest = taken = torn = 0
    while taken < reads:
        frame = reader.latest(out, after=newest)
        if frame is None:
            time.sleep(0)  # no writer: one is about to start, and needs the processor
            continue
        taken += 1
        torn += bool((out != frame.capture_ns % STRIDE).any())
        newest = frame.number
    print(json.dumps({"reads": taken, "torn": torn, "retries": reader.torn}))
    return 0


def _text(report: dict[str, Any]) -> str:
    lines = [f"{report['machine']}"]
    lines += [
        f"{r['case']:32} p50 {r['p50']:8.1f}  p99 {r['p99']:8.1f}  max {r['max']:8.1f} us"
        for r in report["rows"]
    ]
    return "\n".join([*lines, f"search: {report['search']}"])


if __name__ == "__main__":
    figures.run(main)
