"""Tests run side by side, one in each process of tests; one that judges what the machine can do has
it alone."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(folder: Path, *, alone: bool) -> Iterator[None]:
    """Waits until no test runs that is alone, and, to be alone, until no other one runs. Nobody
    overtakes a test that waits to be alone: it waits for those that run, not for later ones."""
    with (folder / "gate").open("w") as gate, (folder / "machine").open("w") as machine:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(machine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield
