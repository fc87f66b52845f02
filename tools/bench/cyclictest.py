"""`Cyclictest`: the program of rt-tests that measures how late the kernel wakes a sleeper, in C and
with its memory locked.
"""

from __future__ import annotations

import re
import shutil
import subprocess

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
        self._process: subprocess.Popen[str] | None = None
        self.refused = "cyclictest is not installed: apt-get install rt-tests"
        if program is not None:
            self.begin(1_000_000, 1, 0)
            self.refused = self._end()[1].strip()

    def begin(self, period_ns: int, ticks: int, start_ns: int) -> None:
        """Let it wake up so many times, beginning now."""
        turn = [f"--interval={period_ns // 1000}", f"--loops={ticks}", f"--histogram={MOST_US}"]
        self._process = subprocess.Popen(
            [*self._argv, *turn],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def samples(self) -> Samples:
        """What it found in the turn that was begun last, in order of size. Raises RuntimeError with
        what it said if it failed."""
        out, said = self._end()
        if said:
            raise RuntimeError(said)
        return histogram(out)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def _end(self) -> tuple[str, str]:
        """Wait for its end: what it printed, and its complaint if it failed."""
        process, self._process = self._process, None
        assert process is not None, "begin a turn first"
        out, said = process.communicate()
        return out, said or f"ended with {process.returncode}" if process.returncode else ""


def histogram(text: str) -> Samples:
    """The samples behind a report of `cyclictest --histogram`."""
    samples: Samples = []
    for us, times in re.findall(r"^(\d{6}) (\d+)", text, re.MULTILINE):
        samples += [(0, int(us) * 1000)] * int(times)
    beyond = re.search(r"^# Histogram Overflows: (\d+)", text, re.MULTILINE)
    return samples + [(0, MOST_US * 1000)] * (int(beyond.group(1)) if beyond else 0)
