"""A floor: one ZeroMQ request with the pictures as frames, and its reply, with nothing between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import zmq

from . import turns, work

_SHAPE = (work.HEIGHT, work.WIDTH, 3)


@contextmanager
def asking(way: str) -> Iterator[turns.AskedPeer]:
    """`pixels` sends them; `small` sends the joints and the corners alone."""
    port = turns.free_port()
    images = work.images()
    if way == "small":
        images = {name: image[:16, :16].copy() for name, image in images.items()}
    context = zmq.Context()
    with turns.serving("zeromq_echo", str(port)), context.socket(zmq.REQ) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, 60_000)
        socket.connect(f"tcp://127.0.0.1:{port}")

        def ask(number: int) -> Any:
            frames = [work.state(number).data, *(image.data for image in images.values())]
            socket.send_multipart(frames, copy=False)
            return np.frombuffer(socket.recv(), np.float32).reshape(work.STEPS, work.JOINTS)

        yield turns.AskedPeer(ask, f"pyzmq {zmq.__version__}")


def serve(port: str) -> None:
    """Answer until the parent is gone."""
    socket = zmq.Context().socket(zmq.REP)
    socket.bind(f"tcp://127.0.0.1:{port}")
    while True:
        state, *images = socket.recv_multipart(copy=False)
        seen = {}
        for name, frame in zip(work.CAMERAS, images, strict=True):
            width = int((len(frame.buffer) / 3 * 4 / 3) ** 0.5)
            shape = _SHAPE if width == work.WIDTH else (16, 16, 3)
            seen[name] = work.corner(np.frombuffer(frame.buffer, np.uint8).reshape(shape))
        socket.send(work.actions(np.frombuffer(state.buffer, np.float32), seen).data)


if __name__ == "__main__":
    turns.main(asking, serve)
