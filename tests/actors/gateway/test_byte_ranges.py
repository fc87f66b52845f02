"""Ranges of bytes beside the grammar of RFC 9110, section 14."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.gateway.byte_ranges import wanted
from holdfast.errors import UnsatisfiableError

TAG = '"a"'


def asked(said: str, size: int, **headers: str) -> range | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return wanted({"range": said, **named}, size, TAG)


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60), st.booleans())
def test_a_range_has_the_bytes_that_are_within_the_file(
    size: int, first: int, last: int, ended: bool
) -> None:
    """Of `first-last` and `first-`; none at all is unsatisfiable, a reversed one is no range."""
    said = f"bytes={first}-{last if ended else ''}"
    positions = [at for at in range(size) if first <= at and (not ended or at <= last)]
    if ended and last < first:
        assert asked(said, size) is None
    elif not positions:
        with pytest.raises(UnsatisfiableError):
            asked(said, size)
    else:
        found = asked(said, size)
        assert found is not None and list(found) == positions


@given(st.integers(0, 50), st.integers(0, 60))
def test_a_suffix_range_has_the_last_bytes(size: int, count: int) -> None:
    """All of a file that has fewer; of no byte it is unsatisfiable."""
    if min(size, count) == 0:
        with pytest.raises(UnsatisfiableError):
            asked(f"bytes=-{count}", size)
    else:
        assert asked(f"bytes=-{count}", size) == range(max(size - count, 0), size)


@pytest.mark.parametrize(
    "said",
    ["bytes=", "bytes=-", "bytes=a-b", "bytes=1-2,4-5", "lines=1-2", "bytes", "1-2", "bytes=1-2-3"],
)
def test_what_is_no_single_range_of_bytes_means_the_whole_file(said: str) -> None:
    """A server may ignore the header."""
    assert asked(said, 10) is None
    assert wanted({}, 10, TAG) is None


def test_the_grammar_allows_another_case_and_empty_elements() -> None:
    """`Bytes=` in any case, and empty elements as in `, 1-2 ,`, are accepted."""
    assert asked("Bytes=1-2", 10) == range(1, 3)
    assert asked("bytes=, 1-2 ,", 10) == range(1, 3)


def test_a_range_of_another_version_of_the_file_means_the_whole_one() -> None:
    """If-Range has to have the file's own tag, strongly."""
    assert asked("bytes=1-2", 10, if_range=TAG) == range(1, 3)
    for other in ('"b"', f"W/{TAG}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert asked("bytes=1-2", 10, if_range=other) is None
        assert asked("bytes=99-", 10, if_range=other) is None
