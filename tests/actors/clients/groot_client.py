"""Clients of GR00T's protocol, written from its description with pyzmq, msgpack and NumPy alone,
and nothing of ours: gr00t itself is on no package index.

Source: NVIDIA/Isaac-GR00T, `BaseInferenceClient` of N1.5 (`gr00t/eval/service.py`), `PolicyClient`
of N1.6 and of N1.7 (`gr00t/policy/server_client.py`, the latter with msgpack-numpy).
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any, Literal, Self

import msgpack
import numpy as np
import zmq

Version = Literal["n1.5", "n1.6", "n1.7"]


class ServerSaidError(RuntimeError):
    """The server's answer is an error."""


@dataclass
class ModalityConfig:
    """As GR00T's: its constructor takes these alone, and refuses empty keys."""

    delta_indices: list[int]
    modality_keys: list[str]

    def __post_init__(self) -> None:
        if not self.modality_keys:
            raise ValueError("modality_keys must be a non-empty list")


class GrootClient:
    """A REQ socket that speaks as that `version` of GR00T does."""

    def __init__(
        self, port: int, version: Version = "n1.6", token: str = "", timeout_s: float = 60.0
    ) -> None:
        self.version, self._token = version, token
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.REQ)
        self.socket.setsockopt(zmq.RCVTIMEO, round(timeout_s * 1000))
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(f"tcp://127.0.0.1:{port}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self._context.term()

    def request(self, endpoint: str, data: Any = None) -> bytes:
        """The bytes of a request."""
        body: dict[str, Any] = {"endpoint": endpoint}
        if data is not None:
            body["data"] = data
        if self._token:
            body["api_token"] = self._token
        packed: bytes = msgpack.packb(body, default=self._encode)
        return packed

    def exchange(self, packed: bytes) -> Any:
        """Send these bytes and wait for the answer. Raises ServerSaidError for an error."""
        self.socket.send(packed)
        answer = msgpack.unpackb(self.socket.recv(), object_hook=self._decode)
        if isinstance(answer, dict) and "error" in answer:
            raise ServerSaidError(answer["error"])
        return answer

    def call(self, endpoint: str, data: Any = None) -> Any:
        return self.exchange(self.request(endpoint, data))

    def get_action(self, observation: dict[str, Any]) -> Any:
        """As the version's own `get_action`: N1.5 sends the observation alone."""
        if self.version == "n1.5":
            return self.call("get_action", observation)
        return self.call("get_action", {"observation": observation, "options": None})

    def _encode(self, value: Any) -> Any:
        if self.version == "n1.7":
            return raw(value) if isinstance(value, np.ndarray) else value
        return {"__ndarray_class__": True, "as_npy": saved(value)}

    def _decode(self, found: dict[Any, Any]) -> Any:
        if self.version == "n1.7":
            if b"nd" in found and found[b"nd"] is True:
                dtype, shape = np.dtype(found[b"type"]), found[b"shape"]
                return np.frombuffer(found[b"data"], dtype).reshape(shape)
            if "__ModalityConfig__" in found:
                return ModalityConfig(**found["as_json"])
            return found
        if "__ModalityConfig_class__" in found:
            said = found["as_json"]
            return ModalityConfig(**(json.loads(said) if self.version == "n1.5" else said))
        if "__ndarray_class__" in found:
            return np.load(io.BytesIO(found["as_npy"]), allow_pickle=False)
        return found


def saved(array: Any, *, allow_pickle: bool = False) -> bytes:
    """What numpy.save writes."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=allow_pickle)
    return file.getvalue()


def raw(array: Any) -> dict[bytes, Any]:
    """An array as msgpack-numpy 0.4.8 describes it."""
    return {
        b"nd": True,
        b"type": array.dtype.str,
        b"kind": b"",
        b"shape": array.shape,
        b"data": array.tobytes(),
    }
