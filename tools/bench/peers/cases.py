"""The cases of `actorctl bench peers`: what is asked, in which environment, by which program."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """`program` is one of this folder's, run with `way` in `environment`; None: our own.
    `processes`: how many a request passes, that of the caller included."""

    name: str
    program: str
    way: str
    environment: str | None
    processes: int
    shown: str


_LEROBOT, _PIXELS = "LeRobot's async inference", "floor: ZeroMQ, the pixels, an echo"
CASES = (
    Case("holdfast/shm", "holdfast_request", "shm", None, 3, "Holdfast, shared memory"),
    Case("holdfast/raw", "holdfast_request", "raw", None, 3, "Holdfast, raw through sockets"),
    Case("holdfast/raw-tcp", "holdfast_request", "raw-tcp", None, 4, "Holdfast, raw over TCP"),
    Case("holdfast/jpeg", "holdfast_request", "jpeg", None, 4, "Holdfast, JPEG over TCP"),
    Case("lerobot/async", "lerobot_async", "whole", "lerobot-0.6", 2, _LEROBOT),
    Case(
        "openpi/websocket", "openpi_websocket", "whole", "openpi", 2, "openpi's client and server"
    ),
    Case("groot/npy", "groot_protocol", "npy", None, 2, "GR00T's protocol, as of N1.6 ¹"),
    Case("groot/raw", "groot_protocol", "raw", None, 2, "GR00T's protocol, as of N1.7 ¹"),
    Case("zenoh/tcp", "zenoh_query", "tcp", "zenoh", 3, "Zenoh query, TCP"),
    Case("zenoh/shm", "zenoh_query", "shm", "zenoh", 3, "Zenoh query, shared memory"),
    Case("ray/actor", "ray_actor", "whole", "ray", 2, "Ray, an actor's method"),
    Case("floor/zeromq-pixels", "zeromq_echo", "pixels", None, 2, _PIXELS),
    Case("floor/zeromq", "zeromq_echo", "small", None, 2, "floor: ZeroMQ, no pixels, an echo"),
    Case("floor/memcpy", "memory_copy", "whole", None, 1, "floor: copying the pixels once"),
)

NOTES = (
    "¹ NVIDIA's package is on no index: client and server of its published design, written here.",
    (
        "Only policy and robot are no-ops; every answer is checked. Ours begins with frames in the "
        "cameras' rings: in shared memory the replica reads them there, else they are copied out "
        "of them. It includes validation and the merge into the plan; the others end with the "
        "chunk in the caller's hands. LeRobot's server is set to no added latency; the server of "
        "openpi is openpi-server of PyPI, another author's package of openpi's own file."
    ),
    (
        "Processes: those that a request passes, the caller's included. Ours are control, the "
        "robot's network actor and the replica, which takes the requests of its own host straight; "
        "over TCP, as between hosts, the broker is the fourth. Raw through sockets is the way of a "
        "robot that has no outbox which the replica of its host maps: a Unix socket, by which a "
        "file in memory with the pictures is passed. GR00T's protocol goes over loopback TCP, "
        "Zenoh's query through its router."
    ),
)
