"""The fence, and words of shared memory."""

from __future__ import annotations

import signal
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.transport.fence import LINE, align, fence, words


def test_a_signal_handler_that_interrupts_a_fence_may_fence_too() -> None:
    """No lock is shared, so neither an interrupted fence nor another thread's blocks one."""
    handled = 0
    stop = threading.Event()

    def handler(_signal: int, _frame: object) -> None:
        nonlocal handled
        fence()
        handled += 1

    def other() -> None:
        while not stop.is_set():
            fence()

    before = signal.signal(signal.SIGALRM, handler)
    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        while handled < 100:
            fence()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        stop.set()
        thread.join()


@given(st.integers(0, 7), st.integers(0, 2**64 - 1))
def test_a_word_is_eight_native_bytes_at_its_place(index: int, value: int) -> None:
    """Writing one changes its eight bytes only, and reading gives the value back."""
    memory = bytearray(64)
    words(memory, 0, 8)[index] = value
    expected = bytearray(64)
    expected[index * 8 : index * 8 + 8] = value.to_bytes(8, sys.byteorder)
    assert memory == expected


def test_a_word_across_two_aligned_ones_is_refused() -> None:
    """Only an aligned word is read and written in one access."""
    with pytest.raises(ValueError, match="multiple of 8"):
        words(bytearray(64), 4, 1)


@given(st.integers(0, 1 << 40))
def test_aligned_sizes_are_the_next_whole_cache_lines(size: int) -> None:
    """`align` gives the smallest multiple of LINE that is not smaller."""
    assert align(size) % LINE == 0
    assert size <= align(size) < size + LINE
