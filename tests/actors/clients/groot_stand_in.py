"""A server of GR00T's protocol in a thread of this process, written from its description alone.

Source: NVIDIA/Isaac-GR00T, `BaseInferenceServer` and `RobotInferenceServer` of N1.5
(`gr00t/eval/service.py`, `gr00t/eval/robot.py`), `PolicyServer` of N1.6 and N1.7
(`gr00t/policy/server_client.py`).
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgpack
import numpy as np
import zmq

from holdfast.tests.actors.clients.groot_client import Version, raw, saved
from holdfast.tests.free_ports import free_port


class GrootStandIn:
    """A REP socket whose actions are the state of the same key, plus the mean of the last image.

    `slow_s` delays an answer to get_action; `video_steps` are the delta indices of its video.
    """

    def __init__(
        self,
        version: Version = "n1.6",
        port: int = 0,
        token: str = "",
        horizon: int = 3,
        video_steps: tuple[int, ...] = (0,),
    ) -> None:
        self.version, self._token, self._horizon = version, token, horizon
        self._video_steps = video_steps
        self.slow_s = 0.0
        self.asked: list[dict[str, Any]] = []
        self.idle = True
        self.wrong: Any = None
        """What it answers to get_action instead of actions."""
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(f"tcp://127.0.0.1:{port or free_port()}")
        where = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.address, self.port = where, int(where.rpartition(":")[2])
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """End it, and its connections. Idempotent."""
        self._stopped.set()
        self._thread.join(60)
        self._socket.close()
        self._context.term()

    def _run(self) -> None:
        while not self._stopped.is_set():
            if not self._socket.poll(20):
                continue
            request = msgpack.unpackb(self._socket.recv(), object_hook=self._decode)
            try:
                if self._token and request.get("api_token") != self._token:
                    raise ValueError("Unauthorized: Invalid API token")
                answer = self._answer(request)
            except Exception as error:  # noqa: BLE001 as theirs
                answer = {"error": str(error)}
            self._socket.send(msgpack.packb(answer, default=self._encode))
            self.idle = True

    def _answer(self, request: dict[str, Any]) -> Any:
        endpoint = request.get("endpoint", "get_action")
        self.asked.append(request)
        if endpoint == "get_modality_config":
            return {
                "video": self._config("video", list(self._video_steps), ["front"]),
                "state": self._config("state", [0], ["arm", "hand"]),
                "action": self._config("action", list(range(self._horizon)), ["arm", "hand"]),
                "language": self._config("", [0], ["annotation.human.task_description"]),
            }
        if endpoint == "reset" and self.version != "n1.5":
            return {}
        if endpoint != "get_action":
            raise ValueError(f"Unknown endpoint: {endpoint}")
        self.idle = False
        time.sleep(self.slow_s)
        if self.wrong is not None:
            return self.wrong
        data = request["data"]
        if self.version == "n1.5":
            return {
                f"action.{key}": np.repeat(
                    data[f"state.{key}"] + data["video.front"][-1].mean(), self._horizon, 0
                )
                for key in ("arm", "hand")
            }
        observation = data["observation"]
        image = observation["video"]["front"]
        assert image.shape[:2] == (1, len(self._video_steps)), image.shape
        return [
            {
                key: np.repeat(
                    observation["state"][key] + image[0, -1].mean(), self._horizon, 1
                ).astype(np.float32)
                for key in ("arm", "hand")
            },
            {},
        ]

    def _config(self, prefix: str, steps: list[int], keys: list[str]) -> dict[str, Any]:
        if self.version == "n1.5":
            long = [f"{prefix}.{key}" if prefix else key for key in keys]
            text = json.dumps({"delta_indices": steps, "modality_keys": long})
            return {"__ModalityConfig_class__": True, "as_json": text}
        mark = "__ModalityConfig__" if self.version == "n1.7" else "__ModalityConfig_class__"
        said = {"delta_indices": steps, "modality_keys": keys, "action_configs": None}
        return {mark: True, "as_json": said}

    def _encode(self, value: Any) -> Any:
        if self.version == "n1.7":
            return raw(value)
        return {"__ndarray_class__": True, "as_npy": saved(value)}

    def _decode(self, found: dict[Any, Any]) -> Any:
        if self.version == "n1.7" and found.get(b"nd") is True:
            return np.frombuffer(found[b"data"], found[b"type"]).reshape(found[b"shape"])
        if self.version != "n1.7" and "__ndarray_class__" in found:
            return np.load(io.BytesIO(found["as_npy"]), allow_pickle=False)
        return found


@contextmanager
def standing_in(**options: Any) -> Iterator[GrootStandIn]:
    server = GrootStandIn(**options)
    try:
        yield server
    finally:
        server.close()
