"""`RecorderPipes`: stdin and stdout of a process that an `IdleProgram` has begun."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from ...errors import DatasetError, HubUnreachableError


class PausableNote(msgspec.Struct, frozen=True, kw_only=True):
    """It does nothing while `paused`; `done` when all is; `error` says why it has ended."""

    paused: bool = False
    done: bool = False
    error: str = ""


Note = TypeVar("Note", bound=PausableNote)


class RecorderPipes(Generic[Note]):
    """Listens from now on, in a thread that ends this process where stdin ends."""

    def __init__(self, note: Note) -> None:
        self._goes = threading.Event()
        self._goes.set()
        self._said = note
        threading.Thread(target=self._listen, daemon=True).start()

    def run(self, work: Callable[[], Note], root: Path) -> None:
        """Do the work on the dataset `root`; say what it returns as done, or why it failed."""
        try:
            self.say(msgspec.structs.replace(work(), done=True))
        except (DatasetError, HubUnreachableError) as error:
            self.say(type(self._said)(error=str(error)))
        except OSError as error:
            why = f"{error.filename or root}: {error.strerror or error}"
            self.say(type(self._said)(error=why))

    def say(self, note: Note) -> None:
        """A note to the recorder."""
        self._said = note
        os.write(1, msgspec.json.encode(note) + b"\n")

    def pause(self) -> None:
        """Returns when it is not to be paused, or not any more."""
        if self._goes.is_set():
            return
        self.say(msgspec.structs.replace(self._said, paused=True))
        self._goes.wait()
        self.say(msgspec.structs.replace(self._said, paused=False))

    def _listen(self) -> None:
        while said := os.read(0, 1):
            if said == b"p":
                self._goes.clear()
            else:
                self._goes.set()
        os._exit(0)
