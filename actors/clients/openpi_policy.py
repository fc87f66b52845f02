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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from ...errors import PolicyError, WireError
from ...policy.base import Chunk, Observation, PolicySpec
from . import msgpack_arrays
from .server_robot import options_of, robot_of

MAX_MESSAGE = 16 << 20
_log = logging.getLogger("openpi")
_RETRY_S = 0.1


class OpenpiPolicy:
    """The policy of the server at `address` (`ws://host:port`).

    `options` are the other fields of `ServerOptions`. Robots wait until it is there; the replica is
    taken for hung after 3 s without an answer, unless `supervision.rules.inference` has another
    `hang_timeout_s`. Raises PolicyError for options that do not fit, OSError without a server.
    """

    def __init__(self, address: str, **options: Any) -> None:
        given = options_of({"address": address, **options})
        self.spec, self._robot = robot_of(given)
        self._address, self._timeout_s = address, given.timeout_s
        self._headers = {}
        if given.api_key is not None:
            self._headers["Authorization"] = f"Api-Key {Path(given.api_key).read_text().strip()}"
        self._opened = ExitStack()
        self._connection: ClientConnection | None = None
        self._metadata: Any = None
        self.reconnects = -1
        """How often the connection was made anew."""
        _log.info("waiting for the server at %s", address)
        self._connected(time.monotonic() + given.wait_s)
        identity = [address, msgspec.to_builtins(self.spec), msgspec.to_builtins(self._robot)]
        plain = json.dumps([*identity, self._metadata], sort_keys=True, default=repr)
        self.checkpoint_hash = hashlib.sha256(plain.encode()).hexdigest()

    @staticmethod
    def describe(**options: Any) -> PolicySpec:
        """The spec that the options say; the server need not run. Raises PolicyError."""
        return robot_of(options_of(options))[0]

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
        asked = self._robot.observed(observation)
        if self._robot.prompt:
            # Also an empty one: most servers fail without.
            asked.setdefault(self._robot.prompt, "")
        packed = msgpack_arrays.pack(asked)
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
