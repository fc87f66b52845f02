"""`KeyExchange`: the keys that enrolled at the other brokers of a site, fetched from each.

A token is good at the broker that issued it, so that its uses are counted in one place. The others
ask that broker once a second, and accept the keys that it lists. While it is gone they keep what
they had, and accept it after a restart too.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from logging import Logger
from pathlib import Path
from typing import Any

from ...errors import KeyFileError, WireError
from ...transport import key_file, messages, sockets
from ...transport.connection import Connection
from ...transport.header import Header, Kind
from ...transport.key_bodies import Keys, PeerKey
from ...transport.keys import Key, load_public
from ...transport.poll import Poll, Source
from .enrolment_store import EnrolmentStore

ASK_NS = 1_000_000_000
LOST_AFTER_NS = 3 * ASK_NS


@dataclass
class OtherBroker:
    """What is known of another broker: the digest of the list that was taken over last, and the
    part of a newer one that has arrived."""

    name: str
    endpoint: str
    connection: Connection
    digest: str = ""
    newer: str = ""
    arrived: list[PeerKey] = field(default_factory=list)


class KeyExchange:
    """Asks the brokers `others` (front endpoint by the key's name). Never blocks on them."""

    def __init__(
        self,
        context: sockets.Context,
        others: Mapping[str, str],
        identity: str,
        own: Key,
        directory: Path,
        store: EnrolmentStore,
        log: Logger,
    ) -> None:
        """Raises KeyFileError where the public key of one of them is missing."""
        self._store, self._log = store, log
        self._ask_ns = 0
        self._others = [
            OtherBroker(
                name,
                endpoint,
                Connection(
                    context,
                    endpoint,
                    identity,
                    key=own,
                    server=load_public(key_file.path_of(directory, name, ".pub")),
                    lost_after_ns=LOST_AFTER_NS,
                ),
            )
            for name, endpoint in others.items()
        ]

    def watch(self, poll: Poll) -> None:
        """Wake `poll` for answers."""
        for other in self._others:
            other.connection.watch(poll)

    def turn(self, awake: Collection[Source], now_ns: int) -> bool:
        """Handle what arrived, and ask when it is time; True when keys were taken over."""
        changed = False
        for other in self._others:
            other.connection.connected(awake)
            while (body := self._received(other, now_ns)) is not None:
                changed |= self._take(other, body)
        if now_ns >= self._ask_ns:
            self._ask_ns = now_ns + ASK_NS
            for other in self._others:
                other.connection.tick(now_ns)
                self._ask(other)
        return changed

    def close(self) -> None:
        """Close the monitors; the sockets are closed with their context."""
        for other in self._others:
            other.connection.close()

    def status(self) -> list[dict[str, Any]]:
        """A row for each: its name, where it is, and why it is not reachable."""
        return [
            {
                "name": other.name,
                "endpoint": other.endpoint,
                "reason": other.connection.reason,
                "open_s": other.connection.open_s,
            }
            for other in self._others
        ]

    def _ask(self, other: OtherBroker) -> None:
        asked = Keys(digest=other.digest, start=len(other.arrived))
        header = Header(Kind.KEYS, token=time.monotonic_ns())
        sockets.send(other.connection.socket, messages.encode(header, asked))

    def _received(self, other: OtherBroker, now_ns: int) -> Keys | None:
        try:
            frames = sockets.receive(other.connection.socket)
            if frames is None:
                return None
            other.connection.heard(now_ns)
            body = messages.decode(frames).body
        except WireError:
            return Keys()
        return body if isinstance(body, Keys) else Keys()

    def _take(self, other: OtherBroker, page: Keys) -> bool:
        """Keep a page; True when it was the last, and the list is another one now."""
        if not page.digest or page.digest == other.digest:
            return False
        if page.digest != other.newer or page.start != len(other.arrived):
            other.newer, other.arrived = page.digest, []
            if page.start:
                return False  # of a list that changed meanwhile: from the start, next time
        other.arrived += page.keys
        if len(other.arrived) < page.total and page.keys:
            self._ask(other)
            return False
        try:
            self._store.mirror(other.name, other.arrived)
        except (OSError, KeyFileError) as error:
            self._log.warning("the keys of %s cannot be written: %s", other.name, error)
            other.arrived = []
            return False
        other.digest, other.arrived = page.digest, []
        self._log.info("%d keys of %s are known", page.total, other.name)
        return True
