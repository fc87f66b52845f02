"""The log on disk as people read it: merged, filtered, and over its rotations."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.actors.runtime.log import Record, stray
from holdfast.actors.supervision.logstore import LogStore
from holdfast.tools.cli import logs
from holdfast.tools.cli.logs import LEVELS, Selection, line, parse_since, read


def record(message: str, t: float = 1.0, actor: str = "a", level: str = "info") -> Record:
    return Record(t=t, level=level, actor=actor, message=message)


def messages(directory: Path, last: int | None = None, **selection: Any) -> list[str]:
    found = read(directory / "log.jsonl", Selection(**selection), last, follow=False)
    return [r["message"] for r in found if r is not None]


def test_records_of_one_turn_are_in_the_order_of_their_time(tmp_path: Path) -> None:
    """The store sorts what it writes at once."""
    store = LogStore(tmp_path, 10**6, 3)
    for t in (3.0, 1.0, 2.0):
        store.add(record(str(t), t))
    store.close()
    assert messages(tmp_path) == ["1.0", "2.0", "3.0"]


def test_the_log_is_bounded_and_reading_it_spans_its_files(tmp_path: Path) -> None:
    """The size never exceeds the files; no record in between is lost."""
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


def test_a_reader_that_follows_misses_nothing_over_a_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every record comes once, in order."""
    monkeypatch.setattr(logs, "POLL_S", 0.001)
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
    deadline_s = time.monotonic() + 60
    while len(found) < 101 and time.monotonic() < deadline_s:
        if (r := next(coming)) is not None:
            found.append(r["message"])
    assert found == ["before", *map(str, range(100))]
    coming.close()
    store.close()


def test_a_selection_is_by_robot_level_time_and_expression(tmp_path: Path) -> None:
    """A robot's name means its actors, and no other robot's."""
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
    """Ago with a unit, or a date; anything else raises ValueError with the forms."""
    now_s = time.time()
    assert now_s - 90 <= parse_since("90s") <= time.time() - 90
    assert now_s - 5400 <= parse_since("1.5h") <= time.time() - 5400
    assert parse_since("2026-01-02T03:04") > 1.7e9
    with pytest.raises(ValueError, match="expected 30s"):
        parse_since("soon")


def test_a_line_shows_the_stream_of_stray_output_and_the_trace() -> None:
    """The traceback is indented below the line."""
    shown = line(msgspec.to_builtins(stray("oops", "r1/wrist", 1, "stderr")), colour=False)
    assert "r1/wrist" in shown and "[stderr] oops" in shown
    traced = Record(t=1.0, level="error", actor="a", message="m", trace="Traceback\n  x\n")
    assert line(msgspec.to_builtins(traced), colour=False).endswith("\n    Traceback\n      x")
