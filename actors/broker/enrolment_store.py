"""`EnrolmentStore`: a broker's tokens, what they were used for, and the keys that peers enrolled.

All of it lies in the broker's directory of keys: `tokens/ID.pub` (made by `actorctl keys token`),
`tokens/ID.used` (a line for each key that it enrolled), `enrolled/BROKER/NAME.pub` (the keys, by
the broker where they enrolled) and `revoked` (a line for each key that is never accepted again).

Guarantees: an enrolment is on the disk before `enrol` returns; a token enrols no more keys than it
has uses, also when the process is killed at any instant; the same enrolment again, whose answer was
lost, is granted again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from ...errors import KeyFileError
from ...transport import key_file
from ...transport.enrolment_tokens import TokenRecord, load_record, names
from ...transport.key_bodies import PeerKey
from ...transport.keys import KeyOwner, PublicKey, Role, load_public

MAX_ENROLLED = 512
"""Keys that one broker enrols: all of them are looked at when a file changes."""
REVOKED = "revoked"


class EnrolmentRefusal(msgspec.Struct, frozen=True):
    """Why a key is not enrolled; `again`: whether it may be later."""

    reason: str
    message: str
    again: bool = False


class EnrolmentStore:
    """Of the broker whose key is called `broker`, in `directory`."""

    def __init__(self, directory: Path, broker: str) -> None:
        self._directory, self._broker = directory, broker
        self._own = directory / "enrolled" / broker.replace("/", "@")
        for key, token in self._enrolled(self._own):  # what a killed process did not complete
            # In a read-only directory the key's own file counts, as before.
            with suppress(OSError):
                if self.record(token) is not None:
                    self._record_use(token, key)

    def record(self, token: str) -> TokenRecord | None:
        """The record of a token of this broker; None if there is none, or it is damaged."""
        if not token.isalnum():
            return None
        try:
            found = load_record(self._directory / "tokens" / f"{token}.pub")
        except KeyFileError:
            return None
        return found if (found.id, found.broker) == (token, self._broker) else None

    def enrol(
        self, token: str, role: Role, name: str, key: str, now_s: float
    ) -> EnrolmentRefusal | None:
        """Accept `key` (Z85) as that of `name` from now on; the refusal if that may not be.

        `role`: that of the peers at the end where it was asked. `now_s`: since 1970. Raises OSError
        where the directory cannot be written.
        """
        record = self.record(token)
        if record is None:
            return EnrolmentRefusal("token-unknown", f"the token {token} was withdrawn")
        refusal = self._refusal(record, role, name, key)
        made = PublicKey(KeyOwner(name, role), key.encode())
        if refusal is None and (made, token) in self._enrolled(self._own):
            return None
        refusal = refusal or self._spent(record, made, now_s)
        if refusal is not None:
            return refusal
        self._own.mkdir(mode=0o755, parents=True, exist_ok=True)
        lines = [f"name {name}", f"role {role}", f"public {key}", f"token {token}"]
        key_file.replace(key_file.path_of(self._own, name, ".pub"), lines, 0o644)
        self._record_use(token, made)
        return None

    def keys(self) -> list[PeerKey]:
        """The keys that were enrolled at this broker, and those that are revoked, in order."""
        found = [
            PeerKey(
                key=one.public.decode(), name=one.peer.name, role=one.peer.role, enrolled_with=token
            )
            for one, token in self._enrolled(self._own)
        ]
        found += [PeerKey(key=key, role="revoked") for key in self.revoked()]
        return sorted(found, key=lambda each: (each.role, each.name, each.key))

    def mirror(self, broker: str, keys: list[PeerKey]) -> None:
        """Take over what `keys` of another broker said: what enrolled there is accepted here, and
        what is revoked there is revoked here."""
        there = self._directory / "enrolled" / broker.replace("/", "@")
        there.mkdir(mode=0o755, parents=True, exist_ok=True)
        wanted = {}
        revoked = self.revoked()
        for each in keys:
            if not key_file.Z85.fullmatch(each.key.encode()):
                continue
            if each.role == "revoked" and each.key not in revoked:
                key_file.append(self._directory / REVOKED, each.key)
            elif each.role in (Role.ROBOT, Role.REPLICA) and key_file.NAME.fullmatch(each.name):
                wanted[key_file.path_of(there, each.name, ".pub")] = each
        for path in set(there.glob("*.pub")) - wanted.keys():
            path.unlink(missing_ok=True)
        for path, each in wanted.items():
            lines = [f"name {each.name}", f"role {each.role}", f"public {each.key}"]
            lines.append(f"token {each.enrolled_with if each.enrolled_with.isalnum() else ''}")
            # What a power failure destroys is fetched again.
            key_file.replace(path, lines, 0o644, durable=False)

    def revoked(self) -> set[str]:
        """The keys that are never accepted again."""
        return set(key_file.lines_of(self._directory / REVOKED))

    def _refusal(
        self, record: TokenRecord, role: Role, name: str, key: str
    ) -> EnrolmentRefusal | None:
        """What never can be, with this token."""
        if record.role is not role:
            return EnrolmentRefusal(
                "token-role", f"the token is for a {record.role}, this end is {role}s'"
            )
        if not names(record.name, name) or not key_file.NAME.fullmatch(name):
            return EnrolmentRefusal("token-name", f"the token is for {record.name}, not for {name}")
        if not key_file.Z85.fullmatch(key.encode()):
            return EnrolmentRefusal("key", "a public key has 40 characters of Z85")
        if key in self.revoked():
            return EnrolmentRefusal(
                "key-revoked", f"the key of {name} was revoked: it takes a new token"
            )
        return None

    def _spent(self, record: TokenRecord, key: PublicKey, now_s: float) -> EnrolmentRefusal | None:
        """What cannot be any more, or not yet."""
        used = self._used(record.id)
        if key.public.decode() in used:
            words = f"the key of {key.peer.name} was removed: it takes a new token"
            return EnrolmentRefusal("key-revoked", words)
        if now_s > record.expires_s:
            return EnrolmentRefusal("token-expired", "the token has expired: make a new one")
        if len(used) >= record.uses:
            words = "it was used" if record.uses == 1 else f"all {record.uses} uses are spent"
            return EnrolmentRefusal("token-used", f"the token is spent, {words}: make a new one")
        taken = 0
        for path in (*self._directory.glob("*.pub"), *self._directory.glob("enrolled/*/*.pub")):
            try:
                other = load_public(path)
            except KeyFileError:
                continue  # named in the log by what follows the directory
            taken += path.parent == self._own
            if key.public == other.public or key.peer == other.peer:
                words = f"{other.peer} has a key: `actorctl keys revoke {other.peer.name}` first"
                return EnrolmentRefusal("name-taken", words)
        if taken >= MAX_ENROLLED:
            words = f"{taken} keys have enrolled here, the most: revoke those that are not used"
            return EnrolmentRefusal("keys-full", words, again=True)
        return None

    def _used(self, token: str) -> set[str]:
        """The keys that the token enrolled, those too that were revoked."""
        lines = key_file.lines_of(self._directory / "tokens" / f"{token}.used")
        # A key is written before its use is: a process may be killed in between.
        written = {k.public.decode() for k, of in self._enrolled(self._own) if of == token}
        return written | {line.partition(" ")[0] for line in lines}

    def _record_use(self, token: str, key: PublicKey) -> None:
        line = f"{key.public.decode()} {key.peer.name}"
        path = self._directory / "tokens" / f"{token}.used"
        if line not in key_file.lines_of(path):
            key_file.append(path, line)

    @staticmethod
    def _enrolled(directory: Path) -> Iterator[tuple[PublicKey, str]]:
        """The keys in a directory, and the token of each."""
        for path in sorted(directory.glob("*.pub")):
            try:
                yield load_public(path), key_file.text_of(key_file.fields_of(path), b"token")
            except KeyFileError:
                continue  # it was removed meanwhile, or is damaged
