"""`KeysPressed`: the keys that a person presses while a live view is shown."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from types import TracebackType
from typing import Self


class KeysPressed:
    """Inside its `with` block the terminal hands over each key at once, and does not show it.
    Ctrl-C works as ever. Where stdin is no terminal, no key is ever pressed."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else -1

    def __enter__(self) -> Self:
        if self._fd >= 0:
            self._before = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._fd >= 0:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    @property
    def possible(self) -> bool:
        """Whether stdin is a terminal."""
        return self._fd >= 0

    def wait(self, within_s: float) -> str:
        """The keys of the next `within_s`, as soon as there are some; else ""."""
        if self._fd < 0:
            time.sleep(within_s)
            return ""
        readable, _, _ = select.select([self._fd], [], [], within_s)
        if not readable:
            return ""
        pressed = os.read(self._fd, 64).decode(errors="replace")
        if not pressed:
            self._fd = -1  # the terminal is gone
        return pressed
