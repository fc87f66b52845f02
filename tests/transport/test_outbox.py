"""Outboxes: references to images, and their validity."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from holdfast.errors import OutboxError, WireError
from holdfast.transport.layout import own
from holdfast.transport.outbox import Outbox, OutboxReader, Reference

Kill = Callable[[Callable[[], object]], Iterator[bool]]

numbers = st.one_of(st.integers(0, 8), st.integers(-(2**64), 2**64))
images = st.dictionaries(
    st.sampled_from(["top", "wrist", "side"]),
    st.tuples(st.integers(1, 12), st.integers(1, 12)).map(lambda s: (*s, 3)),
    min_size=1,
)


def pair(capacity: int = 3 * 512, slots: int = 4) -> tuple[bytearray, Outbox, OutboxReader]:
    memory = bytearray(Outbox.size_for(capacity, slots))
    return memory, Outbox(memory, slots), OutboxReader(memory)


def filled(value: int, shape: tuple[int, int, int] = (4, 6, 3)) -> NDArray[np.uint8]:
    return np.full(shape, value, np.uint8)


@given(st.lists(images, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_a_reference_leads_to_the_image_that_was_put(
    requests: list[dict[str, tuple[int, int, int]]], random: Random
) -> None:
    """Several images of any shapes are viewed read-only and valid, in each newest request."""
    _, outbox, reader = pair()
    for shapes in requests:
        put = {
            name: np.frombuffer(random.randbytes(int(np.prod(shape))), np.uint8).reshape(shape)
            for name, shape in shapes.items()
        }
        references = outbox.put(put)
        assert references.keys() == put.keys()
        for name, reference in references.items():
            view = reader.view(reference)
            assert np.array_equal(view, put[name])
            assert not view.flags.writeable
            assert not view.flags.owndata
            assert reader.valid(reference)


def test_an_image_filled_in_place_is_readable_once_published() -> None:
    """Its reference resolves to what was filled in."""
    _, outbox, reader = pair()
    arrays = outbox.reserve({"top": (4, 6, 3)})
    arrays["top"][:] = 7
    references = outbox.publish()
    assert (reader.view(references["top"]) == 7).all()


def test_a_reference_is_refused_once_its_slot_is_written_again() -> None:
    """`valid` turns False, and a new view raises `shm-overwritten`."""
    _, outbox, reader = pair(slots=3)
    old = outbox.put({"top": filled(1)})["top"]
    view = reader.view(old)
    for value in (2, 3):
        outbox.put({"top": filled(value)})
        assert reader.valid(old)
        assert (view == 1).all()
    outbox.reserve({"top": (4, 6, 3)})
    assert not reader.valid(old)
    with pytest.raises(WireError, match="not there") as refused:
        reader.view(old)
    assert refused.value.reason == "shm-overwritten"


@given(st.lists(st.sampled_from(["promise", "publish", "put", "restart"]), max_size=30))
def test_a_promise_is_refused_until_it_is_published_and_never_another_image(
    doings: list[str],
) -> None:
    """And always if another reservation follows it, or the writer is started anew."""
    memory, outbox, reader = pair(slots=3)
    given_: list[tuple[Reference, int]] = []
    published: list[int] = []
    promised = False
    for value, doing in enumerate(doings, 1):
        if doing == "restart":
            outbox, promised = Outbox(memory, 3), False
        elif doing == "put":
            given_.append((outbox.put({"top": filled(value)})["top"], value))
            published.append(value)
            promised = False
        elif doing == "promise":
            outbox.reserve({"top": (4, 6, 3)})["top"][:] = value
            given_.append((outbox.promise()["top"], value))
            promised = True
        elif promised:
            outbox.publish()
            published.append(given_[-1][1])
            promised = False
        for reference, wrote in given_:
            there = wrote in published and reference.number > given_[-1][0].number - 3
            assert reader.valid(reference) == there
            if there:
                assert (reader.view(reference) == wrote).all()


@given(numbers, numbers, numbers, numbers, numbers)
def test_no_reference_leads_outside_of_the_images_memory(
    nonce: int, number: int, offset: int, height: int, width: int
) -> None:
    """Any reference is refused or lies within its slot."""
    memory, outbox, reader = pair()
    for value in range(1, 6):
        outbox.put({"top": filled(value)})
    for name in (nonce, outbox.nonce):
        reference = Reference(name, number, offset, height, width)
        try:
            view = reader.view(reference)
        except WireError as refused:
            assert refused.reason in ("shm-nonce", "shm-bounds", "shm-overwritten")
            assert reader.valid(reference) in (False, True)
        else:
            slot = 64 + outbox.capacity
            begin = 64 + number % 4 * slot + 64
            start = view.ctypes.data - np.frombuffer(memory, np.uint8).ctypes.data
            assert begin <= start
            assert start + view.nbytes <= begin + outbox.capacity


def test_a_reference_to_another_outbox_is_refused() -> None:
    """The random nonce keeps a robot's reference from another robot's images."""
    _, first, reader = pair()
    _, second, _ = pair()
    reference = second.put({"top": filled(1)})["top"]
    first.put({"top": filled(2)})
    with pytest.raises(WireError) as refused:
        reader.view(reference)
    assert refused.value.reason == "shm-nonce"
    assert not reader.valid(reference)


def test_a_reader_may_come_before_the_writer() -> None:
    """It refuses every reference until the memory is formatted."""
    memory = bytearray(Outbox.size_for(512))
    reader = OutboxReader(memoryview(memory).toreadonly())
    assert reader.nonce == 0
    with pytest.raises(WireError):
        reader.view(Reference(0, 1, 0, 4, 6))
    outbox = Outbox(memory)
    assert reader.nonce == outbox.nonce != 0
    assert (reader.view(outbox.put({"top": filled(9)})["top"]) == 9).all()


@given(st.lists(st.sampled_from(["put", "restart", "anew"]), max_size=30))
def test_a_writer_that_formats_damaged_memory_anew_is_read_and_its_old_references_are_not(
    doings: list[str],
) -> None:
    """Also where requests of the new outbox have the numbers of old ones."""
    memory, outbox, reader = pair(slots=3)
    old: list[Reference] = []
    given_: list[tuple[Reference, int]] = []
    for value, doing in enumerate(doings, 1):
        if doing == "anew":
            struct.pack_into("=Q", memory, 0, 2**64 - 1)
            assert not any(reader.valid(reference) for reference, _ in given_[:-3])
            old += [reference for reference, _ in given_]
            given_.clear()
        if doing == "put":
            given_.append((outbox.put({"top": filled(value)})["top"], value))
        else:
            outbox = own(memory, lambda buffer: Outbox(buffer, 3))
        assert reader.nonce == outbox.nonce
        for reference, wrote in given_[-3:]:
            assert reader.valid(reference)
            assert (reader.view(reference) == wrote).all()
        for reference in old:
            assert not reader.valid(reference)
            with pytest.raises(WireError, match="another outbox"):
                reader.view(reference)


def test_a_view_is_not_valid_once_its_memory_was_formatted_anew() -> None:
    """A request of the same number in the same slot makes it no other's."""
    memory, outbox, reader = pair(slots=2)
    kept = outbox.put({"top": filled(1)})["top"]
    reader.view(kept)
    struct.pack_into("=Q", memory, 0, 2**64 - 1)
    anew = own(memory, lambda buffer: Outbox(buffer, 2))
    assert not reader.valid(kept)
    new = anew.put({"top": filled(2)})["top"]
    assert new.number == kept.number and not reader.valid(kept) and reader.valid(new)


def test_a_writer_killed_at_any_instruction_harms_no_reference(
    kill_at_every_instruction: Kill,
) -> None:
    """A valid reference stays valid or is refused; no number is used twice."""
    memory, outbox, reader = pair(slots=2)
    nonce = outbox.nonce
    kept = outbox.put({"top": filled(1)})["top"]
    value = 1
    for _ in kill_at_every_instruction(lambda: Outbox(memory, 2).put({"top": filled(250)})):
        if reader.valid(kept):
            assert (reader.view(kept) == value).all()
        guess = Reference(nonce, kept.number + 1, 0, 4, 6)
        finished = guess.number if reader.valid(guess) else 0
        successor = Outbox(memory, 2)
        value = value % 200 + 1
        new = successor.put({"top": filled(value)})["top"]
        assert successor.nonce == nonce
        assert new.number > max(kept.number, finished)
        assert (reader.view(new) == value).all()
        kept = new


@given(st.binary(max_size=300))
def test_memory_that_holds_anything_is_refused_or_empty(content: bytes) -> None:
    """Random memory raises OutboxError or WireError."""
    reader = OutboxReader(memoryview(content + bytes(200)))
    with pytest.raises((OutboxError, WireError)):
        reader.view(Reference(reader.nonce, 1, 0, 1, 1))


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_a_damaged_header_is_refused(slots: int, capacity: int) -> None:
    """A random geometry is refused or stays within the memory."""
    memory, outbox, _ = pair()
    reference = outbox.put({"top": filled(1)})["top"]
    struct.pack_into("=QQ", memory, 16, slots, capacity)
    with suppress(OutboxError, WireError):
        assert OutboxReader(memory).view(reference).nbytes == reference.width * reference.height * 3


def test_an_outbox_refuses_what_does_not_fit_and_stays_as_it_was() -> None:
    """Wrong images, order of calls and memory raise OutboxError; references stay valid."""
    memory, outbox, reader = pair(capacity=64)
    kept = outbox.put({"top": filled(1, (4, 5, 3))})["top"]
    with pytest.raises(OutboxError, match="do not fit"):
        outbox.put({"top": filled(2, (40, 60, 3))})
    with pytest.raises(OutboxError, match=r"expected uint8 \(h, w, 3\)"):
        outbox.put({"top": np.zeros((4, 5, 3), np.float32)})
    with pytest.raises(OutboxError, match=r"expected \(h, w, 3\)"):
        outbox.reserve({"top": (4, 5, 4)})
    with pytest.raises(OutboxError, match="without reserve"):
        outbox.publish()
    with pytest.raises(OutboxError, match="too few"):
        Outbox(bytearray(100))
    with pytest.raises(OutboxError, match="read-only"):
        Outbox(memoryview(bytes(memory)))
    assert (reader.view(kept) == 1).all()
