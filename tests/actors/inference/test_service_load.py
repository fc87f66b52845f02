"""What a replica says of its load, and how it slows down its robots."""

from __future__ import annotations

import dataclasses
import time

import msgspec

from holdfast.tests.actors.inference.bench import Echo, MakeBench
from holdfast.tests.actors.inference.robot_side import RobotSide, example
from holdfast.transport.header import Kind

SECOND_NS = 1_000_000_000


def test_the_status_of_many_robots_fits_the_board(bench: MakeBench, echo: Echo) -> None:
    """300 sessions take less than 8 KiB."""
    b = bench(echo, max_sessions=500, max_batch=2)
    b.join(*(f"robot-with-quite-a-long-name-{i}" for i in range(300)))
    status = b.service.status(0)
    assert len(msgspec.msgpack.encode(status)) < 8 * 1024
    assert status["mode"] == "shared" and status["checkpoint"] == "echo"
    assert set(status["batch_ms"]) == {"1", "2"}
    assert status["counts"]["accepted"] == 300


def test_a_distant_robot_reduces_the_capacity(bench: MakeBench, echo: Echo) -> None:
    """Its delay, without the time at this replica, is the round-trip time."""
    b = bench(echo, max_batch=1, buffer_time_s=0.1)
    b.join("r1")
    spec = echo.spec
    half_s = spec.chunk_size / spec.fps / 2

    def carried(delay_steps: int, seq: int) -> int:
        seen = dataclasses.replace(example(seq), delay_steps=delay_steps)
        now_ns = time.monotonic_ns()
        b.receive("r1", RobotSide("r1").request(seen, seq=seq), now_ns)
        b.work(now_ns)
        b.runner.times[1] = half_s / 10  # a round of ten fits into half a chunk
        return b.service.capacity()

    near = carried(0, seq=1)
    assert near > 0
    assert carried(spec.chunk_size // 2 - 1, seq=2) < near
    assert carried(spec.chunk_size - 1, seq=3) == 0, "its chunks come too late for any round"
    assert carried(0, seq=4) == near


def test_robots_beyond_the_capacity_are_given_a_pace_before_one_is_refused(
    bench: MakeBench, echo: Echo
) -> None:
    """Every reply has it; once none would make room, the next robot is refused."""
    b = bench(echo, max_batch=1, max_sessions=9)
    chunk_s = echo.spec.chunk_size / echo.spec.fps

    def pace_s(seq: int) -> float:
        now_ns = time.monotonic_ns()
        b.receive("r1", RobotSide("r1").request(example(seq), seq=seq), now_ns)
        b.runner.times[1] = b.runner.fastest[1] = chunk_s / 6
        [(_, reply)] = b.work(now_ns)
        return float(reply.body.interval_s)

    b.join("r1")
    assert pace_s(1) == 0
    b.join("r2", "r3")
    assert 0 < pace_s(2) <= chunk_s / 2 + 0.01, "three sixths are half a chunk"
    b.runner.fastest[1] = chunk_s / 6
    [refused] = b.receive("r4", RobotSide("r4").open())
    assert refused.header.kind is Kind.REJECT
    assert "slowest rate" in refused.body.message
