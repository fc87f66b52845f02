"""What a control loop asks of the kernel, and whether that took effect.

Timer slack and short slices cost other processes nothing and are always requested. The others are
opt-in, because each takes something from the rest of the machine. None is an error where it is not
allowed: the loop runs without, and the status shows it.
"""

from __future__ import annotations

import ctypes
import os

from ..runtime.wakefulness import set_slice, set_timer_slack
from .config import TimingSettings

_MCL_CURRENT, _MCL_FUTURE = 1, 2
OFF = "off"
TOOK = "yes"


def take(settings: TimingSettings) -> dict[str, str]:
    """Ask for what `settings` wants: `yes`, `off` (not asked for), or why it did not take."""
    return {
        "timer_slack": TOOK if set_timer_slack() else "not allowed by this kernel",
        "slice": TOOK if set_slice() else "this kernel has none to set (Linux 6.12)",
        "affinity": _affinity(settings.affinity),
        "fifo": _fifo(settings.fifo_priority),
        "mlock": _mlock() if settings.mlock else OFF,
    }


def _affinity(cores: tuple[int, ...] | None) -> str:
    if cores is None:
        return OFF
    try:
        os.sched_setaffinity(0, cores)
    except (OSError, ValueError) as error:
        return (
            f"cores {list(cores)}: {error}; this machine offers {sorted(os.sched_getaffinity(0))}"
        )
    return TOOK


def _fifo(priority: int | None) -> str:
    if priority is None:
        return OFF
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except (OSError, ValueError) as error:
        return f"priority {priority}: {error}; it needs CAP_SYS_NICE or an rtprio limit"
    return TOOK


def _mlock() -> str:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) == 0:
        return TOOK
    return f"{os.strerror(ctypes.get_errno())}; it needs CAP_IPC_LOCK or a memlock limit"
