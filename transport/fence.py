"""A full memory fence, and the aligned 64-bit words that shared memory is published through.

Guarantees: every load and store that this thread issued before `fence()` is ordered before every
one it issues after, for all observers, on x86-64 and on ARMv8 (and on whatever CPython's locks are
correct on). Words made by `words()` are read and written by one 8-byte access each.

Does not guarantee: anything about stores made between two fences relative to each other; that needs
a fence between them.

Why this is a fence, without a compiled extension. A fresh `threading` lock is acquired, released
and acquired again, so the thread performs on one word, in this order, a *release* read-modify-write
(L) and an *acquire* read-modify-write (A): `sem_post` and `sem_trywait` up to CPython 3.12, the
compare-exchanges of `PyMutex` from 3.13 (those are sequentially consistent, hence stronger).

* ARMv8 (DDI 0487, B2.3, and the herd model `aarch64.cat`): barrier-ordered-before contains
  `po;[L]` (everything earlier is before the release), `[L];po;[A]` (a release is before a later
  acquire) and `[A];po` (the acquire is before everything later). Their composition is: everything
  earlier is before everything later. A release followed by an acquire is the order that matters;
  acquire followed by release (one `with lock:`) would let accesses from both sides slide in.
* x86-64 (SDM vol. 3A, 9.2): a locked read-modify-write is a full fence, and it also drains the
  write-combining buffers that a large memcpy's non-temporal stores go through.
* The compiler cannot move the accesses: each is behind a call into the interpreter.

The lock is made anew each time because a shared one would make two threads, or a signal handler
that interrupts a fence, meet on it. It is never contended, so none of the three calls can block.
"""

from __future__ import annotations

from _thread import allocate_lock
from mmap import mmap

WORD = 8
LINE = 64  # bytes; a cache line on every CPU this runs on, and the alignment of all that is shared


def fence() -> None:
    """Order everything before against everything after. About 0.2 µs."""
    lock = allocate_lock()
    lock.acquire()
    lock.release()
    lock.acquire()


def words(buffer: memoryview | mmap | bytearray, offset: int, count: int) -> memoryview:
    """View `count` native 64-bit words of `buffer` from the byte `offset`, a multiple of 8.

    Assigning to or reading an item is one 8-byte access (CPython packs the format `Q` with a
    fixed-size copy), so a reader in another process sees the old word or the new, never a mix.
    """
    if offset % WORD:
        raise ValueError(f"a shared word lies at byte {offset}: it must be a multiple of {WORD}")
    return memoryview(buffer).cast("B")[offset : offset + count * WORD].cast("Q")


def align(size: int) -> int:
    """Round `size` up to whole cache lines."""
    return -(-size // LINE) * LINE
