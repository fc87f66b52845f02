"""The base class of actors, in a thread of the test, which is the supervisor."""

from __future__ import annotations

import doctest
import os
import select
import threading
from dataclasses import replace
from types import ModuleType

import msgspec
import pytest

from holdfast.actors.runtime import actor as actor_module
from holdfast.actors.runtime import link_messages, suggestions, supervisor_link
from holdfast.actors.runtime.actor import EXIT_DEAD, EXIT_REFUSED, Actor, boot_in_memory
from holdfast.actors.runtime.link_messages import (
    CommandReply,
    ExitReason,
    ReadyMessage,
)
from holdfast.actors.runtime.release import release
from holdfast.errors import DeadError, RefusedError
from holdfast.tests.actors.runtime.received import receive


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
