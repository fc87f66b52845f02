"""What the supervisor reads from its actors and from commands on its own machine.

Context managers as in decoders.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from holdfast.tests.fuzz.decoders import Run


@contextlib.contextmanager
def link() -> Iterator[Run]:
    """Both ends: packets from an actor, and the arguments of commands to one."""
    from holdfast.actors.runtime import supervisor_link as links

    ours, theirs = links.pair()
    supervisor, actor = links.SupervisorLink(ours), links.Link(theirs)

    def run(data: bytes) -> None:
        theirs.send(data or b"\0")
        said, closed = supervisor.messages()
        assert not closed and len(said) <= 1
        with contextlib.suppress(ValueError, RecursionError):
            args = json.loads(data)
            if isinstance(args, dict) and supervisor.command("do", args, 1):
                (command,) = actor.commands()
                assert command.verb == "do"

    yield run


@contextlib.contextmanager
def console() -> Iterator[Run]:
    """Requests to a supervisor that has one actor, which it never starts."""
    from holdfast.actors.runtime.runtime_dir import RuntimeDir
    from holdfast.actors.runtime.spec import ActorSpec, Member, SegmentUse
    from holdfast.actors.runtime.status_board import BOARD_SIZE
    from holdfast.actors.supervision.control_socket import MAX_REQUEST, ControlClient
    from holdfast.actors.supervision.logstore import LogStore
    from holdfast.actors.supervision.supervised import SupervisionEffect
    from holdfast.actors.supervision.supervisor import Supervisor

    class IdleSupervisor(Supervisor):
        def _carry_out(self, effect: SupervisionEffect) -> None:
            return

    def run(data: bytes) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        with ours, theirs:
            client = ControlClient(ours)
            theirs.sendall(data[: MAX_REQUEST // 2].replace(b"\n", b" ") + b"\n")
            server.read(client)
            said = theirs.recv(1 << 16)
            assert said.endswith(b"\n") and b"please report it" not in said, said

    board = SegmentUse("a/board", BOARD_SIZE, writable=True)
    actor = ActorSpec(kind="none", member=Member("a"), config={}, segments=(board,))
    with tempfile.TemporaryDirectory(prefix="holdfast-fuzz-") as directory:
        runtime = RuntimeDir(f"fuzz-{Path(directory).name[-8:]}")
        logs = LogStore(Path(directory), file_bytes=1 << 20, files=2)
        idle = IdleSupervisor("fuzz", [actor], runtime, logs)
        server = idle._clients.server
        try:
            yield run
        finally:
            server.close()
            idle.segments.close()
            logs.close()
            runtime.remove()


@contextlib.contextmanager
def log() -> Iterator[Run]:
    """The log pipes of an actor."""
    from holdfast.actors.runtime.log import Record
    from holdfast.actors.supervision.logstore import Stream

    def run(data: bytes) -> None:
        reading, writing = os.pipe()
        kept: list[Record] = []
        stream = Stream(reading, "a", 1, "stderr", kept.append)
        os.write(writing, data[: 1 << 15])
        os.close(writing)
        while stream.read():
            pass
        stream.close()
        assert all(record.actor == "a" for record in kept)

    yield run


@contextlib.contextmanager
def board() -> Iterator[Run]:
    """The shared memory of a status board."""
    from holdfast.actors.runtime.status_board import BOARD_SIZE, StatusBoard, StatusBoardReader

    def run(data: bytes) -> None:
        memory = memoryview(bytearray(BOARD_SIZE))
        reader = StatusBoardReader(memory)
        memory[: len(data)] = data[:BOARD_SIZE]
        reader.report()
        StatusBoard(memory).report({"a": 1})
        assert StatusBoardReader(memory).report() == {"a": 1}

    yield run
