"""How long the frames of a request stay in the rings of their cameras."""

from __future__ import annotations

COPY_AFTER_NS = 20_000_000
"""A network actor copies the frames of a request that has no answer by then into the outbox."""
KEPT_S = 2 * COPY_AFTER_NS / 1e9
"""A ring that replicas read keeps each frame for so long after the next has come: a network actor
may wake up late."""
