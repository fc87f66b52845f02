"""Files of evidence that cannot grow without bound."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.audit import Audit, BoundedFile


@given(records=st.lists(st.binary(min_size=1, max_size=80), max_size=60))
def test_the_newest_records_are_kept_whole_and_in_order(
    records: list[bytes], tmp_path_factory
) -> None:
    path = tmp_path_factory.mktemp("audit") / "a.jsonl"
    file = BoundedFile(path, 400)
    for record in records:
        file.append(record)
    file.close()
    older = path.with_name("a.jsonl.1")
    kept = (older.read_bytes() if older.exists() else b"") + (path.read_bytes() if records else b"")
    everything = b"".join(records)
    assert len(kept) <= 400
    assert everything.endswith(kept)
    assert kept == everything or len(kept) > 400 // 2 - 80
    assert any(
        everything[: len(everything) - len(kept)] == b"".join(records[:i])
        for i in range(len(records) + 1)
    ), "the file begins with a whole record"


def test_a_file_that_exists_is_continued(tmp_path: Path) -> None:
    """The next incarnation writes to the same file."""
    for i in range(3):
        file = BoundedFile(tmp_path / "a", 10_000)
        file.append(b"%d" % i)
        file.close()
    assert (tmp_path / "a").read_bytes() == b"012"


def test_what_cannot_be_written_is_counted_and_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "in-the-way").write_text("a file where a directory is needed")
    file = BoundedFile(tmp_path / "in-the-way" / "a", 10_000)
    file.append(b"x")
    file.append(b"y")
    assert file.lost == 2


def test_a_record_larger_than_the_bound_is_lost_alone(tmp_path: Path) -> None:
    file = BoundedFile(tmp_path / "a", 100)
    file.append(b"x" * 51)
    file.append(b"y" * 50)
    file.close()
    assert file.lost == 1
    assert (tmp_path / "a").read_bytes() == b"y" * 50


def test_a_bound_of_zero_writes_no_file(tmp_path: Path) -> None:
    file = BoundedFile(tmp_path / "a", 0)
    file.append(b"x")
    assert not (tmp_path / "a").exists() and file.lost == 0


def test_an_audit_line_is_one_json_object(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "a.jsonl", 10_000)
    audit.line(robot="r1", seq=7, task="two\nlines")
    audit.line(robot="r2", seq=1)
    audit.close()
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert [json.loads(line)["robot"] for line in lines] == ["r1", "r2"]
