"""Seqlocks: whole values only, whatever happens to writers."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import SeqlockError
from holdfast.transport import segment
from holdfast.transport.seqlock import Seqlock, SteadyReader

Kill = Callable[[Callable[[], object]], Iterator[bool]]


@given(st.lists(st.binary(max_size=200), min_size=1))
def test_a_reader_gets_the_last_value_written(values: list[bytes]) -> None:
    """Reader and next writer read it, and the version counts all writes."""
    memory = bytearray(Seqlock.size_for(200))
    reader = Seqlock(memoryview(memory).toreadonly())
    assert reader.read() is None
    writer = Seqlock(memory)
    assert reader.read() is None
    for count, value in enumerate(values, 1):
        writer.write(value)
        assert reader.read() == value
        assert reader.version == count


@given(st.integers(1, 5000))
def test_a_value_up_to_the_capacity_fits_and_a_longer_one_is_refused(capacity: int) -> None:
    """A longer value raises SeqlockError."""
    register = Seqlock(bytearray(Seqlock.size_for(capacity)))
    register.write(bytes(capacity))
    assert register.read() == bytes(capacity)
    with pytest.raises(SeqlockError, match="does not fit"):
        register.write(bytes(register.capacity + 1))
    assert register.read() == bytes(capacity)


def test_a_writer_killed_at_any_instruction_leaves_the_value_and_the_next_one_carries_on(
    kill_at_every_instruction: Kill,
) -> None:
    """Readers see the old value until the commit and the new one after it."""
    memory = bytearray(Seqlock.size_for(64))
    reader = Seqlock(memory, writable=False)
    Seqlock(memory).write(b"value 1")
    number = 1
    outcomes = set()

    def write() -> None:
        Seqlock(memory).write(b"killed while writing this")

    for finished in kill_at_every_instruction(write):
        committed = reader.version - number
        outcomes.add(committed)
        old, new = b"value %d" % number, b"killed while writing this"
        assert reader.read() == (new if committed else old)
        assert committed or not finished
        number = reader.version + 1
        Seqlock(memory).write(b"value %d" % number)
        assert reader.version == number
        assert reader.read() == b"value %d" % number
    assert outcomes == {0, 1}


def test_a_first_writer_killed_at_any_instruction_leaves_memory_for_the_next(
    kill_at_every_instruction: Kill,
) -> None:
    """Memory is either unformatted or usable."""
    memory = bytearray(Seqlock.size_for(64))

    def format_and_write() -> None:
        memory[:] = bytes(len(memory))
        Seqlock(memory).write(b"first")

    for _ in kill_at_every_instruction(format_and_write):
        assert Seqlock(memory, writable=False).read() in (None, b"first")
        Seqlock(memory).write(b"second")
        assert Seqlock(memory, writable=False).read() == b"second"


WRITER = """
import itertools, os, sys
from holdfast.transport import segment
from holdfast.transport.seqlock import Seqlock
register = Seqlock(segment.map(int(sys.argv[1]), int(sys.argv[2]), writable=True))
for count in itertools.count(register.version + 1):
    word = count.to_bytes(8, "little")
    register.write(word * (1 + count % 500))
"""


def test_values_are_whole_and_rise_while_their_writer_is_killed_again_and_again() -> None:
    """Real processes and SIGKILL: no torn value, and none older than one read before."""
    with segment.create(Seqlock.size_for(4000), "test") as shared:
        reader = Seqlock(shared.map(writable=False))
        seen = reads = 0
        for wanted in range(200, 1001, 200):
            command = [sys.executable, "-c", WRITER, str(shared.fd), str(shared.size)]
            writer = subprocess.Popen(command, pass_fds=[shared.fd])
            start = reader.version
            deadline_s = time.monotonic() + 60
            try:
                while reader.version < start + 3000 or reads < wanted:
                    assert time.monotonic() < deadline_s and writer.poll() is None
                    try:
                        value = reader.read()
                    except SeqlockError:  # it never rests: now and then every read is overtaken
                        continue
                    if value is None:
                        continue
                    (count,) = struct.unpack_from("<Q", value)
                    assert value == value[:8] * (1 + count % 500)
                    assert count >= seen
                    seen = count
                    reads += 1
            finally:
                os.kill(writer.pid, signal.SIGKILL)
                writer.wait()
            value = reader.read()
            assert value is not None
            assert struct.unpack_from("<Q", value)[0] == reader.version


@given(st.binary(min_size=256, max_size=256))
def test_memory_that_holds_anything_gives_an_error_or_none(content: bytes) -> None:
    """Random memory raises SeqlockError or reads as empty."""
    with suppress(SeqlockError):
        assert Seqlock(memoryview(content)).read() is None


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_damaged_words_give_an_error_or_none(capacity: int, sequence: int, size: int) -> None:
    """Random capacity, sequence and size never make a read leave the memory."""
    memory = bytearray(Seqlock.size_for(64))
    Seqlock(memory).write(b"value")
    struct.pack_into("=QQ", memory, 16, capacity, sequence)
    struct.pack_into("=Q", memory, 64, size)
    struct.pack_into("=Q", memory, 64 + 128, size)
    with suppress(SeqlockError):
        assert Seqlock(memoryview(memory).toreadonly()).read() in (None, b"value")


def test_a_flipped_byte_is_detected() -> None:
    """The checksum fails with a SeqlockError."""
    memory = bytearray(Seqlock.size_for(64))
    Seqlock(memory).write(b"value")
    memory[memory.index(b"value")] ^= 1
    with pytest.raises(SeqlockError, match="checksum"):
        Seqlock(memory).read()


def test_memory_of_another_use_is_refused_with_a_remedy() -> None:
    """Another magic word raises SeqlockError."""
    memory = bytearray(b"hf:frame" + bytes(300))
    with pytest.raises(SeqlockError, match="restart the fleet"):
        Seqlock(memory)


def test_a_reader_cannot_write() -> None:
    """Nor can a writer attach to read-only memory: both raise SeqlockError."""
    memory = bytearray(Seqlock.size_for(64))
    with pytest.raises(SeqlockError, match="as a reader"):
        Seqlock(memory, writable=False).write(b"value")
    with pytest.raises(SeqlockError, match="read-only"):
        Seqlock(memoryview(bytes(memory)), writable=True)


def test_too_little_memory_is_refused() -> None:
    """It raises SeqlockError."""
    with pytest.raises(SeqlockError, match="too few"):
        Seqlock(bytearray(100))
    with pytest.raises(SeqlockError, match="too few"):
        Seqlock(bytearray(8))


def test_a_closed_seqlock_lets_its_mapping_be_closed() -> None:
    """No view of the memory is left."""
    with segment.create(Seqlock.size_for(64), "test") as shared:
        memory = shared.map(writable=True)
        register = Seqlock(memory)
        register.write(b"value")
        register.close()
        memory.close()


def test_a_reader_that_is_always_overtaken_gives_up_with_an_error() -> None:
    """A read ends after a bounded number of attempts."""

    class Overtaking(Seqlock):
        def _copy(self, number: int) -> int:
            self._words[3] += 1  # a write was committed since its number was read
            return super()._copy(number)

    memory = bytearray(Seqlock.size_for(64))
    Seqlock(memory).write(b"value")
    with pytest.raises(SeqlockError, match="overtaken"):
        Overtaking(memory, writable=False).read()


@given(damage=st.lists(st.tuples(st.integers(0, 255), st.binary(min_size=1, max_size=40))))
def test_a_steady_reader_counts_damage_and_its_writer_formats_anew(
    damage: list[tuple[int, bytes]],
) -> None:
    """Whatever is written over the memory, only whole values are read and nothing raises."""
    memory = bytearray(Seqlock.size_for(64))
    writer = Seqlock(memory)
    writer.write(b"value")
    reader = SteadyReader(memory)
    early = SteadyReader(memory)
    assert early.read() == b"value"
    for place, data in damage:
        memory[place : place + len(data)] = data[: len(memory) - place]
    for steady in (reader, early):
        before = steady.damaged
        assert steady.read() in (None, b"value")
        assert (steady.damaged > before) == (steady.fault != "")
    assert early.read() in (None, b"value"), "what was read whole is kept"
    owner = Seqlock.owned(memory)
    owner.write(b"anew")
    assert SteadyReader(memory).read() == b"anew"
    assert early.read() == b"anew" and early.fault == ""
