"""What a process asks of the scheduler is what its threads have then."""

from __future__ import annotations

import subprocess
import sys

from holdfast.actors.runtime.wakefulness import LONG_SLICE_NS, set_slice, slice_ns

THREADS = f"""
import threading
from holdfast.actors.runtime.wakefulness import set_slices, slice_ns
def sleeper():
    begun.set()
    done.wait()
def started():
    global begun
    begun = threading.Event()
    thread = threading.Thread(target=sleeper)
    thread.start()
    begun.wait()
    return thread.native_id
done = threading.Event()
before = started()
set_slices({LONG_SLICE_NS})
print(slice_ns(), slice_ns(before), slice_ns(started()))
done.set()
"""


def test_all_threads_of_a_process_have_the_slice_that_it_asks_for() -> None:
    """Those that it starts later too; in a process of its own, because the slices stay."""
    command = [sys.executable, "-c", THREADS]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    known = slice_ns() > 0
    assert found == [str(LONG_SLICE_NS if known else 0)] * 3


def test_a_thread_that_is_not_there_has_no_slice() -> None:
    """`set_slice` of a thread that has ended returns False."""
    assert slice_ns(2**22 + 1) == 0 and not set_slice(thread=2**22 + 1)
