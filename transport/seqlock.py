"""`Seqlock`: the latest value of something, in shared memory. One writer, any number of readers.

Guarantees: a reader gets the value of one whole `write`, never a mix, and never an older one than
it got before; a writer killed at any instruction leaves the value of its last finished write
readable; the next writer continues the count. Neither side ever waits for the other. Readers need
only read access.

Does not guarantee: that a reader sees every value (it is no queue), or anything if
two writers write at once.

Layout, native-endian 64-bit words: magic, layout version, capacity in bytes, sequence; then from
byte 64 two copies, each `length, checksum, data...` padded to whole cache lines. The sequence word
counts finished writes. Write `n` goes to copy `n % 2`, which is not the one that readers are sent
to, and is committed by the store of `n` to the sequence word:

1. fence: the commit of write `n-1` is visible before its predecessor's copy is touched;
2. write length, checksum and data into copy `n % 2`;
3. fence: the copy is visible before it is committed;
4. store `n`.

A reader loads `n`, fences, copies copy `n % 2`, fences, and loads the word again: if it is still
`n`, then write `n+2`, the next one into this copy, had not begun. The checksum covers `n` too;
after an undisturbed read it differs only if something other than a Seqlock wrote to this memory.
"""

from __future__ import annotations

from mmap import mmap
from zlib import crc32

from ..errors import SeqlockError
from .fence import LINE, align, fence, words
from .layout import expect, own

MAGIC = int.from_bytes(b"hf:regis", "little")
LAYOUT = 1
ATTEMPTS = 200  # a torn read needs two whole writes within one read: this many in a row is a fault

_MAGIC, _LAYOUT, _CAPACITY, _SEQUENCE = range(4)
_COPY_HEADER = 16
_LAST = 1 << 62  # no writer counts that far; a damaged word may be beyond


class Seqlock:
    """The latest value in `buffer`, which a first writer formats.

    A reader may attach before there was any writer: it reads None until the first write.
    `writable` defaults to whether the buffer is.
    """

    def __init__(self, buffer: memoryview | mmap | bytearray, *, writable: bool | None = None):
        self._data = memoryview(buffer).cast("B")
        if writable is None:
            writable = not self._data.readonly
        if writable and self._data.readonly:
            raise SeqlockError(
                "the register's memory is mapped read-only: map it writable, or attach as a reader"
            )
        self.writable = writable
        self._words = words(self._data, 0, 4)
        self._capacity = 0
        if writable and self._words[_MAGIC] == 0:
            self._format()
        self._attach()

    @classmethod
    def owned(cls, buffer: memoryview | mmap | bytearray) -> Seqlock:
        """The seqlock of the only writer of `buffer`; memory that something else has written to is
        formatted anew, without a value."""

        def readable(memory: memoryview) -> Seqlock:
            register = cls(memory, writable=True)
            register.read()
            return register

        return own(buffer, readable)

    @staticmethod
    def size_for(capacity: int) -> int:
        """Bytes of memory for values of at most `capacity` bytes."""
        return LINE + 2 * align(_COPY_HEADER + capacity)

    @property
    def capacity(self) -> int:
        """Bytes of the largest value that fits; 0 as long as no writer has formatted the memory."""
        return self._capacity if self._attach() else 0

    @property
    def version(self) -> int:
        """How many writes were finished, by all writers ever."""
        return self._words[_SEQUENCE] if self._attach() else 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Make `data` the value. Raises SeqlockError if it is longer than `capacity`."""
        if not self.writable:
            raise SeqlockError("this register was attached as a reader: it can not be written")
        view = memoryview(data).cast("B")
        size = len(view)
        if size > self._capacity:
            raise SeqlockError(
                f"a value of {size} bytes does not fit into a register of {self._capacity}: "
                f"create it with Seqlock.size_for({size}) or write less"
            )
        number = self._words[_SEQUENCE] % _LAST + 1
        start = self._copy(number)
        fence()
        head = words(self._data, start, 2)
        head[0] = size
        head[1] = _checksum(number, view)
        self._data[start + _COPY_HEADER : start + _COPY_HEADER + size] = view
        fence()
        self._words[_SEQUENCE] = number

    def read(self) -> bytes | None:
        """The newest value, or None if there was never one.

        Raises SeqlockError if the memory is damaged, or if a writer overtook every one of a
        bounded number of attempts (it would have to write without pause).
        """
        if not self._attach():
            return None
        for _ in range(ATTEMPTS):
            number = self._words[_SEQUENCE]
            if number == 0:
                return None
            fence()
            start = self._copy(number)
            size, checksum = words(self._data, start, 2)
            value = bytes(self._data[start + _COPY_HEADER :][: min(size, self._capacity)])
            fence()
            if self._words[_SEQUENCE] != number:
                continue
            if len(value) != size or checksum != _checksum(number, value):
                raise SeqlockError(
                    f"value {number} of the register fails its checksum: something else writes to "
                    "this memory; create the segment anew"
                )
            return value
        raise SeqlockError(f"{ATTEMPTS} reads in a row were overtaken: the writer writes too fast")

    def close(self) -> None:
        """Release the buffer, so that its mapping can be closed."""
        self._words.release()
        self._data.release()

    def _copy(self, number: int) -> int:
        return LINE + (number % 2) * align(_COPY_HEADER + self._capacity)

    def _format(self) -> None:
        copy = (len(self._data) - LINE) // 2 // LINE * LINE
        if copy < LINE:
            raise SeqlockError(
                f"{len(self._data)} bytes are too few for a register: use Seqlock.size_for"
            )
        self._words[_LAYOUT] = LAYOUT
        self._words[_CAPACITY] = copy - _COPY_HEADER
        self._words[_SEQUENCE] = 0
        fence()
        self._words[_MAGIC] = MAGIC  # last: a writer killed before this leaves unformatted memory

    def _attach(self) -> bool:
        """Read the layout once; False as long as the memory is unformatted."""
        if self._capacity:
            return True
        if self._words[_MAGIC] == 0:
            return False
        fence()
        expect(self._words, MAGIC, LAYOUT, "a register", SeqlockError)
        capacity = self._words[_CAPACITY]
        if capacity < 1 or self.size_for(capacity) > len(self._data):
            raise SeqlockError(
                f"the register claims values of up to {capacity} bytes, which do not fit into its "
                f"{len(self._data)} bytes of memory: map the whole segment, or create it anew"
            )
        self._capacity = capacity
        return True


class SteadyReader:
    """A reader of a seqlock that counts damage and does not raise.

    `damaged` counts the reads that failed; `fault` is the reason of the last read's failure, empty
    if it found a value or there was none.
    """

    def __init__(self, buffer: memoryview | mmap | bytearray) -> None:
        self._buffer = memoryview(buffer).cast("B").toreadonly()
        self._register: Seqlock | None = None
        self._value: bytes | None = None
        self.damaged = 0
        self.fault = ""

    def read(self) -> bytes | None:
        """The newest value that could be read; None before the first."""
        try:
            register = self._register = self._register or Seqlock(self._buffer)
            self._value = register.read()
            self.fault = ""
        except SeqlockError as error:
            self.damaged += 1
            self.fault = str(error)
        return self._value


def _checksum(number: int, data: bytes | memoryview) -> int:
    return crc32(data, (number ^ len(data)) & 0xFFFFFFFF)
