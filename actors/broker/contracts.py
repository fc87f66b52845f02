"""Whether two replicas may serve one service: what they offer must be one contract.

A robot that was accepted by one of them is moved to another without being asked, or opens its next
session there; what it was promised must not change by that.
"""

from __future__ import annotations

from ...transport.messages import Register

TERMS = {
    "checkpoint": "weights",
    "model": "model",
    "revision": "revision",
    "chunk_size": "chunk size",
    "fps": "fps",
    "action_names": "action names",
    "state_names": "state names",
    "control_mode": "control mode",
    "prefix": "prefix",
}
"""Fields of REGISTER that robots rely on, and what people call them."""


def differences(new: Register, old: Register) -> str:
    """In what `new` differs from `old` that robots of a service rely on; empty if in nothing."""
    found = [
        f"{words} {_show(getattr(new, field))} instead of {_show(getattr(old, field))}"
        for field, words in TERMS.items()
        if getattr(new, field) != getattr(old, field)
    ]
    if not found and new.contract and old.contract and new.contract != old.contract:
        found = [f"contract {new.contract} instead of {old.contract}"]
    return ", ".join(found)


def _show(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return str(value) or "none"
