"""Captures: requests and replies kept whole, and their replay, byte for byte.

A capture file is a sequence of records, each a length (u32, little-endian) and a MessagePack map:
first an `Origin`, which says what served, then one `CapturedBatch` for each batch the device ran.
Images in shared memory are kept as raw blobs; all other frames are those of the wire.

A replay runs the same batches through the same code, from the decoding of the frames. It is exact
on the same kind of device with the same number of threads; elsewhere kernels may sum in another
order, and so do those that a compiler made for a service (`compile`). For a stateful policy it is
exact from the first reset in the file.
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
from ...transport.bodies import Reply, Request
from ...transport.messages import Blobs, Message, decode, encode
from ..runtime.audit import log_change
from ..runtime.bounded_file import BoundedFile, older
from .policy_runner import PolicyRunner
from .served_session import Cost, TaskRule, answer, observe

_LENGTH = struct.Struct("<I")


class Origin(msgspec.Struct, frozen=True, kw_only=True, tag="origin"):
    """The policy that served and its configuration; `checkpoint_hash` identifies the weights."""

    service: str
    policy: str
    checkpoint: str | None
    checkpoint_hash: str
    device: str
    dtype: str
    threads: int
    options: dict[str, Any] = {}
    pin_task: str | None = None
    default_task: str = ""
    import_path: str | None = None
    revision: str | None = None


class CapturedExchange(msgspec.Struct, frozen=True):
    """The frames of one robot's request and of its reply or error, and the session's id (0 in
    captures of earlier releases)."""

    robot: str
    request: list[bytes]
    reply: list[bytes]
    session: int = 0


class CapturedBatch(msgspec.Struct, frozen=True, tag="batch"):
    """One batch of the device; `reset`: the policy was reset just before."""

    exchanges: list[CapturedExchange]
    reset: bool = False


Record = Origin | CapturedBatch
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


class Capture:
    """The writing end: the newest `max_bytes`, half in `path.1`; 0 keeps nothing."""

    def __init__(self, path: Path, max_bytes: int, origin: Origin) -> None:
        self._file = BoundedFile(path, max_bytes // 2, preamble=_frame(origin), whole=_whole)
        self.enabled = max_bytes > 0

    @property
    def lost(self) -> int:
        """Records that could not be written."""
        return self._file.lost

    def batch(self, exchanges: Sequence[CapturedExchange], reset: bool) -> None:
        """Append a batch; `reset` says whether the policy was reset just before."""
        before = self._file.error
        self._file.append(_frame(CapturedBatch(list(exchanges), reset)))
        log_change(self._file, before)

    def close(self) -> None:
        self._file.close()


def self_contained(message: Message[Request], observation: Observation) -> list[bytes]:
    """The request's frames, with the pixels of `observation` for images in shared memory."""
    request, blobs = message.body, Blobs(message.blobs)
    images = {
        name: blobs.image(observation.images[name]) if image.encoding == "shm" else image
        for name, image in request.images.items()
        if image.encoding != "shm" or name in observation.images
    }
    histories = {
        name: tuple(
            blobs.image(pixels) if image.encoding == "shm" else image
            for image, pixels in zip(history, observation.image_history[name], strict=True)
        )
        for name, history in request.image_history.items()
        if name in observation.image_history
    }
    whole = msgspec.structs.replace(request, images=images, image_history=histories)
    return _bytes(encode(message.header, whole, blobs))


def exchange(
    robot: str, session: int, request: list[bytes], reply: Sequence[Buffer]
) -> CapturedExchange:
    return CapturedExchange(robot, request, _bytes(reply), session)


def read(path: Path) -> Iterator[Record]:
    """The records of a capture, the older half first. An incomplete record ends its file. Raises
    CaptureError for other files."""
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
    """A replayed answer that differs from the captured one."""

    robot: str
    session: int
    seq: int
    captured: str
    replayed: str


def replay(batch: CapturedBatch, runner: PolicyRunner, tasks: TaskRule) -> list[ReplayDifference]:
    """Run a captured batch again; the answers that differ from the captured ones in any byte.

    Durations and loads are taken from the captured replies.
    """
    if batch.reset:
        runner.reset()
    messages = [decode(e.request) for e in batch.exchanges]
    observations = [
        observe(m, e.robot, runner.spec, tasks, None)
        for m, e in zip(messages, batch.exchanges, strict=True)
    ]
    results, _ = runner.predict(observations)
    differences = []
    for message, kept, result in zip(messages, batch.exchanges, results, strict=True):
        before = decode(kept.reply).body
        again = _bytes(answer(message.header, result, _cost(before)))
        if again != kept.reply:
            after = decode(again).body
            differences.append(
                ReplayDifference(
                    kept.robot,
                    kept.session,
                    message.header.seq,
                    type(before).__name__,
                    _described(after),
                )
            )
    return differences


def _cost(body: object) -> Cost:
    if not isinstance(body, Reply):
        return Cost()
    # Its fields are those of the reply: none may be missing, or the bytes differ.
    return Cost(**{name: getattr(body, name) for name in Cost.__struct_fields__})


def _described(body: object) -> str:
    return "another chunk" if isinstance(body, Reply) else str(body)


def _bytes(frames: Sequence[Buffer]) -> list[bytes]:
    return [bytes(frame) for frame in frames]


def _frame(record: Record) -> bytes:
    packed = _encode(record)
    return _LENGTH.pack(len(packed)) + packed


def _whole(file: FileIO) -> int:
    """The number of bytes at the start of a capture that are whole records."""
    size, end = file.seek(0, os.SEEK_END), 0
    while end + _LENGTH.size <= size:
        file.seek(end)
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        if end + _LENGTH.size + length > size:
            break
        end += _LENGTH.size + length
    return end
