"""Whole messages: `encode` and `decode`.

A message is multipart: `[header][body][blob]*`. The header says the kind, the kind says the type of
the body (bodies.py); arrays and images lie in the blobs and are described in the body.

Guarantees: whatever arrives, `decode` gives a `Message` or raises `WireError`; it allocates in
proportion to the bytes received. Arrays and images are validated when they are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from numpy.typing import NDArray

from ..errors import WireError
from . import arrays, images, nesting
from .arrays import Array, Buffer
from .bodies import BODIES, KINDS, Body, Error, Reject, Verdict
from .frame_reference import FrameReference
from .header import Header, Kind
from .images import Image, Pixels, describe_all
from .limits import DEFAULT, Limits
from .outbox import OutboxReader, Reference

_DECODERS = {kind: msgspec.msgpack.Decoder(body) for kind, body in BODIES.items()}
_ENCODER = msgspec.msgpack.Encoder()

UNREADABLE_RETRY_S = 1.0
"""After which an unreadable handshake is to be repeated: it may have been damaged on its way."""

AnyBody = TypeVar("AnyBody", bound=Body)
Key = TypeVar("Key")


class Blobs(list[Buffer]):
    """Collects a message's blobs while its body is written.

    blobs = Blobs()
    body = Request(state=blobs.array(state), images={"top": blobs.image(pixels, quality=90)})
    send(socket, encode(header, body, blobs))
    """

    def array(self, array: NDArray[Any]) -> Array:
        """Add an array; see arrays.describe."""
        return arrays.describe(array, self)

    def image(self, image: Pixels, quality: int = 0) -> Image:
        """Add an image, as JPEG of `quality` or raw if 0; see images.describe."""
        return images.describe(image, self, quality)

    def images(self, images: Mapping[Key, Pixels], quality: int = 0) -> dict[Key, Image]:
        """Add several, which are encoded by two threads; see images.describe_all."""
        described = describe_all(list(images.values()), self, quality)
        return dict(zip(images, described, strict=True))

    @staticmethod
    def reference(reference: Reference, frame: FrameReference | None = None) -> Image:
        """An image in shared memory: adds no blob; see images.refer."""
        return images.refer(reference, frame)


class Message(msgspec.Struct, Generic[AnyBody], frozen=True):
    """A decoded message. Its arrays and images are views of the received frames."""

    header: Header
    body: AnyBody
    blobs: list[Buffer]

    def array(self, array: Array, limits: Limits = DEFAULT) -> NDArray[Any]:
        """The described array, read-only; see arrays.resolve."""
        return arrays.resolve(array, self.blobs, limits)

    def image(
        self,
        image: Image,
        outboxes: Mapping[int, OutboxReader] | None = None,
        limits: Limits = DEFAULT,
    ) -> Pixels:
        """The described image, RGB; see images.resolve."""
        return images.resolve(image, self.blobs, outboxes, limits)


def encode(header: Header, body: Body, blobs: Sequence[Buffer] = ()) -> list[Buffer]:
    """The frames of a message. `header.kind` must be that of the body's type."""
    if KINDS[type(body)] is not header.kind:
        raise WireError("kind", f"a body {type(body).__name__} under a header {header.kind.name}")
    return [header.pack(), _ENCODER.encode(body), *blobs]


def decode(
    frames: Sequence[Buffer], limits: Limits = DEFAULT, *, header: Header | None = None
) -> Message[Any]:
    """Read a message's frames; `header` is what the first holds, if the caller has read it. Raises
    WireError, whatever they are."""
    check(frames, limits)
    header = header or Header.unpack(frames[0])
    packed = bytes(frames[1])
    nesting.check(packed, limits.max_nesting)
    try:
        body = _DECODERS[header.kind].decode(packed)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError("body", f"a body {header.kind.name}: {error}") from error
    return Message(header, body, list(frames[2:]))


def check(frames: Sequence[Buffer], limits: Limits = DEFAULT) -> None:
    """Raise WireError for too many frames or bytes; only lengths are checked."""
    if not 2 <= len(frames) <= limits.max_frames:
        raise WireError("frames", f"{len(frames)} frames; 2 to {limits.max_frames} are allowed")
    if len(frames[1]) > limits.max_body_bytes:
        raise WireError("body-bytes", f"a body of {len(frames[1])} bytes")
    total = 0
    for frame in frames:
        size = len(frame)
        if size > limits.max_blob_bytes:
            raise WireError("blob-bytes", f"a blob of {size} bytes")
        total += size
    if total > limits.max_message_bytes:
        raise WireError("message-bytes", f"a message of {total} bytes")


def unreadable(kind: Kind, error: WireError) -> Reject | Error | Verdict | None:
    """The answer to an unreadable message of `kind`; None where its sender waits for none."""
    words = f"what was sent breaks the protocol: {error}"[: DEFAULT.max_text_chars]
    if kind is Kind.REQUEST:
        return Error(reason=error.reason, message=words)
    refusal = Reject(reason=error.reason, message=words, retry_after_s=UNREADABLE_RETRY_S)
    if kind is Kind.OPEN:
        return refusal
    return Verdict(reject=refusal) if kind is Kind.INQUIRY else None
