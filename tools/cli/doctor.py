"""What a machine lacks for robots to run well on it: each finding with its remedy.

It changes nothing. `bad` keeps a fleet from running, `poor` makes it run worse than it could,
`good` needs no action.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ...actors.runtime.runtime_dir import runtime_base, state_dir

SHARED_MB = 64
DISK_MB = 200
LATE_US = 2000.0
_COLOURS = {"good": "green", "poor": "yellow", "bad": "red"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `remedy` is empty when there is nothing to mend."""

    what: str
    verdict: Literal["good", "poor", "bad"]
    found: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at everything, in a second or so."""
    checks: tuple[Callable[[], Finding], ...] = (
        shared_memory,
        sleep_accuracy,
        processors,
        frequency_governor,
        realtime_priority,
        locked_memory,
        descriptors,
        runtime_directory,
        disk,
        ports,
        graphics,
    )
    return [check() for check in checks]


def shared_memory() -> Finding:
    free_mb = shutil.disk_usage("/dev/shm").free / 1e6 if Path("/dev/shm").is_dir() else 0.0
    if free_mb >= SHARED_MB:
        return Finding("shared memory", "good", f"{free_mb:.0f} MB free in /dev/shm")
    remedy = "mount -o remount,size=1G /dev/shm, or --shm-size=1g for a container"
    return Finding("shared memory", "bad", f"{free_mb:.0f} MB free in /dev/shm", remedy)


def sleep_accuracy() -> Finding:
    """How late a sleeping loop of 100 Hz wakes up: what the control loop has to live with."""
    late_us = []
    due_s = time.monotonic()
    for _ in range(50):
        due_s += 0.01
        time.sleep(max(0.0, due_s - time.monotonic()))
        late_us.append((time.monotonic() - due_s) * 1e6)
    worst = sorted(late_us)[-2]
    found = f"a sleep of 10 ms ends {worst:.0f} µs late at worst"
    if worst < LATE_US:
        return Finding("sleep accuracy", "good", found)
    remedy = "end other work on this machine, use `timing: {affinity, fifo_priority}`, or fewer VMs"
    return Finding("sleep accuracy", "poor", found, remedy)


def processors() -> Finding:
    count = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    found = f"{count} processors, load {load:.1f}"
    if count < 2:
        remedy = "run the replica on another host: a policy and a control loop share this processor"
        return Finding("processors", "poor", found, remedy)
    if load > count:
        return Finding("processors", "poor", found, "end other work: more runs than fits")
    return Finding("processors", "good", found)


def frequency_governor() -> Finding:
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    if not path.exists():
        return Finding("frequency governor", "good", "none here (a virtual machine)")
    governor = path.read_text().strip()
    if governor == "performance":
        return Finding("frequency governor", "good", governor)
    remedy = "cpupower frequency-set -g performance: waking from a slow clock costs the tick time"
    return Finding("frequency governor", "poor", governor, remedy)


def realtime_priority() -> Finding:
    limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    if os.geteuid() == 0 or limit > 0:
        return Finding("real-time priority", "good", "allowed (`timing: {fifo_priority: 50}`)")
    remedy = "'@robots - rtprio 90' in /etc/security/limits.conf, then log in anew"
    return Finding("real-time priority", "poor", "not allowed for this user", remedy)


def locked_memory() -> Finding:
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if os.geteuid() == 0 or limit == resource.RLIM_INFINITY or limit > 512_000_000:
        return Finding("locked memory", "good", "allowed (`timing: {mlock: true}`)")
    remedy = "'@robots - memlock unlimited' in /etc/security/limits.conf, then log in anew"
    return Finding("locked memory", "poor", f"{limit / 1e6:.0f} MB allowed", remedy)


def descriptors() -> Finding:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY or hard >= 4096:
        return Finding("open files", "good", f"up to {hard} per process")
    remedy = "'* hard nofile 65536' in /etc/security/limits.conf: an actor takes about ten"
    return Finding("open files", "poor", f"up to {hard} per process", remedy)


def runtime_directory() -> Finding:
    base = runtime_base()
    nearest = next(path for path in (base, *base.parents) if path.exists())
    if not os.access(nearest, os.W_OK):
        remedy = "set HOLDFAST_RUNTIME to a directory of yours"
        return Finding("runtime directory", "bad", f"{base} cannot be written", remedy)
    if len(bytes(base)) > 60:
        remedy = "set HOLDFAST_RUNTIME to a shorter path: a socket's holds 107 bytes"
        return Finding("runtime directory", "bad", f"{base} is {len(bytes(base))} bytes", remedy)
    return Finding("runtime directory", "good", str(base))


def disk() -> Finding:
    state = state_dir("fleet")
    nearest = next(path for path in (state, *state.parents) if path.exists())
    free_mb = shutil.disk_usage(nearest).free / 1e6
    found = f"{free_mb:.0f} MB free for logs in {state.parent}"
    if not os.access(nearest, os.W_OK):
        return Finding("disk", "bad", f"{nearest} cannot be written", "set HOLDFAST_STATE")
    if free_mb < DISK_MB:
        return Finding("disk", "poor", found, "free some, or set HOLDFAST_STATE to another disk")
    return Finding("disk", "good", found)


def ports() -> Finding:
    """The broker's default ports, which only a fleet over several hosts uses."""
    taken = []
    for port in (7447, 7448):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                taken.append(str(port))
    if taken:
        remedy = "choose others with `broker: {front_port, back_port}`, if it spans hosts"
        return Finding("ports", "poor", f"{', '.join(taken)} in use", remedy)
    return Finding("ports", "good", "7447 and 7448 are free")


def graphics() -> Finding:
    if list(Path("/dev").glob("nvidia[0-9]*")):
        return Finding("graphics processor", "good", "an NVIDIA device is here")
    return Finding("graphics processor", "good", "none: policies run on the processor")


def plain(finding: Finding) -> dict[str, Any]:
    return asdict(finding)


def show(findings: list[Finding]) -> None:
    """Print them as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "found", "to mend it"):
        table.add_column(column)
    for finding in findings:
        table.add_row(
            f"[{_COLOURS[finding.verdict]}]{finding.what}[/]", finding.found, finding.remedy
        )
    Console().print(table)
