"""Processes that each drive many simulated robots, forked by the fleet benchmark.

Forked before anything is started and before the parent has a ZeroMQ context; their records go
through the parent's handlers, by `multiprocessing_logging`. Each says how late its own ticks were
and how much of a core it used: a load that could not keep its rate measures itself.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import multiprocessing
import os
import select
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

import msgspec
import numpy as np
import zmq
from multiprocessing_logging import (
    MultiProcessingHandler,
    install_mp_handler,
    uninstall_mp_handler,
)

from ...transport import sockets
from .fleet_robot import FPS, FleetRobot, RobotConfig
from .parent_death import end_with
from .request_path import cpu_s_of

DT_NS = round(1e9 / FPS)
PATIENCE_S = 30.0
_WAIT_MS = 20

_log = logging.getLogger(__name__)


class Measure(msgspec.Struct, frozen=True):
    """Begin to measure now, and end at `end_ns`, monotonic ns of this host."""

    end_ns: int


class LoadReport(msgspec.Struct, frozen=True):
    """What one process saw between the two. `latencies_ms` by robot; `late_ms`: p99 of how late its
    ticks were, `ticks` of `due`; `sent` to the broker; `cpu_s` of all its threads."""

    latencies_ms: list[list[float]]
    late_ms: float
    ticks: int
    due: int
    sent: int
    failed: int
    stalled: int
    cpu_s: float


class ForkedRobots:
    """The robots of all processes. Call `join` once the broker and its replicas are there."""

    def __init__(self, processes: int) -> None:
        context = multiprocessing.get_context("fork")
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(processes):
            ours, theirs = context.Pipe()
            self._pipes.append(ours)
            inherited = theirs, list(self._pipes), os.getpid()
            process = context.Process(target=_serve, args=inherited, daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)

    def join(self, configs: Sequence[RobotConfig]) -> None:
        """Start the robots, and wait until each has had a chunk. Raises RuntimeError with what they
        wait for."""
        for k, pipe in enumerate(self._pipes):
            pipe.send(list(configs[k :: len(self._pipes)]))
        waiting = [said for pipe in self._pipes if (said := self._answer(pipe, 2 * PATIENCE_S))]
        if waiting:
            raise RuntimeError(f"robots without a chunk after {PATIENCE_S:g} s: {waiting[0]}")

    def measured(self, end_ns: int) -> list[LoadReport]:
        """What each process measures from now until `end_ns`, on `time.monotonic_ns()`."""
        for pipe in self._pipes:
            pipe.send(Measure(end_ns))
        measuring_s = max(0.0, (end_ns - time.monotonic_ns()) / 1e9)
        return [self._answer(pipe, measuring_s + 2 * PATIENCE_S) for pipe in self._pipes]

    def _answer(self, pipe: Connection, patience_s: float) -> Any:
        if not pipe.poll(patience_s):
            raise RuntimeError(f"a process of robots does not answer within {patience_s:g} s")
        try:
            return pipe.recv()
        except EOFError:
            raise RuntimeError("a process of robots ended: see its log above") from None

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()


@contextlib.contextmanager
def load_of(processes: int) -> Iterator[ForkedRobots]:
    """A load of so many forked processes, whose records go through this process's handlers."""
    install_mp_handler()
    ours = [h for h in logging.getLogger().handlers if isinstance(h, MultiProcessingHandler)]
    load = ForkedRobots(processes)
    try:
        yield load
    finally:
        load.close()
        uninstall_mp_handler()
        for handler in ours:
            handler.close()


def _serve(pipe: Connection, others: Sequence[Connection], parent: int) -> None:
    """A forked process: its robots, from the first message until the pipe or the parent ends.
    `others` are the parent's ends of this pipe and of those before."""
    end_with(parent)
    for other in others:
        other.close()  # or the pipe would stay open when the parent closes it
    try:
        configs: list[RobotConfig] = pipe.recv()
        context: sockets.Context = zmq.Context()
        context.set(zmq.MAX_SOCKETS, 4 * len(configs) + 64)
        Robots(context, configs).serve(pipe)
        context.destroy(linger=100)
    except (EOFError, KeyboardInterrupt):
        return  # the parent has ended, or is about to
    except Exception:
        _log.exception("the robots of process %d ended", os.getpid())
        raise


class Robots:
    """The robots of one process, their ticks spread evenly over the period."""

    def __init__(self, context: sockets.Context, configs: Sequence[RobotConfig]) -> None:
        self._robots = [FleetRobot(context, config) for config in configs]
        self._by_fd = {int(r.socket.getsockopt(zmq.FD)): r for r in self._robots}
        self._poll = select.epoll()
        for fd in self._by_fd:
            self._poll.register(fd, select.EPOLLIN)
        now_ns = time.monotonic_ns()
        spread_ns = DT_NS // max(1, len(configs))
        self._due = [(now_ns + k * spread_ns, k) for k in range(len(configs))]
        self._late_ns: list[int] = []
        self._skipped = 0

    def serve(self, pipe: Connection) -> None:
        """Tick and receive; answer the parent. Returns when the parent closes the pipe."""
        self._poll.register(pipe.fileno(), select.EPOLLIN)
        joined, joining_until_s = False, time.monotonic() + PATIENCE_S
        measure: Measure | None = None
        began = (0.0, 0)
        while True:
            self._turn()
            now_ns = time.monotonic_ns()
            if not joined:
                waiting = [r for r in self._robots if not r.is_streaming]
                if not waiting or time.monotonic() > joining_until_s:
                    joined = True
                    pipe.send(waiting[0].reason or "no answer yet" if waiting else "")
            if measure is not None and now_ns >= measure.end_ns:
                pipe.send(self._report(*began))
                measure = None
            if pipe.poll():
                try:
                    measure = pipe.recv()
                except EOFError:
                    return
                for robot in self._robots:
                    robot.forget()
                self._late_ns, self._skipped = [], 0
                began = (cpu_s_of(os.getpid()), sum(r.sent for r in self._robots))

    def _turn(self) -> None:
        """Wait for messages until the next tick is due; then all ticks that are."""
        due_ns = self._due[0][0] if self._due else time.monotonic_ns() + _WAIT_MS * 1_000_000
        timeout_s = max(0.0, min(_WAIT_MS / 1e3, (due_ns - time.monotonic_ns()) / 1e9))
        for fd, _ in self._poll.poll(timeout_s):
            if (robot := self._by_fd.get(fd)) is not None:
                robot.receive(time.monotonic_ns())
        while self._due and self._due[0][0] <= (now_ns := time.monotonic_ns()):
            due_ns, k = heapq.heappop(self._due)
            late_ns = now_ns - due_ns
            self._late_ns.append(late_ns)
            missed = late_ns // DT_NS  # as a control loop: never a burst to catch up
            self._skipped += missed
            heapq.heappush(self._due, (due_ns + (missed + 1) * DT_NS, k))
            self._robots[k].tick(now_ns)
            # A send may have read the socket's events, which its descriptor then does not repeat.
            self._robots[k].receive(now_ns)

    def _report(self, cpu_s: float, sent: int) -> LoadReport:
        robots = self._robots
        late_ns = self._late_ns or [0]
        return LoadReport(
            latencies_ms=[r.latencies_ms[1:] for r in robots],
            late_ms=float(np.percentile(late_ns, 99)) / 1e6,
            ticks=len(self._late_ns),
            due=len(self._late_ns) + self._skipped,
            sent=sum(r.sent for r in robots) - sent,
            failed=sum(r.failed for r in robots),
            stalled=sum(r.stalled for r in robots),
            cpu_s=cpu_s_of(os.getpid()) - cpu_s,
        )
