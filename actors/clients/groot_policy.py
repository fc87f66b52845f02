"""`GrootPolicy`: a running server of GR00T as a policy, so that a replica of it serves robots.

The server says its keys, its horizon and which observations it sees; what the values of a key are
called, the sizes of its images and its rate, it does not say: `options` of the service do. It is
asked by one observation at a time, over one connection, which is made anew where it was lost; how
long it takes is measured as every policy's duration is.

Source: NVIDIA/Isaac-GR00T, as in `groot_server`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from ...errors import PolicyError, WireError
from ...policy.base import Chunk, Observation, PolicySpec
from ...transport.request_socket import RequestSocket
from . import groot_arrays
from .groot_arrays import ArrayForm
from .groot_contract import ServerModalities
from .groot_options import GrootOptions

MAX_MESSAGE = 32 << 20
DESCRIBE_S = 2.0
"""How long a check of a fleet file waits for a server that has to say what the file does not."""

_log = logging.getLogger("groot")
_RETRY_S = 0.1


class GrootPolicy:
    """The policy of the server at `address` (`tcp://host:port`); what else there is to say of it is
    in `GrootOptions`.

    Raises TypeError or ValueError that begins with the option, OSError without a server,
    PolicyError where it refuses, or is another one than the options say.
    """

    def __init__(self, address: str, **options: Any) -> None:
        self._options = GrootOptions.of(options)
        self._server = _Server(address, self._options)
        _log.info("waiting for the server at %s", address)
        try:
            told = self._server.told(time.monotonic() + self._options.wait_s)
            self.spec = self._options.spec(told)
        except BaseException:
            self._server.close()
            raise
        plain = json.dumps([self._options.identity(), repr(told)], sort_keys=True, default=repr)
        self.checkpoint_hash = hashlib.sha256(plain.encode()).hexdigest()

    @staticmethod
    def describe(address: str, **options: Any) -> PolicySpec:
        """The spec. The server is asked for it where the options do not give its `chunk_size`."""
        given = GrootOptions.of(options)
        if given.chunk_size is not None:
            return given.spec(None)
        server = _Server(address, given)
        try:
            return given.spec(server.told(time.monotonic() + DESCRIBE_S))
        except OSError as error:
            raise ValueError(
                f"chunk_size: missing, and the server that would say it does not answer ({error}); "
                "start it, or write chunk_size"
            ) from error
        finally:
            server.close()

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        """One chunk for each observation, in order. Raises ValueError for one that the server
        refuses, PolicyError when it answers something else, or is another one than before, OSError
        when it does not answer in time."""
        return [self._chunk(observation) for observation in batch]

    def reset(self) -> None:
        """An episode begins. Servers of N1.5 know no episodes, and are not asked."""
        deadline_s = time.monotonic() + self._options.timeout_s
        if not self._server.told(deadline_s).is_n15:
            self._server.ask("reset", {"options": None}, deadline_s)

    def close(self) -> None:
        """End the connection."""
        self._server.close()

    def _chunk(self, observation: Observation) -> Chunk:
        deadline_s = time.monotonic() + self._options.timeout_s
        told = self._server.told(deadline_s)
        data = self._data(observation, told)
        answer = self._server.ask("get_action", data, deadline_s)
        try:
            actions = self._actions(answer)
        except WireError as error:
            self._server.disconnect()
            raise PolicyError(f"what {self._server} answers: {error}") from error
        return Chunk(model=actions, robot=actions)

    def _data(self, observation: Observation, told: ServerModalities) -> dict[str, Any]:
        """The `data` of get_action: with a batch dimension of 1 since N1.6."""
        seen, stride = self.spec.observation_steps, self.spec.observation_stride_steps

        def at(modality: str, history: NDArray[Any]) -> NDArray[Any]:
            # What the replica does not need is not sent: each modality has steps of its own.
            places = [seen - 1 + step // stride for step in told.steps[modality]]
            return history[places] if told.is_n15 else history[np.newaxis, places]

        states = observation.state_history
        if states is None:
            states = observation.state[np.newaxis]
        video = {}
        for key in told.keys["video"]:
            name = self._options.camera(key)
            frames = observation.image_history.get(name)
            video[key] = at("video", observation.images[name][None] if frames is None else frames)
        parts = {
            "video": video,
            "state": {
                key: at("state", states[:, columns].astype(np.float32))
                for key, columns in self._options.columns("state").items()
                if key in told.keys["state"]
            },
        }
        text = [observation.task]
        flat: dict[str, Any] = dict.fromkeys(told.keys["language"], text)
        for modality, values in parts.items():
            flat |= {f"{modality}.{key}": value for key, value in values.items()}
        if told.is_n15:
            return flat
        nested = {**parts, "language": {key: [text] for key in told.keys["language"]}}
        return {"observation": flat if self._options.flat else nested, "options": None}

    def _actions(self, answer: object) -> NDArray[np.float32]:
        """The chunk [H, A] of an answer in any layout."""
        found = answer[0] if isinstance(answer, list) and answer else answer
        if not isinstance(found, dict):
            raise WireError("actions", f"{type(found).__name__}, expected a map of actions")
        parts = {str(key).removeprefix("action."): part for key, part in found.items()}
        actions = np.empty((self.spec.chunk_size, len(self.spec.action_names)), np.float32)
        for key, columns in self._options.columns("action").items():
            part = parts.get(key)
            wanted = (self.spec.chunk_size, len(columns))
            if isinstance(part, np.ndarray) and part.ndim == 3 and len(part) == 1:
                part = part[0]
            elif isinstance(part, np.ndarray) and part.ndim == 1 == len(columns):
                part = part[:, np.newaxis]  # N1.5 drops dimensions of 1
            if not isinstance(part, np.ndarray) or part.shape != wanted:
                came = getattr(part, "shape", type(part).__name__)
                raise WireError("actions", f"action.{key} is {came}, expected {list(wanted)}")
            actions[:, columns] = part
        return actions


class _Server:
    """The connection, and what the server said of itself when it was made."""

    def __init__(self, address: str, options: GrootOptions) -> None:
        if not address.startswith("tcp://"):
            raise ValueError(f"address: {address!r}, expected tcp://host:port")
        self._address, self._options = address, options
        self._token = None
        if options.api_token is not None:
            self._token = Path(options.api_token).read_text().strip()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: RequestSocket | None = None
        self._told: ServerModalities | None = None

    def __str__(self) -> str:
        return f"the server at {self._address}"

    def told(self, deadline_s: float) -> ServerModalities:
        """What it says of itself, at the connection that there is now or is made anew. Raises
        OSError, PolicyError."""
        while self._socket is None:
            try:
                self._socket = RequestSocket(self._context, self._address, deadline_s, MAX_MESSAGE)
                said = self._exchange("get_modality_config", None, ArrayForm.NPY, deadline_s)
                told = ServerModalities.of(said)
            except OSError as error:
                self._pause(deadline_s, error)
                continue
            except (ValueError, WireError) as error:
                self.disconnect()
                hint = "; does it need `api_token`?" if "nauthorized" in str(error) else ""
                raise PolicyError(f"what {self} answers: {error}{hint}") from error
            if self._told is not None and told != self._told:
                self.disconnect()
                raise PolicyError(f"{self} is another one now: it said {self._told}, and {told}")
            self._told = told
        assert self._told is not None
        return self._told

    def ask(self, endpoint: str, data: Mapping[str, Any], deadline_s: float) -> Any:
        """Its answer, asked once more where the connection was lost. Raises ValueError with the
        server's own error, OSError, PolicyError."""
        while True:
            told = self.told(deadline_s)
            try:
                return self._exchange(endpoint, data, told.form, deadline_s)
            except TimeoutError as error:
                self.disconnect()  # its answer would be taken for that of the next request
                limit = self._options.timeout_s
                raise TimeoutError(f"{self} gave no answer within {limit:g} s") from error
            except OSError as error:
                self._pause(deadline_s, error)
            except WireError as error:
                self.disconnect()
                raise PolicyError(f"what {self} answers: {error}") from error

    def close(self) -> None:
        """End the connection for good."""
        self.disconnect()
        self._context.destroy(linger=0)

    def disconnect(self) -> None:
        """End the connection; the next request makes another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(
        self, endpoint: str, data: Mapping[str, Any] | None, form: ArrayForm, deadline_s: float
    ) -> Any:
        assert self._socket is not None
        request: dict[str, Any] = {"endpoint": endpoint}
        if data is not None:
            request["data"] = data
        if self._token is not None:
            request["api_token"] = self._token
        came = self._socket.exchange(groot_arrays.pack(request, form), deadline_s)
        answer, _ = groot_arrays.unpack(came)
        if isinstance(answer, dict) and "error" in answer:
            raise ValueError(f"{self} failed: {str(answer['error'])[-500:]}")
        return answer

    def _pause(self, deadline_s: float, error: Exception) -> None:
        self.disconnect()
        if time.monotonic() + _RETRY_S > deadline_s:
            raise ConnectionError(f"{self} is not reachable: {error}") from error
        time.sleep(_RETRY_S)
