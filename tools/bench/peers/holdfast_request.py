"""Ours: from control asking to the chunk in its plan, every process of the way real.

The same way as in `actorctl bench request`: the frames come from the cameras' rings and are copied
once more than any peer's, the answer is validated and merged. The actor that fills the rings is no
part of a request.
"""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path as Directory
from typing import Any

import cv2

from ..bench_cameras import cameras
from ..request_path import Path, Served, Way
from . import turns, work
from .checked_policy import CheckedPolicy

WAYS = {
    "shm": Way("holdfast/shm", shared=True),
    "raw": Way("holdfast/raw"),
    "raw-tcp": Way("holdfast/raw-tcp", hosts=True),
    "jpeg": Way("holdfast/jpeg", hosts=True, quality=90),
}


@contextmanager
def asking(way: str) -> Iterator[turns.AskedPeer]:
    """`shm`, `raw`, or as from another host over loopback TCP, `raw-tcp` or `jpeg`."""
    cv2.setNumThreads(1)
    served = Served(policy=f"{CheckedPolicy.__module__}:CheckedPolicy", max_wait_ms=0.0)
    with ExitStack() as stack:
        folder = Directory(stack.enter_context(tempfile.TemporaryDirectory(prefix="hf-")))
        rings = stack.enter_context(cameras(folder))
        beside = turns.below()
        path = Path(WAYS[way], folder / "path", rings, served)
        stack.callback(path.close)

        def ask(number: int) -> Any:
            path.ask(work.state(number))
            return path.planned

        yield turns.AskedPeer(ask, f"holdfast {importlib.metadata.version('holdfast')}", beside)


if __name__ == "__main__":
    turns.main(asking)
