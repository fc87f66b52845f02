"""The link between the supervisor and one actor: boot, descriptors, commands, replies, lifeline.

It is a unix SOCK_SEQPACKET socket pair: messages keep their boundaries, arrive in order and may
carry descriptors, and the death of either side is an end-of-file at the other. Each packet is one
MessagePack-encoded struct of link_messages.py; a boot or a reconfiguration that is larger than a
packet lies in a file without a name, whose descriptor comes in its place. Guaranteed: sending never
blocks the actor; a message that does not fit into the socket's buffer, because the supervisor
stopped reading, is dropped.

The link does not show whether the actor is alive (its board does), and carries no bulk data.
"""

from __future__ import annotations

import array
import contextlib
import os
import select
import signal
import socket
from typing import Any

import msgspec

from . import unnamed_file
from .command_packet import packed
from .link_messages import (
    BootMessage,
    Command,
    CommandReply,
    Descriptors,
    ExitReason,
    FromActor,
    FromSupervisor,
    LargeMessage,
    ReadyMessage,
    Reconfiguration,
)

MAX_PACKET = 128 * 1024
"""Bytes of the largest message that is sent as it is; a receiver would cut a larger packet."""
FDS_PER_PACKET = 128
"""Linux carries at most 253 descriptors in one message."""
PACKETS_PER_CALL = 64

_encode = msgspec.msgpack.Encoder().encode
_decode_at_actor = msgspec.msgpack.Decoder(FromSupervisor).decode
_decode_at_supervisor = msgspec.msgpack.Decoder(FromActor).decode


def pair() -> tuple[socket.socket, socket.socket]:
    """A new link's two sockets: the supervisor's (non-blocking) and the actor's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, theirs


class Link:
    """The actor's end, for one thread. `fileno()` polls readable when `commands()` has something to
    return: a command, the end of the supervisor, or a signal that asks to stop.

    >>> ours, theirs = pair()
    >>> supervisor, link = SupervisorLink(ours), Link(theirs)
    >>> supervisor.command("pause", id=3)
    True
    >>> [command.verb for command in link.commands()]
    ['pause']
    >>> link.acknowledge(3, {"paused": True})
    >>> supervisor.messages()[0]
    [CommandReply(id=3, result={'paused': True}, error=None)]
    >>> supervisor.close()  # the actor has to end by itself now
    >>> link.commands(), link.orphaned, link.stopping
    ([], True, True)
    >>> link.close()
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._signal_in, self._signal_out = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._epoll = select.epoll()
        self._epoll.register(sock, select.EPOLLIN)
        self._epoll.register(self._signal_in, select.EPOLLIN)
        self.stopping = False
        self.reconfigurations: list[tuple[Reconfiguration, list[int]]] = []
        """Those that `commands` has read, with their descriptors, which the caller owns."""
        self._incomplete: tuple[Reconfiguration, list[int]] | None = None
        self.orphaned = False
        """The supervisor is gone, so that this actor is neither restarted nor killed: it must end
        by itself."""

    def catch_signals(self) -> None:
        """Make SIGTERM and SIGINT mean `stop`, and wake every poll on `fileno()`. Main thread
        only."""

        def stop(_signum: int, _frame: object) -> None:
            self.stopping = True

        signal.set_wakeup_fd(self._signal_out, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)

    def fileno(self) -> int:
        return self._epoll.fileno()

    def commands(self) -> list[Command]:
        """The commands that arrived since the last call; never blocks. `stop` is not among them:
        it sets `stopping`, as the end of the supervisor and SIGTERM do."""
        received: list[Command] = []
        if self.orphaned:
            return received
        with contextlib.suppress(BlockingIOError):
            os.read(self._signal_in, 64)
        while True:
            try:
                packet, fds, _, _ = socket.recv_fds(
                    self._sock, MAX_PACKET, FDS_PER_PACKET, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return received
            except ConnectionError:
                packet = b""
            if not packet:
                # Polls would spin on a socket at its end for as long as it is registered.
                self._epoll.unregister(self._sock)
                self.orphaned = self.stopping = True
                return received
            message = _message(packet, fds)
            self._collect(message, fds)
            if not isinstance(message, Command):
                continue
            if message.verb == "stop":
                self.stopping = True
                self.acknowledge(message.id)
            else:
                received.append(message)

    def acknowledge(self, id: int, result: Any = None, error: str | None = None) -> None:
        """Answer the command `id`; the client that sent it gets `result` or `error`. A larger
        answer than a packet carries is an error."""
        reply = CommandReply(id, result, error)
        if (size := len(_encode(reply))) > MAX_PACKET:
            reply = CommandReply(
                id, error=f"its answer takes {size} bytes, at most {MAX_PACKET} are allowed"
            )
        self._send(reply)

    def ready(self, info: dict[str, Any], hang_timeout_s: float = 0.0) -> None:
        self._send(ReadyMessage(info, hang_timeout_s))

    def report_exit(self, reason: str) -> None:
        self._send(ExitReason(reason))

    def close(self) -> None:
        for _, fds in self.reconfigurations:
            _close(fds)
        self._drop_incomplete()
        self._epoll.close()
        self._sock.close()
        os.close(self._signal_in)
        os.close(self._signal_out)

    def _collect(self, message: FromSupervisor, fds: list[int]) -> None:
        """Take the descriptors that came with `message`: a reconfiguration's may come in parts."""
        if isinstance(message, Reconfiguration):
            self._drop_incomplete()
            self._incomplete = message, fds
        elif isinstance(message, Descriptors) and self._incomplete is not None:
            self._incomplete[1].extend(fds)
        else:
            _close(fds)
            return
        if len(self._incomplete[1]) >= len(self._incomplete[0].segments):
            self.reconfigurations.append(self._incomplete)
            self._incomplete = None

    def _drop_incomplete(self) -> None:
        if self._incomplete is not None:
            _close(self._incomplete[1])
            self._incomplete = None

    def _send(self, message: FromActor) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self._sock.send(_encode(message))


class SupervisorLink:
    """The supervisor's end of one actor's link."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.closed = False
        """The actor's end is known to be closed."""

    def fileno(self) -> int:
        return self._sock.fileno()

    def boot(self, message: BootMessage, fds: list[int]) -> None:
        """Send the boot and the descriptors of its segment table. They fit the socket's buffer:
        a warm spare or a new process has received nothing before."""
        self._send_in_parts(message, fds)

    def command(self, verb: str, args: dict[str, Any] | None = None, id: int = 0) -> bool:
        """Send a command; False when the actor is gone or no longer reads its link. Raises
        ValueError for one that cannot be encoded or is too large."""
        packet = packed(Command(verb, args or {}, id))
        try:
            self._sock.send(packet)
        except (BlockingIOError, ConnectionError):
            return False
        return True

    def reconfigure(self, message: Reconfiguration, fds: list[int]) -> bool:
        """Send a changed configuration and the descriptors of its segments; False when the actor is
        gone or no longer reads its link, or the system allows no more descriptors on their way."""
        try:
            self._send_in_parts(message, fds)
        except OSError:
            return False
        return True

    def messages(self) -> tuple[list[FromActor], bool]:
        """(messages of the actor, whether its end is closed); never blocks. Returns at most
        PACKETS_PER_CALL messages; what does not decode is dropped."""
        received: list[FromActor] = []
        for _ in range(PACKETS_PER_CALL):
            try:
                packet = self._sock.recv(MAX_PACKET)
            except BlockingIOError:
                return received, False
            except ConnectionError:
                packet = b""
            if not packet:
                self.closed = True
                return received, True
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                received.append(_decode_at_supervisor(packet))
        return received, False

    def close(self) -> None:
        self._sock.close()

    def _send_in_parts(self, message: BootMessage | Reconfiguration, fds: list[int]) -> None:
        """Send `message` with as many descriptors as a packet carries, and the rest after it."""
        packet = _encode(message)
        with contextlib.ExitStack() as stack:
            if len(packet) > MAX_PACKET:
                file = stack.enter_context(unnamed_file.holding(packet))
                packet, fds = _encode(LargeMessage()), [file.fileno(), *fds]
            self._send(packet, fds[:FDS_PER_PACKET])
            for start in range(FDS_PER_PACKET, len(fds), FDS_PER_PACKET):
                self._send(_encode(Descriptors()), fds[start : start + FDS_PER_PACKET])

    def _send(self, packet: bytes, fds: list[int]) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self._sock.sendmsg([packet], rights)


def _message(packet: bytes, fds: list[int]) -> FromSupervisor:
    """The message in a packet; a large one is read from the first of `fds`, which is removed."""
    message: FromSupervisor = _decode_at_actor(packet)
    if isinstance(message, LargeMessage):
        message = _decode_at_actor(unnamed_file.content(fds.pop(0)))
    return message


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def send_ready(sock: socket.socket) -> None:
    """Report on a new actor's socket that it would receive a boot at once."""
    with contextlib.suppress(ConnectionError):
        sock.send(_encode(ReadyMessage()))


def receive_boot(sock: socket.socket) -> tuple[BootMessage, list[int]] | None:
    """Wait for (boot, descriptors) on a new actor's socket; None when the supervisor is gone. A
    command before the boot is a ping, and is answered."""
    boot: BootMessage | None = None
    fds: list[int] = []
    sock.setblocking(True)
    while boot is None or len(fds) < len(boot.segments):
        # Close-on-exec, so that no program an actor starts keeps its segments alive.
        packet, rights, _, _ = socket.recv_fds(
            sock, MAX_PACKET, FDS_PER_PACKET, socket.MSG_CMSG_CLOEXEC
        )
        if not packet:
            return None
        message = _message(packet, rights)
        fds += rights
        if isinstance(message, BootMessage):
            boot = message
        elif isinstance(message, Command):
            sock.send(_encode(CommandReply(message.id)))
    return boot, fds
