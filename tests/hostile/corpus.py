"""Hostile messages: what a peer may send that breaks or overuses the protocol.

All are made from a seed, the same every time. They are frames as a peer of the robots' side sends
them: `[header][body][blob]*`, or what stands in their place.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from holdfast.transport.header import SIZE, Header, Kind
from holdfast.transport.images import encode_jpeg
from holdfast.transport.limits import DEFAULT

GOLDEN = Path(__file__).parents[1] / "transport" / "golden"
Frames = list[bytes]


def golden() -> dict[str, Frames]:
    """The committed messages of version 1, by kind."""
    return {
        path.stem: [bytes.fromhex(frame) for frame in json.loads(path.read_text())["frames"]]
        for path in sorted(GOLDEN.glob("*.json"))
    }


class Corpus:
    """Hostile messages whose headers say `epoch` wherever they are still headers."""

    def __init__(self, seed: int, epoch: int = 1) -> None:
        self.chance = random.Random(seed)
        self.good = {name: _of_epoch(frames, epoch) for name, frames in golden().items()}

    def messages(self, count: int) -> Iterator[Frames]:
        """`count` messages of all sorts, the fixed ones first."""
        fixed = [*self.headers(), *self.bodies(), *self.declarations(), *self.false_images()]
        self.chance.shuffle(fixed)
        for n in range(count):
            yield fixed[n] if n < len(fixed) else self.chance.choice((self.noise, self.mutated))()

    def noise(self) -> Frames:
        """Random bytes in a random number of frames, some of a header's size."""
        sizes = [self.chance.choice((0, 1, SIZE, 200)) for _ in range(self.chance.randrange(1, 6))]
        return [self.chance.randbytes(size) for size in sizes]

    def mutated(self) -> Frames:
        """A golden message with a few bits, bytes, frames or values changed."""
        frames = list(self.good[self.chance.choice(sorted(self.good))])
        for _ in range(self.chance.randrange(1, 4)):
            place = self.chance.randrange(len(frames))
            frame = bytearray(frames[place])
            match self.chance.randrange(6):
                case 0 if frame:
                    frame[self.chance.randrange(len(frame))] ^= 1 << self.chance.randrange(8)
                case 1 if frame:
                    frame[self.chance.randrange(len(frame))] = self.chance.randrange(256)
                case 2:
                    del frame[self.chance.randrange(len(frame) + 1) :]
                case 3:
                    at = self.chance.randrange(len(frame) + 1)
                    frame[at:at] = self.chance.randbytes(self.chance.randrange(1, 9))
                case 4:
                    self.chance.shuffle(frames)
                case _:
                    frames.append(self.chance.randbytes(12))
            if place < len(frames):
                frames[place] = bytes(frame)
        return frames

    def headers(self) -> Iterator[Frames]:
        """Wrong versions, unknown kinds, numbers at their ends, every kind with nothing in it."""
        for frames in self.good.values():
            head, *rest = frames
            yield [head[:4] + b"\xff" + head[5:], *rest]
            yield [head[:5] + b"\xc8" + head[6:], *rest]
            yield [head[:8] + b"\xff" * 24, *rest]
            yield [head]
            yield [head, b""]
            yield [head[:-1], *rest]
            yield [*frames, *[b""] * (DEFAULT.max_frames + 40)]

    def bodies(self) -> Iterator[Frames]:
        """Deep nesting, declared sizes beyond everything, too many bytes, too long texts."""
        for frames in self.good.values():
            head = frames[0]
            for body in (
                b"\x91" * 60_000,
                b"\x81\xa1x" * 20_000,
                b"\xdf\xff\xff\xff\xff",
                b"\xdd\xff\xff\xff\xff",
                b"\xc6\xff\xff\xff\xff",
                b"\x81\xa4junk" + b"\x91" * 30_000,
                b"\x81\xdb\xff\xff\xff\xff",
                bytes(DEFAULT.max_body_bytes + 1),
                b"\xc1",
                b"\x80",
                msgspec.msgpack.encode({"message": "x" * 60_000, "robot": "r" * 5000}),
                msgspec.msgpack.encode({str(n): n for n in range(5000)}),
            ):
                yield [head, body]

    def declarations(self) -> Iterator[Frames]:
        """Arrays and blobs that are not what the body says they are."""
        for name in ("request", "reply"):
            head, body, *blobs = self.good[name]
            fields = msgspec.msgpack.decode(body)
            array = "state" if name == "request" else "chunk"
            for claim in (
                {"shape": [1 << 20, 1 << 20]},
                {"shape": [1] * 20},
                {"shape": [0]},
                {"shape": [-1]},
                {"dtype": "O"},
                {"dtype": "f8"},
                {"blob": 63},
                {"blob": -1},
            ):
                claimed = {**fields, array: {**fields[array], **claim}}
                yield [head, msgspec.msgpack.encode(claimed), *blobs]
            yield [head, body, *(blob[: len(blob) // 2] for blob in blobs)]
            yield [head, body]

    def false_images(self) -> Iterator[Frames]:
        """JPEG bombs: small files that claim, or are, very large images; endless scans."""
        head, body, *blobs = self.good["request"]
        fields = msgspec.msgpack.decode(body)
        flat = encode_jpeg(np.zeros((1024, 2048, 3), np.uint8), 50)
        small = encode_jpeg(np.zeros((48, 64, 3), np.uint8), 90)
        scan = small.index(b"\xff\xda")
        scans = small[:-2] + small[scan : scan + 14] * 4000 + small[-2:]
        for data, width, height in (
            (_claiming(small, 65500, 65500), 64, 48),
            (_claiming(small, 4096, 2048), 4096, 2048),
            (flat, 2048, 1024),
            (scans, 64, 48),
            (small[:-40], 64, 48),
            (b"\xff\xd8" + b"\xff" * 50_000, 64, 48),
        ):
            image = {"width": width, "height": height, "encoding": "jpeg", "blob": len(blobs)}
            told = {**fields, "images": {"overhead": image, "wrist": image}}
            yield [head, msgspec.msgpack.encode(told), *blobs, data]
        for reference in ([1, 2, 3, 4, 5], [2**62, 0, 2**31, 2**31, 2**40], [0, 0, 0, 0, 0]):
            image = {"width": 64, "height": 48, "encoding": "shm", "reference": reference}
            told = {**fields, "images": {"overhead": image, "wrist": image}}
            yield [head, msgspec.msgpack.encode(told), *blobs]


def _of_epoch(frames: Frames, epoch: int) -> Frames:
    header = Header.unpack(frames[0])
    return [header._replace(epoch=epoch).pack(), *frames[1:]]


def _claiming(jpeg: bytes, width: int, height: int) -> bytes:
    data = bytearray(jpeg)
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, height, width)
    return bytes(data)


KINDS = tuple(Kind)
