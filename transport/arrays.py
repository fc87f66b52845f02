"""Numeric arrays as blobs: a descriptor in the body, the bytes in a frame of their own.

Little-endian, C order, one of five dtypes. Decoding views the received frame: no copy, read-only.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from ..errors import WireError
from .limits import DEFAULT, Limits

Buffer = bytes | bytearray | memoryview
Dtype = Literal["f4", "f8", "i4", "i8", "u1"]

_DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype("<" + name) for name in ("f4", "f8", "i4", "i8", "u1")
}
_NAMES: dict[np.dtype[Any], Dtype] = {
    np.dtype("<f4"): "f4",
    np.dtype("<f8"): "f8",
    np.dtype("<i4"): "i4",
    np.dtype("<i8"): "i8",
    np.dtype("u1"): "u1",
}

Index = Annotated[int, msgspec.Meta(ge=0, lt=DEFAULT.max_frames)]
Dimension = Annotated[int, msgspec.Meta(ge=0, le=DEFAULT.max_array_items)]


class Array(msgspec.Struct, frozen=True):
    """The array in blob number `blob` (0 is the first frame after the body)."""

    dtype: Dtype
    shape: Annotated[tuple[Dimension, ...], msgspec.Meta(max_length=DEFAULT.max_array_rank)]
    blob: Index


def describe(array: NDArray[Any], blobs: list[Buffer]) -> Array:
    """Append `array`'s bytes to `blobs`, without a copy where it is contiguous; describe them.

    The memory must stay as it is until the message is sent.
    """
    name = _NAMES.get(array.dtype)
    if name is None:
        raise WireError(
            "array-dtype",
            f"an array of {array.dtype} cannot travel: convert it to one of float32, float64, "
            "int32, int64, uint8",
        )
    blobs.append(as_bytes(array))
    return Array(name, array.shape, len(blobs) - 1)


def as_bytes(array: NDArray[Any]) -> Buffer:
    """The bytes of `array` in C order, flat; a view of it where that is possible."""
    if array.size == 0:
        return b""  # an empty array's memoryview cannot be cast
    message: Any = array.base
    if isinstance(message, zmq.Frame) and len(message) == array.nbytes and array.flags.c_contiguous:
        return message.buffer  # its own, by which `sockets.send` knows it: see `sockets.packed`
    return np.ascontiguousarray(array).data.cast("B")


def all_finite(values: NDArray[np.float32]) -> bool:
    """Whether no value is infinite or NaN."""
    # 0.8 µs for [50, 7], where `np.isfinite(values).all()` takes 1.4 (numpy 2.4, least of 7).
    return int(np.count_nonzero(np.isfinite(values))) == values.size


def resolve(array: Array, blobs: Sequence[Buffer], limits: Limits = DEFAULT) -> NDArray[Any]:
    """View the described array in its blob, read-only. Raises WireError if they do not agree."""
    dtype = _DTYPES[array.dtype]
    items = prod(array.shape)
    if len(array.shape) > limits.max_array_rank or items > limits.max_array_items:
        raise WireError("array-size", f"an array of shape {array.shape} is beyond the limits")
    if array.blob >= len(blobs):
        raise WireError("blob-index", f"an array in blob {array.blob} of {len(blobs)}")
    blob = blobs[array.blob]
    if len(blob) != items * dtype.itemsize:
        raise WireError(
            "array-bytes",
            f"{len(blob)} bytes for an array {array.dtype} {array.shape}, which has "
            f"{items * dtype.itemsize}",
        )
    view = np.frombuffer(blob, dtype).reshape(array.shape)
    view.flags.writeable = False
    return view
