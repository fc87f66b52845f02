"""Signatures by CURVE keys: those of Ed25519, by the vectors of RFC 8032."""

from __future__ import annotations

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st
from zmq.utils import z85

from holdfast.transport.signatures import sign, verify

P = 2**255 - 19
RFC_8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac"
            "c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e"
            "458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
]
"""7.1, tests 1 and 2: public key, message, signature. Their points have an even x, as XEdDSA's."""


def montgomery(edwards: bytes) -> bytes:
    """The CURVE key, in Z85, of an Ed25519 key: u = (1 + y) / (1 - y) (RFC 7748, 4.1)."""
    y = int.from_bytes(edwards, "little")
    u = (1 + y) * pow(1 - y, -1, P) % P
    return z85.encode(u.to_bytes(32, "little"))


@pytest.mark.parametrize(("public", "message", "signature"), RFC_8032)
def test_a_signature_of_ed25519_is_one_of_the_curve_key(
    public: str, message: str, signature: str
) -> None:
    """It is valid for its message, and for no other."""
    key, signed = montgomery(bytes.fromhex(public)), bytes.fromhex(signature)
    assert verify(key, bytes.fromhex(message), signed)
    assert not verify(key, bytes.fromhex(message) + b"x", signed)


@settings(max_examples=20)
@given(st.binary(max_size=200), st.integers(0, 511))
def test_a_key_of_libzmq_signs_what_its_public_half_verifies(message: bytes, bit: int) -> None:
    """And nothing else is signed: another key, another message, a changed bit."""
    public, secret = zmq.curve_keypair()
    signature = sign(secret, message)
    assert verify(public, message, signature)
    assert not verify(zmq.curve_keypair()[0], message, signature)
    assert not verify(public, message + b".", signature)
    changed = bytearray(signature)
    changed[bit // 8] ^= 1 << bit % 8
    assert not verify(public, message, bytes(changed))


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), b"\xff" * 64])
def test_what_is_no_signature_is_not_valid(signature: bytes) -> None:
    """Whatever its length."""
    public, _ = zmq.curve_keypair()
    assert not verify(public, b"", signature)
