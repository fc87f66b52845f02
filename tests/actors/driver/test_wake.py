"""What wakes a driver: datagrams, whichever end is started anew."""

from __future__ import annotations

import select
from pathlib import Path

from holdfast.actors.driver.wake import Waker, WakeSocket


def awake(socket: WakeSocket) -> bool:
    """Whether a driver that sleeps on its socket would be awake; the datagrams are taken."""
    readable, _, _ = select.select([socket.fileno()], [], [], 0)
    socket.receive()
    return bool(readable)


def test_a_waker_wakes_the_driver_that_is_there_now(tmp_path: Path) -> None:
    """Absent at first, started, started anew beside the old one's socket, and after its end."""
    waker = Waker(str(tmp_path / "wake"))
    waker.wake()
    first = WakeSocket(tmp_path / "wake")
    waker.wake()
    assert awake(first)
    first.close()
    waker.wake()
    second = WakeSocket(tmp_path / "wake")
    waker.wake()
    assert awake(second) and not awake(second)
    waker.close()
    second.close()


def test_a_waker_never_waits_for_a_driver_that_does_not_read(tmp_path: Path) -> None:
    """The queue is full; the driver is awake, and is woken again once it has read."""
    waker, driver = Waker(str(tmp_path / "wake")), WakeSocket(tmp_path / "wake")
    for _ in range(10_000):
        waker.wake()
    while awake(driver):
        pass
    waker.wake()
    assert awake(driver)
    waker.close()
    driver.close()
