"""`ClientStops`: the emergency stops of the site, as a port heeds them for its clients.

What moves a client's robot is the client's own program, which no stop reaches. The port keeps
chunks from it for as long as a stop of the whole site, or of its session's name, is in force.
"""

from __future__ import annotations

from pathlib import Path

from ..runtime.site_stop_store import SiteStopStore


class ClientStops:
    """Those in `directory`; without one there are none. `keyring` is the directory of public keys
    of a fleet that has them: by these a lift counts."""

    def __init__(self, directory: str | None, keyring: str | None) -> None:
        self._directory = None if directory is None else Path(directory)
        self._keyring = None if keyring is None else Path(keyring)
        self._stores: dict[str, SiteStopStore] = {}
        """By session. A port gives a name that is free again to its next client."""

    def why(self, client: str) -> str:
        """Why the session of this name gets no chunk now, and what lifts that; empty if it gets
        chunks. Costs one look at a folder."""
        if self._directory is None:
            return ""
        store = self._stores.get(client)
        if store is None:
            store = self._stores[client] = SiteStopStore(self._directory, self._keyring, client)
            store.prepare()
        store.look()
        held = store.stops.holding(client)
        if not held and store.unreadable:
            return f"no chunks for {client} until emergency stops can be read: {store.unreadable}"
        if not held:
            return ""
        first = held[0]
        why = f": {first.why}" if first.why else ""
        return (
            f"no chunks for {client}: an emergency stop is in force, stopped by {first.by}{why}; "
            f"`actorctl estop --release {client}` lifts it for this client, `actorctl estop "
            "--release --all` for all robots"
        )
