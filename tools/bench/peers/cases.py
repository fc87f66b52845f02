"""The cases of `actorctl bench peers`: what is asked, in which environment, by which program."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """`program` is one of this folder's, run with `way` in `environment`; None: our own."""

    name: str
    program: str
    way: str
    environment: str | None
    shown: str


CASES = (
    Case("holdfast/shm", "holdfast_request", "shm", None, "Holdfast, shared memory"),
    Case("holdfast/raw", "holdfast_request", "raw", None, "Holdfast, raw through sockets"),
    Case("holdfast/jpeg", "holdfast_request", "jpeg", None, "Holdfast, JPEG over TCP"),
    Case("lerobot/async", "lerobot_async", "whole", "lerobot-0.6", "LeRobot's async inference"),
    Case("openpi/websocket", "openpi_websocket", "whole", "openpi", "openpi's client and server"),
    Case("groot/npy", "groot_protocol", "npy", None, "GR00T's protocol, as of N1.6 ¹"),
    Case("groot/raw", "groot_protocol", "raw", None, "GR00T's protocol, as of N1.7 ¹"),
    Case("zenoh/tcp", "zenoh_query", "tcp", "zenoh", "Zenoh query, TCP"),
    Case("zenoh/shm", "zenoh_query", "shm", "zenoh", "Zenoh query, shared memory"),
    Case("ray/actor", "ray_actor", "whole", "ray", "Ray, an actor's method"),
    Case(
        "floor/zeromq-pixels", "zeromq_echo", "pixels", None, "floor: ZeroMQ, the pixels, an echo"
    ),
    Case("floor/zeromq", "zeromq_echo", "small", None, "floor: ZeroMQ, no pixels, an echo"),
    Case("floor/memcpy", "memory_copy", "whole", None, "floor: copying the pixels once"),
)

NOTES = (
    "¹ NVIDIA's package is on no index: client and server of its published design, written here.",
    (
        "Only policy and robot are no-ops; every answer is checked. Ours includes the copy out of "
        "the cameras' rings, validation, and the merge into the plan; the others end with the "
        "chunk in the caller's hands. LeRobot's server is set to no added latency; the server of "
        "openpi is openpi-server of PyPI, another author's package of openpi's own file. Zenoh's "
        "query goes through a router, a process of its own."
    ),
)
