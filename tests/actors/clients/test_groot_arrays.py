"""GR00T's messages: both forms of arrays, and what must not be taken for one."""

from __future__ import annotations

import struct
import tracemalloc
from contextlib import suppress
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from holdfast.actors.clients.groot_arrays import ArrayForm, pack, unpack
from holdfast.errors import WireError
from holdfast.tests.actors.clients.groot_client import raw, saved

NUMBERS = st.one_of(
    arrays.integer_dtypes(),
    arrays.unsigned_integer_dtypes(),
    arrays.floating_dtypes(sizes=(32, 64)),
)


def npy(data: Any) -> bytes:
    """A message with an array of this `as_npy`."""
    packed: bytes = msgpack.packb({"a": {"__ndarray_class__": True, "as_npy": data}})
    return packed


def forged(header: str, data: bytes = b"") -> bytes:
    """A message with an npy file of this header."""
    text = header.encode()
    return npy(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data)


def described(**fields: Any) -> bytes:
    """A message with an array as msgpack-numpy describes it, but for these fields."""
    whole = {"nd": True, "type": "<f4", "kind": b"", "shape": [1], "data": bytes(4), **fields}
    packed: bytes = msgpack.packb({"a": {key.encode(): value for key, value in whole.items()}})
    return packed


@given(
    arrays.arrays(NUMBERS, arrays.array_shapes(min_dims=0, min_side=0)), st.sampled_from(ArrayForm)
)
def test_an_array_comes_back_whole_in_both_forms(array: Any, form: ArrayForm) -> None:
    """Dtype, shape and bytes; the form is said, so that the answer may have it too."""
    value, found = unpack(pack({"a": [array]}, form))
    assert found is form
    assert value["a"][0].dtype == array.dtype
    assert value["a"][0].shape == array.shape
    assert value["a"][0].tobytes() == array.tobytes()


@given(arrays.arrays(np.float32, arrays.array_shapes(max_dims=4)))
def test_what_gr00ts_clients_write_is_read(array: Any) -> None:
    """By numpy.save, by column too, and by msgpack-numpy."""
    for sent in (array, np.asfortranarray(array)):
        value, form = unpack(npy(saved(sent)))
        assert form is ArrayForm.NPY
        assert np.array_equal(value["a"], array, equal_nan=True)
    value, form = unpack(msgpack.packb({"a": raw(array)}))
    assert form is ArrayForm.RAW
    assert np.array_equal(value["a"], array, equal_nan=True)


def test_text_in_an_array_becomes_a_list() -> None:
    """NumPy saves text without pickling it, and instructions come so."""
    for array in (np.array([["pick", "häng"]]), np.array("pick")):
        assert unpack(npy(saved(array)))[0] == {"a": array.tolist()}
    assert unpack(described(type="<U1", data=b"x\0\0\0"))[0] == {"a": ["x"]}
    assert unpack(described(nd=False))[0] == {"a": 0.0}


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"", "no MessagePack"),
        (b"\xc1", "no MessagePack"),
        (b"\xdd\xff\xff\xff\xff", "no MessagePack"),
        (npy("text"), "is str, expected bytes"),
        (npy(None), "is NoneType, expected bytes"),
        (npy(b""), "no npy file"),
        (npy(b"PK\x03\x04 an archive"), "no npy file"),
        (npy(saved(np.array([{}], object), allow_pickle=True)), "would have to be unpickled"),
        (npy(saved(np.zeros(1, [("a", "<f4")]))), "expected numbers"),
        (npy(saved(np.zeros(2, np.float32))[:-1]), "has 8 bytes, and 7 came"),
        (forged("{'descr': '<f4', 'fortran_order': False, 'shape': (268435456,)}"), "1073741824"),
        (forged("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"), "whole numbers"),
        (forged("{'descr': '<U9999999', 'fortran_order': False, 'shape': (1,)}"), "numbers"),
        (forged("(" * 3000 + ")" * 3000), "no npy file"),
        (forged("-" * 9000 + "1"), "no npy file"),
        (forged("__import__('os').abort()"), "no npy file"),
        (described(type="|O", kind=b"O", data=b"\x80\x04N."), "would have to be unpickled"),
        (described(kind=b"V"), "expected numbers"),
        (described(shape=[1 << 28]), "has 1073741824 bytes, and 4 came"),
        (described(shape=7), "whole numbers"),
        (described(shape=[True]), "whole numbers"),
        (described(data="text"), "is str, expected bytes"),
        (described(type="<U1", data=b"\xff\xff\xff\xff"), "holds no text"),
        (described(type="<U1", shape=None), "an array of text"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused_without_its_memory(
    message: bytes, why: str
) -> None:
    """WireError with what was found; less than 4 MiB are allocated, whatever is declared."""
    tracemalloc.start()
    try:
        with pytest.raises(WireError) as refused:
            unpack(message)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert why in str(refused.value)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_give_a_value_or_a_wire_error(data: bytes, as_file: bool) -> None:
    """Also as an npy file that begins well."""
    with suppress(WireError):
        unpack(npy(b"\x93NUMPY\x01\x00" + data) if as_file else data)


def test_only_numbers_are_sent() -> None:
    """Objects and text would not be read by every client."""
    for wrong in (np.array(["a"]), np.array([{}], object), {1, 2}):
        with pytest.raises(TypeError, match="cannot travel"):
            pack({"a": wrong}, ArrayForm.RAW)
