"""A driver's end of the wake socket, in a thread: what `emergency_stop` meets."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from holdfast.actors.driver.wake import WakeSocket

Answer = Callable[[dict[str, Any]], dict[str, Any] | None]


class FakeDriver:
    """Answers each request with what `answer` says; None is no answer. `asked` has the requests."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.asked: list[dict[str, Any]] = []
        self._answer = answer
        self._socket = WakeSocket(path)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(60)
        self._socket.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            if not select.select([self._socket], [], [], 0.02)[0]:
                continue
            for request in self._socket.receive():
                self.asked.append(request.body)
                answer = self._answer(request.body)
                if answer is not None:
                    self._socket.answer(request, answer)
