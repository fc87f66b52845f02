"""What a fleet needs of its machine's limits, and whether they suffice.

`needs` and `shortfalls` are pure; `found` reads the limits of this process, which its actors
inherit. The needs are measured ones with a margin; what a user's policy or driver opens beside that
is not known here.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ...errors import HeadroomError
from .cleanup_process import CLEANUP_DESCRIPTORS

if TYPE_CHECKING:  # its imports may fail under a small limit
    from ..runtime.spec import ActorSpec

UNLIMITED = float("inf")
_SUPERVISOR_DESCRIPTORS = 64
"""Its own, and some clients at a time."""
_PER_PROCESS = 4
"""Pidfd, link and two log pipes."""
_ACTOR_DESCRIPTORS = 48
"""Python, sockets and their pollers; a broker has one more for each of its peers."""
_THREADS = {"inference": 8, "broker": 3, "network": 3, "control": 3}
_SUPERVISOR_THREADS = 8
_ADDRESS_MB = 700
_ADDRESS_TORCH_MB = 1500
_ADDRESS_CUDA_MB = 32_000
_SHM = Path("/dev/shm")
_CGROUP = Path("/sys/fs/cgroup")


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """What a fleet needs, or what there is: `UNLIMITED` where nothing limits it. `descriptors` and
    `address_mb` are of the process that needs most, the others of all together."""

    descriptors: float = UNLIMITED
    processes: float = UNLIMITED
    """Threads count as processes."""
    address_mb: float = UNLIMITED
    shm_bytes: float = UNLIMITED


BARE = Room(
    descriptors=_SUPERVISOR_DESCRIPTORS,
    processes=_SUPERVISOR_THREADS,
    address_mb=_ADDRESS_MB,
    shm_bytes=0,
)
"""The needs of a fleet without actors."""


def needs(actors: Sequence[ActorSpec]) -> Room:
    """What `actors`, their supervisor and their warm spares need."""
    segments = {use.name: use.size for actor in actors for use in actor.segments}
    shared = {actor.warm: 0 for actor in actors if actor.warm}
    for actor in actors:
        if actor.warm:
            shared[actor.warm] = min(shared[actor.warm] + 1, actor.spares)
    processes = len(actors) + sum(shared.values())
    supervisor = _SUPERVISOR_DESCRIPTORS + _PER_PROCESS * processes + 2 * len(segments)
    cleanup = CLEANUP_DESCRIPTORS + processes
    of_actors = max((len(actor.segments) for actor in actors), default=0)
    return Room(
        descriptors=max(supervisor, cleanup, _ACTOR_DESCRIPTORS + of_actors + len(actors)),
        processes=_SUPERVISOR_THREADS
        + sum(_THREADS.get(actor.kind, 1) for actor in actors)
        + sum(shared.values()),
        address_mb=max((_address_mb(actor) for actor in actors), default=_ADDRESS_MB),
        shm_bytes=sum(segments.values()),
    )


def found() -> Room:
    """What the limits leave for this process and its children."""
    return Room(
        descriptors=_limit(resource.RLIMIT_NOFILE),
        processes=min(_processes_of_user(), *_processes_of_groups()),
        address_mb=_limit(resource.RLIMIT_AS) / 1e6,
        shm_bytes=_free(_SHM),
    )


def shortfalls(need: Room, have: Room) -> list[str]:
    """A sentence for each limit that is too small: found, needed, remedy."""
    sentences = []
    if have.descriptors < need.descriptors:
        sentences.append(
            f"open files: {have.descriptors:.0f} are allowed for each process, "
            f"{need.descriptors:.0f} are needed: `ulimit -n 65536` before the start, or "
            "`LimitNOFILE=65536` in its systemd unit"
        )
    if have.processes < need.processes:
        sentences.append(
            f"processes: {have.processes:.0f} more are allowed, {need.processes:.0f} are needed "
            "(a thread counts as one): `ulimit -u`, a container's --pids-limit or `TasksMax=` "
            "must allow more"
        )
    if have.address_mb < need.address_mb:
        sentences.append(
            f"address space: {have.address_mb:.0f} MB are allowed for each process, "
            f"{need.address_mb:.0f} MB are needed: `ulimit -v unlimited` before the start"
        )
    if have.shm_bytes < need.shm_bytes:
        sentences.append(
            f"shared memory: {have.shm_bytes / 1e6:.1f} MB are free in {_SHM}, "
            f"{need.shm_bytes / 1e6:.1f} MB are needed: enlarge it (containers: --shm-size) or use "
            "fewer or smaller cameras"
        )
    return sentences


def require(need: Room) -> None:
    """Raise the soft limit of open files as far as the hard one allows. Raises HeadroomError, which
    names every limit that is still too small."""
    raise_descriptor_limit()
    if short := shortfalls(need, found()):
        limits = "\n".join(f"  {sentence}" for sentence in short)
        raise HeadroomError(f"the limits of this machine are too small for the fleet:\n{limits}")


def raise_descriptor_limit() -> None:
    """Raise this process's soft limit of open files to 65536, or to the hard limit."""
    # An actor takes about ten: the usual soft limit suffices for a hundred actors.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _address_mb(actor: ActorSpec) -> float:
    if actor.kind != "inference" or not actor.warm:
        return _ADDRESS_MB
    return _ADDRESS_CUDA_MB if "cuda" in str(actor.config.get("device")) else _ADDRESS_TORCH_MB


def _limit(kind: int) -> float:
    soft = resource.getrlimit(kind)[0]
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft


def _processes_of_user() -> float:
    """How many processes RLIMIT_NPROC leaves; it does not bind the superuser."""
    limit = _limit(resource.RLIMIT_NPROC)
    if limit == UNLIMITED or os.geteuid() == 0:
        return UNLIMITED
    return limit - sum(_threads(path) for path in Path("/proc").iterdir() if path.name.isdigit())


def _threads(process: Path) -> int:
    """The threads of one of this user's processes; 0 for another user's."""
    with suppress(OSError):
        if process.stat().st_uid == os.getuid():
            return sum(1 for _ in (process / "task").iterdir())
    return 0


def _processes_of_groups() -> Iterable[float]:
    """How many processes each control group of this process leaves (cgroup v2)."""
    yield UNLIMITED
    with suppress(OSError, ValueError):
        own = next(line for line in _lines(Path("/proc/self/cgroup")) if line.startswith("0::"))
        group = _CGROUP / own[3:].lstrip("/")
        for directory in (group, *group.parents):
            with suppress(OSError, ValueError):
                most = int((directory / "pids.max").read_text())
                yield most - int((directory / "pids.current").read_text())


def _lines(path: Path) -> list[str]:
    return [*path.read_text().splitlines(), "0::/"]


def _free(directory: Path) -> float:
    try:
        room = os.statvfs(directory)
    except OSError:
        return UNLIMITED
    return room.f_bavail * room.f_frsize
