"""`Enrolling`: a peer asks the brokers to accept a key of its own, with a token that it was given.

Nothing blocks: `turn` is called several times a second until it says that the key is accepted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import zmq

from ...errors import RefusedError, WireError
from ...transport import key_file, messages, sockets
from ...transport.bodies import Reject
from ...transport.connection import Condition, Connection
from ...transport.enrolment_tokens import Token
from ...transport.header import Header, Kind
from ...transport.key_bodies import Enrol, Enrolled
from ...transport.keys import Role
from .key_files import KeyFiles
from .made_key import MadeKey

ASK_NS = 1_000_000_000
"""How often an answer is asked for."""
LOST_AFTER_NS = 3_000_000_000
SILENT_NS = 5_000_000_000
"""After so long without an answer a broker is one that does not know how to enrol."""


class Enrolling:
    """One attempt for the peer `name`. The broker that issued `token` is one of those at
    `endpoints`; which one is not known. Raises KeyFileError and OSError."""

    def __init__(self, name: str, files: KeyFiles, token: Token, endpoints: Sequence[str]) -> None:
        assert files.key is not None, "with tokens there is the place of the key"
        self.token = token
        self._name, self._files = name, files
        self._made = MadeKey(Path(files.key))
        self._own = self._made.made(name, token)
        self._context: sockets.Context = zmq.Context()
        self._links = [
            Connection(
                self._context,
                endpoint,
                f"{name}:0",
                key=token.key,
                server=token.broker,
                lost_after_ns=LOST_AFTER_NS,
            )
            for endpoint in endpoints
        ]
        # Between broker and replica a robot's name comes first.
        self._ahead = [b""] if token.role is Role.REPLICA else []
        self._ask_ns = [0] * len(self._links)
        self._asked_ns: int | None = None
        """When the first question was sent that has had no answer."""
        self._held = ""

    @property
    def reason(self) -> str:
        """Why the key is not accepted yet: of several brokers only one is the token's."""
        return f"{self._name} enrols: {self._held or self._unanswered()}"

    @property
    def sockets(self) -> list[sockets.Socket]:
        """The present ones, to wait for."""
        return [link.socket for link in self._links]

    def turn(self, now_ns: int) -> bool:
        """Receive what has arrived and ask where it is time; True once the key is accepted and all
        files are written. Raises RefusedError where the broker refuses, KeyFileError, OSError."""
        for k, link in enumerate(self._links):
            link.connected()
            link.tick(now_ns)
            if link.condition is Condition.OPEN and now_ns >= self._ask_ns[k]:
                self._ask(link)
                self._ask_ns[k] = now_ns + ASK_NS
                self._asked_ns = self._asked_ns or now_ns
            answer = self._answer(link, now_ns)
            if isinstance(answer, Enrolled):
                self._accepted(answer)
                return True
            if isinstance(answer, Reject):
                if answer.final:
                    raise RefusedError(f"{self._name} may not enrol: {answer.message}")
                self._held = answer.message
                self._ask_ns[k] = now_ns + round(answer.retry_after_s * 1e9)
        return False

    def close(self) -> None:
        """End the connections."""
        for link in self._links:
            link.close()
        self._context.destroy(linger=0)

    def _ask(self, link: Connection) -> None:
        header = Header(Kind.ENROL, token=time.monotonic_ns())
        question = messages.encode(header, Enrol(name=self._name, key=self._own.public.decode()))
        sockets.send(link.socket, [*self._ahead, *question])

    def _answer(self, link: Connection, now_ns: int) -> Enrolled | Reject | None:
        try:
            frames = sockets.receive(link.socket)
            if frames is None:
                return None
            link.heard(now_ns)
            body = messages.decode(frames[len(self._ahead) :]).body
        except WireError:
            return None
        return body if isinstance(body, Enrolled | Reject) else None

    def _accepted(self, answer: Enrolled) -> None:
        for path in map(Path, self._files.brokers):
            self._write_broker(path, answer)
        self._made.accept(self._own, self.token)

    def _write_broker(self, path: Path, answer: Enrolled) -> None:
        """The public key of the broker that `path` is called by, unless it is there."""
        issuer = self.token.broker
        name = path.stem.replace("@", "/")
        known = {**answer.brokers, issuer.peer.name: issuer.public.decode()}
        if path.is_file():
            return
        if not key_file.Z85.fullmatch(known.get(name, "").encode()):
            raise RefusedError(
                f"{issuer.peer.name} does not know the key of {name}: copy its .pub file into "
                "that broker's directory of keys"
            )
        lines = [f"name {name}", f"role {Role.BROKER}", f"public {known[name]}"]
        key_file.replace(path, lines, 0o644)

    def _unanswered(self) -> str:
        broker = self.token.broker.peer.name
        conditions = {link.condition for link in self._links}
        if Condition.REFUSED in conditions:
            return (
                f"{broker} does not know the token {self.token.id}: it was withdrawn; make a new "
                "one"
            )
        if Condition.OPEN in conditions:
            if self._asked_ns and time.monotonic_ns() - self._asked_ns > SILENT_NS:
                return f"{broker} is connected and does not answer: does its release enrol peers?"
            return f"{broker} has not answered yet"
        reasons = [link.reason for link in self._links if link.condition is not Condition.ENDED]
        return "; ".join(filter(None, reasons)) or f"{broker} has not answered yet"
