"""The header: 32 bytes, or a WireError."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import WireError
from holdfast.transport.header import SIZE, VERSION, Header, Kind

u16, u32, u64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
headers = st.builds(Header, st.sampled_from(Kind), u64, u32, u32, u64, u16, st.just(VERSION))


@given(headers)
def test_a_header_survives_the_wire(header: Header) -> None:
    """Unpacking 32 packed bytes gives the same header."""
    packed = header.pack()
    assert len(packed) == SIZE == 32
    assert Header.unpack(packed) == header
    assert Header.unpack(memoryview(packed)) == header


@given(
    st.binary(max_size=64)
    | headers.map(Header.pack).flatmap(
        lambda packed: st.builds(
            lambda at, byte: packed[:at] + bytes([byte]) + packed[at + 1 :],
            st.integers(0, SIZE - 1),
            st.integers(0, 255),
        )
    )
)
def test_any_bytes_are_a_header_or_a_wire_error(data: bytes) -> None:
    """Random or mutated bytes unpack to what they are, or raise WireError."""
    try:
        header = Header.unpack(data)
    except WireError as error:
        assert error.reason in ("header", "version", "kind")
    else:
        assert header.pack() == data


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({0: 0}, "header"),
        ({4: VERSION + 1}, "version"),
        ({4: 0}, "version"),
        ({5: 0}, "kind"),
        ({5: 255}, "kind"),
    ],
)
def test_a_wrong_header_is_refused_by_a_reason(change: dict[int, int], reason: str) -> None:
    """The WireError's reason is the part that is wrong."""
    data = bytearray(Header(Kind.REPLY).pack())
    for at, byte in change.items():
        data[at] = byte
    with pytest.raises(WireError) as error:
        Header.unpack(data)
    assert error.value.reason == reason


def test_unknown_flags_are_carried_and_ignored() -> None:
    """Flags that a later version may set are kept as they are."""
    assert Header.unpack(Header(Kind.RESET, flags=0x8001).pack()).flags == 0x8001


@pytest.mark.parametrize("field", ["seq", "episode", "epoch", "token"])
@pytest.mark.parametrize("value", [-1, 2**64])
def test_a_number_that_does_not_fit_its_field_is_not_sent(field: str, value: int) -> None:
    """Packing it raises WireError."""
    with pytest.raises(WireError, match="cannot be packed"):
        Header._make({**Header(Kind.RESET)._asdict(), field: value}.values()).pack()
