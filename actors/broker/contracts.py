"""Whether two replicas may serve one service: they must offer the same contract.

A robot that one of them accepted is moved to another without being asked, or opens its next session
there; the terms that it was accepted on must not change by that.
"""

from __future__ import annotations

from ...transport.bodies import Register

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
"""Fields of REGISTER that robots rely on, and their names in messages."""


def differences(new: Register, old: Register) -> str:
    """The terms in which `new` differs from `old`, in words; empty if they are equal."""
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
