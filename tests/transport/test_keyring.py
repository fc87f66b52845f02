"""The keyring follows its directory."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from holdfast.errors import KeyFileError
from holdfast.transport import keys
from holdfast.transport.keyring import FollowedRing
from holdfast.transport.keys import Role


def test_a_ring_follows_the_files_that_are_added_and_removed(tmp_path: Path) -> None:
    """A key that is replaced under the same name is revoked like a removed one."""
    first = keys.new("r1", Role.ROBOT, tmp_path)
    ring = FollowedRing(tmp_path)
    assert ring.follow() is None, "nothing changed"
    second = keys.new("r2", Role.ROBOT, tmp_path)
    assert ring.follow() == set()
    assert ring.ring.peer(second.public) == second.peer
    for file in ("r1.pub", "r1.key"):
        (tmp_path / file).unlink()
    third = keys.new("r1", Role.ROBOT, tmp_path)
    assert ring.follow() == {first.public}
    assert ring.ring.peer(first.public) is None
    assert ring.ring.peer(third.public) == third.peer
    assert ring.follow() is None


def test_a_damaged_file_shuts_out_its_owner_only(tmp_path: Path) -> None:
    """At the start it is refused; later it is reported, and its key is not accepted."""
    made = keys.new("r1", Role.ROBOT, tmp_path)
    ring = FollowedRing(tmp_path)
    (tmp_path / "r2.pub").write_text("name r2\n")
    (tmp_path / "r3.pub").write_text((tmp_path / "r1.pub").read_text().replace("r1", "r3"))
    assert ring.follow() == set()
    assert ring.ring.peer(made.public) == made.peer
    assert [problem.split()[0] for problem in ring.problems] == [
        str(tmp_path / "r2.pub"),
        str(tmp_path / "r3.pub"),
    ]
    with pytest.raises(KeyFileError):
        FollowedRing(tmp_path)


def test_a_ring_outlives_its_directory(tmp_path: Path) -> None:
    """A file system that was unmounted revokes no key."""
    made = keys.new("r1", Role.ROBOT, tmp_path / "keys")
    ring = FollowedRing(tmp_path / "keys")
    shutil.move(tmp_path / "keys", tmp_path / "away")
    assert ring.follow() is None
    assert ring.ring.peer(made.public) == made.peer
