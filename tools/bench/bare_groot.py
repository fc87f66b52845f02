"""GR00T's protocol with nothing behind it: a server that answers every observation by the same
chunk, and a client. The client is written from its description, because GR00T is on no package
index: that of N1.6, `PolicyClient` of NVIDIA/Isaac-GR00T, `gr00t/policy/server_client.py`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import zmq

from ...actors.clients.groot_arrays import ArrayForm, pack, unpack
from . import figures
from .floors import PATIENCE_MS, Once
from .peers.work import CAMERAS

STEPS, SIZE = 50, 224
ARM = "single_arm"
LANGUAGE = "annotation.human.task_description"


@contextmanager
def running(joints: int) -> Iterator[int]:
    """The port of a server in a process of its own, whose actions have so many joints."""
    argv = [sys.executable, "-P", "-c", f"from {__name__} import main; main({joints})"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def asking(port: int, joints: int) -> Iterator[Once]:
    """A client of the server at `port`: packs an observation, asks, and unpacks the actions."""
    rng = np.random.default_rng(0)
    video = {name: rng.integers(0, 256, (1, 1, SIZE, SIZE, 3), dtype=np.uint8) for name in CAMERAS}
    seen = {
        "video": video,
        "state": {ARM: np.zeros((1, 1, joints), np.float32)},
        "language": {LANGUAGE: [["put the red parcel in the left bin"]]},
    }
    asked = {"endpoint": "get_action", "data": {"observation": seen, "options": None}}
    context = zmq.Context()
    socket = context.socket(zmq.REQ)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
    socket.connect(f"tcp://127.0.0.1:{port}")

    def once() -> None:
        socket.send(pack(asked, ArrayForm.NPY))
        answer, _ = unpack(socket.recv())
        if not isinstance(answer, list):
            raise RuntimeError(  # noqa: TRY004 it is what the server says of an error
                f"the server at port {port} answered {answer}"
            )

    try:
        yield figures.timed(once)
    finally:
        socket.close()
        context.term()


def main(joints: int) -> None:
    """Serve until it is killed or its parent is gone."""
    actions = pack([{ARM: np.zeros((1, STEPS, joints), np.float32)}, {}], ArrayForm.NPY)
    config = pack(
        {
            "video": _config([0], list(CAMERAS)),
            "state": _config([0], [ARM]),
            "action": _config(list(range(STEPS)), [ARM]),
            "language": _config([0], [LANGUAGE]),
        },
        ArrayForm.NPY,
    )
    socket = zmq.Context().socket(zmq.REP)
    print(socket.bind_to_random_port("tcp://127.0.0.1"), flush=True)
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(sys.stdin, zmq.POLLIN)
    while True:
        awake = dict(poller.poll())
        if sys.stdin.fileno() in awake:
            return
        request, _ = unpack(socket.recv())
        socket.send(config if request["endpoint"] == "get_modality_config" else actions)


def _config(steps: list[int], keys: list[str]) -> dict[str, Any]:
    said = {"delta_indices": steps, "modality_keys": keys, "action_configs": None}
    return {"__ModalityConfig_class__": True, "as_json": said}
