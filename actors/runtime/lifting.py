"""Who may lift a stop of a site: an operator, whose signature every host checks itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from ...errors import KeyFileError
from ...transport import key_file, signatures
from ...transport.keys import Key, Keyring, Role
from ...transport.stop_bodies import Lift


def lifts_of(
    wanted: Iterable[tuple[str, tuple[str, ...]]], by: str, operator: Key | None
) -> list[Lift]:
    """The lifts of (stop, robots), signed with the operator's key in a fleet with keys."""
    made = []
    for stop, robots in wanted:
        lift = Lift(stop=stop, robots=robots, by=by[:256])
        if operator is not None:
            proof = signatures.sign(operator.secret, _signed(lift)).hex()
            lift = msgspec.structs.replace(lift, key=operator.public.decode(), proof=proof)
        made.append(lift)
    return made


def refusals(lifts: Iterable[Lift], keyring: Path) -> dict[Lift, str]:
    """Which of the lifts do not count at this host, whose fleet's public keys are in the directory
    `keyring`, and why. The directory is read once for all."""
    try:
        ring = Keyring.of(keyring)
        revoked = key_file.lines_of(keyring / "revoked")
    except (KeyFileError, OSError) as problem:
        return dict.fromkeys(lifts, str(problem))
    found = {lift: _why_not(lift, ring, revoked, keyring) for lift in lifts}
    return {lift: why for lift, why in found.items() if why}


def _why_not(lift: Lift, ring: Keyring, revoked: Collection[str], keyring: Path) -> str:
    public = lift.key.encode()
    owner = ring.peer(public)
    if owner is None or owner.role is not Role.OPERATOR or lift.key in revoked:
        return (
            f"the key of the operator who lifted it is not in {keyring} here: copy the "
            "operator's .pub file there, or lift it on this host"
        )
    try:
        signed = signatures.verify(public, _signed(lift), bytes.fromhex(lift.proof))
    except ValueError as problem:
        return str(problem)
    return "" if signed else "its lift is not signed by an operator"


def _signed(lift: Lift) -> bytes:
    return msgspec.msgpack.encode(("holdfast lift", lift.stop, lift.robots))
