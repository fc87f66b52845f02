"""What a test may leave behind: processes of the run, shared memory, socket files."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from holdfast.tests.run_mark import MARK


def listed() -> set[tuple[str, int]]:
    """All processes, by id and the inode of their directory, because ids are used again: a new
    process has another inode. One that is looked up anew may have too."""
    with os.scandir("/proc") as entries:
        return {(entry.name, entry.inode()) for entry in entries if entry.name.isdigit()}


class MarkedProcesses:
    """The processes of the test run with that mark. Those `others` that were there before any of
    them are not looked at as long as they are there."""

    def __init__(self, mark: str) -> None:
        self._mark = f"{MARK}={mark}\0".encode()
        self.others = listed()

    def left(self) -> set[str]:
        """Every live process that carries the mark, and zombies that this one has not reaped. It is
        called twice a test, so that it reads as little as possible."""
        children = _children()
        found = {f"process {pid} (zombie)" for pid in children if _is_zombie(pid)}
        now = listed()
        self.others &= now
        for pid, _ in now - self.others:
            if self._mark in _environment(pid, is_child=pid in children):
                command = _read(f"/proc/{pid}/cmdline").replace(b"\0", b" ")
                found.add(f"process {pid} ({command.decode(errors='replace').strip()})")
        return found


def named_segments() -> set[str]:
    """Those of ours: torch and others keep theirs under other names."""
    return {f"/dev/shm/{p.name}" for p in Path("/dev/shm").glob("*holdfast*")}


def sockets_below(base: Path) -> set[str]:
    """The socket files in a folder and the folders in it, as far as they may be read."""
    found, folders = set(), [str(base)]
    while folders:
        # A fleet's cleanup process may remove its directories just now, and a test may have shut
        # one, to all but root.
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif not entry.is_file() and Path(entry.path).is_socket():
                    found.add(f"socket {entry.path}")
    return found


def _children() -> list[str]:
    threads = os.listdir("/proc/self/task")  # noqa: PTH208  half of Path.iterdir's time
    lists = (_read(f"/proc/self/task/{thread}/children") for thread in threads)
    return b" ".join(lists).decode().split()


def _is_zombie(pid: str) -> bool:
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[:1] == [b"Z"]


def _environment(pid: str, *, is_child: bool) -> bytes:
    """The environment that a process was started with. A child's is waited for: Popen returns
    before the kernel shows that of the new program."""
    deadline_s = time.monotonic() + 1.0
    while not (found := _read(f"/proc/{pid}/environ")):
        if not is_child or _is_zombie(pid) or time.monotonic() > deadline_s:
            break
        time.sleep(0.0005)
    return found


def _read(path: str) -> bytes:
    """A file of /proc; empty where its process ended meanwhile, or is not ours to read."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 1 << 20)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
