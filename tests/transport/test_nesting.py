"""The bound on the nesting of a body."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import WireError
from holdfast.transport.nesting import check

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text()
    | st.binary()
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=20))
    | st.binary(min_size=250, max_size=300)
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(0, 99), inner),
    max_leaves=40,
)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0) if value else 0
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0) if value else 0
    return 0


@given(values, st.integers(0, 6))
def test_a_body_is_refused_exactly_if_it_nests_deeper_than_the_limit(
    value: Any, limit: int
) -> None:
    """The depth counts nonempty maps and lists only, whatever else the body holds."""
    packed = msgpack.packb(value)
    if depth(value) > limit:
        with pytest.raises(WireError, match="deep"):
            check(packed, limit)
    else:
        check(packed, limit)


@given(st.binary(max_size=300), st.integers(0, 4))
def test_the_check_of_any_bytes_ends(body: bytes, limit: int) -> None:
    """Random bytes raise nothing but `nesting`."""
    try:
        check(body, limit)
    except WireError as error:
        assert error.reason == "nesting"
