"""MessagePack with NumPy arrays, as GR00T's clients and servers write it, in both of their forms.

Source: NVIDIA/Isaac-GR00T, `MsgSerializer` of N1.5 (`gr00t/eval/service.py`), N1.6 and N1.7
(`gr00t/policy/server_client.py`).

- `ArrayForm.NPY` (N1.5, N1.6): `{"__ndarray_class__": True, "as_npy": what numpy.save writes}`;
- `ArrayForm.RAW` (N1.7, by msgpack-numpy 0.4.8): `{b"nd": True, b"type": "<f4", b"kind": b"",
  b"shape": [...], b"data": bytes}`, of a scalar `{b"nd": False, b"type": ..., b"data": ...}`.

Guarantees: whatever arrives, `unpack` gives plain values and arrays or raises WireError. It
allocates in proportion to the bytes that arrived, not to the sizes that they declare, and never
unpickles. Arrays of numbers are views of the message, read-only; arrays of text become lists.
"""

from __future__ import annotations

import re
import warnings
from enum import StrEnum
from io import BytesIO
from typing import Any

import msgpack
import numpy as np
from numpy.lib import format as npy

from ...errors import WireError
from . import msgpack_arrays

_TEXT = re.compile(r"<U(\d{1,4})")
_HEADER = 16 << 10
"""Bytes in which the header of an npy file must end; NumPy's own bound for it is 10000."""


class ArrayForm(StrEnum):
    """How the arrays of a message are written."""

    NPY = "npy"
    RAW = "raw"


def unpack(data: bytes) -> tuple[Any, ArrayForm | None]:
    """The value of a message, and the form of its arrays; None without one. Raises WireError:
    `msgpack`, `array`."""
    forms: list[ArrayForm] = []

    def each(found: dict[Any, Any]) -> Any:
        if "__ndarray_class__" in found:
            forms.append(ArrayForm.NPY)
            return _saved(found.get("as_npy"))
        if b"nd" in found:
            forms.append(ArrayForm.RAW)
            return _raw(found)
        return found

    value = msgpack_arrays.unpacked(data, each)
    return value, forms[0] if forms else None


def pack(value: Any, form: ArrayForm) -> bytes:
    """The message of plain values and arrays of numbers. Raises TypeError for others."""
    packed: bytes = msgpack.packb(value, default=_AS[form])
    return packed


def _to_npy(value: Any) -> dict[str, Any]:
    file = BytesIO()
    np.save(file, _numeric(value), allow_pickle=False)
    return {"__ndarray_class__": True, "as_npy": file.getvalue()}


def _to_raw(value: Any) -> dict[bytes, Any]:
    array = _numeric(value)
    return {
        b"nd": True,
        b"type": array.dtype.str,
        b"kind": b"",
        b"shape": array.shape,
        b"data": array.tobytes(),
    }


_AS = {ArrayForm.NPY: _to_npy, ArrayForm.RAW: _to_raw}


def _numeric(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return value
    raise TypeError(f"a {type(value).__name__} cannot travel in GR00T's protocol")


def _saved(data: object) -> Any:
    """The array that numpy.save wrote."""
    if not isinstance(data, bytes):
        raise WireError("array", f"`as_npy` of an array is {type(data).__name__}, expected bytes")
    file = BytesIO(data[:_HEADER])
    try:
        version = npy.read_magic(file)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if read is None:
            raise WireError("array", f"an npy file of version {version}, expected (1, 0)")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file that Python 2 wrote
            shape, by_column, dtype = read(file)
    # The header is a Python literal, whose parser also runs out of nesting.
    except (ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise WireError("array", f"`as_npy` is no npy file: {error!s:.200}") from error
    return _array(dtype.str, list(shape), data, file.tell(), by_column=by_column)


def _raw(found: dict[Any, Any]) -> Any:
    name, shape = found.get(b"type"), found.get(b"shape")
    if found.get(b"kind", b"") not in (b"", "", None):
        name = f"{name} (kind {found[b'kind']!r:.10})"
    if found[b"nd"] is not True:
        return _array(name, [], found.get(b"data"), 0)[()]
    return _array(name, shape, found.get(b"data"), 0)


def _array(
    name: object, shape: object, data: object, start: int, *, by_column: bool = False
) -> Any:
    """The array of numbers, or the lists of text. Where it lies `by_column`, `shape` is a list."""
    if by_column and isinstance(shape, list):
        shape = shape[::-1]
    text = _TEXT.fullmatch(name) if isinstance(name, str) else None
    if text is None:
        array = msgpack_arrays.numbers(name, shape, data, start)
        return array.T if by_column else array
    length = int(text[1])
    if not isinstance(shape, list) or not length:
        raise WireError("array", f"an array of text {name!r} of shape {shape!r:.60}")
    letters = msgpack_arrays.numbers("<u4", [*shape, length], data, start)
    try:
        texts = letters.view(text[0]).reshape(shape)
        return (texts.T if by_column else texts).tolist()
    except (ValueError, SystemError) as error:
        raise WireError("array", f"an array of text {name!r} holds no text: {error}") from error
