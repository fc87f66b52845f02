"""The log on disk as the supervisor writes it: whole lines, bounded, losses counted."""

from __future__ import annotations

import itertools
import os
import re
import resource
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.runtime.log import MAX_LINE, Record
from holdfast.actors.supervision.logstore import BURST, LogStore, Stream
from holdfast.tools.cli.logs import Selection, read


def record(message: str, t: float = 1.0, actor: str = "a", level: str = "info") -> Record:
    return Record(t=t, level=level, actor=actor, message=message)


def test_the_last_error_of_an_actor_is_kept(tmp_path: Path) -> None:
    """Later records of a lower level do not replace it."""
    store = LogStore(tmp_path, 10**6, 3)
    store.add(record("bad", level="error"))
    store.add(record("fine"))
    assert store.errors["a"].message == "bad"
    store.close()


def test_a_full_disk_loses_records_and_the_next_one_has_their_number(tmp_path: Path) -> None:
    """The store goes on once there is room."""
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
    """Nothing is joined or split; a line `{"t":...}` is a record and no text."""
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


def test_a_flood_of_lines_is_counted_instead_of_kept() -> None:
    """Kept and counted lines add up to those written."""
    kept: list[Record] = []
    reading, writing = os.pipe()
    stream = Stream(reading, "a", 1, "stdout", kept.append)
    for _ in range(4):
        os.write(writing, b"x\n" * 1000)
        stream.read()
    os.close(writing)
    stream.close()
    assert BURST <= len(kept) < BURST + 200
    reports = [re.match(r"(\d+) lines of stdout dropped", r.message) for r in kept]
    dropped = [int(found[1]) for found in reports if found]
    assert sum(dropped) + len(kept) - len(dropped) == 4000


def test_an_endless_line_does_not_grow_the_supervisor() -> None:
    """It is cut into records of at most MAX_LINE."""
    kept: list[Record] = []
    reading, writing = os.pipe()
    stream = Stream(reading, "a", 1, "stderr", kept.append)
    for _ in range(50):
        os.write(writing, b"x" * 10_000)
        stream.read()
    os.close(writing)
    stream.close()
    assert all(len(r.message) <= MAX_LINE for r in kept) and 1 < len(kept) < 50
