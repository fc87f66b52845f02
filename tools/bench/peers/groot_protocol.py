"""GR00T's protocol: a client and a server of its published design, both written here, because
NVIDIA's package is on no index.

The design is that of N1.6, `PolicyClient` and `PolicyServer` of NVIDIA/Isaac-GR00T,
`gr00t/policy/server_client.py`: ZeroMQ REQ and REP over TCP, MessagePack with arrays as npy files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import zmq

from ....actors.clients.groot_arrays import ArrayForm, pack, unpack
from . import turns, work

_ARM = "single_arm"


@contextmanager
def asking(way: str) -> Iterator[turns.AskedPeer]:
    """`npy`, the form of N1.6, or `raw`, that of N1.7."""
    port = turns.free_port()
    form = ArrayForm(way)
    video = {name: image[None, None] for name, image in work.images().items()}
    context = zmq.Context()
    with turns.serving("groot_protocol", str(port)), context.socket(zmq.REQ) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, 60_000)
        socket.connect(f"tcp://127.0.0.1:{port}")

        def ask(number: int) -> Any:
            observation = {
                "video": video,
                "state": {_ARM: work.state(number)[None, None]},
                "language": {"annotation.human.task_description": [[work.TASK]]},
            }
            asked = {"observation": observation, "options": None}
            socket.send(pack({"endpoint": "get_action", "data": asked}, form))
            answer, _ = unpack(socket.recv())
            return answer[0][_ARM][0]

        yield turns.AskedPeer(
            ask, f"of N1.{6 if form is ArrayForm.NPY else 7}'s design, pyzmq {zmq.__version__}"
        )


def serve(port: str) -> None:
    """Answer until the parent is gone."""
    socket = zmq.Context().socket(zmq.REP)
    socket.bind(f"tcp://127.0.0.1:{port}")
    while True:
        request, form = unpack(socket.recv())
        seen = request["data"]["observation"]
        corners = {name: work.corner(video[0, 0]) for name, video in seen["video"].items()}
        chunk = work.actions(seen["state"][_ARM][0, 0], corners)
        socket.send(pack([{_ARM: chunk[None]}, {}], form or ArrayForm.NPY))


if __name__ == "__main__":
    turns.main(asking, serve)
