"""Requests of a robot whose link has a limit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.actors.network.uplink import FLOOR
from holdfast.tests.actors.network.network_bench import Bench, noise
from holdfast.tests.waiting import wait_until
from holdfast.transport.header import Kind


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Bench]:
    """A robot that may send 1 kbit/s: 625 bytes in five seconds, half an image of noise."""
    bench = Bench(tmp_path, max_uplink_kbps=1.0, heartbeat_s=60.0, broker_lost_after_s=60.0)
    yield bench
    bench.close()


def link(bench: Bench, limit: str) -> dict[str, Any]:
    """The status, once it says that the limit lowers this."""
    return wait_until(
        lambda: bench.status() if bench.status().get("uplink_limit") == limit else None,
        f"the status has the limit {limit!r}",
    )


def test_a_request_is_made_smaller_and_then_waits(narrow: Bench) -> None:
    """However large it is at the lowest quality; the next is answered by an ERROR."""
    narrow.open(shm=False)
    narrow.camera.put(noise(), time.monotonic_ns())
    narrow.request()
    sent = narrow.at_broker(Kind.REQUEST)
    narrow.camera.put(noise(), time.monotonic_ns())
    narrow.request()
    error = narrow.at_control(Kind.ERROR)
    assert error.body.reason == "uplink-limit"
    assert "max_uplink_kbps (1)" in error.body.message
    status = link(narrow, "rate")
    assert status["uplink"]["jpeg_quality"] == FLOOR
    assert status["uplink"]["max_kbps"] == 1.0
    size = status["uplink"]["request_bytes"]
    assert size > sum(map(len, sent.blobs)) > 625
    assert not status["dropped"]


def test_images_in_shared_memory_are_not_limited(narrow: Bench) -> None:
    """They do not travel: no quality is shown."""
    narrow.open(shm=True)
    for _ in range(10):
        narrow.camera.put(noise(), time.monotonic_ns())
        narrow.request()
        narrow.at_broker(Kind.REQUEST)
    uplink = wait_until(
        lambda: (found := narrow.status()).get("sent") == 10 and found["uplink"], "ten requests"
    )
    assert uplink["jpeg_quality"] == 0
    assert narrow.status()["uplink_limit"] == ""
