"""openpi's own client, unmodified, at openpi's WebSocket server.

The client is openpi-client of PyPI. openpi itself is on no index; the server is openpi-server of
PyPI, another author's package of openpi's `websocket_policy_server.py`. Only the policy is written
here.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from openpi_client.base_policy import BasePolicy
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from openpi_server.websocket_policy_server import WebsocketPolicyServer

from . import turns, work


class NoOpOpenpiPolicy(BasePolicy):  # type: ignore[misc]  # openpi's, without types
    """Computes the actions of the work."""

    def infer(self, obs: dict[str, Any]) -> dict[str, Any]:
        """The chunk of an observation."""
        corners = {name: work.corner(obs[f"observation/{name}_image"]) for name in work.CAMERAS}
        return {"actions": work.actions(obs["observation/state"], corners)}


@contextmanager
def asking(_way: str) -> Iterator[turns.AskedPeer]:
    """It has one way."""
    port = turns.free_port()
    images = {f"observation/{name}_image": image for name, image in work.images().items()}
    with turns.serving("openpi_websocket", str(port)):
        turns.wait_for(port)
        client = WebsocketClientPolicy("127.0.0.1", port)

        def ask(number: int) -> Any:
            seen = {**images, "observation/state": work.state(number), "prompt": work.TASK}
            return client.infer(seen)["actions"]

        versions = [f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES]
        yield turns.AskedPeer(ask, ", ".join(versions))


_PACKAGES = ("openpi-client", "openpi-server")


def serve(port: str) -> None:
    """Answer until the parent is gone."""
    WebsocketPolicyServer(NoOpOpenpiPolicy(), "127.0.0.1", int(port)).serve_forever()


if __name__ == "__main__":
    turns.main(asking, serve)
