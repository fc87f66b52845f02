"""openpi's MessagePack: what its own packer writes is read, and nothing else costs anything."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from holdfast.actors.clients.msgpack_arrays import pack, unpack
from holdfast.errors import WireError

NUMBERS = st.sampled_from(["u1", "i4", "<i8", "f4", "<f8", "?", "f2"])
ARRAYS = NUMBERS.flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0))
)


def described(**fields: Any) -> bytes:
    """An observation with one array, of these fields."""
    whole = {"data": b"", "dtype": "<f4", "shape": [0], "__ndarray__": True, **fields}
    packed: bytes = msgpack.packb({"a": {key.encode(): value for key, value in whole.items()}})
    return packed


@given(ARRAYS)
def test_an_array_of_numbers_comes_back_as_it_was(array: np.ndarray[Any, Any]) -> None:
    """Shape, dtype and bytes are equal after packing and unpacking."""
    back = unpack(pack({"x": array, "deep": [{"y": array}]}))
    for found in (back["x"], back["deep"][0]["y"]):
        assert (found.dtype, found.shape, found.tobytes()) == (
            array.dtype,
            array.shape,
            array.tobytes(),
        )


@given(st.binary(max_size=200) | st.text(max_size=20))
def test_any_message_is_a_value_or_a_wire_error(message: bytes | str) -> None:
    """Nothing but WireError is raised, whatever arrives."""
    try:
        unpack(message)
    except WireError as error:
        assert error.reason in ("text", "msgpack", "array")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"dtype": "|O", "data": b"\x80\x04N."}, "objects would have to be unpickled"),
        ({"dtype": "O"}, "objects"),
        ({"dtype": "|V8", "data": bytes(8), "shape": [1]}, "expected numbers"),
        ({"dtype": "<U4", "data": bytes(16), "shape": [1]}, "expected numbers"),
        ({"dtype": "<M8[s]", "data": bytes(8), "shape": [1]}, "expected numbers"),
        ({"dtype": [["a", "<f4"]]}, "expected numbers"),
        ({"dtype": 7}, "expected numbers"),
        ({"data": "text", "shape": [1]}, "is str, expected bytes"),
        ({"data": [1.0], "shape": [1]}, "is list, expected bytes"),
        ({"shape": [1_000_000_000], "data": bytes(4)}, "has 4000000000 bytes, and 4 came"),
        ({"shape": [1 << 30] * 8, "data": bytes(4)}, "and 4 came"),
        ({"shape": [-1], "data": bytes(4)}, "expected whole numbers"),
        ({"shape": [True], "data": bytes(4)}, "expected whole numbers"),
        ({"shape": 1, "data": bytes(4)}, "expected whole numbers"),
        ({"shape": [1] * 9, "data": bytes(4)}, "expected whole numbers"),
        ({"shape": ["1"], "data": bytes(4)}, "expected whole numbers"),
    ],
)
def test_an_array_that_contradicts_itself_is_refused(fields: dict[str, Any], why: str) -> None:
    """Objects, other dtypes, text as data, and sizes that are not there: a WireError says which."""
    with pytest.raises(WireError, match=why):
        unpack(described(**fields))


@pytest.mark.parametrize(
    "message",
    [
        b"\xdd\xff\xff\xff\xff",  # a list of four thousand million entries
        b"\xdf\xff\xff\xff\xff",  # such a map
        b"\xc6\x40\x00\x00\x00",  # a gigabyte of bytes
        b"\xdb\x40\x00\x00\x00",  # of text
        b"\xc9\x40\x00\x00\x00\x01",  # of an extension
        b"\xdd\x00\x0f\x42\x40" * 200_000,  # lists of a million entries in each other
        b"\x91" * 1_000_000,
        described(shape=[1_000_000_000], data=bytes(4)),
    ],
)
def test_what_a_message_declares_costs_nothing(message: bytes) -> None:
    """Sizes that are declared and not sent allocate no memory to speak of."""
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            unpack(message)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_scalar_and_a_numpy_text_are_read() -> None:
    """NumPy's own scalars travel as openpi's packer writes them, np.str_ among them."""
    scalar = {b"__npgeneric__": True, b"data": 1.5, b"dtype": "<f8"}
    text = {b"__npgeneric__": True, b"data": "pick", b"dtype": "<U4"}
    assert unpack(msgpack.packb({"x": scalar, "prompt": text})) == {"x": 1.5, "prompt": "pick"}
    for wrong in ({"data": "1.5"}, {"dtype": "|O"}, {"data": None}, {"data": 300, "dtype": "u1"}):
        broken = {**scalar, **{key.encode(): value for key, value in wrong.items()}}
        with pytest.raises(WireError):
            unpack(msgpack.packb({"x": broken}))


def test_an_object_array_is_never_packed() -> None:
    """What cannot travel without pickle raises TypeError at this end too."""
    with pytest.raises(TypeError, match="cannot travel"):
        pack({"x": np.array([None])})
