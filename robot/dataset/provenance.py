"""The column `provenance`: `session`, `seq` and `step` of the chunk that a row's action is from.

A row of no chunk has a `session` that no policy has, and 0 for the rest. Datasets that were
recorded before these values were distinguished have PERSON in all such rows; the column
`intervention` says which of them were a person's.
"""

from __future__ import annotations

PERSON = 0
"""A person's command, or that of a recording in a person's place."""
MOTION = -1
"""A motion to a pose that the robot made by itself: `actorctl go-to`, a strategy's way home."""
FALLBACK = -2
"""The policy's actions had run out: the fallback, such as a velocity of 0."""

WORDS = {PERSON: "", MOTION: "a motion to a pose", FALLBACK: "the fallback"}
"""For a person; "" where the column `intervention` says it."""
