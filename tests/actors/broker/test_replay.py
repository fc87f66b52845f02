"""In-flight replay among real processes: a broker, and replicas that are killed or stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.actors.runtime.status_board import StatusBoardReader
from holdfast.tests.waiting import wait_until
from holdfast.transport.bodies import Heartbeat
from holdfast.transport.header import Kind

REPLICA = """
# A replica that accepts every robot, prints which requests it got, and answers when a line comes.
# In mode "hung" its progress stands still as long as a request waits.
import select, sys, time
import numpy as np
import zmq
from holdfast.transport import messages, sockets
from holdfast.transport.header import Header, Kind
from holdfast.transport.bodies import Accept, Heartbeat, Register, Reply
from holdfast.transport.messages import Blobs

endpoint, identity, mode = sys.argv[1:]
name = identity.partition(":")[0]
offer = Register(
    replica=name, service="flow", capacity=4, model="m", revision="1", checkpoint="weights",
    cameras={}, state_names=("x",), action_names=("x",), chunk_size=50, fps=30.0,
)
terms = Accept(
    session="s", replica=name, model="m", revision="1", checkpoint="weights", chunk_size=50,
    fps=30.0, action_names=("x",), cameras={},
)
blobs = Blobs()
actions = blobs.array(np.zeros((50, 1), np.float32))
chunk = Reply(chunk_model=actions, chunk=actions)
socket = sockets.dealer(zmq.Context(), endpoint, identity)
poller = zmq.Poller()
poller.register(socket, zmq.POLLIN)
poller.register(sys.stdin, zmq.POLLIN)
token, progress, beat_s, waiting = time.monotonic_ns(), 0, 0.0, []
registered = False

def send(robot, header, body, blobs=()):
    socket.send_multipart([robot, *messages.encode(header, body, blobs)])

def register():
    send(b"", Header(Kind.REGISTER, token=token), offer)

socket.poll(5000, zmq.POLLOUT)
register()
while True:
    ready = dict(poller.poll(50))
    if sys.stdin.fileno() in ready:
        if not sys.stdin.readline():
            sys.exit()
        for robot, header in waiting:
            send(robot, header._replace(kind=Kind.REPLY), chunk, blobs)
        waiting.clear()
    if time.monotonic() > beat_s:
        beat_s = time.monotonic() + 0.2
        progress += not (mode == "hung" and waiting)
        send(b"", Header(Kind.HEARTBEAT), Heartbeat(progress=progress))
    while (frames := sockets.receive(socket)) is not None:
        robot, header = bytes(frames[0]), Header.unpack(frames[1])
        if header.kind is Kind.OPEN:
            send(robot, header._replace(kind=Kind.ACCEPT), terms)
        elif header.kind is Kind.REQUEST:
            waiting.append((robot, header))
            print("request", robot.decode(), header.seq, flush=True)
        elif header.kind is Kind.WELCOME and header.token == token:
            registered = True
            print("registered", flush=True)
        elif header.kind is Kind.WELCOME and header.token == 0 and registered:
            # The broker does not know this replica. A second such WELCOME, and answers to an
            # earlier token, may still be on their way: reacting to those would never end.
            token, registered = time.monotonic_ns(), False
            register()
"""


SILENCE = {"replica_lost_after_s": 4.0}
"""For a broker whose replicas may be silent for no longer."""


class ReplicaProcess:
    """One such process, and the lines that it `printed`."""

    def __init__(self, endpoint: str, identity: str, mode: str = "alive") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", REPLICA, endpoint, identity, mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.printed: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed.append(line.strip())

    def until_printed(self, line: str, patience_s: float = 60.0) -> None:
        wait_until(lambda: line in self.printed, f"{line!r} to be printed", patience_s)

    def answer(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("answer\n")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


class Site:
    """A broker process with replica processes, and a robot in this one."""

    def __init__(self, broker: Any, robot: Any) -> None:
        self.broker, self.robot = broker, robot
        self.memory = broker.board.map(writable=False)
        self.replicas: list[ReplicaProcess] = []

    def start(self, identity: str, mode: str = "alive") -> ReplicaProcess:
        replica = ReplicaProcess(self.broker.back, identity, mode)
        self.replicas.append(replica)
        replica.until_printed("registered")
        return replica

    def open(self, epoch: int = 1) -> None:
        self.robot.say(self.robot.asking, epoch=epoch)
        self.robot.get(Kind.ACCEPT)

    def count(self, reason: str) -> int:
        report = StatusBoardReader(self.memory).report() or {}
        found: int = report.get("counters", {}).get(reason, 0)
        return found

    def until(self, reason: str, patience_s: float = 60.0) -> None:
        """Wait until the broker has counted `reason`; the robot sends heartbeats meanwhile."""

        def counted() -> int:
            self.robot.say(Heartbeat(progress=1))
            return self.count(reason)

        wait_until(counted, f"a count of {reason!r}", patience_s, every_s=0.05)


@pytest.fixture
def site(broker_process: Any, robot_of: Any) -> Iterator[Site]:
    site = Site(broker_process, robot_of(broker_process.front))
    yield site
    for replica in site.replicas:
        replica.close()


def assert_one_reply(site: Site, replica: ReplicaProcess, seq: int, epoch: int = 1) -> None:
    """The reply to `seq` arrives, and no second one ahead of that to the next request."""
    assert site.robot.get(Kind.REPLY)[1].header.seq == seq
    site.robot.ask(seq=seq + 1, epoch=epoch)
    replica.until_printed(f"request r1 {seq + 1}")
    replica.answer()
    assert site.robot.get(Kind.REPLY)[1].header.seq == seq + 1
    site.robot.take()
    assert "REPLY" not in site.robot.kinds()


def test_the_request_of_a_killed_replica_is_answered_by_another(site: Site) -> None:
    """The robot sees a longer delay, and one event with the reason."""
    first = site.start("flow/0:1")
    site.open()
    second = site.start("flow/1:1")
    site.robot.ask(seq=1)
    first.until_printed("request r1 1")
    first.signal(signal.SIGKILL)
    second.until_printed("request r1 1")
    second.answer()
    assert_one_reply(site, second, 1)
    assert site.robot.get(Kind.EVENT)[1].body.what == "replayed"
    assert "ACCEPT" not in site.robot.kinds()
    site.until("replica-unreachable")
    assert not site.count("replica-silent"), "by the closed socket, not a timeout"


@pytest.mark.parametrize("mode", ["stopped", "hung"])
def test_the_request_of_a_replica_that_hangs_is_answered_by_another(site: Site, mode: str) -> None:
    """Stopped or without progress; its late answer, when it wakes, is dropped."""
    first = site.start("flow/0:1", mode if mode == "hung" else "alive")
    site.open()
    second = site.start("flow/1:1")
    site.robot.ask(seq=1)
    first.until_printed("request r1 1")
    if mode == "stopped":
        first.signal(signal.SIGSTOP)
    site.until("replays")
    lost = site.count("replica-silent") + site.count("replica-hung")
    assert not lost, "the standby is asked before the other is lost"
    second.until_printed("request r1 1")
    second.answer()
    assert_one_reply(site, second, 1)
    first.answer()
    first.signal(signal.SIGCONT)
    site.until("late-reply")
    site.robot.take()
    assert "REPLY" not in site.robot.kinds()
    assert site.count("replies") == 2


@pytest.mark.parametrize("broker_process", [SILENCE], indirect=True)
def test_a_replica_that_wakes_up_serves_again(site: Site) -> None:
    """It registers anew and gets a session."""
    first = site.start("flow/0:1")
    first.signal(signal.SIGSTOP)
    site.until("replica-silent")
    first.printed.clear()
    first.signal(signal.SIGCONT)
    first.until_printed("registered")
    site.open()
    site.robot.ask(seq=1)
    first.until_printed("request r1 1")
    first.answer()
    assert_one_reply(site, first, 1)


def test_a_robot_without_another_replica_learns_its_loss_at_once(site: Site) -> None:
    """By the closed socket, long before the silence is noticed."""
    first = site.start("flow/0:1")
    site.open()
    site.robot.ask(seq=1)
    first.until_printed("request r1 1")
    first.signal(signal.SIGKILL)
    assert site.robot.get(Kind.EVENT)[1].body.what == "lost"
    site.until("replica-unreachable")
    assert not site.count("replica-silent"), "by the closed socket, not a timeout"
    again = site.start("flow/0:2")
    site.open(epoch=2)
    site.robot.ask(seq=1, epoch=2)
    again.until_printed("request r1 1")
    again.answer()
    assert_one_reply(site, again, 1, epoch=2)


def test_a_killed_broker_is_found_again_by_its_peers(site: Site) -> None:
    """Nothing is on disk: the replica registers and the robot opens again."""
    replica = site.start("flow/0:1")
    site.open()
    replica.printed.clear()
    site.broker.process.kill()
    site.broker.process.wait()
    site.broker.launch()
    replica.until_printed("registered")
    site.robot.ask(seq=1)
    assert site.robot.get(Kind.EVENT)[1].body.what == "lost"
    site.open(epoch=2)
    site.robot.ask(seq=1, epoch=2)
    replica.until_printed("request r1 1")
    replica.answer()
    assert_one_reply(site, replica, 1, epoch=2)


@pytest.mark.parametrize("broker_process", [SILENCE], indirect=True)
def test_a_stopped_broker_that_continues_keeps_its_peers(site: Site) -> None:
    """Its own pause does not count as the silence of its peers."""
    replica = site.start("flow/0:1")
    site.open()
    os.kill(site.broker.process.pid, signal.SIGSTOP)
    time.sleep(SILENCE["replica_lost_after_s"] + 0.5)
    os.kill(site.broker.process.pid, signal.SIGCONT)
    site.robot.ask(seq=1)
    replica.until_printed("request r1 1")
    replica.answer()
    assert_one_reply(site, replica, 1)
    site.until("broker-absences")
    assert site.count("replica-silent") == 0


def test_the_end_of_the_supervisor_ends_the_broker(site: Site) -> None:
    """It exits with 0 and leaves no socket file."""
    directory = Path(site.broker.front.removeprefix("ipc://")).parent
    site.broker.link.close()
    assert site.broker.process.wait(60) == 0
    assert not list(directory.iterdir()), "no socket file is left"
