"""Only directories with our marker are emptied, rotated in and removed."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.runtime import runtime_dir
from holdfast.actors.runtime.claim import RUNTIME, STATE, Use, claim, claimed, release
from holdfast.actors.runtime.log import stray
from holdfast.actors.runtime.runtime_dir import LOCK, RuntimeDir, state_dir
from holdfast.actors.supervision.logstore import LogStore
from holdfast.errors import RuntimeDirError

Tree = dict[str, bytes | None]
"""What a directory holds, by relative path; None is a directory."""

NAMES = st.sampled_from(
    ["notes.txt", "lock", "supervisor.sock", "src", ".holdfast-state", "log.jsonl"]
)
TREES = st.dictionaries(NAMES, st.none() | st.binary(max_size=8), max_size=4)


def plant(path: Path, tree: Tree) -> None:
    path.mkdir(parents=True)
    for name, content in tree.items():
        if content is None:
            (path / name).mkdir()
            (path / name / "inside.py").write_text("the only copy")
        else:
            (path / name).write_bytes(content)


def holds(path: Path) -> Tree:
    return {
        str(p.relative_to(path)): p.read_bytes() if p.is_file() else None for p in path.rglob("*")
    }


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's directory, as base of the runtime and the state directories."""
    monkeypatch.setenv("HOLDFAST_RUNTIME", str(tmp_path))
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path))
    return tmp_path


@given(tree=TREES, use=st.sampled_from([RUNTIME, STATE]))
def test_a_directory_that_is_not_empty_and_not_ours_is_refused_unchanged(
    tree: Tree, use: Use, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The refusal names the path; an empty or marked directory is claimed."""
    path = tmp_path_factory.mktemp("home") / "projects"
    plant(path, tree)
    before, mode = holds(path), path.stat().st_mode
    ours = not before or (use.marker in before and before[use.marker] is not None)
    if ours:
        claim(path, use)
        assert claimed(path, use)
        return
    with pytest.raises(RuntimeDirError, match="is not empty") as refusal:
        claim(path, use)
    assert str(path) in str(refusal.value)
    release(path, use, LOCK)
    assert holds(path) == before and path.stat().st_mode == mode


def test_a_fleet_named_like_a_directory_of_the_users_is_refused(home: Path) -> None:
    """Runtime and state directory are refused with the variable to set, and keep their content."""
    plant(home / "projects", {"thesis.tex": b"three years", "src": None})
    before = holds(home)
    with pytest.raises(RuntimeDirError, match=r"projects .*thesis\.tex.*HOLDFAST_RUNTIME"):
        RuntimeDir("projects")
    with pytest.raises(RuntimeDirError, match=r"projects .*HOLDFAST_STATE"):
        LogStore(state_dir("projects"), 1000, 3)
    assert holds(home) == before


def test_a_link_to_a_directory_of_the_users_is_not_followed(home: Path) -> None:
    """Neither claim nor sweep touches the target of a symbolic link, even a marked one."""
    plant(home / "elsewhere", {"thesis.tex": b"three years"})
    (home / "fleet").symlink_to(home / "elsewhere")
    with pytest.raises(RuntimeDirError):
        RuntimeDir("fleet")
    (home / "elsewhere" / RUNTIME.marker).write_text("")
    runtime_dir.sweep(home / "fleet")
    assert (home / "elsewhere" / "thesis.tex").exists()


def test_logs_and_sockets_in_one_directory_are_refused_before_the_logs_are_deleted(
    home: Path,
) -> None:
    """A state directory is never claimed as runtime directory, which is deleted at the end."""
    store = LogStore(state_dir("fleet"), 1000, 3)
    store.add(stray("the only record", "r1/control", 1, "stderr"))
    store.close()
    with pytest.raises(RuntimeDirError, match=STATE.marker):
        RuntimeDir("fleet")
    assert "the only record" in (home / "fleet" / "log.jsonl").read_text()


def test_a_runtime_directory_of_a_killed_fleet_is_emptied_and_removed_at_the_end(
    home: Path,
) -> None:
    """A new fleet finds marker and lock only, and its end leaves nothing."""
    first = RuntimeDir("fleet")
    plant(first.path / "audit", {"r1.jsonl": b"{}"})
    os.close(first.fd)  # as its death does
    second = RuntimeDir("fleet")
    assert sorted(p.name for p in second.path.iterdir()) == [RUNTIME.marker, LOCK]
    second.remove()
    assert not second.path.exists() and home.exists()


@pytest.mark.parametrize("left", ["nothing", "lock", "marker", "both"])
def test_a_directory_whose_removal_was_interrupted_is_claimed_again(home: Path, left: str) -> None:
    """Lock and marker may each be gone: the directory counts as ours."""
    path = home / "fleet"
    path.mkdir()
    if left in ("lock", "both"):
        (path / LOCK).write_text("4711")
    if left in ("marker", "both"):
        (path / RUNTIME.marker).write_text("")
    runtime = RuntimeDir("fleet")
    assert claimed(path, RUNTIME)
    runtime.remove()
    assert not path.exists()


def test_a_lock_that_outlived_its_supervisor_names_its_holder_and_the_remedy(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the process that has the lock open, not the one written in it."""
    monkeypatch.setattr(runtime_dir, "CLEANUP_S", 0.1)
    (home / "fleet").mkdir()
    with (home / "fleet" / LOCK).open("w") as lock:
        lock.write("4194305")  # more than the largest pid
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        child = os.posix_spawn(
            "/bin/sleep",
            ["sleep", "60"],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, lock.fileno(), 7)],
        )
    try:
        with pytest.raises(RuntimeDirError, match=rf"sleep.*kill -9 {child}"):
            RuntimeDir("fleet")
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    RuntimeDir("fleet").remove()
