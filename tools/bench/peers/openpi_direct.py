"""openpi's own client, unmodified: each line of input is a port, and is answered by how long
`infer` took there, in milliseconds."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy

from . import line_server

CAMERAS, WIDTH, HEIGHT = ("left", "right", "wrist"), 224, 224
JOINTS = 14


def main() -> None:
    rng = np.random.default_rng(0)
    seen: dict[str, Any] = {
        f"observation/{name}_image": rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        for name in CAMERAS
    }
    seen["observation/state"] = np.zeros(JOINTS, np.float32)
    seen["prompt"] = "put the red parcel in the left bin"
    clients: dict[str, Any] = {}

    def timed(port: str) -> float:
        if port not in clients:
            clients[port] = WebsocketClientPolicy(host="127.0.0.1", port=int(port))
        began_s = time.perf_counter()
        clients[port].infer(seen)
        return (time.perf_counter() - began_s) * 1e3

    line_server.serve(timed)


if __name__ == "__main__":
    main()
