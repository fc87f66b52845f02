"""What is fuzzed: every decoder that takes bytes from somebody else, with what may come of it.

A target takes any bytes. It returns, or raises what its decoder documents as a refusal; whatever
else it raises, an assertion included, is a fault. Targets import what they need when they are
entered, so that the fuzzer can instrument it.
"""

from __future__ import annotations

import contextlib
import json
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import FleetError, KeyFileError, WireError

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "transport" / "golden"
Run = Callable[[bytes], None]


@dataclass(frozen=True)
class Target:
    """`make` gives, for the length of a `with` block, the function to call with bytes; `seeds` is
    what a corpus begins with."""

    make: Callable[[], contextlib.AbstractContextManager[Run]]
    seeds: Callable[[], list[bytes]]
    about: str


def golden() -> list[list[bytes]]:
    """The committed messages of version 1; none where the tests are not installed."""
    if not GOLDEN.is_dir():
        return []
    texts = (path.read_text() for path in sorted(GOLDEN.glob("*.json")))
    return [[bytes.fromhex(frame) for frame in json.loads(text)["frames"]] for text in texts]


def pack(frames: list[bytes]) -> bytes:
    """Several frames as one string of bytes, each after its length in two bytes."""
    return b"".join(len(frame).to_bytes(2, "little") + frame for frame in frames)


def unpack(data: bytes) -> list[bytes]:
    """The inverse of `pack` for any bytes: lengths beyond the end are cut."""
    frames, at = [], 0
    while at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2], "little")
        frames.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    return frames


@contextlib.contextmanager
def header() -> Iterator[Run]:
    from ..transport.header import SIZE, Header

    def run(data: bytes) -> None:
        with contextlib.suppress(WireError):
            assert Header.unpack(data[:SIZE]).pack() == data[:SIZE]

    yield run


@contextlib.contextmanager
def message() -> Iterator[Run]:
    from ..transport import messages
    from ..transport.arrays import Array
    from ..transport.images import Image
    from ..transport.limits import DEFAULT

    def run(data: bytes) -> None:
        try:
            found = messages.decode(unpack(data))
        except WireError:
            return
        body = found.body
        again = messages.decode(messages.encode(found.header, body, found.blobs))
        # By what it says: a NaN does not equal itself.
        assert repr(again.body) == repr(body)
        for name in body.__struct_fields__:
            value = getattr(body, name)
            with contextlib.suppress(WireError):
                if isinstance(value, Array):
                    assert found.array(value).size <= DEFAULT.max_array_items
            for image in value.values() if isinstance(value, dict) else ():
                with contextlib.suppress(WireError):
                    if isinstance(image, Image):
                        assert found.image(image).shape == (image.height, image.width, 3)

    yield run


@contextlib.contextmanager
def jpeg() -> Iterator[Run]:
    from ..transport.images import decode_jpeg, jpeg_size
    from ..transport.limits import Limits

    limits = Limits(max_image_pixels=1 << 20)

    def run(data: bytes) -> None:
        with contextlib.suppress(WireError):
            width, height = jpeg_size(data)
            if 0 < width * height <= limits.max_image_pixels:
                assert decode_jpeg(data, width, height, limits).shape == (height, width, 3)

    yield run


@contextlib.contextmanager
def identity() -> Iterator[Run]:
    from ..actors.broker.peers import label
    from ..transport import sockets
    from ..transport.keys import Role

    def run(data: bytes) -> None:
        assert label(data).isprintable()
        for user in ("", "robot:r1"):
            with contextlib.suppress(WireError):
                name, incarnation = sockets.peer(data, user, Role.ROBOT)
                assert name and incarnation >= 0

    yield run


@contextlib.contextmanager
def key() -> Iterator[Run]:
    from ..transport import keys

    def run(data: bytes) -> None:
        path.write_bytes(data)
        for load in (keys.load, keys.load_public):
            with contextlib.suppress(KeyFileError):
                assert len(load(path).public) == 40

    with tempfile.TemporaryDirectory(prefix="holdfast-fuzz-") as directory:
        path = Path(directory, "fuzz.key")
        path.touch(mode=0o600)
        yield run


@contextlib.contextmanager
def fleet() -> Iterator[Run]:
    from ..actors.fleet.loading import loads

    def run(data: bytes) -> None:
        try:
            loads(data.decode(errors="replace"))
        except FleetError as error:
            assert error.faults, "refused without a reason"

    yield run


@contextlib.contextmanager
def link() -> Iterator[Run]:
    """Both ends: an actor that says anything, and commands that people send."""
    from ..actors.runtime import supervisor_link as links

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
    from ..actors.runtime.runtime_dir import RuntimeDir
    from ..actors.runtime.spec import ActorSpec, Member, SegmentUse
    from ..actors.runtime.status_board import BOARD_SIZE
    from ..actors.supervision.control_socket import MAX_REQUEST, ControlClient
    from ..actors.supervision.logstore import LogStore
    from ..actors.supervision.supervised import SupervisionEffect
    from ..actors.supervision.supervisor import Supervisor

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
        server = idle._clients.server  # noqa: SLF001 it is what is fuzzed
        try:
            yield run
        finally:
            server.close()
            idle.segments.close()
            logs.close()
            runtime.remove()


@contextlib.contextmanager
def log() -> Iterator[Run]:
    """What an actor writes on its log pipes."""
    import os

    from ..actors.runtime.log import Record
    from ..actors.supervision.logstore import Stream

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
    """Whatever lies in the shared memory of a board."""
    from ..actors.runtime.status_board import BOARD_SIZE, StatusBoard, StatusBoardReader

    def run(data: bytes) -> None:
        memory = memoryview(bytearray(BOARD_SIZE))
        reader = StatusBoardReader(memory)
        memory[: len(data)] = data[:BOARD_SIZE]
        reader.report()
        StatusBoard(memory).report({"a": 1})
        assert StatusBoardReader(memory).report() == {"a": 1}

    yield run


def _messages() -> list[bytes]:
    return [pack(frames) for frames in golden()]


def _bodies() -> list[bytes]:
    return [frames[1] for frames in golden()]


def _jpegs() -> list[bytes]:
    import numpy as np

    from ..transport.images import encode_jpeg

    ramp = np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)
    return [encode_jpeg(ramp, quality) for quality in (10, 90)]


def _fleets() -> list[bytes]:
    return [(ROOT / "fleet.yaml").read_bytes(), b"services: {}\nrobots: []\n", b"a: &x [*x]\n"]


def _requests() -> list[bytes]:
    return [
        b'{"do": "status"}',
        b'{"do": "kill", "names": ["a"], "signal": "KILL"}',
        b'{"do": "attach", "segment": "a/board"}',
        b'{"do": "tell", "names": ["a"], "verb": "reset", "args": {"task": "go", "n": [1, 2.5]}}',
        b'{"do": "reset", "names": ["r1"]}',
    ]


def _keys() -> list[bytes]:
    return [b"name r1\nrole robot\npublic " + b"a" * 40 + b"\nsecret " + b"b" * 40 + b"\n"]


TARGETS: dict[str, Target] = {
    "header": Target(header, lambda: [m[0] for m in golden()], "the first frame of a message"),
    "message": Target(message, _messages, "messages with their arrays and images"),
    "jpeg": Target(jpeg, _jpegs, "compressed images"),
    "identity": Target(identity, lambda: [b"r1:3", b"flow/0:1:ab"], "who a peer says it is"),
    "key": Target(key, _keys, "key files"),
    "fleet": Target(fleet, _fleets, "fleet.yaml"),
    "link": Target(
        link, lambda: [*_requests(), *_bodies()], "packets between supervisor and actor"
    ),
    "console": Target(console, _requests, "requests at the supervisor's control socket"),
    "log": Target(
        log, lambda: [b'{"t":1,"level":"info","actor":"b","message":"m"}\n'], "log pipes"
    ),
    "board": Target(board, _bodies, "what an actor says in shared memory"),
}


def mutations(seeds: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """`count` strings of bytes near `seeds`, the same every time: what a test can afford."""
    import random

    chance = random.Random(seed)
    for _ in range(count):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(1, 5)):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(4):
                case 0:
                    data[at:at] = chance.randbytes(chance.randrange(1, 6))
                case 1:
                    del data[at : at + chance.randrange(1, 9)]
                case 2:
                    data[at : at + 1] = bytes([chance.randrange(256)])
                case _:
                    data[at:at] = data[at : at + 20] * chance.randrange(1, 40)
        yield bytes(data)
