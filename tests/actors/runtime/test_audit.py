"""The audit: continued, counted, one JSON object per line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.runtime.audit import BATCH_LINES, BATCH_NS, Audit
from holdfast.actors.runtime.bounded_file import BoundedFile, older


def test_a_file_that_exists_is_continued(tmp_path: Path) -> None:
    """The next incarnation appends to the same file."""
    for i in range(3):
        file = BoundedFile(tmp_path / "a", 10_000)
        file.append(b"%d\n" % i)
        file.close()
    assert (tmp_path / "a").read_bytes() == b"0\n1\n2\n"


def test_a_record_that_cannot_be_written_is_counted_and_raises_nothing(tmp_path: Path) -> None:
    """`lost` counts each record of a path that cannot be opened."""
    (tmp_path / "in-the-way").write_text("a file where a directory is needed")
    file = BoundedFile(tmp_path / "in-the-way" / "a", 10_000)
    file.append(b"x")
    file.append(b"y")
    assert file.lost == 2


def test_a_record_larger_than_the_bound_is_lost_alone(tmp_path: Path) -> None:
    """It is counted, and the next record is kept."""
    file = BoundedFile(tmp_path / "a", 50)
    file.append(b"x" * 51)
    file.append(b"y" * 50)
    file.close()
    assert file.lost == 1
    assert (tmp_path / "a").read_bytes() == b"y" * 50


def test_a_bound_of_zero_writes_no_file(tmp_path: Path) -> None:
    """Nothing is created and nothing counts as lost."""
    file = BoundedFile(tmp_path / "a", 0)
    file.append(b"x")
    assert not (tmp_path / "a").exists() and file.lost == 0


def test_an_audit_line_is_one_json_object(tmp_path: Path) -> None:
    """Newlines in values are escaped."""
    audit = Audit(tmp_path / "a.jsonl", 10_000)
    audit.line(robot="r1", seq=7, task="two\nlines")
    audit.line(robot="r2", seq=1)
    audit.close()
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert [json.loads(line)["robot"] for line in lines] == ["r1", "r2"]


def test_a_disk_that_fills_up_and_is_cleared_is_logged_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One log record when writing begins to fail, one with the loss when it works again."""
    (tmp_path / "audit").write_text("a file where a directory is needed")
    audit = Audit(tmp_path / "audit" / "a.jsonl", 10_000)
    for seq in range(3):
        audit.line(seq=seq)
        audit.flush()
    (tmp_path / "audit").unlink()
    audit.line(seq=3)
    audit.close()
    logged = [record.getMessage() for record in caplog.records]
    assert len(logged) == 2 and "not written" in logged[0] and "3 records are lost" in logged[1]


def test_lines_are_written_once_they_have_waited_or_are_many(tmp_path: Path) -> None:
    """Not before: one write for all of a batch."""
    path = tmp_path / "a.jsonl"
    audit = Audit(path, 1 << 20)
    audit.keep(0)
    audit.line(seq=0)
    audit.keep(BATCH_NS - 1)
    assert not path.exists()
    audit.keep(BATCH_NS)
    assert len(path.read_text().splitlines()) == 1
    for seq in range(BATCH_LINES):
        assert len(path.read_text().splitlines()) == 1
        audit.line(seq=seq)
    assert len(path.read_text().splitlines()) == 1 + BATCH_LINES


@given(sizes=st.lists(st.integers(0, 400), max_size=100), max_bytes=st.integers(60, 2000))
def test_every_line_of_a_batch_is_kept_or_counted(
    sizes: list[int], max_bytes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However small the file: what is larger alone than it is lost alone, older lines make room."""
    path = tmp_path_factory.mktemp("audit") / "a.jsonl"
    audit = Audit(path, max_bytes)
    for seq, size in enumerate(sizes):
        audit.line(seq=seq, text="x" * size)
    audit.close()
    found = [
        json.loads(line)["seq"]
        for file in (*reversed(older(path)), path)
        if file.exists()
        for line in file.read_text().splitlines()
    ]
    fitting = [
        seq
        for seq, size in enumerate(sizes)
        if len(json.dumps({"seq": seq, "text": "x" * size}, separators=(",", ":"))) < max_bytes // 2
    ]
    assert audit.lost == len(sizes) - len(fitting)
    assert found == fitting[len(fitting) - len(found) :]
    assert not fitting or found
