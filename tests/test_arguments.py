"""`arguments`: a value of the promised type, or an error that names the argument."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast import arguments

ODD = (
    *(np.str_("a"), np.float32(2), np.int64(3), np.bool_(True), np.float64("nan"), np.zeros(3)),
    *(np.array("a"), np.array(["a", "b"]), np.zeros((0, 2)), object(), int, str),
    *(10**400, float("inf"), "\ud800", "a\0b", Path("a"), "tcp://a:7447", "tcp://a:0", "ipc:///a"),
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text(st.characters(exclude_categories=()), max_size=40)
    | st.binary(max_size=20)
    | st.sampled_from(ODD)
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
CHECKS: dict[str, tuple[Callable[[str, Any], Any], type]] = {
    "text": (arguments.text, str),
    "name": (arguments.name, str),
    "label": (arguments.label, str),
    "names": (arguments.names, tuple),
    "number": (arguments.number, float),
    "count": (lambda name, value: arguments.count(name, value, 1, 1000), int),
    "choice": (lambda name, value: arguments.choice(name, value, ["a", "b"]), str),
    "flag": (arguments.flag, bool),
    "endpoint": (arguments.endpoint, str),
    "path": (arguments.path, Path),
}


@pytest.mark.parametrize("check", CHECKS)
@given(value=ANYTHING)
@example(value=np.array("a"))
def test_a_value_is_taken_as_the_promised_type_or_refused_by_its_name(
    check: str, value: Any
) -> None:
    """TypeError or ValueError, which begins with the name; a value that is taken can be encoded."""
    function, promised = CHECKS[check]
    try:
        found = function("thing", value)
    except (TypeError, ValueError) as error:
        assert str(error).startswith("thing")
        assert len(str(error)) < 300
        str(error).encode()
    else:
        assert isinstance(found, promised)
        assert type(found) is promised or promised is Path
        os.fsencode(str(found))
        if promised is tuple:
            assert isinstance(found, tuple)
            assert {type(each) for each in found} <= {str}


@given(text=st.text(max_size=50))
def test_text_is_kept_as_it_is(text: str) -> None:
    """Any str is returned unchanged."""
    assert arguments.text("thing", text) == text


@given(number=st.floats(min_value=1e-300, max_value=1e300))
def test_a_number_is_kept_as_it_is(number: float) -> None:
    """A float, and numpy's, is returned with the same value."""
    assert arguments.number("thing", number) == number
    assert arguments.number("thing", np.float64(number)) == number


@given(names=st.lists(st.text(min_size=1, max_size=20), unique=True, min_size=1, max_size=20))
def test_names_are_the_same_from_lists_tuples_and_generators(names: list[str]) -> None:
    """Each gives the same tuple, in the order given."""
    kept = arguments.names("thing", names)
    assert kept == tuple(names)
    assert arguments.names("thing", kept) == kept
    assert arguments.names("thing", iter(names)) == kept
