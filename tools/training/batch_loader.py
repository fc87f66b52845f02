"""`BatchLoader`: batches drawn ahead, in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from .training_batch import TrainingBatch


class BatchLoader:
    """The batches of `draw`, by number. The next ones are drawn in `threads` threads while one is
    used; with 0, each is drawn when it is taken. A batch is a function of its number, so that it
    does not matter how many threads there are, and which is faster."""

    def __init__(self, draw: Callable[[int], TrainingBatch], threads: int = 0) -> None:
        self._draw, self._threads = draw, threads
        self._pool = ThreadPoolExecutor(threads, "batch-loader") if threads else None
        self._ahead: deque[tuple[int, Future[TrainingBatch]]] = deque()

    def take(self, number: int) -> TrainingBatch:
        """Batch `number`; the one after it is expected next. Raises what `draw` raised for it."""
        if self._pool is None:
            return self._draw(number)
        if self._ahead and self._ahead[0][0] != number:
            self._ahead.clear()
        following = self._ahead[-1][0] + 1 if self._ahead else number
        for each in range(following, number + self._threads + 1):
            self._ahead.append((each, self._pool.submit(self._draw, each)))
        return self._ahead.popleft()[1].result()

    def close(self) -> None:
        """End the threads; what was drawn ahead is dropped."""
        self._ahead.clear()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
