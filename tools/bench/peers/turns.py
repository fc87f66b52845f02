"""What the programs of `actorctl bench peers` share: each starts its peer, asks it back to back and
30 ms apart, checks every answer, and prints one JSON object.

The CPU time is that of the program and all processes below it, less what checking takes here.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from ..failed_requests import FailedRequests
from . import work

APART_S = 0.03
_WARM_UP = 20
_PATIENCE_S = 180.0
_END_S = 5.0


@dataclass(frozen=True)
class AskedPeer:
    """`ask` makes the observation of a request's number, asks, and returns the chunk. `version`
    names what answers. `beside` are processes that are no part of the request."""

    ask: Callable[[int], Any]
    version: str
    beside: Sequence[int] = field(default=())


def main(
    asking: Callable[[str], AbstractContextManager[AskedPeer]],
    serve: Callable[..., None] | None = None,
) -> None:
    """A program's own: measure one way of its peer, or be one of its servers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("way", help="which of the peer's ways, or `serve`")
    parser.add_argument("words", nargs="*", help="of a server")
    parser.add_argument("-n", type=int, default=0, help="requests back to back")
    parser.add_argument("--apart", type=int, default=0, help="requests 30 ms apart")
    options = parser.parse_args()
    answers = _answers()
    if options.way == "serve" and serve is not None:
        serve(*options.words)
        return
    with asking(options.way) as peer:
        warm = turn(peer, _WARM_UP, 0, 0.0)
        if not warm["ms"]:
            raise RuntimeError(f"every request failed: {warm['why']}")
        report = {
            "version": peer.version,
            "back_to_back": turn(peer, options.n, _WARM_UP, 0.0),
            "apart": turn(peer, options.apart, _WARM_UP + options.n, APART_S),
        }
        print(json.dumps(report), file=answers, flush=True)


def program(run: Callable[..., None], serve: Callable[..., None], words: list[str]) -> None:
    """A program that only runs until its parent is gone, or is one of its servers."""
    _answers()
    if words[0] == "serve":
        serve(*words[1:])
    else:
        run(*words)


def _answers() -> IO[str]:
    """Where answers go. What a library prints is none. The process ends with its parent."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    return answers


def turn(peer: AskedPeer, n: int, first: int, apart_s: float) -> dict[str, Any]:
    """Ask `n` times, or until so many in a row have failed that the peer is given up; the
    milliseconds of each that was answered as it should be, the CPU time of each on average, in ms,
    and how many failed and why the last did."""
    took_ms: list[float] = []
    failed = FailedRequests()
    checking_s = 0.0

    def once(number: int) -> float:
        nonlocal checking_s
        began_s = time.perf_counter()
        chunk = peer.ask(number)
        took_s = time.perf_counter() - began_s
        began_s = time.thread_time()
        try:
            work.check(number, chunk)
        finally:
            checking_s += time.thread_time() - began_s
        return round(took_s * 1e3, 4)

    before_s = of_others_s(peer.beside)
    own_s = time.process_time()
    for number in range(first, first + n):
        if failed.given_up:
            break
        if apart_s:
            time.sleep(apart_s)
        one_ms = failed.attempt(partial(once, number))
        took_ms += [] if one_ms is None else [one_ms]
    own_s = time.process_time() - own_s
    used_s = own_s - checking_s + of_others_s(peer.beside) - before_s
    asked = len(took_ms) + failed.count
    cpu_ms = round(used_s / asked * 1e3, 4) if asked else 0.0
    return {"ms": took_ms, "cpu_ms": cpu_ms, **failed.about()}


def of_others_s(beside: Sequence[int]) -> float:
    """The CPU time that the processes below this one have used so far, without `beside`."""
    return sum(_of_process_s(pid) for pid in set(below()) - set(beside))


def below() -> list[int]:
    """The processes that this one has started, and those that these have."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue  # it has just ended
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found: set[int] = set()
    while more := {p for p, parent in parents.items() if parent in found | {os.getpid()}} - found:
        found |= more
    return sorted(found)


def _of_process_s(pid: int) -> float:
    """From the scheduler's own account, in ns: that of /proc/PID/stat counts in hundredths of a
    second."""
    total_ns = 0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total_ns += int((task / "schedstat").read_text().split()[0])
    except OSError:
        return total_ns / 1e9  # a thread, or all of it, has just ended
    return total_ns / 1e9


@contextmanager
def serving(program: str, *words: str) -> Iterator[None]:
    """A server of this peer's in a process of its own, as long as the context lasts."""
    argv = [sys.executable, "-P", "-m", f"holdfast.tools.bench.peers.{program}", "serve", *words]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    """Wait until something listens at the loopback port. Raises TimeoutError."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            if time.monotonic() > deadline_s:
                raise TimeoutError(
                    f"the server did not listen at port {port} within {_PATIENCE_S:g} s"
                ) from None
            time.sleep(0.02)
        else:
            return


def _end_with_the_parent() -> None:
    """Ends the process when its standard input ends: what started it is gone."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(1)
