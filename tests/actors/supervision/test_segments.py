"""The segments of a fleet that is reloaded: all of a change happens, or nothing of it."""

from __future__ import annotations

import gc
import mmap
import os
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from holdfast.actors.runtime.spec import ActorSpec, Member, SegmentUse
from holdfast.actors.runtime.status_board import BOARD_SIZE, StatusBoard
from holdfast.actors.supervision.segments import Segments
from holdfast.errors import SegmentError
from holdfast.tests.descriptors import open_descriptors
from holdfast.transport import segment

NAMES = ("driver", "sensor", "control")
SIZES = (4096, 8192)


def actor(name: str, shared: dict[str, int]) -> ActorSpec:
    uses = [SegmentUse(f"{name}/board", BOARD_SIZE, writable=True)]
    uses += [SegmentUse(other, size, writable=name == "driver") for other, size in shared.items()]
    return ActorSpec(kind="steady", member=Member(name), config={}, segments=tuple(uses))


FLEETS = st.tuples(
    st.sets(st.sampled_from(NAMES)),
    st.dictionaries(st.sampled_from(["scene", "frames"]), st.sampled_from(SIZES)),
).map(lambda drawn: [actor(name, drawn[1]) for name in NAMES if name in drawn[0]])


class SegmentsMachine(RuleBasedStateMachine):
    """Reloads, some of which fail at any segment, and processes that write to their boards."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = Segments([])
        self.sizes: dict[str, int] = {}
        self.files: dict[str, os.stat_result] = {}

    def look(self) -> dict[str, os.stat_result]:
        return {name: os.fstat(self.memory.read_only(name)[0]) for name in self.memory.sizes()}

    @rule(fleet=FLEETS)
    def a_reload(self, fleet: list[ActorSpec]) -> None:
        self.memory.adapt(fleet)
        expected = {use.name: use.size for spec in fleet for use in spec.segments}
        after = self.look()
        assert self.memory.sizes() == expected
        for name, size in expected.items():
            if self.sizes.get(name) == size:
                assert os.path.samestat(after[name], self.files[name]), "its content is lost"
        self.sizes, self.files = expected, after

    @rule(fleet=FLEETS, fails_at=st.integers(0, 5), error=st.sampled_from([SegmentError, OSError]))
    def a_reload_that_fails_half_way(
        self, fleet: list[ActorSpec], fails_at: int, error: type[Exception]
    ) -> None:
        create, left = segment.create, [fails_at]

        def failing(size: int, name: str) -> segment.Segment:
            left[0] -= 1
            if left[0] < 0:
                raise error("no memory left")
            return create(size, name)

        gc.disable()  # a collection would close mappings of earlier examples, and a leak hide there
        descriptors, boards = open_descriptors(), dict(self.memory.boards)
        with patch.object(segment, "create", failing):
            try:
                self.memory.adapt(fleet)
            except SegmentError:
                assert self.memory.boards == boards
                assert open_descriptors() <= descriptors
            else:
                self.sizes, self.files = self.memory.sizes(), self.look()
            finally:
                gc.enable()

    @rule(name=st.sampled_from(NAMES))
    def the_process_of_one_that_was_removed_is_gone(self, name: str) -> None:
        if f"{name}/board" not in self.sizes:
            self.memory.forget(name)

    @invariant()
    def what_was_there_stays_the_same_file(self) -> None:
        assert self.memory.sizes() == self.sizes
        found = self.look()
        assert all(os.path.samestat(found[name], self.files[name]) for name in self.sizes)

    @invariant()
    def a_new_process_is_seen_on_its_board(self) -> None:
        for board, size in self.sizes.items():
            name = board.removesuffix("/board")
            if name == board:
                continue
            _, [fd, *_] = self.memory.table(actor(name, {}))
            with mmap.mmap(fd, size) as mapped:
                before = self.memory.boards[name].progress()[0]
                view = memoryview(mapped)
                writer = StatusBoard(view)
                writer.progress()
                assert self.memory.boards[name].progress()[0] == before + 1
                writer._register.close()
                writer._call.release()
                writer._words.release()
                view.release()

    def teardown(self) -> None:
        self.memory.close()


TestSegments = SegmentsMachine.TestCase
TestSegments.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)


def test_two_sizes_for_one_segment_are_refused() -> None:
    """The error names the segment, both actors' sizes and the remedy."""
    with pytest.raises(SegmentError, match="scene: control expects 8192 bytes, another actor 4096"):
        Segments([actor("driver", {"scene": 4096}), actor("control", {"scene": 8192})])


def test_an_actor_without_a_board_is_refused() -> None:
    """The error names the missing board segment."""
    bare = ActorSpec(kind="steady", member=Member("a"), config={}, segments=())
    with pytest.raises(SegmentError, match="a/board"):
        Segments([bare])
