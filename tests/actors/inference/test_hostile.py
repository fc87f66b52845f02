"""Malformed requests: the replica drops or answers each, and serves the next one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.errors import WireError
from holdfast.tests.actors.inference.bench import Bench, Echo, MakeBench
from holdfast.tests.actors.inference.robot_side import RobotSide, example
from holdfast.transport.header import Kind
from holdfast.transport.outbox import Outbox, OutboxReader

Hostile = tuple[Bench, Outbox, Iterator[int]]

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text()
anything = st.recursive(
    scalars | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_malformed_request_never_affects_the_next_robots_request(
    data: st.DataObject, hostile_bench: Hostile
) -> None:
    """Flipped bytes, missing and swapped frames, and other types are answered or dropped."""
    bench, outbox, seqs = hostile_bench
    seq = next(seqs)
    robot = RobotSide("bad", outbox if data.draw(st.booleans(), label="shm") else None)
    bench.receive("bad", robot.open(epoch=seq))  # the last example may have ended its session
    frames = robot.request(example(1), epoch=seq)
    body = msgspec.msgpack.decode(frames[1])
    for key in data.draw(st.sets(st.sampled_from(sorted(body))), label="keys"):
        target = body[key]
        if isinstance(target, dict) and target and data.draw(st.booleans(), label="inside"):
            inner = data.draw(st.sampled_from(sorted(target)))
            if isinstance(target[inner], dict) and data.draw(st.booleans()):
                target = target[inner]
                inner = data.draw(st.sampled_from(sorted(target)))
            target[inner] = data.draw(anything)
        else:
            body[key] = data.draw(anything)
    try:
        frames[1] = msgspec.msgpack.encode(body)
    except OverflowError:
        return
    if data.draw(st.booleans(), label="flip"):
        i = data.draw(st.integers(0, len(frames) - 1))
        if frames[i]:
            at = data.draw(st.integers(0, len(frames[i]) - 1))
            flipped = frames[i][at] ^ data.draw(st.integers(1, 255))
            frames[i] = frames[i][:at] + bytes([flipped]) + frames[i][at + 1 :]
    if data.draw(st.booleans(), label="cut"):
        del frames[data.draw(st.integers(2, max(2, len(frames) - 1))) :]
    if data.draw(st.booleans(), label="swap"):
        frames[1:] = data.draw(st.permutations(frames[1:]))
    try:
        bench.receive("bad", frames)
    except WireError as error:
        assert error.reason
    bench.receive("good", RobotSide("good").request(example(2), seq=seq))
    answers = bench.work() + bench.work()
    kinds = {name: answer.header.kind for name, answer in answers}
    assert kinds["good"] is Kind.REPLY
    assert kinds.get("bad", Kind.ERROR) in (Kind.ERROR, Kind.REPLY)


@pytest.fixture
def hostile_bench(bench: MakeBench, echo: Echo) -> Hostile:
    """A core that serves `good`, the outbox of `bad`, and the numbers of its requests."""
    memory = bytearray(Outbox.size_for(64_000))
    outbox = Outbox(memory)
    b = bench(echo, {"bad": OutboxReader(memory)}, max_batch=2)
    b.join("good")
    return b, outbox, count(1)
