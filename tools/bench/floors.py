"""What no path of requests can be cheaper than: bare sockets, bare copies, the codec alone.

The echoes are processes of their own that pass small messages on and do nothing else, through as
many sockets as a request meets; a request is as long as one that only refers to images, a reply as
long as a chunk of 50 steps of 14 in two spaces.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import zmq
from numpy.typing import NDArray

from ...actors.runtime.allocator import keep_blocks
from ...transport.images import decode_jpeg, encode_jpeg
from .peers.work import HEIGHT, WIDTH

REQUEST, REPLY = bytes(900), bytes(5900)
IMAGE_BYTES = WIDTH * HEIGHT * 3
PATIENCE_MS = 20_000

Once = Callable[[], float]
"""Does its thing once; how long that took, in ms."""


def memcpy(images: list[NDArray[np.uint8]]) -> Once:
    targets = [np.empty_like(image) for image in images]

    def once() -> float:
        started_s = time.perf_counter()
        for target, image in zip(targets, images, strict=True):
            np.copyto(target, image)
        return (time.perf_counter() - started_s) * 1e3

    return once


def jpeg(images: list[NDArray[np.uint8]], quality: int) -> Once:
    """All images encoded, then all decoded, with the product's codec."""

    def once() -> float:
        started_s = time.perf_counter()
        for data in [encode_jpeg(image, quality) for image in images]:
            decode_jpeg(data, images[0].shape[1], images[0].shape[0])
        return (time.perf_counter() - started_s) * 1e3

    return once


@contextmanager
def echo(directory: Path, proxies: int, images: int = 0) -> Iterator[Once]:
    """A round trip to an echoing process through `proxies` others: with one it is the bare network
    actor, which adds so many raw `images`, with two the bare broker behind it too."""
    names = [f"ipc://{directory}/echo-{proxies}-{images}-{n}" for n in range(2 * proxies + 1)]
    with ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        # Ahead of an echo that connects stand only processes that bind or bridge.
        if proxies == 0:
            roles = [("bind", names[0], "")]
        elif proxies == 1:
            roles = [("bridge", names[0], names[1]), ("bind", names[1], "")]
        else:
            roles = [
                ("bridge", names[0], names[1]),
                ("proxy", names[1], names[2]),
                ("connect", names[2], ""),
            ]
        for role in roles:
            stack.enter_context(_process(*role, images))
        socket = stack.enter_context(context.socket(zmq.DEALER))
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
        socket.connect(names[0])

        def once() -> float:
            started_s = time.perf_counter()
            socket.send(REQUEST)
            socket.recv()
            return (time.perf_counter() - started_s) * 1e3

        once()
        yield once


@contextmanager
def _process(role: str, front: str, back: str, images: int) -> Iterator[None]:
    code = f"from {__name__} import main; main({role!r}, {front!r}, {back!r}, {images})"
    argv = [sys.executable, "-c", code]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE)
    try:
        yield
    finally:
        process.kill()
        process.communicate()


def main(role: str, front: str, back: str, images: int) -> None:
    """One of the echo's processes, until it is killed or its parent is gone."""
    keep_blocks()  # as the actors do
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    near = context.socket(zmq.DEALER if role == "connect" else zmq.ROUTER)
    far = context.socket(zmq.DEALER if role == "bridge" else zmq.ROUTER)
    for socket in (near, far):
        socket.setsockopt(zmq.LINGER, 0)
    if role == "connect":
        near.setsockopt(zmq.IDENTITY, b"echo")
        near.connect(front)
    else:
        near.bind(front)
    if role == "proxy":
        far.bind(back)
    elif role == "bridge":
        far.connect(back)
    added = [zmq.Frame(bytes(IMAGE_BYTES), copy=True)] * images
    poller = zmq.Poller()
    poller.register(near, zmq.POLLIN)
    poller.register(far, zmq.POLLIN)
    poller.register(sys.stdin, zmq.POLLIN)
    while True:
        awake = dict(poller.poll())
        if sys.stdin.fileno() in awake:
            context.destroy(linger=0)
            return
        if near in awake:
            frames = near.recv_multipart(copy=False)
            if role in ("bind", "connect"):
                near.send_multipart([*frames[: -1 - images], REPLY], copy=False)
            elif role == "bridge":
                far.send_multipart([*frames, *added], copy=False)
            else:
                _to_echo(far, frames)
        if far in awake:
            frames = far.recv_multipart(copy=False)
            near.send_multipart(frames[1:] if role == "proxy" else frames, copy=False)


def _to_echo(far: zmq.Socket[bytes], frames: Sequence[zmq.Frame]) -> None:
    """As soon as the echo is connected: only the first message meets one that is not."""
    far.setsockopt(zmq.ROUTER_MANDATORY, 1)
    deadline_s = time.monotonic() + PATIENCE_MS / 1e3
    while True:
        try:
            far.send_multipart([b"echo", *frames], copy=False)
            return
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH or time.monotonic() > deadline_s:
                raise
            time.sleep(0.01)
