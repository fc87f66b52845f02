"""Segments: private, nameless, and of the promised size."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.errors import SegmentError
from holdfast.tests.descriptors import open_descriptors
from holdfast.transport import segment

SHM = Path("/dev/shm")


def test_a_segment_has_no_name_from_the_start() -> None:
    """/dev/shm never lists it, so that no crash can leave it behind."""
    with segment.create(4096, "r1/board") as created:
        assert not list(SHM.glob(f"holdfast-{os.getpid()}-*"))
        with created.map(writable=True) as memory:
            memory[:5] = b"hello"
            with segment.map(created.fd, created.size, writable=False) as other:
                assert other[:5] == b"hello"


def test_a_mapping_outlives_its_descriptor() -> None:
    """Memory stays usable after the segment is closed."""
    created = segment.create(4096, "r1/board")
    with created.map(writable=True) as memory:
        created.close()
        created.close()
        memory[0] = 7
        assert memory[0] == 7


def test_a_read_only_descriptor_cannot_be_mapped_writable() -> None:
    """Nor opened again for writing: a faulty reader cannot write into a camera's ring."""
    with segment.create(4096, "r1/top") as created:
        descriptor = created.read_only_fd()
        try:
            with segment.map(descriptor, 4096, writable=False) as memory:
                assert memory[:4] == bytes(4)
            with pytest.raises(PermissionError):
                segment.map(descriptor, 4096, writable=True)
        finally:
            os.close(descriptor)


def test_a_segment_is_private_to_its_user() -> None:
    """Its mode is 0600."""
    with segment.create(4096, "r1/top") as created:
        assert os.fstat(created.fd).st_mode & 0o777 == 0o600


def test_mapping_more_than_the_segment_has_is_refused() -> None:
    """It raises SegmentError, instead of a SIGBUS at the first touch."""
    with (
        segment.create(4096, "r1/top") as created,
        pytest.raises(SegmentError, match="4096 bytes, 8192 are expected"),
    ):
        segment.map(created.fd, 8192, writable=False)


def test_a_segment_larger_than_the_memory_is_refused_at_creation() -> None:
    """Pages are reserved, so that a lack of memory is an error and no SIGBUS later."""
    free = os.statvfs(SHM)
    size = (free.f_blocks + 1) * free.f_frsize * 2
    before = open_descriptors()
    with pytest.raises(SegmentError, match="enlarge /dev/shm"):
        segment.create(size, "r1/top")
    assert open_descriptors() <= before


def test_an_impossible_size_is_refused() -> None:
    """A size below 1 raises SegmentError."""
    with pytest.raises(SegmentError, match="0 bytes is impossible"):
        segment.create(0, "r1/top")


def test_a_sweep_removes_names_of_dead_creators_only() -> None:
    """Names of living processes, young names and other files stay."""
    child = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    pid = int(child.stdout)
    dead = SHM / f"holdfast-{pid}-0123456789abcdef"
    stays = [
        SHM / f"holdfast-{os.getpid()}-0123456789abcdef",
        SHM / f"holdfast-{pid}-fedcba9876543210",  # too young: of another pid namespace, maybe
        SHM / f"holdfast-{pid}-notes",
        SHM / f"holdfast-{pid}-0000000000000000",  # a link, to what may be anything
    ]
    long_ago = time.time() - 3600
    for path in (dead, *stays[:3]):
        path.touch()
    for path in (dead, stays[0], stays[2]):
        os.utime(path, (long_ago, long_ago))
    stays[3].symlink_to(stays[2])
    try:
        assert dead.name in segment.sweep()
        assert not dead.exists()
        assert all(path.exists() for path in stays)
    finally:
        for path in (dead, *stays):
            path.unlink(missing_ok=True)
