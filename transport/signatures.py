"""Signatures by the CURVE keys that peers have: XEdDSA over Curve25519.

After T. Perrin, "The XEdDSA and VXEdDSA Signature Schemes" (signal.org/docs/specifications/xeddsa),
whose signatures are those of Ed25519 (RFC 8032) by the corresponding Edwards key.

Signs what a person does with an operator's key, a few times a day: the secret's bits can be seen in
the time that `sign` takes, so that it is not for a service that signs on request. Both take some
10 ms.
"""

from __future__ import annotations

import hashlib
import secrets

from zmq.utils import z85

_P = 2**255 - 19
_Q = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_I = pow(2, (_P - 1) // 4, _P)

_Point = tuple[int, int, int, int]
"""X, Y, Z, T with x = X/Z, y = Y/Z and xy = T/Z (RFC 8032, 5.1.4)."""


def sign(secret: bytes, message: bytes) -> bytes:
    """The signature, 64 bytes, by a secret key in Z85."""
    raw = bytearray(z85.decode(secret))
    raw[0] &= 248
    raw[31] = raw[31] & 127 | 64
    scalar = int.from_bytes(raw, "little") % _Q
    public = _packed(_times(scalar, _BASE))
    if public[31] & 128:
        scalar, public = _Q - scalar, public[:31] + bytes([public[31] & 127])
    first = b"\xfe" + b"\xff" * 31  # no packed point: separates this hash from the others
    nonce = _hash(first, scalar.to_bytes(32, "little"), message, secrets.token_bytes(64))
    point = _packed(_times(nonce, _BASE))
    challenge = _hash(point, public, message)
    return point + ((nonce + challenge * scalar) % _Q).to_bytes(32, "little")


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the owner of a public key, in Z85, has signed the message."""
    u = int.from_bytes(z85.decode(public), "little") % 2**255
    if len(signature) != 64 or u >= _P:
        return False
    y = (u - 1) * pow(u + 1, -1, _P) % _P if u != _P - 1 else 0
    packed = y.to_bytes(32, "little")
    owner = _unpacked(packed)
    scalar = int.from_bytes(signature[32:], "little")
    if owner is None or scalar >= _Q:
        return False
    challenge = _hash(signature[:32], packed, message)
    x, y, z, t = owner
    found = _sum(_times(scalar, _BASE), _times(challenge, (-x % _P, y, z, -t % _P)))
    return _packed(found) == signature[:32]


def _hash(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % _Q


def _sum(one: _Point, other: _Point) -> _Point:
    x1, y1, z1, t1 = one
    x2, y2, z2, t2 = other
    a, b = (y1 - x1) * (y2 - x2) % _P, (y1 + x1) * (y2 + x2) % _P
    c, d = 2 * t1 * t2 * _D % _P, 2 * z1 * z2 % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(scalar: int, point: _Point) -> _Point:
    total: _Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = _sum(total, point)
        point = _sum(point, point)
        scalar >>= 1
    return total


def _packed(point: _Point) -> bytes:
    x, y, z, _ = point
    inverse = pow(z, -1, _P)
    x, y = x * inverse % _P, y * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _unpacked(packed: bytes) -> _Point | None:
    """The point with this y and this sign of x; None where there is none."""
    number = int.from_bytes(packed, "little")
    y, sign = number % 2**255, number >> 255
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _I % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


_BASE = _unpacked((4 * pow(5, -1, _P) % _P).to_bytes(32, "little")) or (0, 1, 1, 0)
