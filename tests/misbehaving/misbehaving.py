"""Actors that break a rule of actors, one class for each rule, and `Steady`, which breaks none.

Their kinds are `misbehaving:Steady` and so on; a supervisor finds them by PYTHONPATH.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from holdfast.actors.runtime.actor import Actor
from holdfast.errors import DeadError, RefusedError
from holdfast.transport.seqlock import Seqlock


class Config(msgspec.Struct, frozen=True):
    """`note` is a file to which an actor writes for its test; it misbehaves from `after_s` on."""

    note: str = ""
    after_s: float = 0.0


class Steady(Actor):
    """Ready at once, makes progress, serves commands. Counts its turns over all incarnations."""

    kind = "steady"
    Config = Config

    def run(self) -> None:
        turns = (self.board.previous() or {}).get("turns", 0)
        self.ready()
        self.on_ready()
        misbehaves_s = time.monotonic() + self.config.after_s
        while not self.stopping:
            select.select([self.link], [], [], 0.02)
            for command in self.link.commands():
                self.serve(command.verb, command.id)
            turns += 1
            self.board.progress()
            self.board.report({"turns": turns})
            if time.monotonic() >= misbehaves_s:
                self.misbehave()

    def serve(self, verb: str, id: int) -> None:
        """Answer a command, but for `deaf`."""
        if verb == "deaf":
            return
        if verb == "drain":
            self.link.stopping = True
        self.link.acknowledge(id, {"heard": verb})

    def on_ready(self) -> None:
        """Called once, when it is ready."""

    def misbehave(self) -> None:
        """Called in every turn from `after_s` on."""

    def note(self, text: object) -> None:
        with Path(self.config.note).open("a") as file:
            file.write(f"{text}\n")


class Watches(Steady):
    """Reads the segments `watched`, which may change while it runs, and reports what they hold."""

    kind = "watches"

    class Config(msgspec.Struct, frozen=True):
        """`watched`: name to segment."""

        watched: dict[str, str] = {}
        after_s: float = 0.0

    def run(self) -> None:
        self.ready()
        while not self.stopping:
            select.select([self.link], [], [], 0.02)
            self.refuse_commands()
            self.reconfigured()
            watched: dict[str, str] = self.config.watched
            registers = {key: Seqlock(self.segment(name)) for key, name in watched.items()}
            seen = {key: register.read() is not None for key, register in registers.items()}
            self.board.report({"seen": seen, "segments": sorted(self.segments())})
            for register in registers.values():
                register.close()
            self.board.progress()


class Slow(Steady):
    """A turn of its loop takes a second; it announces a hang timeout of 30 s."""

    kind = "slow"

    def run(self) -> None:
        self.ready(hang_timeout_s=30.0)
        turns = 0
        while not self.stopping:
            select.select([self.link], [], [], 1.0)
            self.link.commands()
            turns += 1
            self.board.progress()
            self.board.report({"turns": turns})


class AnswersForOthers(Steady):
    """Answers commands that other actors were sent."""

    def misbehave(self) -> None:
        for id in range(1, 20):
            self.link.acknowledge(id, {"heard": "a lie"})


class ExitsOnCommand(Steady):
    """Ends without an answer at its first command."""

    def serve(self, verb: str, id: int) -> None:
        os._exit(7)


class AlwaysCrash(Actor):
    """Crashes before it is ready."""

    kind = "always_crash"
    Config = Config

    def run(self) -> None:
        raise RuntimeError("there is no such thing as a free lunch")


class CrashAfterReady(Steady):
    """Crashes in its first turn."""

    def misbehave(self) -> None:
        raise RuntimeError("ready was a lie")


class NeverReady(Actor):
    """Reads its link and is never ready."""

    kind = "never_ready"
    Config = Config

    def run(self) -> None:
        while not self.stopping:
            select.select([self.link], [], [])
            self.link.commands()


class HangAfterReady(Steady):
    """Stops in a turn, without progress."""

    def misbehave(self) -> None:
        time.sleep(3600)


class IgnoresSigterm(Steady):
    """Also ignores its link: only SIGKILL ends it."""

    def on_ready(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            self.board.progress()
            time.sleep(0.02)


class LeavesGrandchildren(Steady):
    """Starts one process in its own group and one that hides in a session of its own."""

    def on_ready(self) -> None:
        sleep = [sys.executable, "-c", "import time; time.sleep(3600)"]
        for hidden in (False, True):
            child = subprocess.Popen(sleep, start_new_session=hidden)
            self.note(child.pid)


class FloodsStdout(Steady):
    """Writes as fast as its pipe takes it, and never waits for it."""

    def on_ready(self) -> None:
        os.set_blocking(1, True)

    def misbehave(self) -> None:
        os.write(1, b"the flood\n" * 2000)


class EatsMemory(Steady):
    """Takes 10 MB a turn, up to 600 MB."""

    eaten: list[bytearray]

    def on_ready(self) -> None:
        self.eaten = []

    def misbehave(self) -> None:
        if len(self.eaten) < 60:
            self.eaten.append(bytearray(os.urandom(1)) * 10_000_000)


class Refuses(Actor):
    """Refuses its configuration."""

    kind = "refuses"
    Config = Config

    def setup(self) -> None:
        raise RefusedError("found no camera 7, expected one of 0, 1: mend `source` in fleet.yaml")


class EndsDead(Steady):
    """Ends with `DeadError`: a restart needs a person."""

    def misbehave(self) -> None:
        raise DeadError("the model changed under the robot")


class TalksNonsense(Steady):
    """Sends bytes that are no message, and prints what is no text."""

    def misbehave(self) -> None:
        sock: Any = self.link._sock
        with contextlib.suppress(OSError):
            sock.send(b"\xff\x00\xffnonsense")
        os.write(1, b"\xff\xfe\x00 not text\n")


class FloodsItsLink(Steady):
    """Sends packets as fast as they are read: junk, deep nesting, half characters, and replies to
    commands that were not sent."""

    def misbehave(self) -> None:
        sock: Any = self.link._sock
        deep = b"\x82\xa4type\xa5ready\xa4info\x81\xa1a" + b"\x91" * 50_000
        half = b"\x82\xa4type\xa8farewell\xa6reason\xa2\xff\xff"
        stray = msgspec.msgpack.encode({"type": "reply", "id": 99, "result": {"x": 2**63}})
        with contextlib.suppress(OSError):
            for _ in range(2000):
                for packet in (os.urandom(200), deep, half, stray):
                    sock.send(packet)


class LogsNonsense(Steady):
    """Lines that begin like records and are none, and records in the name of others."""

    def misbehave(self) -> None:
        lines = [
            b'{"t":1,"level":"\xff\xfe","actor":"a","message":""}',
            b'{"t":1,"junk":' + b"[" * 30_000,
            b'{"t":' + b"[" * 30_000,
            b'{"t":1e999,"level":"error","actor":"a","message":"never"}',
            *(
                b'{"t":1,"level":"error","actor":"ghost%d","message":"I am another"}' % n
                for n in range(50)
            ),
        ]
        with contextlib.suppress(BlockingIOError):
            os.write(2, b"\n".join(lines) + b"\n")


class ScribblesOnItsBoard(Steady):
    """Writes random bytes where its reports are, and then ends, for its successor to find them."""

    def misbehave(self) -> None:
        board = memoryview(self.segment(f"{self.name}/board"))
        board[64:2048] = os.urandom(1984)
        raise RuntimeError("enough scribbled")


class Logs(Steady):
    """Writes records, and lines that are none, to each of its outputs."""

    def on_ready(self) -> None:
        self.log.info("a %s record", "proper")
        self.log.error("a bad one")
        print("a stray print")
        os.write(2, b"a stray line on stderr\nand one without an end")


class Shares(Steady):
    """Counts in a segment that outlives it; a reader's mapping must refuse to be written."""

    def misbehave(self) -> None:
        own = f"{self.name}/board"
        register = Seqlock(self.segment(next(name for name in self.segments() if name != own)))
        if register.writable:
            register.write(str(int(register.read() or b"0") + 1).encode())
        else:
            value = register.read()
            self.note(value.decode() if value else "nothing")
