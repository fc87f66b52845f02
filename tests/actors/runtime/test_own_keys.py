"""Keys of an actor whose files cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.actors.runtime.key_files import KeyFiles
from holdfast.actors.runtime.own_keys import LOOK_NS, OwnKeys
from holdfast.errors import RefusedError
from holdfast.transport.connection import Condition


def unreadable(key: Path) -> None:
    """Put something at `key` that stat fails on, whichever user runs the test."""
    key.symlink_to("x" * 300)


def files_of(key: Path) -> KeyFiles:
    return KeyFiles(
        key=str(key), brokers=(f"{key}.broker",), tokens=(str(key.with_name("r1.token")),)
    )


def test_a_key_that_cannot_be_read_is_what_a_running_actor_waits_for(tmp_path: Path) -> None:
    """It goes on once the file is mended."""
    key = tmp_path / "r1.key"
    keys = OwnKeys("r1", files_of(key), ("ipc:///nowhere",))
    unreadable(key)
    assert not keys.follow([Condition.REFUSED], LOOK_NS)
    assert "r1 cannot read its key" in keys.reason and str(key) in keys.reason
    key.unlink()
    assert not keys.follow([Condition.REFUSED], 2 * LOOK_NS)
    assert "no token in" in keys.reason


def test_a_key_that_cannot_be_read_is_refused_at_setup(tmp_path: Path) -> None:
    """The error says so in words, with the path."""
    key = tmp_path / "r1.key"
    unreadable(key)
    with pytest.raises(RefusedError, match=r"r1 cannot read its key.*r1\.key"):
        OwnKeys("r1", files_of(key), ("ipc:///nowhere",))
