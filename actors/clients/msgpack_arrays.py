"""MessagePack with NumPy arrays, as openpi's clients and servers write it.

Source: `openpi_client.msgpack_numpy` 0.1.2. An array is a map `{b"__ndarray__": True, b"data":
bytes, b"dtype": "<f4", b"shape": [...]}`, a NumPy scalar `{b"__npgeneric__": True, b"data": value,
b"dtype": ...}`.

Guarantees: whatever arrives, `unpack` gives plain values and arrays or raises WireError. It
allocates in proportion to the bytes that arrived, not to the sizes that they declare, and never
unpickles. Arrays are views of the message, read-only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from ...errors import WireError

MAX_RANK = 8
MAX_LIST = 4096
"""Entries of a list, which msgpack allocates before they have arrived, and of a map."""
MAX_DIMENSION = 1 << 31

_NUMERIC = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")
_TEXT = re.compile(r"[<>|=]?U\d{1,6}")


def unpack(data: bytes | str) -> Any:
    """The value of a message. Raises WireError: `text`, `msgpack`, `array`."""
    if isinstance(data, str):
        raise WireError(
            "text",
            f"a text message of {len(data)} characters, expected a binary one: an observation is "
            "packed with openpi_client.msgpack_numpy",
        )
    return unpacked(data, _array)


def unpacked(data: bytes, each: Callable[[dict[Any, Any]], Any]) -> Any:
    """The value of a message, with `each` of its maps as that function makes it. Raises
    WireError: `msgpack`, and what `each` raises."""
    try:
        return msgpack.unpackb(
            data,
            object_hook=each,
            max_array_len=MAX_LIST,
            max_map_len=MAX_LIST,
            max_ext_len=0,
        )
    except WireError:
        raise
    # msgpack raises its own errors, ValueError for sizes, TypeError for keys, UnicodeDecodeError.
    except (msgpack.exceptions.UnpackException, ValueError, TypeError, OverflowError) as error:
        what = str(error) or type(error).__name__
        raise WireError("msgpack", f"{len(data)} bytes that are no MessagePack: {what}") from error


def pack(value: Any) -> bytes:
    """The message of plain values and arrays of numbers. Raises TypeError for others."""
    packed: bytes = msgpack.packb(value, default=_described)
    return packed


def _described(value: Any) -> dict[bytes, Any]:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {
            b"__ndarray__": True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": value.shape,
        }
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"a {type(value).__name__} cannot travel to a client of openpi")


def _array(found: dict[Any, Any]) -> Any:
    """The array or scalar that a map describes; the map itself if it describes none."""
    if b"__ndarray__" in found:
        return numbers(found.get(b"dtype"), found.get(b"shape"), found.get(b"data"))
    if b"__npgeneric__" in found:
        return _scalar(found)
    return found


def numbers(name: object, shape: object, data: object, start: int = 0) -> NDArray[Any]:
    """The array of the dtype `name` and this `shape` whose bytes are `data` from `start` on, as a
    view of them. Raises WireError where they are not that many, before anything is allocated."""
    dtype = _dtype(name)
    if (
        not isinstance(shape, list)
        or len(shape) > MAX_RANK
        or not all(type(n) is int and 0 <= n < MAX_DIMENSION for n in shape)
    ):
        raise WireError("array", f"an array of shape {shape!r:.60}, expected whole numbers")
    if not isinstance(data, bytes):
        raise WireError("array", f"the data of an array is {type(data).__name__}, expected bytes")
    declared, came = prod(shape) * dtype.itemsize, len(data) - start
    if declared != came:
        raise WireError(
            "array",
            f"an array {dtype} of shape {shape} has {declared} bytes, and {came} came",
        )
    if not came:
        return np.zeros(shape, dtype)
    return np.frombuffer(data, dtype, offset=start).reshape(shape)


def _scalar(found: Mapping[Any, Any]) -> Any:
    name, data = found.get(b"dtype"), found.get(b"data")
    if isinstance(name, str) and _TEXT.fullmatch(name) and isinstance(data, str):
        return data
    dtype = _dtype(name)
    if not isinstance(data, int | float):
        raise WireError("array", f"the data of a number is {type(data).__name__}")
    try:
        return dtype.type(data)
    except (ValueError, OverflowError) as error:
        raise WireError("array", f"{data} is no {dtype}") from error


def _dtype(name: object) -> np.dtype[Any]:
    """The dtype called `name`, of numbers or booleans. Raises WireError for any other."""
    if isinstance(name, str) and _NUMERIC.fullmatch(name):
        return np.dtype(name)
    pickled = ": objects would have to be unpickled" if "O" in str(name) else ""
    raise WireError("array", f"an array of dtype {name!r:.40}, expected numbers{pickled}")
