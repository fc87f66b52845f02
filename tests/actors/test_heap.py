"""Freed blocks of an actor are used again."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource
import sys

from holdfast.actors.heap import keep_blocks

if sys.argv[1] == "keep" and not keep_blocks():
    sys.exit(3)
for turn in range(20):
    if turn == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    frames = [bytearray(640 * 480 * 3) for _ in range(3)]
    for frame in frames:
        frame[::4096] = bytes(len(frame[::4096]))
    del frames, frame
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True)
    if done.returncode == 3:
        pytest.skip("this C library has no mallopt")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_the_images_of_the_next_request_fault_in_no_page() -> None:
    """Three frames are 675 pages; the kernel's fresh ones would be faulted in ten times over."""
    kept, fresh = _faults("keep"), _faults("default")
    assert kept < 50 < fresh
