"""Actors that are faulty towards their supervisor: on their link, in their log, on their board.
None of it ends or delays the supervisor, or affects another actor."""

from __future__ import annotations

import time

import psutil

from holdfast.tests.misbehaving.harness import PATIENT, Supervised, actor
from holdfast.tests.waiting import wait_until


def test_faulty_actors_end_no_other_and_are_not_believed() -> None:
    """Junk on the link, forged log records and a damaged board leave a fourth actor running."""
    faulty = ("FloodsItsLink", "LogsNonsense", "ScribblesOnItsBoard")
    actors = [actor(kind, kind, rules=PATIENT) for kind in faulty]
    with Supervised(*actors, actor("a", rules=PATIENT)) as fleet:
        before = fleet.reach("a", "READY")
        process = psutil.Process(fleet.process.pid)
        scribbler = fleet.reach("ScribblesOnItsBoard", "FAILED", within_s=60)
        assert "enough scribbled" in scribbler["reason"], "each found its board fit for use"
        turns, memory = fleet.turns("a"), process.memory_info().rss
        wait_until(lambda: fleet.turns("a") > turns + 50, "turns of the well-behaved actor")
        assert process.memory_info().rss - memory < 30e6
        for name in ("FloodsItsLink", "LogsNonsense", "a"):
            fleet.reach(name, "READY")
        assert fleet.row("a")["pid"] == before["pid"]

        def quick() -> bool:
            began_s = time.monotonic()
            fleet.status()
            return time.monotonic() - began_s < 2

        wait_until(quick, "an answer in two seconds")

        def logged() -> bool:
            """Whether the record in another's name is kept in that of the actor that wrote it."""
            records = [r for r in fleet.log() if r["actor"] == "LogsNonsense"]
            return any(record["message"].startswith("I") for record in records)

        wait_until(logged, "the forged record")
        assert not [r for r in fleet.log() if r["actor"].startswith("ghost")]
