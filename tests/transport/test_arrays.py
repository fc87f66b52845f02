from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from holdfast.errors import WireError
from holdfast.transport.arrays import Array, as_bytes, describe, resolve
from holdfast.transport.limits import DEFAULT, Limits

dtypes = st.sampled_from(["<f4", "<f8", "<i4", "<i8", "|u1"])
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))


@given(arrays, st.booleans())
def test_an_array_survives_the_wire_bit_for_bit(array: np.ndarray, transposed: bool):
    """NaNs and negative zeros included; memory order does not matter."""
    array = array.T if transposed else array
    blobs: list = [b"another"]
    found = resolve(describe(array, blobs), blobs)
    assert found.dtype == array.dtype and found.shape == array.shape
    assert found.tobytes() == array.tobytes()
    assert not found.flags.writeable


def test_neither_side_copies():
    array = np.arange(6, dtype=np.float32)
    blobs: list = []
    found = resolve(describe(array, blobs), blobs)
    assert np.shares_memory(array, found)
    assert array.flags.writeable


@pytest.mark.parametrize(
    "dtype", [np.float16, np.complex64, ">f4", np.uint16, object, "U3", "M8[s]"]
)
def test_other_dtypes_do_not_travel(dtype):
    """Nothing that could carry code or that another language would read otherwise."""
    with pytest.raises(WireError) as error:
        describe(np.zeros(3, dtype), [])
    assert error.value.reason == "array-dtype"


@given(
    st.sampled_from(["f4", "f8", "i4", "i8", "u1"]),
    st.lists(st.integers(0, DEFAULT.max_array_items), max_size=6),
    st.integers(0, 5),
    st.binary(max_size=64),
)
def test_any_description_gives_a_view_of_its_blob_or_a_wire_error(dtype, shape, blob, data):
    try:
        found = resolve(Array(dtype, tuple(shape), blob), [b"", data])
    except WireError as error:
        assert error.reason in ("array-size", "array-bytes", "blob-index")
    else:
        assert found.nbytes == len([b"", data][blob])


def test_limits_hold_before_anything_is_looked_at():
    limits = Limits(max_array_rank=2, max_array_items=10)
    for shape in ((1, 1, 1), (11,), (4, 3)):
        with pytest.raises(WireError) as error:
            resolve(Array("u1", shape, 0), [bytes(12)], limits)
        assert error.value.reason == "array-size"


def test_bytes_are_flat_and_in_c_order():
    array = np.arange(6, dtype="<i4").reshape(2, 3)
    assert bytes(as_bytes(array.T)) == array.T.tobytes()
    assert as_bytes(np.zeros((0, 3))) == b""
