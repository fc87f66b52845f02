"""The fixture that kills code at every instruction, and those of two ends of packets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import holdfast.transport
from holdfast.tests.transport.packet_peers import WaitingClient, WaitingServer
from holdfast.transport import sockets

PACKAGE = holdfast.transport.__path__[0]


class Killed(BaseException):
    """Stands for SIGKILL: raised between two bytecode instructions, and nothing handles it."""


@pytest.fixture
def kill_at_every_instruction() -> Callable[[Callable[[], object]], Iterator[bool]]:
    """Call an action again and again, killed one bytecode instruction later each time.

    Counts the instructions of the transport package. Yields False after each killed call, and True
    after the first that finished, which takes some tens of instructions at least. The stores to
    shared memory are single instructions, so no other interleaving is possible.
    """

    def every(action: Callable[[], object]) -> Iterator[bool]:
        for instructions in count(1):
            finished = _run(action, instructions)
            yield finished
            if finished:
                assert instructions > 20, f"{instructions} instructions are no writer's: {PACKAGE}?"
                return

    return every


def _run(action: Callable[[], object], instructions: int) -> bool:
    left = instructions

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                raise Killed
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    except Killed:
        return False
    finally:
        sys.settrace(before)
    return True


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return sockets.ipc(tmp_path, "door")


@pytest.fixture
def server(endpoint: str) -> Iterator[WaitingServer]:
    with closing(WaitingServer(endpoint)) as server:
        yield server


@pytest.fixture
def client(endpoint: str, server: WaitingServer) -> Iterator[WaitingClient]:
    with closing(WaitingClient(endpoint, "r1:1")) as client:
        yield client
