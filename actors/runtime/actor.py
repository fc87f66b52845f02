"""Actor: one operating-system process with three phases, a link to its supervisor and a board.

A subclass defines `kind`, `Config`, `setup`, `run` and `teardown`. `run` is one loop that polls its
own sockets together with `self.link`, calls `self.board.progress()` every turn (nothing else counts
as liveness) and returns once `self.stopping` is true. Guaranteed: `teardown` runs however `run`
ended, and the process's exit code says how it ended.

The same class runs inside a test or a script: `boot_in_memory` makes a boot of anonymous memory and
a link whose other end the caller holds.
"""

from __future__ import annotations

import gc
import logging
import mmap
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from ...errors import DeadError, RefusedError
from ...transport import segment as _segment
from .host_board import HOST_BOARD, HostBoardReader
from .link_messages import BootMessage, Command, SegmentEntry
from .release import other_release
from .status_board import BOARD_SIZE, StatusBoard
from .supervisor_link import Link, SupervisorLink, pair

EXIT_STOPPED = 0
EXIT_CRASHED = 1
EXIT_REFUSED = 3
EXIT_DEAD = 4


class _StoppedError(Exception):
    """The actor is asked to end while `setup` waits."""


@dataclass(frozen=True)
class Boot:
    """What an actor gets at its start. `memory` maps each segment's name to its mapping, read-only
    unless the segment table says otherwise.

    The supervisor makes it; `boot_in_memory` makes one in a test:

    >>> boot, link, supervisor = boot_in_memory("echo", "my/echo", {"greeting": "hi"})
    >>> boot.name, boot.incarnation, list(boot.memory)
    ('my/echo', 1, ['my/echo/board'])
    >>> link.close(), supervisor.close()
    (None, None)
    """

    kind: str
    name: str
    incarnation: int
    rundir: Path
    config: dict[str, Any]
    memory: Mapping[str, mmap.mmap]
    release: str = ""
    """The supervisor's release of Holdfast, where a supervisor sent this."""
    forgiven: bool = False
    """It follows no failure of its own since a person's start: earlier ones do not count."""


class Actor:
    """Base of every actor. Its construction opens nothing: `setup` does. Raises RefusedError for a
    configuration that does not fit its struct.

    >>> import select
    >>> class Echo(Actor):
    ...     kind = "echo"
    ...     verbs = ("greet",)
    ...
    ...     class Config(msgspec.Struct, frozen=True):
    ...         greeting: str = "hello"
    ...
    ...     def run(self):
    ...         self.ready()
    ...         while not self.stopping:
    ...             select.select([self.link], [], [], 0.1)
    ...             self.board.progress()
    ...             for command in self.link.commands():
    ...                 self.link.acknowledge(command.id, self.config.greeting)
    >>> boot, link, supervisor = boot_in_memory("echo", "my/echo", {"greeting": "hi"})
    >>> supervisor.command("greet", id=1), supervisor.command("stop", id=2)
    (True, True)
    >>> Echo(boot, link).main()
    0
    >>> ready, stopped, greeted, ended = supervisor.messages()[0]
    >>> greeted.result, ended.reason
    ('hi', 'stopped')
    >>> link.close(), supervisor.close()
    (None, None)
    """

    kind: ClassVar[str]
    Config: ClassVar[type[msgspec.Struct]]
    verbs: ClassVar[tuple[str, ...]] = ()
    """The commands that it accepts, beside `stop`, which the link handles."""

    def __init__(self, boot: Boot, link: Link) -> None:
        self.name = boot.name
        self.incarnation = boot.incarnation
        self.forgiven = boot.forgiven
        self.rundir = boot.rundir
        self.link = link
        self.log = logging.getLogger(boot.name)
        self.board = StatusBoard(boot.memory[f"{boot.name}/board"])
        self._memory = dict(boot.memory)
        self.resources = ExitStack()
        """`setup` enters here what it opens, so that `teardown` closes it."""
        self.waits_for = ""
        """What `wait_for` said last."""
        self.unfinished = ""
        """What `run` could not do at its end, though it ended as asked; the exit code tells it."""
        try:
            self.config: Any = msgspec.convert(boot.config, self.Config)
        except msgspec.ValidationError as error:
            raise RefusedError(
                f"the boot of {boot.name} does not fit {self.Config.__name__}: {error}"
                + other_release(boot.release)
            ) from error

    def setup(self) -> None:
        """Open what `run` needs. May take long: the hang timeout counts from `ready` on."""

    def run(self) -> None:
        """Loop until `stopping`."""
        raise NotImplementedError

    def teardown(self) -> None:
        """Close `resources`, the last opened first, also when `setup` or `run` raised half-way."""
        self.resources.close()

    @property
    def stopping(self) -> bool:
        """True after `stop`, SIGTERM or the supervisor's end, as seen by `link.commands()`."""
        return self.link.stopping

    def ready(self, hang_timeout_s: float = 0.0, **info: Any) -> None:
        """Report that the loop runs; to be called once, at the start of `run`. From here on the
        hang timeout counts: the configured one, or `hang_timeout_s` if that is longer. Garbage
        collections skip what exists now: with torch imported, one of the oldest generation would
        take tens of milliseconds for it."""
        gc.freeze()
        self.resources.callback(gc.unfreeze)  # a program may go on in this process
        self.board.progress()
        self.link.ready(info, hang_timeout_s)

    def patience(self, hang_timeout_s: float) -> None:
        """From here on one turn of the loop may take so long, or the configured hang timeout if
        that is longer. Call it after `ready`."""
        self.board.progress()
        self.link.ready({}, hang_timeout_s)

    def phase(self, text: str) -> None:
        """Report on the board what a long `setup` is doing, for the status. The last report of the
        previous incarnation stays beside it."""
        setup = {"incarnation": self.incarnation, "phase": text}
        self.board.report({**(self.board.previous() or {}), "setup": setup})

    def refusal(self, command: Command) -> str:
        """The error with which a command that is none of `verbs` is answered."""
        known = ", ".join(("stop", *self.verbs))
        return f"the {self.kind} actor cannot {command.verb}: its commands are {known}"

    def refuse_commands(self) -> None:
        """Read the link and refuse every command but `stop`: for actors without `verbs`."""
        for command in self.link.commands():
            self.link.acknowledge(command.id, error=self.refusal(command))

    def reconfigured(self) -> bool:
        """Take over what a changed fleet file changes for an actor that runs: True if `config` is
        another one, and its segments are mapped. For the keys that its entry in the supervisor
        names; call it after the link was read."""
        taken, self.link.reconfigurations = self.link.reconfigurations, []
        for message, fds in taken:
            self._memory |= _mapped(message.segments, fds)
            self._memory = {name: self._memory[name] for name in message.names}
            self.config = msgspec.convert(message.config, self.Config)
        return bool(taken)

    def segment(self, name: str) -> mmap.mmap:
        """The mapping of the segment `name`. Raises KeyError for one that the boot does not
        have."""
        return self._memory[name]

    def _host_board(self) -> HostBoardReader | None:
        """How the actors of this host are, for the broker; None where there is one host only."""
        memory = self._memory.get(HOST_BOARD)
        return None if memory is None else HostBoardReader(memory)

    def wait_for(self, what: str) -> None:
        """While `setup` waits for another process: log and report for what, if that is new. Leaves
        `setup` by an error of its own when this actor is to end, which then ends in order."""
        self.link.commands()
        if self.stopping:
            raise _StoppedError
        if what != self.waits_for:
            self.waits_for = what
            self.log.warning("waiting: %s", what)
        self.phase(what)
        self.board.progress()

    def segments(self) -> tuple[str, ...]:
        """Names of the boot's segments, the board's included."""
        return tuple(self._memory)

    def main(self) -> int:
        """Run the three phases and return the exit code. Failures of the actor are logged and
        reported to the supervisor, not raised."""
        reason, code = "stopped", EXIT_STOPPED
        try:
            self.setup()
            self.run()
            if self.link.orphaned:
                reason = "the supervisor is gone"
            if self.unfinished:
                reason, code = self.unfinished, EXIT_CRASHED
                self.log.error("ended, but %s", self.unfinished)
        except _StoppedError:
            pass
        except RefusedError as error:
            reason, code = str(error), EXIT_REFUSED
            self.log.error("refused: %s", error)
        except DeadError as error:
            reason, code = str(error), EXIT_DEAD
            self.log.error("dead: %s", error)
        except Exception as error:
            reason, code = f"{type(error).__name__}: {error}", EXIT_CRASHED
            self.log.exception("crashed: %s", reason)
        try:
            self.teardown()
        except Exception as error:
            self.log.exception("teardown failed: %s", error)  # noqa: TRY401 its first line says all
            if code == EXIT_STOPPED:
                reason, code = f"teardown: {type(error).__name__}: {error}", EXIT_CRASHED
        self.link.report_exit(reason)
        return code


def boot_in_memory(
    kind: str,
    name: str,
    config: dict[str, Any],
    segments: Mapping[str, int] | None = None,
    memory: Mapping[str, mmap.mmap] | None = None,
    incarnation: int = 1,
    rundir: Path | None = None,
) -> tuple[Boot, Link, SupervisorLink]:
    """A boot for an actor inside this process: `Class(boot, link)`.

    `segments` are sizes of anonymous segments to make, `memory` mappings to share with other actors
    (pass the last boot's `memory` to be the next incarnation); the board is added when absent. The
    caller acts as the supervisor on the third value: `command("stop")`, `messages()`, `close()`.
    """
    mapped = dict(memory or {})
    for segment, size in {f"{name}/board": BOARD_SIZE, **(segments or {})}.items():
        if segment not in mapped:
            mapped[segment] = mmap.mmap(-1, size)
    ours, theirs = pair()
    boot = Boot(kind, name, incarnation, rundir or Path.cwd(), config, mapped)
    return boot, Link(theirs), SupervisorLink(ours)


def map_boot(message: BootMessage, fds: list[int]) -> Boot:
    """Map the segments of a boot that came over a real link; closes the descriptors."""
    return Boot(
        kind=message.kind,
        name=message.name,
        incarnation=message.incarnation,
        rundir=Path(message.rundir),
        config=message.config,
        memory=_mapped(message.segments, fds),
        release=message.release,
        forgiven=message.forgiven,
    )


def _mapped(entries: tuple[SegmentEntry, ...], fds: list[int]) -> dict[str, mmap.mmap]:
    """The segments of `fds`, which it closes, by name."""
    memory: dict[str, mmap.mmap] = {}
    for entry, fd in zip(entries, fds, strict=True):
        memory[entry.name] = _segment.map(fd, entry.size, entry.writable)
        os.close(fd)
    return memory
