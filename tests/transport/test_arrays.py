"""Numeric arrays as descriptor and blob."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import DTypeLike, NDArray

from holdfast.errors import WireError
from holdfast.transport.arrays import (
    Array,
    Buffer,
    Dtype,
    all_finite,
    as_bytes,
    describe,
    resolve,
)
from holdfast.transport.limits import DEFAULT, Limits

dtypes = st.sampled_from(["<f4", "<f8", "<i4", "<i8", "|u1"])
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))


@given(arrays, st.booleans())
def test_an_array_survives_the_wire_bit_for_bit(array: NDArray[Any], transposed: bool) -> None:
    """Dtype, shape and bytes are equal, for NaNs, negative zeros and either memory order."""
    array = array.T if transposed else array
    blobs: list[Buffer] = [b"another"]
    found = resolve(describe(array, blobs), blobs)
    assert found.dtype == array.dtype and found.shape == array.shape
    assert found.tobytes() == array.tobytes()
    assert not found.flags.writeable


def test_describing_and_resolving_an_array_copy_nothing() -> None:
    """The resolved array views the memory of the described one."""
    array = np.arange(6, dtype=np.float32)
    blobs: list[Buffer] = []
    found = resolve(describe(array, blobs), blobs)
    assert np.shares_memory(array, found)
    assert array.flags.writeable


@pytest.mark.parametrize(
    "dtype", [np.float16, np.complex64, ">f4", np.uint16, object, "U3", "M8[s]"]
)
def test_an_array_of_another_dtype_is_refused(dtype: DTypeLike) -> None:
    """Only the five dtypes of the wire are described; the reason is `array-dtype`."""
    with pytest.raises(WireError) as error:
        describe(np.zeros(3, dtype), [])
    assert error.value.reason == "array-dtype"


@given(
    st.sampled_from(["f4", "f8", "i4", "i8", "u1"]),
    st.lists(st.integers(0, DEFAULT.max_array_items), max_size=6),
    st.integers(0, 5),
    st.binary(max_size=64),
)
def test_any_description_gives_a_view_of_its_blob_or_a_wire_error(
    dtype: Dtype, shape: list[int], blob: int, data: bytes
) -> None:
    """An untrusted description never raises anything but WireError."""
    try:
        found = resolve(Array(dtype, tuple(shape), blob), [b"", data])
    except WireError as error:
        assert error.reason in ("array-size", "array-bytes", "blob-index")
    else:
        assert found.nbytes == len([b"", data][blob])


def test_a_description_beyond_the_limits_is_refused() -> None:
    """Rank and number of items are checked before the blob."""
    limits = Limits(max_array_rank=2, max_array_items=10)
    for shape in ((1, 1, 1), (11,), (4, 3)):
        with pytest.raises(WireError) as error:
            resolve(Array("u1", shape, 0), [bytes(12)], limits)
        assert error.value.reason == "array-size"


def test_the_bytes_of_an_array_are_flat_and_in_c_order() -> None:
    """A transposed array is written row by row, an empty one as no bytes."""
    array = np.arange(6, dtype="<i4").reshape(2, 3)
    assert bytes(as_bytes(array.T)) == array.T.tobytes()
    assert as_bytes(np.zeros((0, 3))) == b""


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=30),
    st.sampled_from([None, np.nan, np.inf, -np.inf]),
    st.data(),
)
def test_all_finite_finds_one_value_that_is_not(
    values: list[float], bad: float | None, data: st.DataObject
) -> None:
    """It is True for finite values, the largest too, and False with one NaN or infinity."""
    if bad is not None:
        values.insert(data.draw(st.integers(0, len(values))), bad)
    assert all_finite(np.array(values, np.float32)) is (bad is None)
