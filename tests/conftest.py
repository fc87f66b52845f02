"""Suite-wide rules: no test leaves a process, a socket file or a shared-memory segment behind, and
slow or GPU tests are skipped with a reason unless they can and should run."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import psutil
import pytest
import zmq
from hypothesis import HealthCheck, Phase, settings

from holdfast.tests.left_behind import MarkedProcesses, named_segments, sockets_below
from holdfast.tests.machine_lock import held
from holdfast.tests.run_mark import MARK

pytest_plugins = ["holdfast.tests.browser", "holdfast.tests.peers.lerobot_checkpoints"]

SPARE_DESCRIPTORS = 12
"""A library may keep a few for itself at its first use: torch's and zmq's threads, a log file."""

# Before anything of ours is used: a test run never touches a fleet that runs on this machine.
os.environ[MARK] = f"{os.getpid()}-{time.monotonic_ns()}"
_me = psutil.Process()
_run = MarkedProcesses(os.environ[MARK])
_base = Path(tempfile.mkdtemp(prefix="holdfast-tests-"))  # short: a socket path holds 107 bytes
os.environ["HOLDFAST_RUNTIME"] = str(_base / "run")
os.environ["HOLDFAST_STATE"] = str(_base / "state")
# Of the process that was started first: those of `-n` inherit it.
_locks = Path(os.environ.setdefault("HOLDFAST_TEST_LOCKS", str(_base)))

# A shell that starts us in its background makes us and every fleet of a test ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A test that fails half-way leaves sockets open, and the collection of their context would wait for
# them without end, in whichever test comes next. Tests that pass close their own.
zmq.Context.__del__ = lambda self: None  # type: ignore[method-assign]

# A property says nothing about time; on a machine that others use, an example may take seconds.
settings.register_profile(
    "holdfast", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("holdfast")
# For .ci/run, which judges a change: more examples, which are the same until the test changes.
# Others are tried wherever else the tests run.
settings.register_profile(
    "ci", settings.get_profile("holdfast"), max_examples=100, derandomize=True, database=None
)
# For tests/mutate.py: the same examples for every mutant, and no time spent on shrinking them.
settings.register_profile(
    "mutation",
    settings.get_profile("holdfast"),
    max_examples=30,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    report_multiple_bugs=False,
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests that take minutes")


def pytest_configure(config: pytest.Config) -> None:
    from holdfast.tests.peers import environments

    environments.slow_run = config.getoption("--slow")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow = pytest.mark.skip(reason="takes minutes: run with --slow (.ci/run does)")
    gpu = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if "slow" in item.keywords and not config.getoption("--slow"):
            item.add_marker(slow)
        if "gpu" in item.keywords and not _has_cuda():
            item.add_marker(gpu)
    # To be alone is to wait for the others: there are none yet at the beginning.
    alone = {item.path for item in items if "alone" in item.keywords}
    items.sort(key=lambda item: item.path not in alone)


def pytest_collection_finish() -> None:
    """The garbage collector no longer looks at the libraries and the tests themselves."""
    _keep()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, None, None]:
    """Nor at what the tests of a file leave to those of the next, caches and imported modules."""
    yield
    if nextitem is None or nextitem.path != item.path:
        _keep()


def _keep() -> None:
    """Whole collections, which some tests cause in hundreds, take the time of what is new: else a
    tenth of a second each after an hour of tests."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(_base, ignore_errors=True)


@pytest.fixture(autouse=True)
def has_its_machine(request: pytest.FixtureRequest) -> Iterator[None]:
    """Beside the tests of other processes, or alone where the test is marked so; what a fixture of
    a module does elsewhere is not kept from it."""
    with held(_locks, alone=request.node.get_closest_marker("alone") is not None):
        yield


@pytest.fixture(autouse=True)
def leaves_nothing_behind(has_its_machine: None) -> Iterator[None]:
    """Fails the test after which a process, a segment, a socket file or many descriptors of its
    own are still there."""
    before = _traces()
    most = _me.num_fds() + SPARE_DESCRIPTORS
    yield
    deadline_s = time.monotonic() + 20.0
    while (left := _traces() - before) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert not left, f"left behind by the test: {sorted(left)}"
    while _me.num_fds() > most:
        # What only a cycle still holds is not left behind, nor what a thread is about to close.
        assert time.monotonic() < deadline_s, "the test left many descriptors open"
        gc.collect()
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def stays_ordinary() -> Iterator[None]:
    """Fails the test after which this process has another scheduling class, priority or affinity:
    all later tests, and the processes that they start, would have it too."""
    before = _scheduling()
    yield
    assert _scheduling() == before, "the test left its process another one to the scheduler"


def _scheduling() -> tuple[int, int, set[int]]:
    priority = os.getpriority(os.PRIO_PROCESS, 0)
    return os.sched_getscheduler(0), priority, os.sched_getaffinity(0)


def _traces() -> set[str]:
    return _run.left() | named_segments() | sockets_below(_base)


def _has_cuda() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()
