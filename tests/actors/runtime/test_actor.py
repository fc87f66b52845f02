"""The base class of actors, in this process and in one of its own, with the test as supervisor."""

from __future__ import annotations

import doctest
import os
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Self
from weakref import WeakKeyDictionary

import msgspec
import pytest

from holdfast.actors.runtime import actor as actor_module
from holdfast.actors.runtime import link_messages, suggestions, supervisor_link
from holdfast.actors.runtime.actor import EXIT_DEAD, EXIT_REFUSED, Actor, boot_in_memory
from holdfast.actors.runtime.link_messages import (
    BootMessage,
    CommandReply,
    ExitReason,
    FromActor,
    ReadyMessage,
    SegmentEntry,
)
from holdfast.actors.runtime.release import release
from holdfast.actors.runtime.status_board import (
    BOARD_SIZE,
    StatusBoard,
    StatusBoardReader,
)
from holdfast.actors.runtime.supervisor_link import SupervisorLink, pair
from holdfast.errors import DeadError, RefusedError
from holdfast.tests.waiting import wait_until
from holdfast.transport import segment


class EchoConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What Echo answers with."""

    greeting: str = "hello"


class Echo(Actor):
    """Answers `echo`; its status counts the answers of all incarnations."""

    kind = "echo"
    Config = EchoConfig
    verbs = ("echo",)

    def run(self) -> None:
        echoed = (self.board.previous() or {}).get("echoed", 0)
        self.ready(pid=os.getpid())
        poll = select.poll()
        poll.register(self.link.fileno(), select.POLLIN)
        while not self.stopping:
            poll.poll(100)
            self.board.progress()
            for command in self.link.commands():
                if command.verb != "echo":
                    self.link.acknowledge(command.id, error=self.refusal(command))
                    continue
                echoed += 1
                self.board.report({"echoed": echoed})
                self.link.acknowledge(command.id, self.config.greeting)


class Failing(Actor):
    """Raises `error` in its loop; its teardown is recorded."""

    kind = "failing"
    Config = EchoConfig
    error: Exception = RuntimeError()
    torn_down = False

    def run(self) -> None:
        raise self.error

    def teardown(self) -> None:
        self.torn_down = True


class Opening(Actor):
    """Opens three things; the setup is refused before the fourth, and closing the second fails."""

    kind = "opening"
    Config = EchoConfig

    def setup(self) -> None:
        self.closed: list[int] = []
        self.resources.callback(self.closed.append, 1)
        self.resources.callback(self._fail)
        self.resources.callback(self.closed.append, 3)
        raise RefusedError("no fourth thing")

    def _fail(self) -> None:
        self.closed.append(2)
        raise OSError("stuck")


INBOXES: WeakKeyDictionary[SupervisorLink, list[FromActor]] = WeakKeyDictionary()


def receive(link: SupervisorLink, kind: type[FromActor]) -> FromActor:
    """The next message of `kind` from the actor."""
    inbox = INBOXES.setdefault(link, [])

    def arrived() -> bool:
        inbox.extend(link.messages()[0])
        return any(isinstance(m, kind) for m in inbox)

    wait_until(arrived, f"a {kind.__name__}")
    return inbox.pop(next(i for i, m in enumerate(inbox) if isinstance(m, kind)))


def test_an_actor_in_process_becomes_ready_answers_commands_and_stops() -> None:
    """Each command gets its reply or refusal; `stop` ends `main` with 0 and a reason."""
    boot, link, supervisor = boot_in_memory("echo", "e", {"greeting": "hi"})
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(Echo(boot, link).main()), daemon=True)
    thread.start()
    assert receive(supervisor, ReadyMessage) == ReadyMessage({"pid": os.getpid()})
    supervisor.command("echo", id=7)
    assert receive(supervisor, CommandReply) == CommandReply(7, "hi", None)
    supervisor.command("dance", id=8)
    assert receive(supervisor, CommandReply) == CommandReply(
        8, None, "the echo actor cannot dance: its commands are stop, echo"
    )
    supervisor.command("stop", id=9)
    assert receive(supervisor, CommandReply) == CommandReply(9)
    thread.join(60)
    assert codes == [0]
    assert receive(supervisor, ExitReason) == ExitReason("stopped")
    supervisor.close()
    link.close()


def test_an_actor_whose_supervisor_is_gone_knows_that_it_is_an_orphan() -> None:
    """The end of the link sets `orphaned` and `stopping`, and no longer wakes polls."""
    boot, link, supervisor = boot_in_memory("echo", "e", {})
    actor = Echo(boot, link)
    thread = threading.Thread(target=actor.main, daemon=True)
    thread.start()
    receive(supervisor, ReadyMessage)
    supervisor.close()
    thread.join(60)
    assert not thread.is_alive()
    assert link.orphaned and actor.stopping
    assert not select.select([link], [], [], 0)[0], "a dead link must not keep polls spinning"
    link.close()


def test_an_incarnation_can_read_the_last_report_of_the_previous_one() -> None:
    """`board.previous()` is the report that is in the shared memory."""
    boot, link, supervisor = boot_in_memory("echo", "e", {})
    Echo(boot, link).board.report({"echoed": 41})
    again, link2, supervisor2 = boot_in_memory("echo", "e", {}, memory=boot.memory, incarnation=2)
    assert Echo(again, link2).board.previous() == {"echoed": 41}
    for end in (link, link2, supervisor, supervisor2):
        end.close()


def test_a_config_that_does_not_fit_is_refused_with_its_path() -> None:
    """The refusal names the wrong key, and the supervisor's release if it is another one."""
    boot, link, supervisor = boot_in_memory("echo", "e", {"greting": "hi"})
    for sent in ("", release()):
        with pytest.raises(RefusedError, match="greting") as refused:
            Echo(replace(boot, release=sent), link)
        assert "the supervisor runs" not in str(refused.value)
    with pytest.raises(RefusedError, match=r"the supervisor runs Holdfast 0\.0\.1 and the actor"):
        Echo(replace(boot, release="0.0.1"), link)
    link.close()
    supervisor.close()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("boom"), 1),
        (RefusedError("no such camera"), EXIT_REFUSED),
        (DeadError("the model changed"), EXIT_DEAD),
    ],
)
def test_an_actor_exits_with_the_code_of_its_error_after_its_teardown(
    error: Exception, code: int
) -> None:
    """Crash, refusal and death have their own codes, and the reason is reported."""
    boot, link, supervisor = boot_in_memory("failing", "f", {})
    actor = Failing(boot, link)
    actor.error = error
    assert actor.main() == code
    assert actor.torn_down
    exit_reason = receive(supervisor, ExitReason)
    assert isinstance(exit_reason, ExitReason) and str(error) in exit_reason.reason
    link.close()
    supervisor.close()


def test_a_report_that_is_too_large_is_dropped_and_the_last_one_stays() -> None:
    """`report` returns False, counts the report, and readers see the previous one."""
    memory = bytearray(BOARD_SIZE)
    board = StatusBoard(memoryview(memory))
    assert board.report({"a": 1})
    assert not board.report({"a": "x" * BOARD_SIZE})
    assert board.oversized == 1
    assert StatusBoardReader(memoryview(memory)).report() == {"a": 1}


def test_a_board_counts_progress_over_all_incarnations() -> None:
    """The count continues with each new board on the memory, with the last instant."""
    memory = bytearray(BOARD_SIZE)
    for _ in range(3):
        before = time.monotonic_ns()
        StatusBoard(memoryview(memory)).progress()
    count, instant = StatusBoardReader(memoryview(memory)).progress()
    assert count == 3
    assert before <= instant <= time.monotonic_ns()


@pytest.mark.parametrize("name", ["read_state", "", "é" * 40])
def test_a_board_shows_the_call_that_runs_and_the_next_incarnation_runs_none(name: str) -> None:
    """A name that is too long is cut; progress stays as it is."""
    memory = bytearray(BOARD_SIZE)
    board, reader = StatusBoard(memoryview(memory)), StatusBoardReader(memoryview(memory))
    board.progress()
    board.calls("a call before it")
    board.calls(name)
    assert name.startswith(reader.call().rstrip("\ufffd")) and bool(reader.call()) is bool(name)
    assert reader.progress()[0] == 1
    StatusBoard(memoryview(memory))
    assert reader.call() == ""


@pytest.fixture
def tiny() -> str:
    """The `module:Class` of a kind that any process can import."""
    return "echo_actor_for_tests:Echo"


class Started:
    """A process of an actor, and the supervisor's end of its link."""

    def __init__(self, tmp_path: Path, kind: str, *extra: str) -> None:
        ours, theirs = pair()
        self.link = SupervisorLink(ours)
        theirs.set_inheritable(True)
        env = {**os.environ, "HOLDFAST_LINK": str(theirs.fileno()), "PYTHONPATH": str(tmp_path)}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "holdfast.actors.runtime.main", "e", *extra],
            pass_fds=[theirs.fileno()],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        theirs.close()
        self.board = segment.create(BOARD_SIZE, "e/board")
        self.kind = kind

    def boot(self) -> None:
        entries = (SegmentEntry("e/board", BOARD_SIZE, True),)
        message = BootMessage(self.kind, "e", 1, "/nowhere", {}, entries)
        self.link.boot(message, [self.board.fd])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.communicate()
        self.link.close()
        self.board.close()


SOURCE = """
import select
import msgspec
from holdfast.actors.runtime.actor import Actor

class Config(msgspec.Struct, frozen=True):
    pass

class Echo(Actor):
    kind = "echo"
    Config = Config

    def run(self):
        print("a stray line")
        self.ready()
        while not self.stopping:
            select.select([self.link], [], [])
            self.link.commands()
"""


@pytest.fixture
def module(tmp_path: Path, tiny: str) -> Path:
    (tmp_path / f"{tiny.partition(':')[0]}.py").write_text(SOURCE)
    return tmp_path


def test_sigterm_ends_a_process_that_sleeps_in_its_poll(module: Path, tiny: str) -> None:
    """The process exits with 0 and reports that it was stopped."""
    with Started(module, tiny) as started:
        started.boot()
        receive(started.link, ReadyMessage)
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(60) == 0
        assert receive(started.link, ExitReason) == ExitReason("stopped")
        assert started.process.stdout is not None
        assert started.process.stdout.read() == b"a stray line\n"


def test_an_actor_ends_when_its_supervisor_ends(module: Path, tiny: str) -> None:
    """A closed link makes the process exit with 0."""
    with Started(module, tiny) as started:
        started.boot()
        receive(started.link, ReadyMessage)
        started.link.close()
        assert started.process.wait(60) == 0


def test_a_warm_spare_becomes_the_actor_that_its_boot_names(module: Path, tiny: str) -> None:
    """A process that has preloaded modules runs the kind of the boot."""
    with Started(module, tiny, "--preload", tiny.partition(":")[0]) as started:
        started.boot()
        receive(started.link, ReadyMessage)


def test_a_kind_that_does_not_exist_is_refused(module: Path) -> None:
    """The exit code is that of a refusal, and the reason suggests a kind."""
    with Started(module, "sensr") as started:
        started.boot()
        assert started.process.wait(60) == EXIT_REFUSED
        exit_reason = receive(started.link, ExitReason)
        assert isinstance(exit_reason, ExitReason)
        assert "'sensr'" in exit_reason.reason and "sensor" in exit_reason.reason


def test_an_actor_reports_its_hang_timeout_when_it_is_ready() -> None:
    """The ready message carries the timeout in seconds, 0 by default."""
    _boot, link, supervisor = boot_in_memory("steady", "a", {})
    try:
        link.ready({"mode": "shared"}, 7.5)
        link.ready({})
        messages, _ = supervisor.messages()
        assert messages == [ReadyMessage({"mode": "shared"}, 7.5), ReadyMessage({}, 0.0)]
    finally:
        supervisor.close()
        link.close()


def test_an_actor_refused_in_its_setup_closes_its_resources_in_reverse_order() -> None:
    """Each is closed, also after one that failed to close; the refusal is the reason."""
    boot, link, supervisor = boot_in_memory("opening", "o", {})
    actor = Opening(boot, link)
    assert actor.main() == EXIT_REFUSED
    assert actor.closed == [3, 2, 1]
    assert receive(supervisor, ExitReason) == ExitReason("no fourth thing")
    supervisor.close()
    link.close()


@pytest.mark.parametrize("module", [actor_module, link_messages, supervisor_link, suggestions])
def test_the_examples_in_the_docstrings_run(module: ModuleType) -> None:
    """Each module has examples, and they give what they show."""
    done = doctest.testmod(module)
    assert (done.failed, done.attempted > 0) == (0, True)
