"""`OwnKeys`: the keys of an actor that connects to brokers, and the tokens that renew them.

One mechanism for all: while no broker accepts the actor's key, it looks once a second for a token
that it has not used, and enrols a new key with it. Nothing is lost by a token that is refused: the
next one in its place is taken up. Used by one thread; only `wait` blocks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import zmq

from ...errors import KeyFileError, RefusedError
from ...transport.connection import Condition
from ...transport.enrolment_tokens import Token, load_token
from ...transport.keys import Key, PublicKey
from .credentials import Credentials, credentials
from .enrol import Enrolling
from .key_files import KeyFiles
from .made_key import MadeKey

LOOK_NS = 1_000_000_000
REFUSED_NS = 30_000_000_000
"""Until a token that was refused is tried again: a name may have been revoked meanwhile."""
TURN_MS = 100


class OwnKeys:
    """Those of the actor `name` towards the brokers at `endpoints`. Raises RefusedError for key
    files that are none, where the actor does not make its key itself."""

    def __init__(self, name: str, files: KeyFiles, endpoints: Sequence[str]) -> None:
        self._name, self._files, self._endpoints = name, files, endpoints
        self._attempt: Enrolling | None = None
        self._look_ns = 0
        self._refused: dict[str, tuple[int, str]] = {}
        """When a token was refused, and why."""
        self._found = ""
        self.current = Credentials() if self.is_awaited else credentials(name, files)

    @property
    def is_awaited(self) -> bool:
        """Whether there is no key yet: it has to enrol first. Raises RefusedError for a key file
        that cannot be read."""
        files = self._files
        try:
            return bool(files.tokens) and not MadeKey(Path(files.key or "")).is_accepted
        except (KeyFileError, OSError) as problem:
            raise RefusedError(f"{self._name} cannot read its key: {problem}") from problem

    @property
    def reason(self) -> str:
        """What the renewal waits for; empty while none is needed."""
        return self._attempt.reason if self._attempt is not None else self._found

    @property
    def refusal(self) -> str:
        """Why the last token was refused, unless another one is tried; else empty."""
        return "" if self._attempt is not None or not self._refused else self._found

    def of(self, broker: int) -> tuple[Key | None, PublicKey | None]:
        """The own key and that of the k-th broker, for a connection to it."""
        return self.current.of(broker)

    def follow(self, conditions: Collection[Condition], now_ns: int) -> bool:
        """Let time pass, in every turn of the actor's loop; `conditions` are those of its
        connections. True once there is a new key: they are to be made anew with it."""
        refused = Condition.REFUSED in conditions and Condition.OPEN not in conditions
        if not self._files.tokens or not refused:
            if self._attempt is not None or self._found:
                self.close()
            return False
        return self._renew(now_ns)

    def wait(self, say: Callable[[str], None], *, patient: bool = True) -> None:
        """Wait until there is a key. Calls `say` several times a second with what for, and ends by
        what that raises. Unless `patient`, a token that is refused raises RefusedError."""
        if not self.is_awaited:
            return
        try:
            while not self._renew(time.monotonic_ns()):
                if self.refusal and not patient:
                    raise RefusedError(self.refusal)
                say(self.reason)
                awaited = [] if self._attempt is None else self._attempt.sockets
                zmq.select(awaited, [], [], TURN_MS / 1000)
        finally:
            self.close()

    def close(self) -> None:
        """End an attempt that is under way."""
        self._found = ""
        if self._attempt is not None:
            self._attempt.close()
            self._attempt = None

    def _renew(self, now_ns: int) -> bool:
        if now_ns >= self._look_ns:
            self._look_ns = now_ns + LOOK_NS
            self._look(now_ns)
        if self._attempt is None:
            return False
        try:
            if not self._attempt.turn(now_ns):
                return False
            self.current = credentials(self._name, self._files)
        except (RefusedError, KeyFileError, OSError) as problem:
            self._refused[self._attempt.token.id] = now_ns, str(problem)
            self.close()
            self._look(now_ns)
            return False
        self.close()
        return True

    def _look(self, now_ns: int) -> None:
        """Begin with the first token that was not used, unless it is tried already."""
        problems: list[str] = []
        token = next(self._unused(now_ns, problems), None)
        if self._attempt is not None and token is not None and token.id == self._attempt.token.id:
            return
        self.close()
        if token is None:
            self._found = "; ".join(problems) or (
                f"no token in {Path(self._files.tokens[0])}: `actorctl keys token {self._name}` on "
                "the broker's host makes one"
            )
            return
        try:
            self._attempt = Enrolling(self._name, self._files, token, self._endpoints)
        except (KeyFileError, OSError) as problem:
            self._refused[token.id] = now_ns, f"{self._name} cannot enrol: {problem}"
            self._found = self._refused[token.id][1]

    def _unused(self, now_ns: int, problems: list[str]) -> Iterator[Token]:
        """The tokens that may be tried; `problems` gets a sentence for each other one."""
        try:
            used = MadeKey(Path(self._files.key or "")).token
        except (KeyFileError, OSError) as problem:
            problems.append(f"{self._name} cannot read its key: {problem}")
            return
        for path in map(Path, self._files.tokens):
            try:
                if not path.is_file():
                    continue
                token = load_token(path)
            except (KeyFileError, OSError) as problem:
                problems.append(str(problem))
                continue
            refused_ns, why = self._refused.get(token.id, (-REFUSED_NS, ""))
            if token.id == used:
                problems.append(
                    f"the token in {path} made the key that is not accepted any more: put a new "
                    "one in its place"
                )
            elif now_ns < refused_ns + REFUSED_NS:
                problems.append(f"{why}; a new token in {path} is taken up")
            else:
                yield token
