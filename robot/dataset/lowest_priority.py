"""`take_lowest_priority`: what this process does comes after all else that the machine does."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import psutil

AUTOGROUP = Path("/proc/self/autogroup")
"""The nice value of this process's session, where Linux counts processor time by sessions."""


def take_lowest_priority() -> None:
    """For the processor and, where the system has it, for the disk. A process that leads a session
    lowers that of its session too, by which Linux counts processor time if autogroups are on."""
    os.nice(19)
    with suppress(psutil.Error, OSError, AttributeError):  # not Linux, or a filter of system calls
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
    if os.getsid(0) == os.getpid():
        with suppress(OSError):  # a kernel without autogroups: the nice value is all there is
            AUTOGROUP.write_text("19")
