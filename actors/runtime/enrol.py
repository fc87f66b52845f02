"""A peer makes its own key, and enrols it at a broker with the token that it was given.

The key is written (0600) before it is asked for, so that a peer that is killed in between asks for
the same one again. Once it is accepted the token is not used again; another token in its place
makes another key, unless the first one still has the name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import zmq

from ...errors import KeyFileError, RefusedError, WireError
from ...transport import key_file, messages, sockets
from ...transport.bodies import Reject
from ...transport.connection import Condition, Connection
from ...transport.enrolment_tokens import Token, load_token
from ...transport.header import Header, Kind
from ...transport.key_bodies import Enrol, Enrolled
from ...transport.keys import Key, KeyOwner, Role, load

ASK_S = 1.0
"""How often an answer is asked for."""
TURN_MS = 100
LOST_AFTER_NS = 3_000_000_000


def enrolled(
    name: str,
    key: Path,
    token_file: Path,
    broker_keys: Sequence[Path],
    endpoints: Sequence[str],
    wait: Callable[[str], None],
) -> None:
    """See to it that `key` is a key of `name` that the brokers accept, and that their `broker_keys`
    are there. Where it is not enrolled with this token yet, it is made, and the broker is asked at
    all `endpoints`, of which one is the token's.

    Calls `wait` several times a second with what it waits for, and ends by what that raises. Raises
    RefusedError where the token is no token, or the broker refuses it.
    """
    try:
        token = load_token(token_file)
        if _is_enrolled(key, token):
            return
        new = key.with_name(f"{key.name}.new")
        own = _made(name, new, token)
        try:
            answer = _ask(name, own, token, endpoints, wait)
        except RefusedError:
            if _is_accepted(key):
                return  # with an earlier token: that key has the name
            raise
        for path in broker_keys:
            _write_broker(path, answer, token)
        _write(new, own, token, accepted=True)
        new.replace(key)
    except (KeyFileError, OSError) as problem:
        raise RefusedError(f"{name} cannot enrol: {problem}") from problem


def _is_accepted(key: Path) -> bool:
    return key.is_file() and b"accepted" in key_file.fields_of(key)


def _is_enrolled(key: Path, token: Token) -> bool:
    return _is_accepted(key) and _token_of(key) == token.id


def _token_of(key: Path) -> str:
    return key_file.text_of(key_file.fields_of(key), b"token")


def _made(name: str, path: Path, token: Token) -> Key:
    """The key that was made for this token, or a new one."""
    if path.is_file() and _token_of(path) == token.id:
        made = load(path)
        if made.peer == KeyOwner(name, token.role):
            return made
    public, secret = zmq.curve_keypair()
    made = Key(KeyOwner(name, token.role), public, secret)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(path, made, token, accepted=False)
    return made


def _write(path: Path, key: Key, token: Token, *, accepted: bool) -> None:
    lines = [f"name {key.peer.name}", f"role {key.peer.role}", f"public {key.public.decode()}"]
    lines += [f"token {token.id}", "accepted yes"][: 1 + accepted]
    key_file.replace(path, [*lines, f"secret {key.secret.decode()}"], 0o600)


def _write_broker(path: Path, answer: Enrolled, token: Token) -> None:
    """The public key of the broker that `path` is called by, unless it is there."""
    name = path.stem.replace("@", "/")
    known = {**answer.brokers, token.broker.peer.name: token.broker.public.decode()}
    if path.is_file():
        return
    if not key_file.Z85.fullmatch(known.get(name, "").encode()):
        raise RefusedError(
            f"{token.broker.peer.name} does not know the key of {name}: copy its .pub file into "
            "that broker's directory of keys"
        )
    lines = [f"name {name}", f"role {Role.BROKER}", f"public {known[name]}"]
    key_file.replace(path, lines, 0o644)


def _ask(
    name: str, own: Key, token: Token, endpoints: Sequence[str], wait: Callable[[str], None]
) -> Enrolled:
    context: sockets.Context = zmq.Context()
    links = [
        Connection(
            context,
            endpoint,
            f"{name}:0",
            key=token.key,
            server=token.broker,
            lost_after_ns=LOST_AFTER_NS,
        )
        for endpoint in endpoints
    ]
    # Between broker and replica a robot's name comes first.
    ahead = [b""] if token.role is Role.REPLICA else []
    question = messages.encode(
        Header(Kind.ENROL, token=time.monotonic_ns()), Enrol(name=name, key=own.public.decode())
    )
    ask_s = dict.fromkeys(range(len(links)), 0.0)
    held = ""
    try:
        while True:
            for k, link in enumerate(links):
                now_ns = time.monotonic_ns()
                link.connected()
                link.tick(now_ns)
                open_ = link.condition is Condition.OPEN
                if open_ and now_ns / 1e9 >= ask_s[k]:
                    sockets.send(link.socket, [*ahead, *question])
                    ask_s[k] = now_ns / 1e9 + ASK_S
                answer = _answer(link, len(ahead), now_ns)
                if isinstance(answer, Enrolled):
                    return answer
                if isinstance(answer, Reject):
                    if answer.final:
                        raise RefusedError(f"{name} may not enrol: {answer.message}")
                    held, ask_s[k] = answer.message, now_ns / 1e9 + answer.retry_after_s
            wait(f"{name} enrols: {held or _reason(links, token)}")
            zmq.select([link.socket for link in links], [], [], TURN_MS / 1000)
    finally:
        for link in links:
            link.close()
        context.destroy(linger=0)


def _answer(link: Connection, ahead: int, now_ns: int) -> Enrolled | Reject | None:
    try:
        frames = sockets.receive(link.socket)
        if frames is None:
            return None
        link.heard(now_ns)
        body = messages.decode(frames[ahead:]).body
    except WireError:
        return None
    return body if isinstance(body, Enrolled | Reject) else None


def _reason(links: Sequence[Connection], token: Token) -> str:
    """Why no answer has come: of several brokers only one is the token's."""
    broker = token.broker.peer.name
    if any(link.condition is Condition.REFUSED for link in links):
        return f"{broker} does not know the token {token.id}: it was withdrawn; make a new one"
    reasons = [link.reason for link in links if link.condition is not Condition.ENDED]
    return "; ".join(filter(None, reasons)) or f"{broker} has not answered yet"
