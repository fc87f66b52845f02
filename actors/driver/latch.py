"""The emergency stop of a robot, as a file in the fleet's state directory.

The sender of a stop writes it, which needs no other live process; it outlives all of them, and the
driver drops every command while it is there. A latch that cannot be read counts as engaged. A
datagram to the driver's socket only makes it look at once.

Not guaranteed: that the device has stopped. The driver says so in its status and its answers. A
power cut may undo what `settle` has not waited for.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from ...errors import RobotError, RuntimeDirError
from ...transport.stop_bodies import SiteStop
from ..runtime import durable
from ..runtime.claim import STATE, claim

_FOLDER = "estop"

Mark = tuple[int, int]
"""Which file a latch is (its inode), and when a stop was given last: another one after each. Where
there is none 0, and the instant of the look, in ns of this host's monotonic clock."""


class EmergencyStop(msgspec.Struct, frozen=True):
    """Who stopped a robot, why, and when (seconds since 1970)."""

    by: str
    why: str = ""
    at_s: float = 0.0

    @classmethod
    def of_site(cls, stop: SiteStop) -> EmergencyStop:
        """A stop of the site as one of a robot that it holds."""
        return cls(stop.by, stop.why, stop.at_s)

    def __str__(self) -> str:
        return f"stopped by {self.by}" + (f": {self.why}" if self.why else "")


def encodable(text: str) -> str:
    """`text` with `?` for what UTF-8 cannot encode, as from a command line of other bytes."""
    return text.encode("utf-8", "replace").decode()


def place(state_dir: Path, robot: str) -> Path:
    """The file of `robot`'s latch; it is there while the latch is engaged."""
    return state_dir / _FOLDER / robot


def engage(
    state_dir: Path, robot: str, by: str, why: str = "", at_s: float | None = None
) -> EmergencyStop:
    """Stop `robot`; the stop in force, which is an earlier one if there is one. `state_dir` is the
    fleet's; without `at_s`, now. Raises RobotError when the file cannot be written, and there was
    none."""
    path = place(state_dir, robot)
    stop = EmergencyStop(encodable(by), encodable(why), time.time() if at_s is None else at_s)
    draft = path.with_name(f".{robot}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        claim(state_dir, STATE)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            draft.write_bytes(msgspec.json.encode(stop))
            if not _placed(draft, path):
                return engaged(state_dir, robot) or stop
        finally:
            draft.unlink(missing_ok=True)
    except (OSError, RuntimeDirError) as error:
        with suppress(OSError):  # a mark needs no room on the disk
            _mark_anew(path)
            return engaged(state_dir, robot) or stop
        raise RobotError(
            f"the emergency stop of {robot} cannot be written to {path} "
            f"({getattr(error, 'strerror', None) or error})"
        ) from error
    return stop


def _placed(draft: Path, path: Path) -> bool:
    """Make `draft` the latch; False where there is one, which is marked anew: the first stop is the
    one to explain, but a release that began before this one does not lift it. Raises OSError."""
    while True:
        try:
            os.link(draft, path)
            return True
        except FileExistsError:
            pass
        try:
            _mark_anew(path)
        except FileNotFoundError:
            continue  # it was removed meanwhile
        except OSError:
            return False  # it is another user's, and holds all the same
        return False


def _mark_anew(path: Path) -> None:
    """Raises OSError."""
    now_ns = time.time_ns()
    os.utime(path, ns=(now_ns, now_ns))


def engaged(state_dir: Path, robot: str) -> EmergencyStop | None:
    """The stop in force, or None. One that cannot be read is in force."""
    path = place(state_dir, robot)
    try:
        path.stat()  # mostly there is none, and a driver asks before each command
        return msgspec.json.decode(path.read_bytes(), type=EmergencyStop)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        return EmergencyStop("unknown", f"{path} cannot be read: {error}")


def mark(state_dir: Path, robot: str) -> Mark:
    """Of the latch that is engaged, or of there being none. Raises OSError."""
    try:
        found = place(state_dir, robot).stat()
    except FileNotFoundError:
        return 0, time.monotonic_ns()
    return found.st_ino, found.st_mtime_ns


def as_mark(found: object) -> Mark | None:
    """What came in a message as one; None if it is none."""
    match found:
        case [int(file), int(given_ns)]:
            return file, given_ns
    return None


def release(state_dir: Path, robot: str, *, only: Mark | None = None) -> bool:
    """Lift the stop; whether there was one. Only for a driver that was asked to, or where there is
    no driver: one that runs writes the file anew. With `only` no stop is lifted that was given
    since its latch had that mark. Raises RobotError."""
    path = place(state_dir, robot)
    try:
        if only is None:
            path.unlink()
            return True
        if mark(state_dir, robot) != only:
            return False
        # Out of reach first: a stop that is given from now on is another file.
        taken = path.with_name(f".{robot}.{os.getpid()}.{secrets.token_hex(4)}")
        path.rename(taken)
        found = taken.stat()
        is_lifted = (found.st_ino, found.st_mtime_ns) == only
        if not is_lifted:
            with suppress(FileExistsError):
                os.link(taken, path)
        taken.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RobotError(
            f"the emergency stop of {robot} cannot be removed from {path} ({error.strerror})"
        ) from error
    return is_lifted


def settle(state_dir: Path, robots: Iterable[str]) -> None:
    """Wait until a power cut does not undo what was done with the latches of `robots`. Raises
    OSError."""
    durable.settle(place(state_dir, robot) for robot in robots)
