"""Work of two threads: in order, all of it, and what it raises."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.transport import parallel
from holdfast.transport.images import encode_jpeg
from holdfast.transport.messages import Blobs
from holdfast.transport.parallel import in_two_threads


@pytest.fixture
def _two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_processors", lambda: 2)


@given(st.lists(st.integers(), max_size=20))
def test_results_are_in_the_order_of_the_items(items: list[int]) -> None:
    """Each item is worked on once."""
    assert in_two_threads(lambda item: item + 1, items) == [item + 1 for item in items]


@pytest.mark.usefixtures("_two_processors")
def test_two_items_are_worked_on_at_once() -> None:
    """Each of two waits until the other has begun."""
    both = threading.Barrier(2, timeout=60)
    assert sorted(in_two_threads(lambda _: both.wait(), range(2))) == [0, 1]


@pytest.mark.usefixtures("_two_processors")
def test_a_second_thread_that_does_not_run_delays_nothing() -> None:
    """While it is occupied the caller does all the work."""
    end = threading.Event()
    occupied = parallel._pool().submit(end.wait, 30)
    try:
        assert in_two_threads(str, range(5)) == list("01234")
        assert not occupied.done()
    finally:
        end.set()


@pytest.mark.usefixtures("_two_processors")
@given(st.sets(st.integers(0, 7), min_size=1))
def test_an_error_of_an_item_is_raised_and_leaves_nothing_behind(bad: set[int]) -> None:
    """The next call is whole again."""

    def work(item: int) -> int:
        if item in bad:
            raise IndexError(item)
        return item

    with pytest.raises(IndexError):
        in_two_threads(work, range(8))
    assert in_two_threads(str, range(3)) == ["0", "1", "2"]


@pytest.mark.usefixtures("_two_processors")
def test_several_images_have_the_bytes_of_each_alone() -> None:
    """Descriptions name the blobs by the images' names."""
    rng = np.random.default_rng(0)
    images = {n: rng.integers(0, 256, (24, 32 + n, 3), dtype=np.uint8) for n in range(5)}
    blobs = Blobs([b"state"])
    described = blobs.images(images, quality=90)
    for name, image in images.items():
        assert blobs[described[name].blob] == encode_jpeg(image, 90)
        assert (described[name].width, described[name].height) == (32 + name, 24)
