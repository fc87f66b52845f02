"""A crash at any write of the plan's memory recovers to the old or the new plan, never to a mix.

A kill leaves a prefix of the stores that were issued. The test learns them from the memory itself:
it takes an image of it at every fence (which orders everything before against everything after).
Between two images either bulk data was written, and then any subset of its bytes may have arrived,
in whatever order; or exactly one aligned word, which arrives whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.actors.control import plan_memory as segment_module
from holdfast.actors.control.buffer import ChunkBuffer
from holdfast.actors.control.command_source import CommandSource
from holdfast.actors.control.config import ControlConfig
from holdfast.actors.control.plan import MergeRule
from holdfast.actors.control.plan_memory import SEGMENT_BYTES, PlanMemory, Word
from holdfast.actors.control.request_cycle import RequestCycle
from holdfast.errors import PlanError
from holdfast.robot.base import ControlMode, RobotSpec
from holdfast.transport import fence
from holdfast.transport.bodies import Accept, Request
from holdfast.transport.fence import LINE
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import Blobs, decode, encode

ACTIONS = 2
SIZE = 160 * 1024  # small, so that images are cheap; the layout adapts its capacity
TERMS = Accept(
    session="x",
    replica="s/0",
    model="m",
    revision="1",
    checkpoint="c",
    chunk_size=8,
    fps=30.0,
    action_names=("a", "b"),
    cameras={},
)
Plan = tuple[int, list[tuple[float, ...]]]


class Recorder:
    """Memory images at each fence, from `start` on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, memory: bytearray):
        self.memory = memory
        self.images: list[bytes] = []
        real = fence.fence

        def recorded() -> None:
            real()
            self.images.append(bytes(self.memory))

        monkeypatch.setattr(segment_module, "fence", recorded)

    def start(self) -> None:
        self.images = [bytes(self.memory)]

    def stages(self) -> Iterator[tuple[bytes, bytes]]:
        self.images.append(bytes(self.memory))
        yield from zip(self.images, self.images[1:], strict=False)


def merge(buffer: ChunkBuffer, first: int, length: int, mode: str = "replace") -> None:
    asked = buffer.snapshot(1, 0, 0, 0)
    assert buffer.claim(asked.seq, asked.episode, 1) is asked
    values = np.repeat(np.arange(first, first + length, dtype=np.float32)[:, None], ACTIONS, 1)
    how = MergeRule(mode)  # type: ignore[arg-type]
    assert buffer.merge(-values, values, asked, how, step=0, now_ns=0) is None


def plan_in(memory: bytes) -> Plan:
    """What the next incarnation would play: (episode, actions)."""
    buffer = ChunkBuffer(PlanMemory(bytearray(memory), "r1", ACTIONS), 10**12)
    actions = []
    while (action := buffer.pop(0)) is not None:
        assert action.robot[0] == -action.model[0] == action.robot[1]
        actions.append(tuple(action.robot.tolist()))
    return buffer.episode, actions


def partial(before: bytes, after: bytes, arrived: np.ndarray) -> bytes:
    image = np.frombuffer(before, np.uint8).copy()
    image[arrived] = np.frombuffer(after, np.uint8)[arrived]
    return image.tobytes()


def changed(before: bytes, after: bytes) -> np.ndarray:
    return np.flatnonzero(np.frombuffer(before, np.uint8) != np.frombuffer(after, np.uint8))


def is_one_word(places: np.ndarray) -> bool:
    return len(places) > 0 and places[0] // 8 == places[-1] // 8


@pytest.mark.parametrize("mode", ["replace", "append", "blend"])
def test_a_merge_cut_at_every_byte_leaves_the_old_or_the_new_plan(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer killed between any two bytes leaves no mixture, in each merge mode."""
    memory = bytearray(SIZE)
    recorder = Recorder(monkeypatch, memory)
    buffer = ChunkBuffer(PlanMemory(memory, "r1", ACTIONS), 10**12)
    merge(buffer, 1, 6)
    buffer.pop(0)
    merge(buffer, 50, 5)
    buffer.pop(0)
    old = plan_in(bytes(memory))
    recorder.start()
    merge(buffer, 100, 4, mode)
    new = plan_in(bytes(memory))
    assert old != new
    seen = set()
    for before, after in recorder.stages():
        places = changed(before, after)
        cuts = [0, len(places)] if is_one_word(places) else range(len(places) + 1)
        for cut in cuts:
            found = plan_in(partial(before, after, places[:cut]))
            assert found in (old, new), f"{cut} of {len(places)} bytes written: a mix"
            seen.add(found == new)
    assert seen == {False, True}


@given(data=st.data(), length=st.integers(1, 12), pops=st.integers(0, 14))
@settings(max_examples=60, deadline=None)
def test_stores_that_arrive_in_any_order_leave_the_old_or_the_new_plan(
    data: st.DataObject, length: int, pops: int
) -> None:
    """Between two fences a machine may reorder: any subset of the bytes may be there."""
    with pytest.MonkeyPatch.context() as patch:
        memory = bytearray(SIZE)
        recorder = Recorder(patch, memory)
        buffer = ChunkBuffer(PlanMemory(memory, "r1", ACTIONS), 10**12)
        merge(buffer, 1, length)
        for _ in range(pops):
            buffer.pop(0)
        old = plan_in(bytes(memory))
        recorder.start()
        merge(buffer, 100, data.draw(st.integers(1, 12)))
        new = plan_in(bytes(memory))
    for before, after in recorder.stages():
        places = changed(before, after)
        if is_one_word(places):
            continue
        seed = data.draw(st.integers(0, 2**32 - 1))
        there = np.random.default_rng(seed).random(len(places)) < 0.5
        assert plan_in(partial(before, after, places[there])) in (old, new)


def test_a_reset_cut_at_every_byte_leaves_the_old_plan_or_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing of the old episode is played once the new one has its number."""
    memory = bytearray(SIZE)
    recorder = Recorder(monkeypatch, memory)
    buffer = ChunkBuffer(PlanMemory(memory, "r1", ACTIONS), 10**12)
    merge(buffer, 1, 6)
    old = plan_in(bytes(memory))
    recorder.start()
    buffer.reset()
    for before, after in recorder.stages():
        places = changed(before, after)
        for cut in range(len(places) + 1):
            found = plan_in(partial(before, after, places[:cut]))
            assert found in (old, (1, [])), "half a reset"


def test_a_pop_changes_one_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pop is whole or absent: the bytes that it changes lie in one aligned word."""
    memory = bytearray(SIZE)
    buffer = ChunkBuffer(PlanMemory(memory, "r1", ACTIONS), 10**12)
    merge(buffer, 1, 200)
    for n in range(200):
        before = bytes(memory)
        action = buffer.pop(0)
        assert action is not None and action.robot[0] == n + 1
        assert is_one_word(changed(before, bytes(memory)))


@given(data=st.data(), bit=st.integers(0, 7))
@settings(max_examples=200, deadline=None)
def test_a_flipped_bit_is_never_played(data: st.DataObject, bit: int) -> None:
    """Damage voids the plan, or at the cursor skips actions; no action is altered."""
    memory = bytearray(SIZE)
    buffer = ChunkBuffer(PlanMemory(memory, "r1", ACTIONS), 10**12)
    merge(buffer, 1, 6)
    whole = plan_in(bytes(memory))[1]
    written = np.flatnonzero(np.frombuffer(memory, np.uint8)).tolist()
    memory[data.draw(st.sampled_from(written))] ^= 1 << bit
    actions = plan_in(bytes(memory))[1]
    assert actions == [] or actions == whole[-len(actions) :]


def test_memory_of_another_robot_shape_or_version_is_not_played() -> None:
    """`found` says what the memory holds, and the plan is empty."""
    memory = bytearray(SIZE)
    merge(ChunkBuffer(PlanMemory(memory, "r1", ACTIONS), 10**12), 1, 6)
    assert PlanMemory(bytearray(memory), "r1", ACTIONS).found == "a plan"
    assert PlanMemory(bytearray(memory), "r2", ACTIONS).found == "the plan of another robot"
    assert "action size" in PlanMemory(bytearray(memory), "r1", 3).found
    other = bytearray(memory)
    other[8] += 1
    taken = PlanMemory(other, "r1", ACTIONS)
    assert "layout version" in taken.found
    assert taken.plan.length == 0 and taken.words[Word.CURSOR] == 0


def test_random_bytes_are_formatted_and_not_played() -> None:
    """The plan of such memory is empty, in episode 0."""
    rng = np.random.default_rng(1)
    garbage = bytearray(rng.bytes(SIZE))
    assert plan_in(bytes(garbage)) == (0, [])


def test_the_counters_continue_in_the_next_incarnation() -> None:
    """Counters and the kept contract are read back from the memory."""
    memory = bytearray(SIZE)
    first = PlanMemory(memory, "r1", ACTIONS)
    first.words[Word.TICKS] = 7
    first.keep(b"who")
    second = PlanMemory(memory, "r1", ACTIONS)
    assert (second.words[Word.TICKS], second.recall()) == (7, b"who")


@pytest.mark.parametrize("where", ["magic", "value"])
def test_a_damaged_contract_is_discarded(where: str) -> None:
    """`recall` gives nothing, and the next `keep` works."""
    memory = bytearray(SIZE)
    PlanMemory(memory, "r1", ACTIONS).keep(b"who")
    place = memory.index(b"hf:regis" if where == "magic" else b"who")
    memory[place] ^= 1
    damaged = PlanMemory(memory, "r1", ACTIONS)
    assert damaged.recall() == b""
    damaged.keep(b"anew")
    assert PlanMemory(memory, "r1", ACTIONS).recall() == b"anew"


def test_the_segment_that_the_supervisor_allocates_holds_many_chunks_of_a_large_robot() -> None:
    """At least 1000 steps of 32 actions."""
    assert PlanMemory(bytearray(SEGMENT_BYTES), "humanoid", 32).steps >= 1000


def test_memory_that_is_too_small_is_refused() -> None:
    """PlanError says how much to allocate."""
    with pytest.raises(PlanError, match="allocate"):
        PlanMemory(bytearray(4096), "r1", ACTIONS)


@settings(max_examples=150, deadline=None)
@given(
    damage=st.lists(
        st.tuples(
            st.integers(0, 8 * 1024) | st.sampled_from([LINE + 8 * word for word in Word]),
            st.binary(min_size=1, max_size=16) | st.just(b"\xff" * 8),
        ),
        min_size=1,
    )
)
def test_a_loop_on_damaged_memory_opens_a_session_and_plays(
    damage: list[tuple[int, bytes]],
) -> None:
    """Whatever was overwritten: its requests are valid messages, and a chunk is played."""
    memory = bytearray(SEGMENT_BYTES)
    merge(ChunkBuffer(PlanMemory(memory, "r1", ACTIONS), 10**12), 1, 8)
    for place, data in damage:
        memory[place : place + len(data)] = data
    segment = PlanMemory(memory, "r1", ACTIONS)
    buffer = ChunkBuffer(segment, 10**12)
    spec = RobotSpec(("a", "b"), ("a", "b"), ControlMode.POSITION, (-9, -9), (9, 9), (9, 9))
    fields = {"robot": "r1", "driver": "sim", "service": "s", "endpoint": "e", "plan": "p"}
    config = msgspec.convert({**fields, "safety": {"max_offline_s": None}}, ControlConfig)
    cycle = RequestCycle(config, spec, segment, buffer)
    source = CommandSource(config, spec, segment, buffer)
    now_ns = 10**12
    cycle.resume(now_ns)
    cycle.elapse(now_ns)
    epoch = cycle.session.open_epoch(now_ns)
    assert epoch is not None
    cycle.session.opening(epoch, now_ns)
    cycle.session.accepted(TERMS, epoch, now_ns)
    assert cycle.failsafe.session_open
    buffer.reset()
    cycle.elapse(now_ns)
    ask = cycle.ask(now_ns, 1, now_ns)
    assert ask is not None
    header = Header(Kind.REQUEST, ask.asked.seq, ask.asked.episode, ask.asked.epoch, now_ns)
    blobs = Blobs()
    body = Request(state=blobs.array(np.zeros(2, np.float32)), delay_steps=ask.delay_steps)
    decode(encode(header, body, blobs))
    rows = np.ones((8, ACTIONS), np.float32)
    cycle.asked(now_ns)
    key = (ask.asked.seq, ask.asked.episode, ask.asked.epoch)
    assert cycle.replied(rows, rows, key, 1, now_ns) is None
    assert source.command(now_ns) is not None
