"""The log on disk: bounded, merged, and read over its rotations."""

from __future__ import annotations

import itertools
import os
import re
import resource
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.runtime.log import MAX_LINE, Record, stray
from holdfast.actors.supervision.logstore import BURST, LogStore, Stream
from holdfast.tools.cli.logs import LEVELS, Selection, line, parse_since, read


def record(message: str, t: float = 1.0, actor: str = "a", level: str = "info") -> Record:
    return Record(t=t, level=level, actor=actor, message=message)


def messages(directory: Path, last: int | None = None, **selection: object) -> list[str]:
    found = read(directory / "log.jsonl", Selection(**selection), last, follow=False)  # type: ignore[arg-type]
    return [r["message"] for r in found if r is not None]


def test_records_of_one_turn_are_in_the_order_of_their_time(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 10**6, 3)
    for t in (3.0, 1.0, 2.0):
        store.add(record(str(t), t))
    store.close()
    assert messages(tmp_path) == ["1.0", "2.0", "3.0"]


def test_the_log_is_bounded_and_reading_it_spans_its_files(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 5000, 3)
    for i in range(500):
        store.add(record(str(i)))
        store.flush()
    store.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3 * 5000
    found = [int(message) for message in messages(tmp_path)]
    assert found == list(range(found[0], 500)) and len(found) > 100
    assert messages(tmp_path, last=150) == [str(i) for i in range(350, 500)]


@pytest.mark.parametrize(
    ("level", "shown_from"),
    [("level 25", "info"), ("level 35", "warning"), ("level 5", None), ("notice", "info")],
)
def test_a_librarys_own_level_is_shown_by_its_number_or_as_info(
    tmp_path: Path, level: str, shown_from: str | None
) -> None:
    """Of a level with a name only its name is known."""
    store = LogStore(tmp_path, 10**6, 3)
    store.add(record("odd", level=level))
    store.close()
    for least in ("debug", "info", "warning", "error"):
        shown = shown_from is not None and LEVELS.index(least) <= LEVELS.index(shown_from)
        assert messages(tmp_path, level=least) == (["odd"] if shown else [])


def test_following_misses_nothing_over_a_rotation(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 2000, 3)
    store.add(record("before"))
    store.flush()
    coming = read(tmp_path / "log.jsonl", Selection(), None, follow=True)
    found = [r["message"] for r in [next(coming)] if r]
    for i in range(100):
        store.add(record(str(i)))
        store.flush()
        while (r := next(coming)) is not None:
            found.append(r["message"])
    deadline = time.monotonic() + 5
    while len(found) < 101 and time.monotonic() < deadline:
        if (r := next(coming)) is not None:
            found.append(r["message"])
    assert found == ["before", *map(str, range(100))]
    coming.close()
    store.close()


def test_the_last_error_of_an_actor_is_kept(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 10**6, 3)
    store.add(record("bad", level="error"))
    store.add(record("fine"))
    assert store.errors["a"].message == "bad"
    store.close()


def test_a_full_disk_loses_records_and_the_next_one_tells_how_many(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 10**6, 3)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30, hard))  # less than one line
    try:
        for name in ("x", "y"):
            store.add(record(name))
            store.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.lost == 2 and store.error
    store.add(record("z"))
    store.add(record("later"))
    store.close()
    assert (store.lost, store.error) == (2, "")
    found = [r for r in read(store.path, Selection(), None, follow=False) if r]
    assert [(r["message"], r.get("lost", 0)) for r in found] == [("z", 2), ("later", 0)]


@given(st.lists(st.binary(max_size=60), max_size=30), st.lists(st.integers(1, 200), min_size=1))
def test_any_bytes_in_any_pieces_become_whole_lines(lines: list[bytes], cuts: list[int]) -> None:
    """Nothing is joined, nothing split. (A line of ours, `{"t":...}`, is a record, not text.)"""
    lines = [one for one in lines if not one.startswith(b'{"t":')]
    kept: list[Record] = []
    reading, writing = os.pipe()
    stream = Stream(reading, "a", 1, "stdout", kept.append)
    stream_bytes = b"".join(one.replace(b"\n", b" ") + b"\n" for one in lines)
    for cut in itertools.cycle(cuts):
        if not stream_bytes:
            break
        os.write(writing, stream_bytes[:cut])
        stream_bytes = stream_bytes[cut:]
        stream.read()
    os.close(writing)
    stream.drain()
    stream.close()
    whole = [one.replace(b"\n", b" ") for one in lines]
    assert [r.message for r in kept] == [o.decode(errors="replace") for o in whole if o.strip()]


def test_a_flood_is_counted_instead_of_kept() -> None:
    kept: list[Record] = []
    reading, writing = os.pipe()
    stream = Stream(reading, "a", 1, "stdout", kept.append)
    for _ in range(4):
        os.write(writing, b"x\n" * 1000)
        stream.read()
    os.close(writing)
    stream.close()
    assert BURST <= len(kept) < BURST + 200
    confessed = [re.match(r"(\d+) lines of stdout dropped", r.message) for r in kept]
    dropped = [int(found[1]) for found in confessed if found]
    assert sum(dropped) + len(kept) - len(dropped) == 4000


def test_an_endless_line_does_not_grow_the_supervisor() -> None:
    kept: list[Record] = []
    reading, writing = os.pipe()
    stream = Stream(reading, "a", 1, "stderr", kept.append)
    for _ in range(50):
        os.write(writing, b"x" * 10_000)
        stream.read()
    os.close(writing)
    stream.close()
    assert all(len(r.message) <= MAX_LINE for r in kept) and 1 < len(kept) < 50


def test_selection_is_by_robot_level_time_and_expression(tmp_path: Path) -> None:
    store = LogStore(tmp_path, 10**6, 3)
    store.add(record("one", 1.0, "r1/control"))
    store.add(record("two", 2.0, "r1/network", "error"))
    store.add(record("three", 3.0, "r11/network", "warning"))
    store.close()
    assert messages(tmp_path, names=("r1",)) == ["one", "two"]
    assert messages(tmp_path, level="warning") == ["two", "three"]
    assert messages(tmp_path, since_s=2.5) == ["three"]
    assert messages(tmp_path, grep=re.compile("^t")) == ["two", "three"]


def test_times_are_read_as_people_write_them() -> None:
    now = time.time()
    assert parse_since("90s") == pytest.approx(now - 90, abs=2)
    assert parse_since("1.5h") == pytest.approx(now - 5400, abs=2)
    assert parse_since("2026-01-02T03:04") > 1.7e9
    with pytest.raises(ValueError, match="expected 30s"):
        parse_since("soon")


def test_a_line_shows_the_stream_of_stray_output_and_the_trace() -> None:
    shown = line(msgspec.to_builtins(stray("oops", "r1/wrist", 1, "stderr")), colour=False)
    assert "r1/wrist" in shown and "[stderr] oops" in shown
    traced = Record(t=1.0, level="error", actor="a", message="m", trace="Traceback\n  x\n")
    assert line(msgspec.to_builtins(traced), colour=False).endswith("\n    Traceback\n      x")
