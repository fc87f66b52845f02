"""ZeroMQ sockets, constructed and used in one place.

Every socket is used by one thread. Nothing here blocks: `send` and `receive` return the outcome,
and callers poll. What cannot be sent is dropped, for the caller to count: queues would make robots
act on the past. The caller decides whether a peer is alive, by its progress; connections of a host
that vanished are closed by the kernel (TCP keepalive).

ZMTP heartbeats stay off. libzmq 4.3.5 aborts the process (`Assertion failed: !_io_error`) when one
falls due on a connection whose peer died while the receive queue was full: a process that is
starved for a moment would then be killed by the death of another.

Does not guarantee: that memory is bounded against a peer that never ends a message. libzmq bounds
each frame, but keeps the frames of an unfinished message however many they are. Therefore an
endpoint is in the locked runtime directory, or on loopback, or has keys.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import zmq
from numpy.typing import NDArray

from ..errors import KeyFileError, WireError
from .arrays import Buffer
from .keys import DOMAIN, Authenticator, Key, PublicKey, Role
from .limits import DEFAULT, Limits

Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]

RECONNECT_MS = 50
RECONNECT_MAX_MS = 250
RECONNECT_MAX_LOCAL_MS = 100  # an attempt on this host is cheap, and a plan lasts a second
CONNECT_TIMEOUT_MS = 1000
"""After which another attempt is made. Linux repeats a lost SYN after 1, 3, 7, 15 s: after a path
was lost for 10 s that alone would take another 5."""
KEEPALIVE_S = 1
KEEPALIVE_PROBES = 3
HANDSHAKE_MS = 5000
DEALER_HWM = 4
ROUTER_HWM = 8
COPIED = 4
"""Frames taken as bytes: identity, robot, header, body. Blobs are views of what libzmq received,
which costs 0.7 µs more for a small one and saves 70 µs for a raw image."""
SHARED_BYTES = 1 << 15
"""From this size on a blob that lies in a message of its own is not copied to be sent."""
# Plain numbers: to combine pyzmq's enumerations takes 0.6 µs, and its send_multipart and
# recv_multipart do so, or ask the socket, for every frame: 6 µs of a message of five.
NOW = int(zmq.DONTWAIT)
_AND_MORE = int(zmq.DONTWAIT | zmq.SNDMORE)
_EVENTS = int(zmq.EVENTS)
READABLE, WRITABLE = int(zmq.POLLIN), int(zmq.POLLOUT)
_IPC = "ipc://"
_IPC_MAX = 107  # bytes of sun_path, less its final zero


def dealer(
    context: Context,
    endpoint: str,
    identity: str,
    *,
    key: Key | None = None,
    server: PublicKey | None = None,
    limits: Limits = DEFAULT,
    hwm: int = DEALER_HWM,
    connect: bool = True,
    nonce: str | None = None,
    connect_timeout_ms: int = CONNECT_TIMEOUT_MS,
) -> Socket:
    """A connecting socket whose peer sees it as `identity` (`name:incarnation`).

    Messages are queued for a completed connection only (IMMEDIATE), at most `hwm`. With `key` and
    the `server`'s public key the connection is encrypted and both ends are authenticated. Without
    `connect` that is left to the caller. With a key the identity ends in `nonce`, by default a new
    one: the same keeps the identity of a socket that this one replaces.
    """
    socket = _socket(context, zmq.DEALER, hwm, limits)
    if key is not None:
        # A ROUTER gives an identity to the last peer that connects with it. The owner of another
        # key could not send as this peer, but would get its replies by guessing the identity.
        identity += f":{nonce or secrets.token_hex(8)}"
    socket.setsockopt(zmq.IDENTITY, identity.encode())
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    local = endpoint.startswith(_IPC)
    most = RECONNECT_MAX_LOCAL_MS if local else RECONNECT_MAX_MS
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, most)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, connect_timeout_ms)
    if key is not None:
        if server is None:
            raise KeyFileError(f"a connection to {endpoint} needs the server's public key too")
        socket.curve_secretkey = key.secret
        socket.curve_publickey = key.public
        socket.curve_serverkey = server.public
    if connect:
        socket.connect(endpoint)
    return socket


def router(
    context: Context,
    endpoint: str,
    *,
    key: Key | None = None,
    authenticator: Authenticator | None = None,
    handover: bool = True,
    limits: Limits = DEFAULT,
    hwm: int = ROUTER_HWM,
) -> Socket:
    """A bound socket that routes by the peer's identity, the first frame of what it receives.

    Sending to an unknown peer or a full queue fails at once (MANDATORY). With `handover` a peer
    that comes back under an identity that is still connected takes it over: the old connection may
    be half-open; without, it is not heard until that ends. With `key` only peers that the
    `authenticator`, of the same context, lets in can connect. At most `hwm` messages of each peer,
    and for each, are kept.
    """
    if (key is None) is not (authenticator is None):
        # Without an authenticator libzmq accepts every key.
        raise ValueError("a ROUTER takes a key and an authenticator, or neither")
    socket = _socket(context, zmq.ROUTER, hwm, limits)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.IPV6, int("[" in endpoint))
    # The connection that is replaced is not closed on ipc (libzmq 4.3.5): its peer goes on sending
    # into the void, and notices only by the silence.
    socket.setsockopt(zmq.ROUTER_HANDOVER, int(handover))
    if key is not None:
        socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
        socket.curve_server = True
        socket.curve_secretkey = key.secret
        socket.curve_publickey = key.public
    socket.bind(endpoint)
    return socket


def send(socket: Socket, frames: Sequence[Buffer], *, copy: bool = True) -> bool:
    """Send all frames or nothing, without blocking. False: the queue is full or the peer is gone.

    With `copy=False` large frames are sent from where they lie, which must then stay as it is.
    """
    try:
        send_now(socket, frames, copy=copy)
    except zmq.ZMQError as error:
        if error.errno in (zmq.EAGAIN, zmq.EHOSTUNREACH):
            return False
        raise
    return True


def send_now(socket: Socket, frames: Sequence[Buffer | zmq.Frame], *, copy: bool = True) -> None:
    """`send` that raises zmq.ZMQError with the reason: EAGAIN, EHOSTUNREACH."""
    *parts, last = frames
    for part in parts:
        socket.send(_shared(part), _AND_MORE, copy)
    socket.send(_shared(last), NOW, copy)


def packed(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy of `pixels` in the memory of a message: `send` takes it from there without another.

    It is to be left as it is from then on.
    """
    frame = zmq.Frame(pixels, copy=True)
    return np.ndarray(pixels.shape, np.uint8, frame.buffer)


def _shared(part: Buffer | zmq.Frame) -> Buffer | zmq.Frame:
    """The message that `part` is the whole memory of, if that is large; else `part`."""
    if type(part) is memoryview and part.nbytes >= SHARED_BYTES:
        frame = part.obj
        if isinstance(frame, zmq.Frame) and len(frame) == part.nbytes:
            return frame
    return part


def receive(socket: Socket, limits: Limits = DEFAULT) -> list[Buffer] | None:
    """The frames of the next message, a ROUTER's with the identity first; None if there is none.

    Raises WireError (`frames`, `message-bytes`) for a message beyond the limits, whose remaining
    frames are dropped without being kept: call again for the next message.
    """
    try:
        part = socket.recv(NOW, copy=False)
    except zmq.Again:
        return None
    frames: list[Buffer] = [part.bytes]
    total = len(part)
    while part.more:
        part = socket.recv(NOW, copy=False)
        total += len(part)
        # Two more than a message has: an identity, and the robot's name between broker and replica.
        if len(frames) >= limits.max_frames + 2:
            _skip(socket, part)
            raise WireError("frames", f"more than {limits.max_frames} frames")
        if total > limits.max_message_bytes:
            _skip(socket, part)
            raise WireError("message-bytes", f"more than {limits.max_message_bytes} bytes")
        frames.append(part.bytes if len(frames) < COPIED else part.buffer)
    return frames


def has_message(socket: Socket) -> bool:
    """Whether a message can be received now. Half as expensive as to receive none."""
    return bool(int(socket.getsockopt(_EVENTS)) & READABLE)


@lru_cache(maxsize=1024)
def peer(identity: bytes, user: str = "", role: Role | None = None) -> tuple[str, int]:
    """Name and incarnation that a ROUTER's identity frame says, `name:incarnation`.

    Raises WireError("identity") if it says none, or if `user`, whose key the connection has
    (`role:name`), is of another role than `role`, or of another name. The key of a robot `name` is
    also that of `name/1`, `name/2`, ...: one actor speaks for many clients.
    """
    name, _, rest = identity.partition(b":")
    try:
        found = name.decode("ascii"), int(rest.partition(b":")[0] or 0)
    except ValueError as error:
        raise WireError("identity", f"a peer calls itself {identity!r}: not a name") from error
    # For a peer without one libzmq makes an identity up: a zero byte, then any four bytes.
    if not 1 <= len(name) <= DEFAULT.max_name_chars or not found[0].isprintable() or found[1] < 0:
        raise WireError("identity", f"a peer calls itself {identity!r}: not a name")
    owner = found[0].partition("/")[0] if role is Role.ROBOT else found[0]
    if user and user not in (f"{role}:{owner}", f"{role}:{found[0]}"):
        raise WireError("identity", f"the key of {user} was used by {role}:{found[0]}")
    return found


def ipc(directory: Path, name: str) -> str:
    """The endpoint of the socket file `name` in the runtime `directory`."""
    path = directory / name
    if len(bytes(path)) > _IPC_MAX:
        raise ValueError(
            f"the socket path {path} is longer than the {_IPC_MAX} bytes that a Unix socket "
            "allows: use a shorter runtime directory"
        )
    return f"{_IPC}{path}"


def path_of(endpoint: str) -> str:
    """The path of the socket file of an ipc `endpoint`."""
    return endpoint.removeprefix(_IPC)


def is_ipc(endpoint: str) -> bool:
    """Whether `endpoint`, as a peer named it, is an absolute path that a Unix socket can have."""
    path = path_of(endpoint)
    fits = len(path.encode(errors="surrogatepass")) <= _IPC_MAX and path.isprintable()
    return endpoint.startswith(f"{_IPC}/") and fits


def is_reachable(endpoint: str) -> bool:
    """Whether the file of an ipc `endpoint` is there, and this user may connect to it."""
    return os.access(path_of(endpoint), os.W_OK)


def unlink_stale(endpoint: str) -> bool:
    """Remove the socket file of an ipc `endpoint` that a dead owner left; True if there was one.

    Only for the holder of the runtime directory's lock: binding a path that is alive steals it.
    """
    if not endpoint.startswith(_IPC):
        return False
    path = Path(path_of(endpoint))
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return False
    if not is_socket:
        raise ValueError(f"{path} is not a socket: remove it, or use another runtime directory")
    path.unlink()
    return True


def _socket(context: Context, kind: int, hwm: int, limits: Limits) -> Socket:
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, hwm)
    socket.setsockopt(zmq.RCVHWM, hwm)
    socket.setsockopt(zmq.MAXMSGSIZE, limits.max_blob_bytes)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, KEEPALIVE_S)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, KEEPALIVE_S)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, KEEPALIVE_PROBES)
    socket.setsockopt(zmq.TCP_MAXRT, KEEPALIVE_PROBES * KEEPALIVE_S * 1000)
    return socket


def _skip(socket: Socket, part: zmq.Frame) -> None:
    while part.more:
        part = socket.recv(NOW, copy=False)
