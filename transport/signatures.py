"""Signatures by the CURVE keys that peers have: XEdDSA over Curve25519, by libsodium.

After T. Perrin, "The XEdDSA and VXEdDSA Signature Schemes" (signal.org/docs/specifications/xeddsa),
whose signatures are those of Ed25519 (RFC 8032) by the corresponding Edwards key.
"""

from __future__ import annotations

import hashlib
import secrets

from nacl import bindings
from nacl.exceptions import BadSignatureError
from zmq.utils import z85

_P = 2**255 - 19
_SIGN = 0x80
"""The bit of a packed point's last byte that is the sign of its x."""


def sign(secret: bytes, message: bytes) -> bytes:
    """The signature, 64 bytes, by a secret key in Z85."""
    raw = bytearray(z85.decode(secret))
    raw[0] &= 0xF8
    raw[31] = raw[31] & 0x7F | 0x40
    scalar = bindings.crypto_core_ed25519_scalar_reduce(bytes(raw) + bytes(32))
    public = bindings.crypto_scalarmult_ed25519_base_noclamp(scalar)
    if public[31] & _SIGN:  # the point with the other x has the same CURVE key
        scalar = bindings.crypto_core_ed25519_scalar_negate(scalar)
        public = public[:31] + bytes([public[31] & ~_SIGN])
    first = b"\xfe" + b"\xff" * 31  # no packed point: separates this hash from the others
    nonce = _hash(first, scalar, message, secrets.token_bytes(64))
    point = bindings.crypto_scalarmult_ed25519_base_noclamp(nonce)
    product = bindings.crypto_core_ed25519_scalar_mul(_hash(point, public, message), scalar)
    return point + bindings.crypto_core_ed25519_scalar_add(nonce, product)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the owner of a public key, in Z85, has signed the message."""
    u = int.from_bytes(z85.decode(public), "little") % 2**255
    if len(signature) != bindings.crypto_sign_BYTES or u >= _P - 1:
        return False
    y = (u - 1) * pow(u + 1, -1, _P) % _P  # RFC 7748, 4.1
    try:
        bindings.crypto_sign_open(signature + message, y.to_bytes(32, "little"))
    except BadSignatureError:
        return False
    return True


def _hash(*parts: bytes) -> bytes:
    return bindings.crypto_core_ed25519_scalar_reduce(hashlib.sha512(b"".join(parts)).digest())
