"""Zenoh: a query whose payload is the observation, answered by a queryable, through a router.

The packages are eclipse-zenoh's of PyPI; router, robot's side and policy's side are sessions of it,
each in a process of its own. `shm`: the payload is written into a buffer of Zenoh's shared memory.
The observation is bytes in a fixed order, as Zenoh has no arrays: nothing is encoded.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zenoh

from . import turns, work

_KEY = "bench/policy"
_STATE_BYTES = work.JOINTS * 4
_IMAGE_BYTES = work.WIDTH * work.HEIGHT * 3
_BYTES = _STATE_BYTES + len(work.CAMERAS) * _IMAGE_BYTES
_POOL_BYTES = 64 << 20
_SHM_AT_LEAST = 3072
"""Smaller replies travel as they are; Zenoh's own default."""
_PATIENCE_S = 60.0


@contextmanager
def asking(way: str) -> Iterator[turns.AskedPeer]:
    """`tcp`, or `shm`."""
    shared = way == "shm"
    port = turns.free_port()
    mapped: set[Path] = set()
    with ExitStack() as stack:
        stack.callback(_remove, mapped)
        stack.enter_context(turns.serving("zenoh_query", "router", str(port), way))
        turns.wait_for(port)
        stack.enter_context(turns.serving("zenoh_query", "queryable", str(port), way))
        session = stack.enter_context(zenoh.open(_config("client", port, shared)))
        payload = _in_shared_memory() if shared else _in_bytes()

        def ask(number: int) -> Any:
            for reply in session.get(_KEY, payload=payload(number), timeout=10.0):
                if reply.ok is None:
                    raise RuntimeError(f"Zenoh answered {reply.err.payload.to_string()}")
                got = np.frombuffer(reply.ok.payload.to_bytes(), np.float32)
                return got.reshape(work.STEPS, work.JOINTS)
            return None

        deadline_s = time.monotonic() + _PATIENCE_S
        while ask(0) is None:  # until the queryable is known
            if time.monotonic() > deadline_s:
                raise TimeoutError("no queryable of Zenoh answered")
            time.sleep(0.05)
        try:
            yield turns.AskedPeer(
                ask, f"eclipse-zenoh {importlib.metadata.version('eclipse-zenoh')}"
            )
        finally:
            mapped |= _segments()


def _segments() -> set[Path]:
    """Those of Zenoh that this process has mapped: one of them outlives its sessions."""
    maps = Path("/proc/self/maps").read_text()
    return {Path(found) for found in re.findall(r"/dev/shm/\d+\.zenoh", maps)}


def _remove(segments: set[Path]) -> None:
    for path in segments:
        path.unlink(missing_ok=True)


def _in_bytes() -> Callable[[int], Any]:
    images = work.images()

    def payload(number: int) -> bytes:
        return b"".join([work.state(number).data, *(image.data for image in images.values())])

    return payload


def _in_shared_memory() -> Callable[[int], Any]:
    # As bytes, the only thing that may be assigned: no copy but the one into the buffer.
    images = [image.tobytes() for image in work.images().values()]
    provider = zenoh.shm.ShmProvider.default_backend(_POOL_BYTES)
    policy = zenoh.shm.BlockOn(zenoh.shm.GarbageCollect())

    def payload(number: int) -> Any:
        buffer = provider.alloc(_BYTES, policy)
        buffer[:_STATE_BYTES] = work.state(number).tobytes()
        at = _STATE_BYTES
        for image in images:
            buffer[at : at + _IMAGE_BYTES] = image
            at += _IMAGE_BYTES
        return buffer

    return payload


def serve(role: str, port: str, way: str) -> None:
    """Be the router, or the policy's side, until the parent is gone."""
    shared = way == "shm"
    # Its shared memory is removed by an orderly end alone, or by the next start of a session.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    if role == "router":
        with zenoh.open(_config("router", int(port), shared)):
            time.sleep(1e9)
    with zenoh.open(_config("client", int(port), shared)) as session:
        queryable = session.declare_queryable(_KEY)
        for query in queryable:
            with query:
                data = query.payload.to_bytes()
                state = np.frombuffer(data, np.float32, work.JOINTS)
                seen = {}
                for number, name in enumerate(work.CAMERAS):
                    at = _STATE_BYTES + number * _IMAGE_BYTES
                    image = np.frombuffer(data, np.uint8, _IMAGE_BYTES, at)
                    seen[name] = work.corner(image.reshape(work.HEIGHT, work.WIDTH, 3))
                query.reply(_KEY, work.actions(state, seen).tobytes())


def _config(mode: str, port: int, shared: bool) -> zenoh.Config:
    config = zenoh.Config()
    place = "listen" if mode == "router" else "connect"
    for key, value in {
        "mode": mode,
        f"{place}/endpoints": [f"tcp/127.0.0.1:{port}"],
        "scouting/multicast/enabled": False,
        "transport/shared_memory/enabled": shared,
    }.items():
        config.insert_json5(key, json.dumps(value))
    return config


if __name__ == "__main__":
    turns.main(asking, serve)
