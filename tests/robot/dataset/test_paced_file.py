"""A file that is read at a bounded rate."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.robot.dataset.paced_file import PacedFile


@given(
    mbit_s=st.floats(0.1, 1000),
    pauses_s=st.lists(st.floats(0, 0.2), min_size=5, max_size=5),
    block=st.integers(1, 300_000),
)
def test_bytes_never_come_faster_than_the_bound(
    mbit_s: float,
    pauses_s: list[float],
    block: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Whatever the reader asks for and however it pauses: at most one block is ahead."""
    path = tmp_path_factory.getbasetemp() / "paced"
    path.write_bytes(bytes(range(256)) * 1000)
    now_s = 0.0

    def sleep(for_s: float) -> None:
        nonlocal now_s
        now_s += for_s

    with PacedFile(path, clock=lambda: now_s, sleep=sleep) as file:
        file.pace(mbit_s)
        read = 0
        for pause_s in pauses_s:
            now_s += pause_s
            found = file.read(block)
            read += len(found)
            assert len(found) <= 1 << 16
            assert read - len(found) <= now_s * mbit_s * 1e6 / 8 * (1 + 1e-9) + 1e-6


def test_a_file_without_a_bound_is_read_as_any(tmp_path: Path) -> None:
    """All of it is read, without a pause."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 200_000)

    def sleep(for_s: float) -> None:
        raise AssertionError(for_s)

    with PacedFile(path, sleep=sleep) as file:
        file.pace(None)
        assert len(file.read()) == 200_000
