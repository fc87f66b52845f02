"""`Cyclictest`: the program of rt-tests that measures how late the kernel wakes a sleeper, in C and
with its memory locked.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile

from .waiting_loop import Samples

MOST_US = 100_000
"""What is later is reported as so late."""


class Cyclictest:
    """Waits as a `WaitingLoop` does, but at instants of its own: its samples have none. It runs by
    the ordinary scheduler, or at the `fifo_priority` that is given."""

    def __init__(self, fifo_priority: int | None) -> None:
        program = shutil.which("cyclictest")
        policy = ["--policy=other"] if fifo_priority is None else [f"--priority={fifo_priority}"]
        self._argv = [program or "", "--quiet", "--threads=1", "--mlockall", *policy]
        self._process: subprocess.Popen[bytes] | None = None
        self.refused = "cyclictest is not installed: apt-get install rt-tests"
        if program is not None:
            self.begin(1_000_000, 1, 0)
            failed, said = self._end()
            self.refused = said.strip() or "cyclictest fails" if failed else ""

    def begin(self, period_ns: int, ticks: int, start_ns: int) -> None:
        """Let it wake up so many times, beginning now."""
        turn = [f"--interval={period_ns // 1000}", f"--loops={ticks}", f"--histogram={MOST_US}"]
        # No pipe: one whose reader was killed would end it before it removes its file of /dev/shm.
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 closed at the turn's end
        self._process = subprocess.Popen(
            [*self._argv, *turn],
            stdout=self._said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def samples(self) -> Samples:
        """What it found in the turn that was begun last, in order of size. Raises RuntimeError with
        what it said if it failed."""
        failed, said = self._end()
        if failed:
            raise RuntimeError(said)
        return histogram(said)

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()  # it then removes its file of /dev/shm
            self._end()

    def _end(self) -> tuple[bool, str]:
        """Wait for its end: whether it failed, and what it said."""
        assert self._process is not None, "begin a turn first"
        status = self._process.wait()
        self._process = None
        with self._said as said:
            said.seek(0)
            return status != 0, said.read()


def histogram(text: str) -> Samples:
    """The samples behind a report of `cyclictest --histogram`."""
    samples: Samples = []
    for us, times in re.findall(r"^(\d{6}) (\d+)", text, re.MULTILINE):
        samples += [(0, int(us) * 1000)] * int(times)
    beyond = re.search(r"^# Histogram Overflows: (\d+)", text, re.MULTILINE)
    return samples + [(0, MOST_US * 1000)] * (int(beyond.group(1)) if beyond else 0)
