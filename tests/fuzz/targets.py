"""What is fuzzed: every decoder that takes bytes from another process, with its seeds."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from holdfast.tests.fuzz import decoders, local_peers
from holdfast.tests.fuzz.decoders import Run
from holdfast.tests.fuzz.framing import ROOT, golden, pack


@dataclass(frozen=True)
class Target:
    """`make` gives, for the length of a `with` block, the function to call with bytes; `seeds` are
    the first entries of a corpus."""

    make: Callable[[], contextlib.AbstractContextManager[Run]]
    seeds: Callable[[], list[bytes]]
    about: str


def _headers() -> list[bytes]:
    return [frames[0] for frames in golden()]


def _identities() -> list[bytes]:
    return [b"r1:3", b"flow/0:1:ab"]


def _packets() -> list[bytes]:
    return [*_requests(), *_bodies()]


def _records() -> list[bytes]:
    return [b'{"t":1,"level":"info","actor":"b","message":"m"}\n']


def _messages() -> list[bytes]:
    return [pack(frames) for frames in golden()]


def _bodies() -> list[bytes]:
    return [frames[1] for frames in golden()]


def _jpegs() -> list[bytes]:
    import numpy as np

    from holdfast.transport.images import encode_jpeg

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
    "header": Target(decoders.header, _headers, "the first frame of a message"),
    "message": Target(decoders.message, _messages, "messages with their arrays and images"),
    "jpeg": Target(decoders.jpeg, _jpegs, "compressed images"),
    "identity": Target(decoders.identity, _identities, "routing ids"),
    "key": Target(decoders.key, _keys, "key files"),
    "fleet": Target(decoders.fleet, _fleets, "fleet.yaml"),
    "link": Target(local_peers.link, _packets, "packets between supervisor and actor"),
    "console": Target(local_peers.console, _requests, "requests at the control socket"),
    "log": Target(
        local_peers.log,
        _records,
        "log pipes",
    ),
    "board": Target(local_peers.board, _bodies, "status boards in shared memory"),
}


def mutations(seeds: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """`count` strings of bytes near `seeds`, the same every time: what a test can afford."""
    draw = random.Random(seed)
    for _ in range(count):
        data = bytearray(draw.choice(seeds))
        for _ in range(draw.randrange(1, 5)):
            at = draw.randrange(len(data) + 1)
            match draw.randrange(4):
                case 0:
                    data[at:at] = draw.randbytes(draw.randrange(1, 6))
                case 1:
                    del data[at : at + draw.randrange(1, 9)]
                case 2:
                    data[at : at + 1] = bytes([draw.randrange(256)])
                case _:
                    data[at:at] = data[at : at + 20] * draw.randrange(1, 40)
        yield bytes(data)
