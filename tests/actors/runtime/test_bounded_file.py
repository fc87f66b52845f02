"""Files of bounded size on a disk that may be full at any time."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.actors.runtime.bounded_file import BoundedFile, older

LINES = st.binary(min_size=0, max_size=60).map(lambda b: b.replace(b"\n", b" ") + b"\n")


@contextlib.contextmanager
def disk_of(file_bytes: int) -> Iterator[None]:
    """Limit the size of files: the kernel takes the part of a write that fits and refuses the next
    write, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def kept_in(path: Path) -> bytes:
    return b"".join(p.read_bytes() for p in (*reversed(older(path)), path) if p.exists())


@given(
    lines=st.lists(LINES, max_size=60),
    files=st.integers(1, 4),
    full=st.sets(st.integers(0, 59)),
    killed=st.dictionaries(st.integers(0, 59), st.integers(0, 30)),
)
@settings(max_examples=60)
def test_a_bounded_file_holds_whole_records_in_order_and_counts_the_lost_ones(
    lines: list[bytes],
    files: int,
    full: set[int],
    killed: dict[int, int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Through full disks (`full`) and writers killed in a write (`killed`), within its bound."""
    path = tmp_path_factory.mktemp("bounded") / "log.jsonl"
    file = BoundedFile(path, 200, files)
    written: list[bytes] = []
    lost = 0
    for k, line in enumerate(lines):
        if k in killed:
            lost += file.lost
            with path.open("ab") as torn:
                torn.write(b"x" * killed[k])
            file = BoundedFile(path, 200, files)
        size = path.stat().st_size if path.exists() else 0
        with disk_of(size + 5) if k in full else contextlib.nullcontext():
            before = file.lost
            file.append(line)
        if file.lost == before:
            written.append(line)
            assert not file.error
        else:
            assert k in full and file.error
    file.close()
    lost += file.lost
    kept = kept_in(path)
    assert len(written) + lost == len(lines)
    assert kept in {b"".join(written[i:]) for i in range(len(written) + 1)}
    assert len(kept) <= files * 200 and len(older(path)) < files
    # An older file was full: the next line, of at most 61 bytes, did not fit.
    assert len(kept) >= min(len(b"".join(written)), (files - 1) * (200 - 60))


def test_a_full_disk_leaves_no_half_record_and_writing_resumes(tmp_path: Path) -> None:
    """What was written of a record is truncated; `error` is empty once writing works."""
    file = BoundedFile(tmp_path / "a", 10_000)
    file.append(b"first\n")
    with disk_of(10):
        file.append(b"second, which fits by four bytes\n", records=3)
        assert (file.lost, file.error) == (3, "no space left for the whole record")
        file.append(b"third\n")
        assert file.lost == 4 and file.error
    file.append(b"fourth\n")
    file.close()
    assert (file.lost, file.error) == (4, "")
    assert (tmp_path / "a").read_bytes() == b"first\nfourth\n"


def test_a_rotation_that_cannot_open_the_new_file_closes_no_other_descriptor(
    tmp_path: Path,
) -> None:
    """The old descriptor's number may be reused at once: it is not closed a second time."""
    file = BoundedFile(tmp_path / "a", 100)
    file.append(b"x" * 80 + b"\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as others:
        lowest = others.enter_context((tmp_path / "probe").open("w")).fileno()
        others.close()
        # The rotation closes its descriptor and may open no other.
        descriptor = file._file.fileno()  # type: ignore[union-attr]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(lowest, descriptor), hard))
        try:
            file.append(b"y" * 80 + b"\n")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert file.lost == 1 and "files" in file.error
        other = others.enter_context((tmp_path / "other").open("w+"))
        file.append(b"z" * 80 + b"\n")
        file.close()
        other.write("still mine")
        other.flush()
    assert (tmp_path / "other").read_text() == "still mine"
    assert kept_in(tmp_path / "a").endswith(b"z" * 80 + b"\n")
