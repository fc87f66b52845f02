"""A gateway inside this process, between a scripted supervisor and clients over HTTP."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.tests.actors.gateway.running_gateway import Events, Gateway
from holdfast.tests.actors.gateway.scripted_supervisor import ScriptedSupervisor
from holdfast.tests.waiting import wait_until


@pytest.fixture
def rundir() -> Iterator[Path]:
    """A runtime directory with a short path: a socket's name holds 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="holdfast-gateway-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def supervisor(rundir: Path) -> Iterator[ScriptedSupervisor]:
    scripted = ScriptedSupervisor(rundir)
    yield scripted
    scripted.close()


@pytest.fixture
def gateway(rundir: Path, supervisor: ScriptedSupervisor) -> Iterator[Gateway]:
    """A gateway that has seen its first report."""
    running = Gateway(rundir)
    try:
        wait_until(lambda: running.get("/api/status")[0] == 200, "the first report")
        yield running
    finally:
        running.close()


@pytest.fixture
def make_gateway(rundir: Path) -> Iterator[Callable[..., Gateway]]:
    made: list[Gateway] = []

    def make(**config: Any) -> Gateway:
        made.append(Gateway(rundir, **config))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def events(gateway: Gateway) -> Iterator[Events]:
    stream = Events(gateway.port, gateway.token)
    yield stream
    stream.close()
