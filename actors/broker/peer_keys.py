"""`PeerKeys`: the broker's own key, and the directory of its peers' public keys as it is now."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict
from logging import Logger
from pathlib import Path
from typing import Any

from ...errors import KeyFileError
from ...transport import sockets
from ...transport.keyring import FollowedRing
from ...transport.keys import MAX_UNKNOWN_KEYS, Authenticator, Role, load
from ..runtime.configs import BrokerConfig


class PeerKeys:
    """Authenticates the peers of one broker. Poll `authenticator.socket`."""

    def __init__(self, context: sockets.Context, key: str, keyring: str, log: Logger) -> None:
        """`key` is the path of the broker's secret key, `keyring` the directory of its peers'
        public ones. Raises KeyFileError."""
        self.own = load(Path(key))
        if self.own.peer.role is not Role.BROKER:
            raise KeyFileError(f"{key} is the key of {self.own.peer}: the broker needs its own")
        self._directory, self._log = keyring, log
        self._followed = FollowedRing(Path(keyring))
        self.authenticator = Authenticator(context, self._followed.ring)
        self._reported: deque[str] = deque(maxlen=2 * MAX_UNKNOWN_KEYS)
        """Unknown keys that the log has named."""

    @classmethod
    def of(cls, config: BrokerConfig, context: sockets.Context, log: Logger) -> PeerKeys | None:
        """Those that `config` names, None without keys. Raises KeyFileError."""
        if config.key is None and config.keyring is None:
            return None
        if config.key is None or config.keyring is None:
            raise KeyFileError(
                f"the broker has key {config.key} and keyring {config.keyring}: it needs both, its "
                "own secret key and the directory of its peers' public ones"
            )
        return cls(context, config.key, config.keyring, log)

    def is_revoked(self, key: str) -> bool:
        """Whether the public key (Z85) of an open connection is no longer accepted. Nothing that
        comes through it is answered; its peer is refused when it connects again."""
        return self._followed.ring.peer(key.encode()) is None

    def follow(self) -> set[str]:
        """Accept the keys that are in the directory now; return those (Z85) that were revoked."""
        revoked = self._followed.follow()
        if revoked is not None:
            self.authenticator.ring = self._followed.ring
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
        }
