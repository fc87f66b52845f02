"""`PlayedRequests`: the requests of one robot, joined with when their chunks were played. Pure."""

from __future__ import annotations

from ..network.executed_log import ExecutedStep
from .request_spans import Line, Request, Span, of_request

WAIT_S = 10.0
"""For the first action of a chunk: longer than a plan is. Then the chunk was not played."""
_KEPT = 512


class PlayedRequests:
    """Takes a network actor's lines and control's executed steps, in either order; gives a root
    span for each request, once."""

    def __init__(self) -> None:
        self._lines: dict[Request, tuple[Line, float]] = {}
        self._played: dict[Request, tuple[int, int]] = {}

    def answered(self, line: Line, now_s: float) -> list[Span]:
        """A request was answered, or will not be."""
        request = line["session"], line["seq"]
        played = self._played.pop(request, None)
        if played is not None or line["outcome"] != "reply":
            return [of_request(line, played)]
        self._lines[request] = line, now_s
        return []

    def executed(self, step: ExecutedStep, epoch_ns: int) -> list[Span]:
        """Control began a policy step; `epoch_ns` is the time of day minus its clock."""
        if step.session is None or step.seq is None or step.observed_ns is None:
            return []
        request = step.session, step.seq
        played = step.observed_ns + epoch_ns, step.at_ns + epoch_ns
        if request in self._lines:
            line, _ = self._lines.pop(request)
            self._played[request] = played  # later steps of the same chunk are not its first
            return [of_request(line, played)]
        self._played.setdefault(request, played)
        while len(self._played) > _KEPT:
            del self._played[next(iter(self._played))]
        return []

    def expire(self, now_s: float) -> list[Span]:
        """The requests whose chunks were not played in time: they were late, or dropped."""
        spans = []
        while self._lines:
            request, (line, since_s) = next(iter(self._lines.items()))
            if now_s - since_s < WAIT_S:
                break
            del self._lines[request]
            spans.append(of_request(line, None))
        return spans
