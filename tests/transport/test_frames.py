"""Frame rings: whole frames only, whatever happens to writers."""

from __future__ import annotations

import doctest
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import FrameError
from holdfast.transport import frames, segment
from holdfast.transport.frame_ring import FrameRing
from holdfast.transport.frames import FrameReader
from holdfast.transport.images import Pixels, resize

Kill = Callable[[Callable[[], object]], Iterator[bool]]
SHAPE = (4, 6, 3)
shapes = st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3, 4]))


def ring(incarnation: int = 1) -> tuple[bytearray, FrameRing, FrameReader]:
    memory = bytearray(FrameRing.size_for(SHAPE))
    writer = FrameRing(memory, SHAPE, incarnation=incarnation)
    return memory, writer, FrameReader(memory)


def filled(value: int) -> Pixels:
    return np.full(SHAPE, value % 251, np.uint8)


def test_the_example_of_a_frame_reader_runs() -> None:
    """Its docstring shows what the calls return."""
    done = doctest.testmod(frames)
    assert done.attempted > 0
    assert done.failed == 0


@given(shapes, st.integers(2, 6), st.integers(0, 12), st.randoms(use_true_random=False))
def test_a_reader_gets_the_newest_frame_as_it_was_written(
    shape: tuple[int, int, int], slots: int, count: int, random: Random
) -> None:
    """Pixels, number and instant are equal, for every shape, slot count and way to write."""
    memory = bytearray(FrameRing.size_for(shape, slots))
    reader = FrameReader(memoryview(memory).toreadonly())
    assert reader.latest() is None
    assert reader.shape is None
    writer = FrameRing(memory, shape, slots)
    assert reader.latest() is None
    for number in range(1, count + 1):
        image = np.frombuffer(random.randbytes(int(np.prod(shape))), np.uint8).reshape(shape)
        if random.random() < 0.5:
            assert writer.put(image, number * 1000) == number
        else:
            writer.slot()[:] = image
            assert writer.publish(number * 1000) == number
        frame = reader.latest()
        assert frame is not None
        assert (frame.number, frame.capture_ns) == (number, number * 1000)
        assert np.array_equal(frame.image, image)
    assert reader.number == writer.number == count
    assert reader.torn == 0


def test_a_reader_that_has_the_newest_frame_gets_none() -> None:
    """`latest(after=n)` returns a frame only if a newer one was published."""
    _, writer, reader = ring()
    writer.put(filled(1), 10)
    assert reader.latest(after=0) is not None
    assert reader.latest(after=1) is None
    writer.put(filled(2), 20)
    frame = reader.latest(after=1)
    assert frame is not None and frame.number == 2


def test_a_frame_stays_readable_by_number_until_its_slot_is_written_again() -> None:
    """`read(n)` returns frame `n` or None, never another one."""
    _, writer, reader = ring()
    for number in range(1, 6):
        writer.put(filled(number), number)
    assert reader.read(1) is None
    assert reader.read(6) is None
    assert reader.read(0) is None
    for number in range(2, 6):
        frame = reader.read(number)
        assert frame is not None and np.array_equal(frame.image, filled(number))
    writer.slot()
    assert reader.read(2) is None


def test_a_frame_being_written_hides_none_of_the_finished_ones() -> None:
    """An unpublished frame leaves the newest one and its predecessors readable."""
    _, writer, reader = ring()
    writer.put(filled(1), 1)
    writer.slot()[:] = 99
    frame = reader.latest()
    assert frame is not None and np.array_equal(frame.image, filled(1))


def test_a_reader_copies_pixels_into_the_given_array() -> None:
    """`out` holds the frame, without another allocation."""
    _, writer, reader = ring()
    writer.put(filled(1), 1)
    out = np.zeros(SHAPE, np.uint8)
    frame = reader.latest(out=out)
    assert frame is not None and frame.image is out
    writer.put(filled(2), 2)
    assert np.array_equal(out, filled(1))


@pytest.mark.parametrize("size", [(3, 2), (6, 4)])
def test_a_transformed_frame_never_aliases_the_ring(size: tuple[int, int]) -> None:
    """A resize to the same size returns its input, which is then copied."""
    _, writer, reader = ring()
    for value in range(1, 4):
        writer.put(filled(value), value)
    frame = reader.latest(transform=lambda image: resize(image, *size))
    assert frame is not None and frame.image.shape == (size[1], size[0], 3)
    for value in range(4, 12):
        writer.put(filled(value), value)
    assert (frame.image == 3).all()


def test_numbers_rise_across_writers_and_the_newest_incarnation_is_known() -> None:
    """A new writer continues the numbers and sets its incarnation."""
    memory, writer, reader = ring(incarnation=1)
    writer.put(filled(1), 1)
    successor = FrameRing(memory, SHAPE, incarnation=2)
    assert reader.incarnation == 2
    frame = reader.latest()
    assert frame is not None and frame.number == 1
    assert successor.put(filled(2), 2) == 2


def test_a_writer_killed_at_any_instruction_leaves_whole_frames_and_the_next_one_carries_on(
    kill_at_every_instruction: Kill,
) -> None:
    """Earlier frames stay readable, and no number is used for two frames."""
    memory, writer, reader = ring()
    last = writer.put(filled(1), 1)
    seen = set()

    def put() -> None:
        FrameRing(memory, SHAPE, incarnation=2).put(filled(200), 200)

    for finished in kill_at_every_instruction(put):
        frame = reader.latest()
        assert frame is not None
        if frame.number == last:
            assert np.array_equal(frame.image, filled(last)) and not finished
        for number in range(last + 1, last + 4):
            killed = reader.read(number)  # it may be finished although the head does not say so
            if killed is not None:
                assert np.array_equal(killed.image, filled(200)) and killed.capture_ns == 200
                seen.add(number)
        assert frame.number == last or frame.number in seen
        last = FrameRing(memory, SHAPE, incarnation=3).put(filled(frame.number + 1), 3)
        assert last > max(seen, default=0)
        FrameRing(memory, SHAPE, incarnation=4).put(filled(last + 1), 4)
        last += 1
        frame = reader.latest()
        assert frame is not None and (frame.number, frame.capture_ns) == (last, 4)
        assert np.array_equal(frame.image, filled(last))
    assert len(seen) > 1


def test_a_first_writer_killed_at_any_instruction_leaves_memory_for_the_next(
    kill_at_every_instruction: Kill,
) -> None:
    """Memory is either unformatted or a usable ring."""
    memory = bytearray(FrameRing.size_for(SHAPE))

    def begin() -> None:
        FrameRing(memory, SHAPE).put(filled(1), 1)

    for _ in kill_at_every_instruction(begin):
        frame = FrameReader(memory).latest()
        assert frame is None or np.array_equal(frame.image, filled(1))
        FrameRing(memory, SHAPE).put(filled(2), 2)
        frame = FrameReader(memory).latest()
        assert frame is not None and np.array_equal(frame.image, filled(2))
        memory[:] = bytes(len(memory))


WRITER = """
import itertools, sys
from holdfast.transport import frames, segment
from holdfast.transport.frame_ring import FrameRing
shape = (48, 64, 3)
memory = segment.map(int(sys.argv[1]), int(sys.argv[2]), writable=True)
ring = FrameRing(memory, shape, slots=2, incarnation=int(sys.argv[3]))
for capture_ns in itertools.count():
    ring.slot()[:] = capture_ns % 251
    ring.publish(capture_ns)
"""


def test_a_torn_frame_is_never_seen_while_writers_are_killed() -> None:
    """Real processes and SIGKILL, on the smallest ring and a writer without pause."""
    shape = (48, 64, 3)
    with segment.create(FrameRing.size_for(shape, 2), "test") as shared:
        reader = FrameReader(shared.map(writable=False))
        out = np.empty(shape, np.uint8)
        newest = reads = 0
        for incarnation in range(1, 6):
            command = [sys.executable, "-c", WRITER, str(shared.fd), str(shared.size)]
            writer = subprocess.Popen([*command, str(incarnation)], pass_fds=[shared.fd])
            start, deadline_s = reads, time.monotonic() + 60
            try:
                while reads < start + 300:
                    assert time.monotonic() < deadline_s and writer.poll() is None
                    frame = reader.latest(out, after=newest)
                    if frame is None:
                        continue
                    assert (out == frame.capture_ns % 251).all()
                    assert frame.number > newest
                    newest = frame.number
                    reads += 1
            finally:
                os.kill(writer.pid, signal.SIGKILL)
                writer.wait()
            assert reader.incarnation == incarnation


def test_a_read_ends_although_the_writer_always_overtakes_it() -> None:
    """Retries are bounded, and counted in `torn`."""
    _, writer, reader = ring()
    writer.put(filled(1), 1)

    def overtaken(image: Pixels) -> Pixels:
        for value in range(5):
            writer.put(filled(value), value)
        return image.copy()

    assert reader.latest(transform=overtaken) is None
    assert 0 < reader.torn <= 100


@given(st.binary(max_size=400))
def test_memory_that_holds_anything_gives_an_error_or_no_frame(content: bytes) -> None:
    """Random memory raises FrameError or reads as empty."""
    memory = content + bytes(FrameRing.size_for(SHAPE))
    with suppress(FrameError):
        assert FrameReader(memoryview(memory)).latest() is None


@given(st.lists(st.integers(0, 2**64 - 1), min_size=6, max_size=6))
def test_a_damaged_header_never_makes_a_reader_leave_the_memory(numbers: list[int]) -> None:
    """A random geometry raises FrameError or stays within the memory."""
    memory, writer, _ = ring()
    writer.put(filled(1), 1)
    struct.pack_into("=6Q", memory, 16, *numbers)
    with suppress(FrameError):
        frame = FrameReader(memory).latest()
        assert frame is None or frame.image.nbytes <= len(memory)


def test_another_shape_and_another_layout_are_refused_with_a_remedy() -> None:
    """A ring of another geometry or layout version raises FrameError."""
    memory, _, _ = ring()
    with pytest.raises(FrameError, match=r"4 frames of \(4, 6, 3\), not 4 of \(6, 4, 3\)"):
        FrameRing(memory, (6, 4, 3))
    memory[8] = 99
    with pytest.raises(FrameError, match=r"layout 99.*restart the fleet"):
        FrameReader(memory).latest()
    with pytest.raises(FrameError, match="layout 99"):
        FrameRing(memory, SHAPE)


def test_a_ring_refuses_what_does_not_fit_it() -> None:
    """Wrong images, order of calls and memory raise FrameError, and publish nothing."""
    memory, writer, reader = ring()
    with pytest.raises(FrameError, match="width and height"):
        writer.put(np.zeros((6, 4, 3), np.uint8), 0)
    with pytest.raises(FrameError, match="float32"):
        writer.put(np.zeros(SHAPE, np.float32), 0)
    with pytest.raises(FrameError, match="without slot"):
        writer.publish(0)
    with pytest.raises(FrameError, match="size_for"):
        FrameRing(bytearray(100), SHAPE)
    with pytest.raises(FrameError, match="read-only"):
        FrameRing(memoryview(bytes(memory)), SHAPE)
    with pytest.raises(FrameError, match="impossible"):
        FrameRing.size_for(SHAPE, slots=1)
    assert reader.latest() is None


def test_a_reader_cannot_change_a_frame() -> None:
    """The pixels that a transform sees are read-only."""
    _, writer, reader = ring()
    writer.put(filled(1), 1)
    seen: list[bool] = []

    def look(image: Pixels) -> Pixels:
        seen.append(image.flags.writeable)
        return image

    reader.latest(transform=look)
    assert seen == [False]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 30))
def test_a_ring_fills_the_memory_that_was_made_for_it(height: int, width: int, slots: int) -> None:
    """`slots_in` is the inverse of `size_for`."""
    shape = (height, width, 3)
    size = FrameRing.size_for(shape, slots)
    assert FrameRing.slots_in(size, shape) == FrameRing.slots_in(size + 63, shape) == slots
