"""`PeerKeys`: the broker's own key, and the directory of its peers' public keys as it is now."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import asdict
from logging import Logger
from pathlib import Path
from typing import Any

from ...errors import KeyFileError, WireError
from ...transport import messages, sockets
from ...transport.header import Kind
from ...transport.keyring import FollowedRing
from ...transport.keys import MAX_UNKNOWN_KEYS, Authenticator, Role, load
from ...transport.poll import Poll, Source
from ..runtime.configs import BrokerConfig
from .arrival import Arrival
from .enrolment import Enrolment
from .key_exchange import KeyExchange

_ABOUT_KEYS = (f"{Role.TOKEN}:", f"{Role.BROKER}:")


class PeerKeys:
    """Authenticates the peers of one broker, called `identity`. Call `turn` in every turn of the
    loop."""

    def __init__(
        self,
        context: sockets.Context,
        key: str,
        keyring: str,
        log: Logger,
        others: Mapping[str, str],
        identity: str,
    ) -> None:
        """`key` is the path of the broker's secret key, `keyring` the directory of its peers'
        public ones, `others` as in `BrokerConfig`. Raises KeyFileError."""
        self.own = load(Path(key))
        if self.own.peer.role is not Role.BROKER:
            raise KeyFileError(f"{key} is the key of {self.own.peer}: the broker needs its own")
        self._directory, self._log = keyring, log
        self.enrolment = Enrolment(Path(keyring), self.own, log)
        self._followed = FollowedRing(Path(keyring))
        self.authenticator = Authenticator(context, self._followed.ring)
        self._exchange = KeyExchange(
            context, others, identity, self.own, Path(keyring), self.enrolment.store, log
        )
        self._reported: deque[str] = deque(maxlen=2 * MAX_UNKNOWN_KEYS)
        """Unknown keys that the log has named."""

    @classmethod
    def of(
        cls, config: BrokerConfig, context: sockets.Context, log: Logger, identity: str
    ) -> PeerKeys | None:
        """Those that `config` names, None without keys. Raises KeyFileError."""
        if config.key is None and config.keyring is None:
            return None
        if config.key is None or config.keyring is None:
            raise KeyFileError(
                f"the broker has key {config.key} and keyring {config.keyring}: it needs both, its "
                "own secret key and the directory of its peers' public ones"
            )
        return cls(context, config.key, config.keyring, log, config.others, identity)

    def watch(self, poll: Poll) -> None:
        """Wake `poll` for new connections, and for answers of other brokers."""
        poll.add(self.authenticator.socket)
        self._exchange.watch(poll)

    def turn(self, awake: Collection[Source], now_ns: int) -> bool:
        """Handle what arrived; True when `follow` is due before the regular time."""
        if self.authenticator.socket in awake:
            self.authenticator.handle()
        return self._exchange.turn(awake, now_ns)

    def answer(self, arrival: Arrival, role: Role, now_ns: int) -> tuple[list[Any], bool] | None:
        """What the sender of `arrival` is sent, if that is a peer that enrols or another broker,
        and whether `follow` is due; None for all others. `role`: that of the peers at this end.
        Raises WireError."""
        if not arrival.user.startswith(_ABOUT_KEYS):
            return None
        if arrival.broken:
            raise WireError(arrival.broken, arrival.excess)
        # Between broker and replica a robot's name comes first.
        ahead = [b""] if role is Role.REPLICA else []
        asked = arrival.frames[len(ahead) :]
        header, body = self.enrolment.answer(arrival.user, asked, role, now_ns)
        frames = [arrival.identity, *ahead, *messages.encode(header, body)]
        return frames, header.kind is Kind.ENROLLED

    def close(self) -> None:
        """Close what is not closed with the context."""
        self._exchange.close()

    def is_revoked(self, key: str) -> bool:
        """Whether the public key (Z85) of an open connection is no longer accepted. Nothing that
        comes through it is answered; its peer is refused when it connects again."""
        return self._followed.ring.peer(key.encode()) is None

    def follow(self) -> set[str]:
        """Accept the keys that are in the directory now; return those (Z85) that were revoked."""
        revoked = self._followed.follow()
        if revoked is not None:
            self.authenticator.ring = self._followed.ring
            self.enrolment.changed()
            self._log.info("%d keys are let in now", len(self._followed.ring))
            for problem in self._followed.problems:
                self._log.warning("a key is not used: %s", problem)
        for unknown in list(self.authenticator.unknown_keys.values()):
            if unknown.key not in self._reported:
                self._reported.append(unknown.key)
                self._log.warning(
                    "a peer at %s was refused: its key %s is not in %s",
                    unknown.address,
                    unknown.key,
                    self._directory,
                )
        return {key.decode() for key in revoked or ()}

    def status(self, most: int) -> dict[str, Any]:
        """Refusals by reason, and the last `most` unknown keys."""
        unknown = list(self.authenticator.unknown_keys.values())[-most:] if most else []
        return {
            "refused_keys": dict(self.authenticator.refused),
            "strangers": [asdict(each) for each in unknown],
            "other_brokers": self._exchange.status(),
        }
