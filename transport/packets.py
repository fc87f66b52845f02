"""Messages between processes of one host, by Unix sockets that keep packets apart.

libzmq hands a message to a thread of its own, which hands it to the kernel, and the other end does
the same: each message wakes two threads more than it has to, which is most of what a small one
costs. Here the kernel's sockets (SOCK_SEQPACKET) are used as they are: a `PacketClient` connects to
a `PacketServer`, and each of them has a `PacketConnection` to every peer. reference.md has the
layout of a packet, for clients in other languages.

Nothing blocks and nothing is queued in the process: what the kernel does not take now is not sent.

Guarantees: a message arrives whole, once, in order, or not at all; whatever a peer sends, `receive`
returns frames or raises WireError, and its memory is bounded by `limits`.
"""

from __future__ import annotations

import array
import contextlib
import errno
import os
import select
import socket
import struct
from collections.abc import Sequence

from ..errors import WireError
from . import message_files
from .arrays import Buffer
from .limits import DEFAULT, Limits
from .message_files import NUMBER, MessageFiles

LARGE_BYTES = 1 << 16
"""Well below what a Unix socket takes at once (208 KiB by default, all messages that wait)."""
_WORD = 4
BUFFER_BYTES = LARGE_BYTES + _WORD * (DEFAULT.max_frames + 1)
"""The largest packet."""
_GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)
_FD_BYTES = array.array("i").itemsize
_ANCILLARY_BYTES = socket.CMSG_SPACE(_FD_BYTES)
# Plain numbers: to combine Python's enumerations takes as long as to receive a packet.
NOW = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
_RECEIVED = int(socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
_CUT = int(socket.MSG_TRUNC | socket.MSG_CTRUNC)


class PacketConnection:
    """One end of a connection, which it owns from now on; the other end does the same."""

    def __init__(self, made: socket.socket) -> None:
        self.socket, self._files = made, MessageFiles()
        self.fd = made.fileno()

    def send(self, frames: Sequence[Buffer]) -> bool:
        """Send all frames or nothing; False if the queue of the other end is full, or this process
        has no descriptor for a file. Raises ConnectionError if the other end is closed."""
        lengths = [len(frame) for frame in frames]
        head = struct.pack(f"<{len(lengths) + 1}I", len(lengths), *lengths)
        try:
            if sum(lengths) <= LARGE_BYTES:
                self.socket.sendmsg((head, *frames), (), NOW)
            else:
                fd, number = self._files.write(frames)
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))
                self.socket.sendmsg((head, NUMBER.pack(number)), [rights], NOW)
                self._files.sent = number
        except OSError as error:
            if error.errno in _GONE:
                raise ConnectionError from error
            return False
        return True

    def receive(self, buffer: bytearray, limits: Limits) -> list[Buffer] | None:
        """The frames of the next message, by a `buffer` of `BUFFER_BYTES`; None if there is none.
        Raises WireError, and ConnectionError after the last message."""
        try:
            size, ancillary, flags, _ = self.socket.recvmsg_into(
                (buffer,), _ANCILLARY_BYTES, _RECEIVED
            )
        except BlockingIOError:
            return None
        except ConnectionResetError:  # said once, before what the peer had sent
            return self.receive(buffer, limits)
        except OSError as error:
            raise ConnectionError from error
        if not size:
            raise ConnectionError
        packet = memoryview(buffer)[:size]
        if not ancillary and not flags & _CUT:
            return frames_of(packet, None, limits)
        fds = array.array("i")
        for _, _, data in ancillary:
            fds.frombytes(data[: len(data) - len(data) % _FD_BYTES])
        try:
            if flags & socket.MSG_TRUNC:
                raise WireError("frames", f"a packet of more than {len(buffer)} bytes")
            if flags & socket.MSG_CTRUNC:
                raise WireError("frames", "more files than one, or no descriptor is left for it")
            return frames_of(packet, fds[0], limits)
        finally:
            for fd in fds:
                os.close(fd)

    def ended(self) -> bool:
        """Whether the other end is closed, also where what it sent is still to be received."""
        asked = select.poll()
        asked.register(self.socket, 0)
        return bool(asked.poll(0))

    def close(self) -> None:
        """End it, in forked children too; what was sent still arrives."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self._files.close()


def frames_of(packet: memoryview, fd: int | None, limits: Limits) -> list[Buffer]:
    """The frames of a packet, which lie in the file `fd` if there is one. Raises WireError."""
    count = struct.unpack_from("<I", packet)[0] if len(packet) >= _WORD else 0
    head_bytes = _WORD * (count + 1)
    if not 1 <= count <= limits.max_frames or len(packet) < head_bytes:
        raise WireError("frames", f"a packet of {count} frames; 1 to {limits.max_frames} can be")
    lengths = struct.unpack_from(f"<{count}I", packet, _WORD)
    total = sum(lengths)
    if total > limits.max_message_bytes:
        raise WireError("message-bytes", f"a message of {total} bytes")
    if len(packet) != head_bytes + (total if fd is None else NUMBER.size):
        raise WireError("frames", f"a packet of {len(packet)} bytes for frames of {total}")
    if fd is not None:
        return message_files.read(fd, lengths, packet[head_bytes:].tobytes())
    frames: list[Buffer] = []
    at = head_bytes
    for length in lengths:
        # Copied, so that the buffer is free again and every array is aligned.
        frames.append(packet[at : at + length].tobytes())
        at += length
    return frames
