"""`KeyFiles`: where the keys are of an actor that connects to brokers."""

from __future__ import annotations

import msgspec


class KeyFiles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Paths; empty in a fleet without keys. `key` is the actor's own secret key, `brokers` are the
    public ones of its brokers, in their order: both or neither.

    With `tokens` the actor makes its key itself, and enrols it with the first of them that is there
    and that the broker accepts; the brokers' keys come with the answer.
    """

    key: str | None = None
    brokers: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
