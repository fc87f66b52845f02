"""The base class of actors, in process and as a real process with a hand-played supervisor."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Self
from weakref import WeakKeyDictionary

import msgspec
import pytest

from holdfast.actors.runtime.actor import EXIT_DEAD, EXIT_REFUSED, Actor, boot_in_memory
from holdfast.actors.runtime.release import release
from holdfast.actors.runtime.status_board import (
    BOARD_SIZE,
    REPORT_BYTES,
    StatusBoard,
    StatusBoardReader,
)
from holdfast.actors.runtime.supervisor_link import (
    BootMessage,
    CommandReply,
    ExitReason,
    FromActor,
    ReadyMessage,
    SegmentEntry,
    SupervisorLink,
    pair,
)
from holdfast.errors import DeadError, RefusedError
from holdfast.transport import segment


class EchoConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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


def until(condition: Callable[[], object], deadline_s: float = 10.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.005)


INBOXES: WeakKeyDictionary[SupervisorLink, list[FromActor]] = WeakKeyDictionary()


def hear(link: SupervisorLink, kind: type[FromActor], deadline_s: float = 10.0) -> FromActor:
    """The next message of `kind` from the actor."""
    inbox = INBOXES.setdefault(link, [])

    def arrived() -> bool:
        inbox.extend(link.messages()[0])
        return any(isinstance(m, kind) for m in inbox)

    until(arrived, deadline_s)
    return inbox.pop(next(i for i, m in enumerate(inbox) if isinstance(m, kind)))


def test_an_actor_in_process_gets_ready_answers_commands_and_stops_when_told() -> None:
    boot, link, supervisor = boot_in_memory("echo", "e", {"greeting": "hi"})
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(Echo(boot, link).main()), daemon=True)
    thread.start()
    assert hear(supervisor, ReadyMessage) == ReadyMessage({"pid": os.getpid()})
    supervisor.command("echo", id=7)
    assert hear(supervisor, CommandReply) == CommandReply(7, "hi", None)
    supervisor.command("dance", id=8)
    assert hear(supervisor, CommandReply) == CommandReply(
        8, None, "the echo actor cannot dance: its commands are stop, echo"
    )
    supervisor.command("stop", id=9)
    assert hear(supervisor, CommandReply) == CommandReply(9)
    thread.join(5)
    assert codes == [0]
    assert hear(supervisor, ExitReason) == ExitReason("stopped")
    supervisor.close()
    link.close()


def test_an_actor_whose_supervisor_went_away_knows_that_it_is_an_orphan() -> None:
    boot, link, supervisor = boot_in_memory("echo", "e", {})
    actor = Echo(boot, link)
    thread = threading.Thread(target=actor.main, daemon=True)
    thread.start()
    hear(supervisor, ReadyMessage)
    supervisor.close()
    thread.join(5)
    assert not thread.is_alive()
    assert link.orphaned and actor.stopping
    assert not select.select([link], [], [], 0)[0], "a dead link must not keep polls spinning"
    link.close()


def test_the_next_incarnation_sees_what_the_last_one_reported() -> None:
    boot, link, supervisor = boot_in_memory("echo", "e", {})
    Echo(boot, link).board.report({"echoed": 41})
    again, link2, supervisor2 = boot_in_memory("echo", "e", {}, memory=boot.memory, incarnation=2)
    assert Echo(again, link2).board.previous() == {"echoed": 41}
    for end in (link, link2, supervisor, supervisor2):
        end.close()


def test_a_config_that_does_not_fit_is_refused_with_its_path() -> None:
    """Another release of the supervisor's is told when it is one, and only then."""
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
def test_the_exit_code_says_how_the_actor_ended_and_teardown_always_runs(
    error: Exception, code: int
) -> None:
    boot, link, supervisor = boot_in_memory("failing", "f", {})
    actor = Failing(boot, link)
    actor.error = error
    assert actor.main() == code
    assert actor.torn_down
    farewell = hear(supervisor, ExitReason)
    assert isinstance(farewell, ExitReason) and str(error) in farewell.reason
    link.close()
    supervisor.close()


def test_a_report_that_is_too_large_is_dropped_and_the_last_one_stays() -> None:
    memory = bytearray(BOARD_SIZE)
    board = StatusBoard(memoryview(memory))
    assert board.report({"a": 1})
    assert not board.report({"a": "x" * (REPORT_BYTES + 1)})
    assert board.oversized == 1
    assert StatusBoardReader(memoryview(memory)).report() == {"a": 1}


def test_progress_counts_over_incarnations() -> None:
    memory = bytearray(BOARD_SIZE)
    for _ in range(3):
        before = time.monotonic_ns()
        StatusBoard(memoryview(memory)).progress()
    count, instant = StatusBoardReader(memoryview(memory)).progress()
    assert count == 3
    assert before <= instant <= time.monotonic_ns()


@pytest.fixture
def tiny() -> str:
    """A kind that any process can import: this package's own test of the mechanism needs none."""
    return "echo_actor_for_tests:Echo"


class Started:
    """A real actor process, and its supervisor's end."""

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
    with Started(module, tiny) as started:
        started.boot()
        hear(started.link, ReadyMessage)
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(5) == 0
        assert hear(started.link, ExitReason) == ExitReason("stopped")
        assert started.process.stdout is not None
        assert started.process.stdout.read() == b"a stray line\n"


def test_the_supervisors_end_ends_the_process(module: Path, tiny: str) -> None:
    with Started(module, tiny) as started:
        started.boot()
        hear(started.link, ReadyMessage)
        started.link.close()
        assert started.process.wait(2) == 0


def test_a_warm_spare_becomes_whatever_its_boot_names(module: Path, tiny: str) -> None:
    with Started(module, tiny, "--preload", tiny.partition(":")[0]) as started:
        started.boot()
        hear(started.link, ReadyMessage)


def test_a_kind_that_does_not_exist_is_refused_not_crashed(module: Path) -> None:
    with Started(module, "sensr") as started:
        started.boot()
        assert started.process.wait(10) == EXIT_REFUSED
        farewell = hear(started.link, ExitReason)
        assert isinstance(farewell, ExitReason)
        assert "'sensr'" in farewell.reason and "sensor" in farewell.reason


def test_an_actor_tells_with_its_readiness_how_long_a_turn_of_its_loop_may_take() -> None:
    """The supervisor waits for that, or its own limit, whichever is longer."""
    _boot, link, supervisor = boot_in_memory("steady", "a", {})
    try:
        link.ready({"mode": "shared"}, 7.5)
        link.ready({})
        said, _ = supervisor.messages()
        assert said == [ReadyMessage({"mode": "shared"}, 7.5), ReadyMessage({}, 0.0)]
    finally:
        supervisor.close()
        link.close()


def test_an_actor_refused_in_its_setup_closes_what_it_had_opened_in_reverse() -> None:
    """Each resource is closed, also after one that failed to close; the refusal is the reason."""
    boot, link, supervisor = boot_in_memory("opening", "o", {})
    actor = Opening(boot, link)
    assert actor.main() == EXIT_REFUSED
    assert actor.closed == [3, 2, 1]
    assert hear(supervisor, ExitReason) == ExitReason("no fourth thing")
    supervisor.close()
    link.close()
