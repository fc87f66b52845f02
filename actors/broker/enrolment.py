"""`Enrolment`: the broker's answers to peers that enrol with a token, and to the other brokers of
the site, which ask for the keys that enrolled here.

The broker writes to the disk for an enrolment, in its loop: so there is a pause after each, ten
times as long as it took.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from logging import Logger
from pathlib import Path
from typing import Any

import msgspec

from ...errors import KeyFileError, WireError
from ...transport.bodies import Body, Reject
from ...transport.header import Header, Kind
from ...transport.key_bodies import Enrol, Enrolled, Keys, PeerKey
from ...transport.keys import Key, Role, load_public
from ...transport.messages import decode
from .enrolment_store import EnrolmentRefusal, EnrolmentStore

PAUSE_NS = 100_000_000
BUSY_RETRY_S = 0.5
PAGE = 128
"""Keys in one answer."""
_BUSY = EnrolmentRefusal("busy", "other peers enrol at this moment", again=True)


def digest_of(keys: Sequence[PeerKey]) -> str:
    """Differs between lists that differ."""
    return hashlib.sha256(msgspec.msgpack.encode(keys)).hexdigest()[:32]


class Enrolment:
    """Of the broker with the key `own`, whose keys are in `directory`."""

    def __init__(self, directory: Path, own: Key, log: Logger) -> None:
        self.store = EnrolmentStore(directory, own.peer.name)
        self._directory, self._log = directory, log
        self._free_ns = 0
        self._listed: list[PeerKey] | None = None

    def changed(self) -> None:
        """The files of keys have changed."""
        self._listed = None

    def answer(
        self, user: str, frames: Sequence[Any], role: Role, now_ns: int
    ) -> tuple[Header, Body]:
        """What the owner `user` of a key, a token's or a broker's, is answered. `role` is that of
        the peers at this end. Raises WireError for all that is none of its questions."""
        message = decode(frames)
        owner, _, name = user.partition(":")
        header, body = message.header, message.body
        if owner == Role.TOKEN and header.kind is Kind.ENROL:
            return self._enrol(name, role, header, body, now_ns)
        if owner == Role.BROKER and header.kind is Kind.KEYS:
            return header, self._page(body)
        raise WireError("key-use", f"{user} may not send {header.kind.name}")

    def _enrol(
        self, token: str, role: Role, header: Header, asked: Enrol, now_ns: int
    ) -> tuple[Header, Body]:
        if now_ns < self._free_ns:
            refusal: EnrolmentRefusal | None = _BUSY
        else:
            refusal = self._stored(token, role, asked)
            self._free_ns = now_ns + max(PAUSE_NS, 10 * (time.monotonic_ns() - now_ns))
            self.changed()
        if refusal is None:
            self._log.info("%s:%s has enrolled, with the token %s", role, asked.name, token)
            enrolled = Enrolled(name=asked.name, brokers=self._brokers())
            return header._replace(kind=Kind.ENROLLED), enrolled
        if refusal is not _BUSY:
            words = "%s:%s was refused, with the token %s: %s (%s)"
            self._log.warning(words, role, asked.name, token, refusal.message, refusal.reason)
        rejected = Reject(
            reason=refusal.reason,
            message=refusal.message,
            final=not refusal.again,
            retry_after_s=BUSY_RETRY_S,
        )
        return header._replace(kind=Kind.REJECT), rejected

    def _stored(self, token: str, role: Role, asked: Enrol) -> EnrolmentRefusal | None:
        try:
            return self.store.enrol(token, role, asked.name, asked.key, time.time())
        except OSError as error:
            words = f"the broker cannot write its directory of keys: {error.strerror}"
            return EnrolmentRefusal("not-written", words, again=True)

    def _brokers(self) -> dict[str, str]:
        """The public keys of the site's brokers, which lie here."""
        found = {}
        for path in sorted(self._directory.glob("broker*.pub")):
            try:
                key = load_public(path)
            except KeyFileError:
                continue
            if key.peer.role is Role.BROKER:
                found[key.peer.name] = key.public.decode()
        return found

    def _page(self, asked: Keys) -> Keys:
        if self._listed is None:
            self._listed = self.store.keys()
        keys = self._listed
        digest = digest_of(keys)
        same = asked.digest == digest
        page = () if same else tuple(keys[asked.start : asked.start + PAGE])
        return Keys(digest=digest, start=asked.start, total=len(keys), keys=page)
