"""`OpenpiPolicy`: a running server of openpi as a policy, so that a replica of it serves robots.

Such a server does not say what its policy takes: `options` of the service do. It is asked by one
observation at a time, over one connection, which is made anew where it was lost; how long it takes
is measured as every policy's duration is.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from ... import arguments
from ...errors import PolicyError, WireError
from ...policy.base import CameraFeature, Chunk, Observation, PolicySpec
from . import msgpack_arrays

MAX_MESSAGE = 16 << 20
_log = logging.getLogger("openpi")
_RETRY_S = 0.1
_LOCAL = ("self", "timeout_s", "wait_s", "api_key")
"""What is not part of the policy's identity."""


class OpenpiPolicy:
    """The policy of the server at `address` (`ws://host:port`).

    `cameras` are the keys of its images with their sizes, `{key: [width, height]}`; robots call
    them by the last part of the key, or by `names[key]`. The state is sent under the key `state`,
    or in parts, `{key: how many values}`, the task under `prompt`. `api_key` is a file. An answer
    that takes longer than `timeout_s`, over all reconnections, fails the request; the replica is
    taken for hung after 3 s, unless `supervision.rules.inference` has another `hang_timeout_s`. At
    its start it waits for the server up to `wait_s`, while robots find no replica.

    Raises TypeError or ValueError that begins with the option, OSError without a server.
    """

    def __init__(
        self,
        address: str,
        state_names: Sequence[str],
        action_names: Sequence[str],
        chunk_size: int,
        fps: float,
        cameras: Mapping[str, Sequence[int]] | None = None,
        names: Mapping[str, str] | None = None,
        state: str | Mapping[str, int] = "observation/state",
        prompt: str = "prompt",
        model: str = "openpi",
        revision: str = "1",
        api_key: str | None = None,
        timeout_s: float = 2.0,
        wait_s: float = 240.0,
    ) -> None:
        options = {name: value for name, value in locals().items() if name not in _LOCAL}
        self.spec, self._keys = _spec(options)
        if not address.startswith(("ws://", "wss://")):
            raise ValueError(f"address: {address!r}, expected ws://host:port")
        self._address, self._prompt = address, prompt
        self._state = {state: len(state_names)} if isinstance(state, str) else dict(state)
        if sum(self._state.values()) != len(state_names):
            raise ValueError(f"state: {state}, expected {len(state_names)} values in all")
        self._timeout_s = arguments.number("timeout_s", timeout_s, most=3600)
        self._headers = {}
        if api_key is not None:
            self._headers["Authorization"] = f"Api-Key {Path(api_key).read_text().strip()}"
        self._opened = ExitStack()
        self._connection: ClientConnection | None = None
        self._metadata: Any = None
        self.reconnects = -1
        """How often the connection was made anew."""
        _log.info("waiting for the server at %s", address)
        self._connected(time.monotonic() + arguments.number("wait_s", wait_s, most=1e6))
        plain = json.dumps([options, self._metadata], sort_keys=True, default=repr)
        self.checkpoint_hash = hashlib.sha256(plain.encode()).hexdigest()

    @staticmethod
    def describe(**options: Any) -> PolicySpec:
        """The spec that the options say; the server need not run."""
        return _spec(options)[0]

    def predict_chunk(self, batch: Sequence[Observation]) -> list[Chunk]:
        """One chunk for each observation, in order. Raises ValueError for one that the server
        refuses, PolicyError when it does not answer in time, answers something else, or is another
        one than before: as OSError where a later request may succeed."""
        return [self._chunk(observation) for observation in batch]

    def close(self) -> None:
        """End the connection."""
        self._connection = None
        self._opened.close()

    def _chunk(self, observation: Observation) -> Chunk:
        packed = msgpack_arrays.pack(
            {
                **{key: observation.images[name] for key, name in self._keys.items()},
                **self._parts(observation.state),
                self._prompt: observation.task,
            }
        )
        answer = self._ask(packed, time.monotonic() + self._timeout_s)
        if not isinstance(answer, bytes):
            # The server has closed the connection after its traceback.
            self.close()
            words = f"the server at {self._address} failed: {answer.strip()[-500:]}"
            raise ValueError(words)  # noqa: TRY004 its type is how it says so
        try:
            actions = self._actions(msgpack_arrays.unpack(answer))
        except WireError as error:
            self.close()
            raise PolicyError(f"what the server at {self._address} answers: {error}") from error
        return Chunk(model=actions, robot=actions)

    def _parts(self, state: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The state by the keys that its parts are sent under."""
        ends = np.cumsum(list(self._state.values()))[:-1]
        return dict(zip(self._state, np.split(state, ends), strict=True))

    def _ask(self, packed: bytes, deadline_s: float) -> bytes | str:
        """The answer of the server, asked once more where the connection was lost."""
        while True:
            connection = self._connected(deadline_s)
            try:
                connection.send(packed)
                return connection.recv(max(0.0, deadline_s - time.monotonic()))
            except TimeoutError as error:
                self.close()  # its answer would be taken for that of the next request
                raise TimeoutError(
                    f"the server at {self._address} gave no answer within {self._timeout_s:g} s"
                ) from error
            except (WebSocketException, OSError) as error:
                self.close()
                self._pause(deadline_s, error)

    def _connected(self, deadline_s: float) -> ClientConnection:
        """The connection, made anew if there is none; its server must be the one that it was."""
        while self._connection is None:
            with self._retried(deadline_s):
                made: ClientConnection = self._opened.enter_context(
                    connect(
                        self._address,
                        compression=None,
                        max_size=MAX_MESSAGE,
                        additional_headers=self._headers,
                        open_timeout=max(0.01, deadline_s - time.monotonic()),
                        close_timeout=1.0,
                    )
                )
                first = made.recv(max(0.0, deadline_s - time.monotonic()))
                self._connection = made
                metadata = msgpack_arrays.unpack(first)
                if self._metadata is not None and metadata != self._metadata:
                    self.close()
                    raise PolicyError(
                        f"the server at {self._address} is another one now: its metadata were "
                        f"{self._metadata!r:.200} and are {metadata!r:.200}"
                    )
                self._metadata = metadata
                self.reconnects += 1
        return self._connection

    @contextmanager
    def _retried(self, deadline_s: float) -> Iterator[None]:
        """Failures to connect within the block are repeated until the deadline."""
        try:
            yield
        except InvalidStatus as error:
            status = error.response.status_code
            found = f"the server at {self._address} refuses the connection: HTTP {status}"
            raise PolicyError(f"{found}; does it need an `api_key`?") from error
        except (WebSocketException, OSError) as error:
            self.close()
            self._pause(deadline_s, error)

    def _pause(self, deadline_s: float, error: Exception) -> None:
        if time.monotonic() + _RETRY_S > deadline_s:
            raise ConnectionError(
                f"the server at {self._address} is not reachable: {error or type(error).__name__}"
            ) from error
        time.sleep(_RETRY_S)

    def _actions(self, answer: object) -> NDArray[np.float32]:
        actions = answer.get("actions") if isinstance(answer, dict) else answer
        wanted = (self.spec.chunk_size, len(self.spec.action_names))
        if not isinstance(actions, np.ndarray) or actions.shape != wanted:
            found = getattr(actions, "shape", type(actions).__name__)
            raise WireError("actions", f"its actions are {found}, expected {list(wanted)}")
        return actions.astype(np.float32)


def _spec(options: Mapping[str, Any]) -> tuple[PolicySpec, dict[str, str]]:
    """The spec that `options` say, and the name of the camera of each image's key."""
    needed = ("state_names", "action_names", "chunk_size", "fps")
    if missing := [name for name in needed if name not in options]:
        raise ValueError(f"{', '.join(missing)}: missing, and no such server says it")
    names = options.get("names") or {}
    keys = {key: names.get(key, key.rpartition("/")[2]) for key in options.get("cameras") or {}}
    spec = PolicySpec(
        model=options.get("model", "openpi"),
        revision=options.get("revision", "1"),
        cameras=tuple(
            CameraFeature(keys[key], width=size[0], height=size[1])
            for key, size in (options.get("cameras") or {}).items()
        ),
        state_names=tuple(options["state_names"]),
        action_names=tuple(options["action_names"]),
        chunk_size=options["chunk_size"],
        fps=options["fps"],
    )
    return spec, keys
