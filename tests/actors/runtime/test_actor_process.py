"""An actor in a process of its own, with the test as its supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

import pytest

from holdfast.actors.runtime.actor import EXIT_REFUSED
from holdfast.actors.runtime.link_messages import (
    BootMessage,
    ExitReason,
    ReadyMessage,
    SegmentEntry,
)
from holdfast.actors.runtime.status_board import BOARD_SIZE
from holdfast.actors.runtime.supervisor_link import SupervisorLink, pair
from holdfast.tests.actors.runtime.received import receive
from holdfast.transport import segment


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
