"""`boot_id`: identifies this machine, to decide whether two processes may share memory."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


@cache
def boot_id() -> str:
    """An id of this boot of this machine, and of this user on it.

    Equal names are necessary for sharing memory, not sufficient: containers on one machine are
    alike here and share none, so a reference also carries the random nonce of its segment.
    """
    kernel = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{kernel}/{os.getuid()}"
