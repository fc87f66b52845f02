"""Which descriptors this process has open, so that a test sees one that its subject left open."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import NamedTuple


class Descriptor(NamedTuple):
    """A descriptor's number and the file that it refers to."""

    number: int
    device: int
    inode: int


def open_descriptors() -> set[Descriptor]:
    """All of now. A test compares as `after <= before`: a collection of garbage may close
    descriptors of earlier tests at any time, and one that takes a closed one's number differs from
    it by its file."""
    found = set()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  half the time of Path.iterdir
        with suppress(OSError):  # that of the listing itself is closed by now
            file = os.fstat(int(name))
            found.add(Descriptor(int(name), file.st_dev, file.st_ino))
    return found
