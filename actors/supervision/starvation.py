"""`Starvation`: how long processes were ready to run and waited for a processor.

It tells a process that hangs from one that the machine has no time for. To restart the second would
take more of what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..runtime.processor_wait import ProcessorWait


class Starvation:
    """Of the main threads of some processes, which may be others at each call."""

    def __init__(self) -> None:
        self._waits: dict[int, ProcessorWait] = {}

    def take(self, processes: Mapping[str, int]) -> dict[str, float]:
        """The seconds of waiting of `processes` (pids by name) since the last call; 0.0 for one
        that was not asked for then, and for all where the kernel does not count."""
        waits = {pid: self._waits.pop(pid, None) for pid in processes.values()}
        self.close()
        self._waits = {pid: wait or ProcessorWait(pid) for pid, wait in waits.items()}
        return {name: self._waits[pid].take() / 1e9 for name, pid in processes.items()}

    def close(self) -> None:
        for wait in self._waits.values():
            wait.close()
        self._waits = {}
