"""Messages between processes of one host, by Unix sockets that keep packets apart.

libzmq hands a message to a thread of its own, which hands it to the kernel, and the other end does
the same: each message wakes two threads more than it has to, which is most of what a small one
costs. Here the kernel's sockets (SOCK_SEQPACKET) are used as they are.

A client connects when it sends; its first packet says who it is. The end of a peer is noticed at
once, by both sides. Nothing blocks and nothing is queued in the process: what the kernel does not
take now is not sent. Used by one thread.

Guarantees: a message arrives whole, once, in order, or not at all; whatever a peer sends, `receive`
returns frames or raises WireError, and its memory is bounded by `limits`.

Layout of a packet, little-endian: the number of frames and the length of each as u32, then the
frames. Those of a message that is larger than `LARGE_BYTES` lie in a file in memory instead, whose
descriptor comes with the packet, and the packet ends with the message's number as u64. The file
begins with that number, which is 0 while it is written; then come the frames. Files are written
over in turn: to make one for each message would take three times as long as to copy three images.
A reader that is too late finds another number, and drops the message.
"""

from __future__ import annotations

import array
import contextlib
import errno
import os
import select
import socket
import struct
import time
from collections.abc import Collection, Sequence

from ..errors import WireError
from . import sockets
from .arrays import Buffer
from .limits import DEFAULT, Limits
from .poll import Poll, Source

LARGE_BYTES = 1 << 16
"""Well below what a Unix socket takes at once (208 KiB by default, all messages that wait)."""
_FILES = 4
_NUMBER = struct.Struct("<Q")
_WORD = 4
_BUFFER_BYTES = LARGE_BYTES + _WORD * (DEFAULT.max_frames + 1)
_BACKLOG = 64
MOST_PEERS = 256
"""More than any host has robots. Each may hold five descriptors, and a process has 1024 by
default."""
_ACCEPT_AGAIN_NS = 100_000_000
_IDENTITY_BYTES = 256
_GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)
_FD_BYTES = array.array("i").itemsize
_ANCILLARY_BYTES = socket.CMSG_SPACE(_FD_BYTES)
# Plain numbers: to combine Python's enumerations takes as long as to receive a packet.
_NOW = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
_LOOKED_AT = int(socket.MSG_DONTWAIT | socket.MSG_PEEK)
_RECEIVED = int(socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
_CUT = int(socket.MSG_TRUNC | socket.MSG_CTRUNC)


class _PeerGoneError(Exception):
    """The other end of a connection is closed."""


class PacketClient:
    """A connection to the server at `endpoint`, which knows this end as `identity`."""

    def __init__(self, endpoint: str, identity: str, limits: Limits = DEFAULT) -> None:
        self._path, self._identity, self._limits = _path(endpoint), identity.encode(), limits
        self._socket: socket.socket | None = None
        self._files = _Files()
        self._poll: Poll | None = None
        self._buffer = bytearray(_BUFFER_BYTES)

    def watch(self, poll: Poll) -> None:
        """Wake `poll` for messages."""
        self._poll = poll
        if self._socket is not None:
            poll.add(self._socket.fileno())

    def awake(self, ready: Collection[Source]) -> bool:
        """Whether the poll that returned `ready` was woken by this connection: `receive` then."""
        return self._socket is not None and self._socket.fileno() in ready

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._socket is not None

    def connect(self) -> bool:
        """Whether there is a connection, which is made now if there was none."""
        if self._socket is not None:
            return True
        try:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        except OSError:  # this process, or the machine, has no descriptor to spare
            return False
        try:
            made.connect(self._path)
            made.send(self._identity, _NOW)
        except OSError:  # nothing listens there, or its queue is full
            made.close()
            return False
        self._socket = made
        if self._poll is not None:
            self._poll.add(made.fileno())
        return True

    def send(self, frames: Sequence[Buffer]) -> bool:
        """Send all frames or nothing. False: nothing listens there, its queue is full, or it has
        ended: then `receive` gives what it had sent before, and makes room for another
        connection."""
        if self._socket is None and not self.connect():
            return False
        assert self._socket is not None, "connected above"
        try:
            return _send(self._socket, frames, self._files)
        except _PeerGoneError:
            return False  # not closed: what it sent before its end is still to be received

    def receive(self) -> list[Buffer] | None:
        """The frames of the next message; None if there is none. Raises WireError."""
        if self._socket is None:
            return None
        try:
            packet = _receive(self._socket, self._buffer, self._limits)
        except _PeerGoneError:
            self.close()
            return None
        return packet

    def close(self) -> None:
        """End the connection, in forked children too; what was sent still arrives. `send` makes
        another."""
        if self._socket is not None:
            if self._poll is not None:
                self._poll.remove(self._socket.fileno())
            _end(self._socket)
            self._socket = None
            self._files.close()


class PacketServer:
    """Listens at `endpoint`. A peer that comes with the identity of one that is still connected
    takes its place with `handover`; without, it is refused.

    At most `most_peers` are connected: a connection beyond them is closed, or the oldest that has
    not said who it is. While the process has no descriptor for one that comes, it waits.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        handover: bool = True,
        limits: Limits = DEFAULT,
        most_peers: int = MOST_PEERS,
    ) -> None:
        sockets.unlink_stale(endpoint)
        self.endpoint, self._handover, self._limits = endpoint, handover, limits
        self._most_peers = most_peers
        self._accept_ns: int | None = None
        """When to try again to accept a connection, if there was no descriptor for it."""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self._listener.bind(_path(endpoint))
        self._listener.listen(_BACKLOG)
        self._peers: dict[int, socket.socket] = {}
        self._identities: dict[int, bytes] = {}
        self._files: dict[int, _Files] = {}
        self._named: dict[bytes, socket.socket] = {}
        self._poll: Poll | None = None
        self._buffer = bytearray(_BUFFER_BYTES)

    def watch(self, poll: Poll) -> None:
        """Wake `poll` for connections and messages."""
        self._poll = poll
        for fd in (self._listener.fileno(), *self._peers):
            poll.add(fd)

    def ready(self, awake: Collection[Source]) -> list[int]:
        """Accept who comes; the connections that the poll that returned `awake` was woken by: call
        `receive` for each. Call it in every turn of the poll, several times a second."""
        if self._accept_ns is not None:
            if time.monotonic_ns() >= self._accept_ns:
                self._accept()
        elif self._listener.fileno() in awake:
            self._accept()
        return [fd for fd in self._peers if fd in awake]

    def receive(self, fd: int) -> tuple[bytes, list[Buffer]] | None:
        """The identity and the frames of the next message of a connection; None if there is none.
        Raises WireError."""
        peer = self._peers.get(fd)
        if peer is None:
            return None
        identity = self._identities.get(fd)
        try:
            if identity is None:
                self._introduce(fd, peer)
                return None
            frames = _receive(peer, self._buffer, self._limits)
        except _PeerGoneError:
            self._drop(fd)
            return None
        return None if frames is None else (identity, frames)

    def send(self, identity: bytes, frames: Sequence[Buffer]) -> bool:
        """Send all frames or nothing to that peer. False: it is gone, or its queue is full."""
        peer = self._named.get(identity)
        if peer is None:
            return False
        try:
            return _send(peer, frames, self._files[peer.fileno()])
        except _PeerGoneError:
            del self._named[identity]  # not dropped: what it sent is still to be received
            return False

    def has(self, identity: bytes) -> bool:
        """Whether that peer is connected, as far as was noticed."""
        return identity in self._named

    def close(self) -> None:
        """End all connections, and remove the socket's file; what was sent still arrives."""
        for fd in list(self._peers):
            self._drop(fd)
        self._listen(now=False)
        self._listener.close()
        sockets.unlink_stale(self.endpoint)

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except BlockingIOError:
                self._listen(now=True)
                return
            except OSError:
                # No descriptor, or no memory. What comes goes on waiting in the kernel, and would
                # wake the poll at once again.
                self._listen(now=False)
                self._accept_ns = time.monotonic_ns() + _ACCEPT_AGAIN_NS
                return
            peer.settimeout(0.0)
            self._admit(peer)

    def _listen(self, *, now: bool) -> None:
        """Let connections wake the poll, or not."""
        listened, self._accept_ns = self._accept_ns is None, None
        if self._poll is None or listened is now:
            return
        if now:
            self._poll.add(self._listener.fileno())
        else:
            self._poll.remove(self._listener.fileno())

    def _admit(self, peer: socket.socket) -> None:
        """Keep a connection, if there is a place for it."""
        if len(self._peers) >= self._most_peers:
            # One that keeps a place without saying who it is must not keep it from others. A
            # client says it with its connection.
            silent = next((fd for fd in self._peers if fd not in self._identities), None)
            if silent is None:
                _end(peer)
                return
            self._drop(silent)
        fd = peer.fileno()
        self._peers[fd], self._files[fd] = peer, _Files()
        if self._poll is not None:
            self._poll.add(fd)
        try:
            self._introduce(fd, peer)
        except _PeerGoneError:
            self._drop(fd)

    def _introduce(self, fd: int, peer: socket.socket) -> None:
        """Read the first packet of a connection: the identity of its peer."""
        try:
            identity = peer.recv(_IDENTITY_BYTES, _LOOKED_AT)
        except BlockingIOError:
            return
        except OSError as error:
            raise _PeerGoneError from error
        if not identity:
            raise _PeerGoneError
        for other in [fd for fd, known in self._identities.items() if known == identity]:
            if _ended(self._peers[other]):
                return  # what it had sent is received first
            if not self._handover:
                raise _PeerGoneError
            self._drop(other)
        peer.recv(_IDENTITY_BYTES, _NOW)
        self._identities[fd], self._named[identity] = identity, peer

    def _drop(self, fd: int) -> None:
        peer = self._peers.pop(fd)
        self._files.pop(fd).close()
        identity = self._identities.pop(fd, None)
        if identity is not None and self._named.get(identity) is peer:
            del self._named[identity]
        if self._poll is not None:
            self._poll.remove(fd)
        _end(peer)


def _path(endpoint: str) -> str:
    return endpoint.removeprefix("ipc://")


def _end(peer: socket.socket) -> None:
    with contextlib.suppress(OSError):
        peer.shutdown(socket.SHUT_RDWR)  # forked children may have it too
    peer.close()


def _ended(peer: socket.socket) -> bool:
    """Whether the other end is closed, also where what it sent is still to be received."""
    asked = select.poll()
    asked.register(peer, 0)
    return bool(asked.poll(0))


class _Files:
    """The files of the large messages that one end of a connection sends; `sent` is how many it has
    sent. The last `_FILES` of them are in the files."""

    def __init__(self) -> None:
        self._fds: list[int] = []
        self.sent = 0

    def write(self, frames: Sequence[Buffer]) -> tuple[int, int]:
        """Write the message that is to be sent next; the descriptor of its file, and its number."""
        number, turn = self.sent + 1, self.sent % _FILES
        if turn == len(self._fds):
            self._fds.append(os.memfd_create("message", os.MFD_CLOEXEC))
        fd = self._fds[turn]
        os.pwrite(fd, bytes(_NUMBER.size), 0)
        os.pwritev(fd, frames, _NUMBER.size)
        os.pwrite(fd, _NUMBER.pack(number), 0)
        return fd, number

    def close(self) -> None:
        fds, self._fds, self.sent = self._fds, [], 0
        for fd in fds:
            os.close(fd)


def _send(peer: socket.socket, frames: Sequence[Buffer], files: _Files) -> bool:
    lengths = [len(frame) for frame in frames]
    head = struct.pack(f"<{len(lengths) + 1}I", len(lengths), *lengths)
    try:
        if sum(lengths) <= LARGE_BYTES:
            peer.sendmsg((head, *frames), (), _NOW)
        else:
            fd, number = files.write(frames)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))
            peer.sendmsg((head, _NUMBER.pack(number)), [rights], _NOW)
            files.sent = number
    except OSError as error:
        if error.errno in _GONE:
            raise _PeerGoneError from error
        return False
    return True


def _receive(peer: socket.socket, buffer: bytearray, limits: Limits) -> list[Buffer] | None:
    try:
        size, ancillary, flags, _ = peer.recvmsg_into((buffer,), _ANCILLARY_BYTES, _RECEIVED)
    except BlockingIOError:
        return None
    except ConnectionResetError:  # said once, before what the peer had sent
        return _receive(peer, buffer, limits)
    except OSError as error:
        raise _PeerGoneError from error
    if not size:
        raise _PeerGoneError
    packet = memoryview(buffer)[:size]
    if not ancillary and not flags & _CUT:
        return _frames(packet, None, limits)
    fds = array.array("i")
    for _, _, data in ancillary:
        fds.frombytes(data[: len(data) - len(data) % _FD_BYTES])
    try:
        if flags & socket.MSG_TRUNC:
            raise WireError("frames", f"a packet of more than {len(buffer)} bytes")
        if flags & socket.MSG_CTRUNC:
            raise WireError("frames", "more files than one, or no descriptor is left for it")
        return _frames(packet, fds[0], limits)
    finally:
        for fd in fds:
            os.close(fd)


def _frames(packet: memoryview, fd: int | None, limits: Limits) -> list[Buffer]:
    """The frames of a packet, which lie in the file `fd` if there is one."""
    count = struct.unpack_from("<I", packet)[0] if len(packet) >= _WORD else 0
    head_bytes = _WORD * (count + 1)
    if not 1 <= count <= limits.max_frames or len(packet) < head_bytes:
        raise WireError("frames", f"a packet of {count} frames; 1 to {limits.max_frames} can be")
    lengths = struct.unpack_from(f"<{count}I", packet, _WORD)
    total = sum(lengths)
    if total > limits.max_message_bytes:
        raise WireError("message-bytes", f"a message of {total} bytes")
    if len(packet) != head_bytes + (total if fd is None else _NUMBER.size):
        raise WireError("frames", f"a packet of {len(packet)} bytes for frames of {total}")
    if fd is not None:
        return _in_file(fd, lengths, packet[head_bytes:].tobytes())
    frames: list[Buffer] = []
    at = head_bytes
    for length in lengths:
        # Copied, so that the buffer is free again and every array is aligned.
        frames.append(packet[at : at + length].tobytes())
        at += length
    return frames


def _in_file(fd: int, lengths: Sequence[int], number: bytes) -> list[Buffer]:
    """The frames of those lengths in the file `fd`, if it still has the message of that number."""
    try:
        if os.fstat(fd).st_size < _NUMBER.size + sum(lengths):
            raise WireError("frames", f"less than {sum(lengths)} bytes in the file of a message")
        before, at, frames = os.pread(fd, _NUMBER.size, 0), _NUMBER.size, list[Buffer]()
        for length in lengths:
            frames.append(os.pread(fd, length, at))
            at += length
        after = os.pread(fd, _NUMBER.size, 0)
    except OSError as error:
        raise WireError("frames", f"the file of a message cannot be read: {error}") from error
    if not before == after == number:
        raise WireError("frames", "a message whose file was written over before it was read")
    return frames
