"""`ProcessorWait`: how long a thread was ready to run and waited for a processor, as the kernel
counts.

It tells a loop that another process kept from running from one that was slow or blocked by itself,
also where a witness on the same processor was not kept waiting.

Does not guarantee: a count. A kernel without `schedstat` gives 0 throughout. Nor does it count the
time in which a virtual machine as a whole stood still: a witness sees that.
"""

from __future__ import annotations

import os

_COUNTS = "/proc/{}/schedstat"
"""`RAN_NS WAITED_NS SLICES` (Linux, Documentation/scheduler/sched-stats.rst)."""


class ProcessorWait:
    """Counts for the thread that makes it, or for the main thread of `process`."""

    def __init__(self, process: int | None = None) -> None:
        counts = _COUNTS.format("thread-self" if process is None else process)
        self._before_ns = 0
        try:
            self._file = os.open(counts, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._file = -1
        self._before_ns = self._total_ns()

    def take(self) -> int:
        """The ns of waiting since the last call. It reads a file of /proc, which takes 2 µs."""
        before_ns, self._before_ns = self._before_ns, self._total_ns()
        return self._before_ns - before_ns

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _total_ns(self) -> int:
        if self._file < 0:
            return 0
        try:
            return int(os.pread(self._file, 80, 0).split()[1])
        except ProcessLookupError:  # it has ended
            return self._before_ns
