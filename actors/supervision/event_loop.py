"""The supervisor's event loop: a callback for each readable descriptor.

Guaranteed: a callback that was forgotten is not called any more, not even when its descriptor was
readable in the same round and its number has been reused since.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
from collections.abc import Callable, Iterator

from .logstore import Stream
from .process import Process

Callback = Callable[[], None]


class EventLoop:
    """Descriptors and their callbacks."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._muted: dict[int, Callback] = {}

    def add(self, fd: int, callback: Callback) -> None:
        self._selector.register(fd, selectors.EVENT_READ, callback)

    def forget(self, fd: int) -> None:
        """Stop polling `fd`; to be called before it is closed. Idempotent."""
        self._muted.pop(fd, None)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(fd)

    def add_stream(self, stream: Stream) -> None:
        """Read a log pipe, at most its share of a turn: a greedy one goes on after `unmute`."""

        def read() -> None:
            count = stream.read()
            if count is None:
                self.forget(stream.fd)
            elif stream.greedy:
                self.forget(stream.fd)
                self._muted[stream.fd] = read

        self.add(stream.fd, read)

    def forget_process(self, process: Process, streams: list[Stream]) -> None:
        """Stop polling every descriptor of a process."""
        for fd in (process.pidfd, process.link.fileno(), *(stream.fd for stream in streams)):
            self.forget(fd)

    def unmute(self) -> None:
        """Begin a turn: poll the streams again that were greedy in the last one."""
        muted, self._muted = self._muted, {}
        for fd, callback in muted.items():
            self.add(fd, callback)

    def poll(self, timeout_s: float) -> None:
        """Wait for at most `timeout_s`, and call the callbacks of the readable descriptors."""
        for key, _ in self._selector.select(timeout_s):
            if self._selector.get_map().get(key.fd) is key:
                key.data()

    def close(self) -> None:
        self._selector.close()


@contextlib.contextmanager
def signal_bytes() -> Iterator[int]:
    """A descriptor from which each SIGINT, SIGTERM, SIGHUP and SIGCHLD is read as a byte, its
    number, for as long as the block runs. Main thread only."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
    # What is ignored stays ignored: `nohup` asks in this way to outlive the terminal.
    before = {
        number: signal.signal(number, lambda *_: None)
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    previous_fd = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(previous_fd)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)
