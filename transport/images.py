"""Camera images as blobs: raw, JPEG, or in shared memory. RGB uint8 [h, w, 3] at both ends.

Guarantees: a JPEG is not decoded before its own header agreed with the declared size and the
limits, so no blob makes the decoder allocate more than an image of the declared size.

Does not guarantee: equal pixels after JPEG. `raw` and `shm` are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import WireError
from .arrays import Buffer, Index, as_bytes
from .frame_reference import FrameReference
from .jpeg_parts import joined, middle_row
from .limits import DEFAULT, Limits
from .outbox import OutboxReader, Reference
from .parallel import in_two_threads

Pixels = NDArray[np.uint8]


class Image(msgspec.Struct, frozen=True):
    """One image: in blob number `blob` (raw, jpeg), or in this host's memory (shm): in an outbox at
    `reference` or, with `frame`, in the ring of its camera and promised at `reference`, where it
    comes before it leaves the ring if it is still needed then."""

    width: Annotated[int, msgspec.Meta(ge=1, le=DEFAULT.max_image_width)]
    height: Annotated[int, msgspec.Meta(ge=1, le=DEFAULT.max_image_height)]
    encoding: Literal["raw", "jpeg", "shm"]
    blob: Index = 0
    reference: Reference | None = None
    frame: FrameReference | None = None


def describe(image: Pixels, blobs: list[Buffer], quality: int = 0) -> Image:
    """Append `image` to `blobs`, as JPEG of `quality` 1 to 100 or raw if 0; describe it.

    A raw image's memory must stay as it is until the message is sent.
    """
    [described] = describe_all([image], blobs, quality)
    return described


def describe_all(images: Sequence[Pixels], blobs: list[Buffer], quality: int = 0) -> list[Image]:
    """`describe` each of several images; JPEGs are encoded by two threads."""
    sizes = [_size(image) for image in images]
    first = len(blobs)
    if quality:
        blobs += _encoded(images, quality)
    else:
        blobs += [as_bytes(image) for image in images]
    encoding: Literal["jpeg", "raw"] = "jpeg" if quality else "raw"
    return [Image(w, h, encoding, first + k) for k, (h, w) in enumerate(sizes)]


def refer(reference: Reference, frame: FrameReference | None = None) -> Image:
    """Describe an image that was put into an outbox of this host or, with `frame`, promised there
    while it lies in its camera's ring."""
    return Image(reference.width, reference.height, "shm", reference=reference, frame=frame)


def resolve(
    image: Image,
    blobs: Sequence[Buffer],
    outboxes: Mapping[int, OutboxReader] | None = None,
    limits: Limits = DEFAULT,
) -> Pixels:
    """The pixels of a described image, without a copy unless it is a JPEG.

    `outboxes` are those mapped here, by nonce. After use of an `shm` image, ask its outbox whether
    the reference was `valid` all the time. Raises WireError if anything does not agree.
    """
    width, height = image.width, image.height
    if (
        width > limits.max_image_width
        or height > limits.max_image_height
        or width * height > limits.max_image_pixels
    ):
        raise WireError("image-size", f"an image of {width} x {height} is beyond the limits")
    if image.encoding == "shm":
        return _shared(image, outboxes or {})
    if image.blob >= len(blobs):
        raise WireError("blob-index", f"an image in blob {image.blob} of {len(blobs)}")
    blob = blobs[image.blob]
    if image.encoding == "jpeg":
        return decode_jpeg(blob, width, height, limits)
    if len(blob) != width * height * 3:
        raise WireError(
            "image-bytes",
            f"{len(blob)} bytes for a raw image of {width} x {height} x 3",
        )
    view = np.frombuffer(blob, np.uint8).reshape(height, width, 3)
    view.flags.writeable = False
    return view


def resize(image: Pixels, width: int, height: int) -> Pixels:
    """Scale to `width` × `height` by area averaging; the input itself if it has that size.

    Robots, replicas and training all use this function, so that a policy sees the same bytes
    wherever the resize happened.
    """
    if image.shape[:2] == (height, width):
        return image
    import cv2  # here: processes that touch no pixels, as a control loop, do not load it

    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(
        np.uint8, copy=False
    )


def encode_jpeg(image: Pixels, quality: int) -> bytes:
    """Baseline JPEG (4:2:0) of an RGB image, `quality` 1 to 100."""
    _size(image)
    if not 1 <= quality <= 100:
        raise WireError("image-quality", f"a JPEG quality of {quality}: expected 1 to 100")
    import simplejpeg  # as cv2 above

    pixels = np.ascontiguousarray(image)
    # 4:4:4 would take 1.3 times the bytes and 1.6 times the time at 640x480 for 0.8 dB more (33.7
    # instead of 32.9, of the chroma 38.2 instead of 37.1; quality 90, 48 frames of the simulator),
    # and at 224x224 1.2 times the bytes for 1.6 to 2.5 dB.
    data: bytes = simplejpeg.encode_jpeg(pixels, quality, colorspace="RGB", colorsubsampling="420")
    return data


def _encoded(images: Sequence[Pixels], quality: int) -> list[bytes]:
    """The JPEG of each, by two threads: the last of an odd number is divided between them."""
    parts = list(images)
    height = images[-1].shape[0] if len(images) % 2 else 0
    row = middle_row(height)
    if row:
        parts[-1:] = [images[-1][:row], images[-1][row:]]
    found = in_two_threads(lambda part: encode_jpeg(part, quality), parts)
    if row:
        found[-2:] = [joined(found[-2], found[-1], height)]
    return found


def decode_jpeg(data: Buffer, width: int, height: int, limits: Limits = DEFAULT) -> Pixels:
    """RGB pixels of a baseline JPEG that must be `width` x `height` by its own header.

    Raises WireError: `image-jpeg` (not one, or damaged), `image-size` (another size).
    """
    found = jpeg_size(data)
    if found != (width, height):
        raise WireError(
            "image-size", f"a JPEG of {found} is described as {(width, height)}, width and height"
        )
    # Within entropy-coded data a 0xFF is followed by 0 or a restart, so this finds every scan.
    if _starts_of_scans(data) > limits.max_jpeg_scans:
        raise WireError("image-jpeg", f"a JPEG of more than {limits.max_jpeg_scans} scans")
    import simplejpeg

    image = np.empty((height, width, 3), np.uint8)
    try:
        simplejpeg.decode_jpeg(data, colorspace="RGB", buffer=image)
    except ValueError as error:
        raise WireError("image-jpeg", f"a damaged JPEG: {error}") from error
    return image


def jpeg_size(data: Buffer) -> tuple[int, int]:
    """Width and height that a JPEG declares in its frame header (SOF); nothing is decoded."""
    view = memoryview(data)
    if len(view) < 4 or view[0] != 0xFF or view[1] != 0xD8:
        raise WireError("image-jpeg", "a blob that does not begin like a JPEG")
    at = 2
    while at + 4 <= len(view):
        if view[at] != 0xFF:
            raise WireError("image-jpeg", f"no JPEG marker at byte {at}")
        marker = view[at + 1]
        if marker == 0xFF:  # padding before a marker
            at += 1
            continue
        length = view[at + 2] << 8 | view[at + 3]
        if marker in _SOF:
            if length < 8 or at + 9 > len(view):
                break
            height = view[at + 5] << 8 | view[at + 6]
            width = view[at + 7] << 8 | view[at + 8]
            return width, height
        if marker in _SOF_REFUSED:
            raise WireError("image-jpeg", "a JPEG that is not baseline: encode it without options")
        if marker in _BARE or length < 2:
            break
        at += 2 + length
    raise WireError("image-jpeg", "a JPEG without a frame header")


def _starts_of_scans(data: Buffer) -> int:
    # bytes.count of two bytes takes six times as long, which is 6 % of decoding.
    each = np.frombuffer(data, np.uint8)
    return int(np.count_nonzero((each[:-1] == 0xFF) & (each[1:] == 0xDA)))


# Start of frame, baseline and extended sequential. Progressive ones cost a pass per scan, and the
# rest (lossless, hierarchical, arithmetic coding) no camera makes and decoders differ on.
_SOF = frozenset({0xC0, 0xC1})
_SOF_REFUSED = frozenset(range(0xC2, 0xD0)) - {0xC4, 0xC8, 0xCC}  # tables and an extension
# Start or end of image, start of scan, restarts, TEM: none may come before the frame header.
_BARE = frozenset({0x01, *range(0xD0, 0xDB)})


def _shared(image: Image, outboxes: Mapping[int, OutboxReader]) -> Pixels:
    reference = image.reference
    if reference is None:
        raise WireError("shm-reference", "an image in shared memory without a reference")
    outbox = outboxes.get(reference.nonce)
    if outbox is None:
        raise WireError("shm-nonce", "a reference to an outbox that is not mapped here")
    if (reference.width, reference.height) != (image.width, image.height):
        raise WireError("shm-bounds", "a reference of another size than its image")
    return outbox.view(reference)


def _size(image: Pixels) -> tuple[int, int]:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise WireError(
            "image-shape", f"an image {image.dtype} {image.shape}: expected uint8 (h, w, 3) RGB"
        )
    return image.shape[0], image.shape[1]
