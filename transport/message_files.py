"""`MessageFiles`: the files in memory that large messages between processes of one host lie in.

A file begins with its message's number as little-endian u64, which is 0 while it is written; then
come the frames. Files are written over in turn: to make one for each message would take three times
as long as to copy three images. A reader that is too late finds another number, and drops the
message.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

from ..errors import WireError
from .arrays import Buffer

NUMBER = struct.Struct("<Q")
_FILES = 4


class MessageFiles:
    """The files of the large messages that one end of a connection sends; `sent` is how many it has
    sent. The last `_FILES` of them are in the files."""

    def __init__(self) -> None:
        self._fds: list[int] = []
        self.sent = 0

    def write(self, frames: Sequence[Buffer]) -> tuple[int, int]:
        """Write the message that is to be sent next; the descriptor of its file, and its number.
        Raises OSError."""
        number, turn = self.sent + 1, self.sent % _FILES
        if turn == len(self._fds):
            self._fds.append(os.memfd_create("message", os.MFD_CLOEXEC))
        fd = self._fds[turn]
        os.pwrite(fd, bytes(NUMBER.size), 0)
        os.pwritev(fd, frames, NUMBER.size)
        os.pwrite(fd, NUMBER.pack(number), 0)
        return fd, number

    def close(self) -> None:
        """Close them; a file whose message is on its way stays until that is read."""
        fds, self._fds = self._fds, []
        for fd in fds:
            os.close(fd)


def read(fd: int, lengths: Sequence[int], number: bytes) -> list[Buffer]:
    """The frames of those lengths in the file `fd`, if it still has the message of that number.
    Raises WireError."""
    try:
        if os.fstat(fd).st_size < NUMBER.size + sum(lengths):
            raise WireError("frames", f"less than {sum(lengths)} bytes in the file of a message")
        before, at, frames = os.pread(fd, NUMBER.size, 0), NUMBER.size, list[Buffer]()
        for length in lengths:
            frames.append(os.pread(fd, length, at))
            at += length
        after = os.pread(fd, NUMBER.size, 0)
    except OSError as error:
        raise WireError("frames", f"the file of a message cannot be read: {error}") from error
    if not before == after == number:
        raise WireError("frames", "a message whose file was written over before it was read")
    return frames
