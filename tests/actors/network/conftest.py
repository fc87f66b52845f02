"""The network actors of the tests, as fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.tests.actors.network.network_bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Bench]:
    """A bench whose broker may be silent."""
    bench = Bench(tmp_path, broker_lost_after_s=60.0)
    yield bench
    bench.close()
