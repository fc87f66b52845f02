"""The operator's key, with which the emergency stop of a fleet that has keys is lifted."""

from __future__ import annotations

from pathlib import Path

import zmq

from ...errors import KeyFileError
from ...transport.keys import Keyring, Role, load


def fits(keyring: Path, secret: object) -> bool:
    """Whether `secret`, in Z85, is the secret half of an operator's key in the directory."""
    try:
        public = zmq.curve_public(str(secret).encode())
        owner = Keyring.of(keyring).peer(public)
    except (ValueError, zmq.ZMQError, KeyFileError):
        return False
    return owner is not None and owner.role is Role.OPERATOR


def needed(robot: str, keyring: Path) -> str:
    """What to do without one."""
    return (
        f"the stop of {robot} is lifted with an operator's secret key only, whose public half is "
        f"in {keyring}: `actorctl estop --release {robot} --key operator.key` (`actorctl keys new "
        "operator` makes one)"
    )


def secret_of(file: Path) -> str:
    """The secret half in a `.key` file. Raises KeyFileError."""
    return load(file).secret.decode()
