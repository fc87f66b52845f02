"""Shared-memory segments that cannot leak: they have no name, only descriptors.

`create` makes a POSIX shared-memory object (mode 0600), reserves its memory and unlinks its name at
once; what is left is a descriptor to hand down. The kernel frees the memory when the last
descriptor and mapping are gone, however their owners died.

Does not guarantee: that a creator killed between the two system calls of creating and unlinking
leaves no name behind. `sweep` removes such a name later.
"""

from __future__ import annotations

import mmap as _mmap
import os
import re
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import posix_ipc

from ..errors import SegmentError

_PREFIX = "holdfast"
_SHM = Path("/dev/shm")
ABANDONED_AFTER_S = 10.0
"""`create` holds its name for some microseconds."""


class Segment:
    """One nameless piece of shared memory, owned through its descriptor `fd`.

    `label` is for messages only: no other process can find the segment by it.
    """

    def __init__(self, fd: int, size: int, label: str):
        self.fd = fd
        self.size = size
        self.label = label

    def read_only_fd(self) -> int:
        """A new descriptor of the same memory that only maps read-only; the caller owns it.

        It is an open file description of its own, so that its receiver cannot upgrade it.
        """
        return os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY | os.O_CLOEXEC)

    def map(self, *, writable: bool) -> _mmap.mmap:
        """Map the whole segment."""
        return map(self.fd, self.size, writable)

    def close(self) -> None:
        """Give up the descriptor; mappings and other descriptors keep the memory. Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def create(size: int, name: str) -> Segment:
    """Create `size` zeroed bytes of shared memory, private to this user. `name` labels messages."""
    if size < 1:
        raise SegmentError(f"segment {name}: a size of {size} bytes is impossible")
    unique = f"/{_PREFIX}-{os.getpid()}-{secrets.token_hex(8)}"
    memory = posix_ipc.SharedMemory(unique, flags=posix_ipc.O_CREX, mode=0o600, size=size)
    with suppress(posix_ipc.ExistentialError):  # the directory may be cleared by others
        posix_ipc.unlink_shared_memory(unique)
    try:
        # Without this, memory is found missing at the first touch of a page, which is a SIGBUS.
        os.posix_fallocate(memory.fd, 0, size)
    except OSError as error:
        os.close(memory.fd)
        raise SegmentError(
            f"segment {name}: no {size} bytes of shared memory left ({error.strerror}); enlarge "
            "/dev/shm (containers: --shm-size) or use fewer or smaller cameras"
        ) from error
    return Segment(memory.fd, size, name)


def map(fd: int, size: int, writable: bool) -> _mmap.mmap:
    """Map the first `size` bytes of the segment behind `fd`, all pages present.

    The descriptor may be closed afterwards.
    """
    actual = os.fstat(fd).st_size
    if actual < size:
        raise SegmentError(
            f"the segment behind descriptor {fd} has {actual} bytes, {size} are expected: "
            "its creator and its user disagree about the layout; run the same version in both"
        )
    prot = _mmap.PROT_READ | (_mmap.PROT_WRITE if writable else 0)
    return _mmap.mmap(fd, size, _mmap.MAP_SHARED | _mmap.MAP_POPULATE, prot)


def sweep() -> list[str]:
    """Unlink names that this user's creators left behind by dying in the middle of `create`; return
    them. A name younger than `ABANDONED_AFTER_S` stays: its creator may live where its pid means
    nothing here (another container with the same /dev/shm)."""
    swept = []
    for path in _SHM.glob(f"{_PREFIX}-*"):
        match = re.fullmatch(rf"{_PREFIX}-(\d+)-[0-9a-f]{{16}}", path.name)
        if match and not Path(f"/proc/{match[1]}").exists() and _abandoned(path):
            with suppress(OSError):  # swept by another process meanwhile
                path.unlink()
                swept.append(path.name)
    return swept


def _abandoned(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid()
    return ours and time.time() - found.st_mtime > ABANDONED_AFTER_S
