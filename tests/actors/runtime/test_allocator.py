"""An actor's heap: freed blocks are reused, and memory is given back."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.runtime.allocator import MemoryWatermark

FAULTS = """
import resource
import sys

from holdfast.actors.runtime.allocator import keep_blocks

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
    command = [sys.executable, "-c", FAULTS, how]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode == 3:
        pytest.skip("this C library has no mallopt")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_process_that_keeps_its_blocks_faults_in_no_page_for_new_images() -> None:
    """Three frames are 675 pages; mapped anew, ten rounds fault in each of them ten times."""
    kept, fresh = _faults("keep"), _faults("default")
    assert kept < 50 < fresh


SECOND = 1_000_000_000


@given(st.lists(st.tuples(st.integers(0, 2**31), st.integers(0, 10 * SECOND)), max_size=60))
def test_a_process_trims_its_memory_rarely_when_that_does_not_help(
    turns: list[tuple[int, int]],
) -> None:
    """Trims are at least a second apart, and growth beyond the limit is always reported."""
    watermark, now_ns, trims = MemoryWatermark(low_bytes=2**30), SECOND, []
    for more, by in turns:
        now_ns += by
        resident = 2**30 + more
        state = watermark.check(resident, 2**30, now_ns)
        assert (state == "exceeded") == (resident - watermark.low_bytes > 2**30)
        if state == "trim":
            assert more > 32 << 20
            trims.append(now_ns)
            watermark.trimmed(resident, now_ns)
    pauses = [after - before for before, after in itertools.pairwise(trims)]
    assert all(pause >= SECOND for pause in pauses)
    if all(more > 32 << 20 for more, _ in turns):
        assert all(pause >= 2**n * SECOND for n, pause in enumerate(pauses[:6]))
