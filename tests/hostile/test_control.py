"""A control loop whose network actor is faulty: it plays only what was asked for, keeps ticking,
and counts what it could not read."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import psutil
import pytest

from holdfast.tests.actors.control.conftest import CHUNK, Cell, Server, cell
from holdfast.tests.hostile.corpus import Corpus
from holdfast.tests.waiting import wait_until
from holdfast.transport import messages
from holdfast.transport.arrays import Buffer
from holdfast.transport.bodies import Reply, Request
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import Blobs

__all__ = ["cell"]

POISON = -5e6


class FaultyServer(Server):
    """Answers every request, after `ahead` hostile messages and replies to other requests whose
    actions are POISON."""

    def __init__(self, endpoint: str, ahead: int) -> None:
        super().__init__(endpoint)
        self.ahead = ahead
        self.sent = 0
        self.corpus = Corpus(seed=23).messages(10_000_000)

    def _answer(self, message: messages.Message[Any]) -> Iterator[list[Buffer]]:
        if message.header.kind is Kind.REQUEST:
            yield from self._poison(message.header)
            for frames in itertools.islice(self.corpus, self.ahead):
                self.sent += 1
                yield list(frames)
        yield from super()._answer(message)

    def _poison(self, header: Header) -> Iterator[list[Buffer]]:
        """Chunks for the request before, an earlier and a later episode, another session; and for
        this request, but of wrong shapes and values."""
        wrong = (
            header._replace(seq=header.seq - 1),
            header._replace(seq=header.seq + 1),
            header._replace(episode=header.episode + 1),
            header._replace(epoch=header.epoch + 1),
            header._replace(epoch=header.epoch - 1) if header.epoch else header._replace(seq=0),
        )
        chunk = np.full((CHUNK, 2), POISON, np.float32)
        # A few at a time: more than the socket holds would push the right answer out.
        for each in wrong[header.seq % 2 :: 2]:
            blobs = Blobs()
            body = Reply(chunk_model=blobs.array(chunk), chunk=blobs.array(chunk))
            yield messages.encode(each._replace(kind=Kind.REPLY), body, blobs)


def played_rightly(values: list[float]) -> None:
    """Only actions of chunks that were asked for, each once and in order."""
    assert POISON not in values
    assert all(a < b for a, b in pairwise(values))
    assert all(value % 1000 < CHUNK and value >= 1000 for value in values)


def streaming(cell: Cell, server: Server) -> None:
    cell.server = server
    server.start()
    cell.start()
    wait_until(lambda: len(cell.played()) > 20, "the robot to move")


def test_a_reply_that_was_not_asked_for_is_not_played(cell: Cell) -> None:
    """Late, foreign, malformed and mutated replies among the right ones are dropped."""
    cell.config["plan_settings"]["buffer_time_s"] = 0.39  # ask almost always
    cell.config["safety"]["request_timeout_s"] = 0.1
    server = FaultyServer(cell.endpoint, ahead=3)
    streaming(cell, server)
    reasons = ("header", "version", "kind", "body", "frames", "nesting")

    def counted() -> bool:
        status = cell.status()
        return (
            status["merged"] > 30
            and status["dropped"].get("unasked", 0) > 50
            and all(status["malformed"].get(reason) for reason in reasons)
        )

    wait_until(lambda: server.sent > 330 and counted(), "hostile messages", 120)
    played_rightly(cell.played())
    ticks = cell.status()["ticks"]
    wait_until(lambda: cell.status()["ticks"] > ticks + 20, "ticks to go on")
    assert cell.exit_code is None


@pytest.mark.parametrize("values", ["nan", "inf", "shape", "dtype", "empty", "huge", "spaces"])
def test_a_chunk_that_cannot_be_played_is_dropped_by_reason_and_the_plan_stays(
    cell: Cell, values: str
) -> None:
    """A replica that answers the right request with invalid values changes nothing."""
    good = np.ones((CHUNK, 2), np.float32)
    chunk = {
        "nan": np.where(np.arange(CHUNK)[:, None] == CHUNK - 1, np.nan, good).astype(np.float32),
        "inf": good * np.float32(np.inf),
        "shape": good[:, :1],
        "dtype": good.astype(np.float64),
        "empty": good[:0],
        "huge": np.ones((100_000, 2), np.float32),
        "spaces": good,
    }[values]
    other = good[:-1] if values == "spaces" else chunk

    class Nonsense(Server):
        spoiling = False

        def _answer(self, message: messages.Message[Any]) -> Iterator[list[Buffer]]:
            if not (self.spoiling and isinstance(message.body, Request)):
                yield from super()._answer(message)
                return
            blobs = Blobs()
            body = Reply(chunk_model=blobs.array(other), chunk=blobs.array(chunk))
            yield messages.encode(message.header._replace(kind=Kind.REPLY), body, blobs)

    server = Nonsense(cell.endpoint)
    streaming(cell, server)
    server.spoiling = True
    before = cell.status()
    why = "not_finite" if values in ("nan", "inf") else "malformed"
    wait_until(lambda: cell.status()["dropped"].get(why, 0) > 1, f"chunks dropped as {why}")
    server.spoiling = False
    wait_until(lambda: cell.status()["merged"] > before["merged"] + 2, "good chunks again")
    played_rightly(cell.played())


def test_a_flood_does_not_stop_the_ticks(cell: Cell) -> None:
    """Thousands of messages a second, hostile, well-formed and large ones."""

    class Flood(Server):
        def run(self) -> None:
            self.flooded = 0
            super().run()

        def _flood(self, message: messages.Message[Any]) -> Iterator[list[Buffer]]:
            stale = messages.encode(
                message.header._replace(kind=Kind.REPLY, seq=0),
                Reply(
                    chunk_model=Blobs().array(np.zeros((1, 2), np.float32)),
                    chunk=Blobs().array(np.zeros((1, 2), np.float32)),
                ),
                [bytes(2_000_000)],
            )
            for n in range(400):
                self.flooded += 1
                yield stale if n % 20 == 0 else [b"x" * 32, b"\x80"]

    server = Flood(cell.endpoint)
    streaming(cell, server)
    memory = psutil.Process().memory_info().rss

    def on_the_grid() -> bool:
        flooded, ticks, began_s = server.flooded, cell.status()["ticks"], time.monotonic()
        wait_until(lambda: server.flooded > flooded + 2000, "the flood")
        # It shares this interpreter with the flood's sender: half of the grid is what it must
        # reach, on a machine that others use once in a while.
        return bool(cell.status()["ticks"] - ticks > 0.5 * 100 * (time.monotonic() - began_s))

    wait_until(lambda: server.flooded > 8000, "the flood")
    wait_until(on_the_grid, "half of the ticks during the flood", every_s=0)
    played_rightly(cell.played())
    assert psutil.Process().memory_info().rss - memory < 150e6


@pytest.mark.parametrize("task", [5, ["a"], {"a": 1}, "x" * 3000, True, 1.5])
def test_an_invalid_task_is_refused_with_the_reason(cell: Cell, task: object) -> None:
    """It would otherwise travel with every request, and reach the next incarnation."""
    streaming(cell, cell.server)
    answer = cell.command("reset", task=task)
    assert "a task is a sentence" in answer.error
    assert "a task is a sentence" in cell.command("task", task=task).error
    assert cell.command("reset", task="put it down").error is None
    merged = cell.status()["merged"]
    wait_until(lambda: cell.status()["merged"] > merged, "the stream to go on")
