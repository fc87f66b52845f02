"""Requests and replies kept whole, and the same work done again from them, byte for byte.

A capture file is a sequence of records, each a length (u32, little-endian) and a MessagePack map:
first an `Origin`, which says what served, then one `CapturedBatch` for each batch the device ran.
Images that travelled through shared memory are kept as raw blobs: apart from that, frames are as
they were on the wire.

A replay runs the same batches through the same code from the wire onwards. It is exact on the same
kind of device with the same number of threads; elsewhere kernels may sum in another order. Of a
policy that remembers, it is exact only from the first reset in the file onwards.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import msgspec

from ...errors import CaptureError
from ...policy.base import Observation
from ...transport.arrays import Buffer
from ...transport.messages import Blobs, Message, Reply, Request, decode, encode
from ..runtime.audit import log_change
from ..runtime.bounded_file import BoundedFile, older
from .policy_runner import PolicyRunner
from .served_session import Cost, TaskRule, answer, observe

_LENGTH = struct.Struct("<I")


class Origin(msgspec.Struct, frozen=True, kw_only=True, tag="origin"):
    """What served: enough to load it again. `checkpoint_hash` proves that it is the same."""

    service: str
    policy: str
    checkpoint: str
    checkpoint_hash: str
    device: str
    dtype: str
    threads: int
    options: dict[str, Any] = {}
    pin_task: str | None = None
    default_task: str = ""


class CapturedExchange(msgspec.Struct, frozen=True):
    """One robot's request and the answer it got."""

    robot: str
    request: list[bytes]
    reply: list[bytes]


class CapturedBatch(msgspec.Struct, frozen=True, tag="batch"):
    """What the device ran in one go; `reset`: the policy was told to forget just before."""

    exchanges: list[CapturedExchange]
    reset: bool = False


Record = Origin | CapturedBatch
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


class Capture:
    """The writing end; keeps nothing when `max_bytes` is 0."""

    def __init__(self, path: Path, max_bytes: int, origin: Origin) -> None:
        self._file = BoundedFile(path, max_bytes // 2, preamble=_frame(origin), whole=_whole)
        self.enabled = max_bytes > 0

    @property
    def lost(self) -> int:
        return self._file.lost

    def batch(self, exchanges: Sequence[CapturedExchange], reset: bool) -> None:
        before = self._file.error
        self._file.append(_frame(CapturedBatch(list(exchanges), reset)))
        log_change(self._file, before)

    def close(self) -> None:
        self._file.close()


def self_contained(message: Message[Request], observation: Observation) -> list[bytes]:
    """The request's frames with the pixels of images that lay in shared memory."""
    request, blobs = message.body, Blobs(message.blobs)
    images = {
        name: blobs.image(observation.images[name]) if image.encoding == "shm" else image
        for name, image in request.images.items()
        if image.encoding != "shm" or name in observation.images
    }
    whole = msgspec.structs.replace(request, images=images)
    return _bytes(encode(message.header, whole, blobs))


def exchange(robot: str, request: list[bytes], reply: Sequence[Buffer]) -> CapturedExchange:
    return CapturedExchange(robot, request, _bytes(reply))


def read(path: Path) -> Iterator[Record]:
    """The records of a capture, the older half first where there is one. A record that a killed
    writer left unfinished ends its file."""
    for half in (*reversed(older(path)), path):
        with half.open("rb") as file:
            while len(prefix := file.read(_LENGTH.size)) == _LENGTH.size:
                (length,) = _LENGTH.unpack(prefix)
                packed = file.read(length)
                if len(packed) < length:
                    break
                try:
                    yield _decode(packed)
                except msgspec.MsgspecError as error:
                    raise CaptureError(
                        f"{half} holds no capture of this version ({error}); captures are written "
                        "by a replica whose service has `capture_bytes` in fleet.yaml"
                    ) from error


@dataclass(frozen=True, slots=True)
class ReplayDifference:
    """An answer that came out otherwise than captured: whose, and how."""

    robot: str
    seq: int
    captured: str
    replayed: str


def replay(batch: CapturedBatch, device: PolicyRunner, tasks: TaskRule) -> list[ReplayDifference]:
    """Run a captured batch again; empty when every answer is the same, byte for byte.

    What depends on the clock (durations, load) is taken from the captured reply.
    """
    if batch.reset:
        device.reset()
    messages = [decode(e.request) for e in batch.exchanges]
    observations = [
        observe(m, e.robot, device.spec, tasks, None)
        for m, e in zip(messages, batch.exchanges, strict=True)
    ]
    results, _ = device.predict(observations)
    differences = []
    for message, kept, result in zip(messages, batch.exchanges, results, strict=True):
        before = decode(kept.reply).body
        again = _bytes(answer(message.header, result, _cost(before)))
        if again != kept.reply:
            after = decode(again).body
            differences.append(
                ReplayDifference(
                    kept.robot, message.header.seq, type(before).__name__, _words(after)
                )
            )
    return differences


def _cost(body: object) -> Cost:
    if not isinstance(body, Reply):
        return Cost()
    return Cost(body.queue_s, body.inference_s, body.batch, body.superseded, body.load)


def _words(body: object) -> str:
    return "another chunk" if isinstance(body, Reply) else str(body)


def _bytes(frames: Sequence[Buffer]) -> list[bytes]:
    return [bytes(frame) for frame in frames]


def _frame(record: Record) -> bytes:
    packed = _encode(record)
    return _LENGTH.pack(len(packed)) + packed


def _whole(file: FileIO) -> int:
    """How many bytes at the beginning of a capture are whole records."""
    size, end = file.seek(0, os.SEEK_END), 0
    while end + _LENGTH.size <= size:
        file.seek(end)
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        if end + _LENGTH.size + length > size:
            break
        end += _LENGTH.size + length
    return end
