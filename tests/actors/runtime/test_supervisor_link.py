"""What a running actor's link carries of a changed configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from holdfast.actors.runtime.link_messages import (
    BootMessage,
    CommandReply,
    Reconfiguration,
    SegmentEntry,
)
from holdfast.actors.runtime.supervisor_link import (
    FDS_PER_PACKET,
    MAX_PACKET,
    Link,
    SupervisorLink,
    pair,
    receive_boot,
)

Ends = tuple[SupervisorLink, Link]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The supervisor's end and the actor's."""
    ours, theirs = pair()
    supervisor, link = SupervisorLink(ours), Link(theirs)
    yield supervisor, link
    link.close()
    supervisor.close()


@pytest.fixture
def files() -> Iterator[list[int]]:
    """More files than two packets carry."""
    made = [os.memfd_create(f"f{k}") for k in range(2 * FDS_PER_PACKET + 1)]
    yield made
    for fd in made:
        os.close(fd)


def change(count: int) -> Reconfiguration:
    """A configuration with so many segments."""
    entries = tuple(SegmentEntry(f"s{k}", 64, writable=False) for k in range(count))
    return Reconfiguration({"count": count}, tuple(each.name for each in entries), entries)


def inodes(fds: list[int]) -> list[int]:
    return [os.fstat(fd).st_ino for fd in fds]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    "count", [0, 1, FDS_PER_PACKET, FDS_PER_PACKET + 1, 2 * FDS_PER_PACKET, 2 * FDS_PER_PACKET + 1]
)
def test_a_changed_configuration_comes_with_all_its_descriptors(
    ends: Ends, files: list[int], count: int
) -> None:
    """In their order, however many packets they take; commands around it are read too."""
    supervisor, link = ends
    assert supervisor.command("before")
    assert supervisor.reconfigure(change(count), files[:count])
    assert supervisor.command("after")
    assert [command.verb for command in link.commands()] == ["before", "after"]
    [(message, fds)] = link.reconfigurations
    assert message == change(count)
    assert inodes(fds) == inodes(files[:count])


def test_a_change_of_which_the_rest_does_not_come_is_not_taken_over(
    ends: Ends, files: list[int]
) -> None:
    """The next one is, with its own descriptors; those of the first are closed."""
    supervisor, link = ends
    before = open_files()
    more = FDS_PER_PACKET + 1
    assert supervisor.reconfigure(change(more), files[:FDS_PER_PACKET])
    assert link.commands() == [] and link.reconfigurations == []
    assert open_files() == before + FDS_PER_PACKET
    assert supervisor.reconfigure(change(2), files[-2:])
    link.commands()
    [(message, fds)] = link.reconfigurations
    assert message == change(2) and inodes(fds) == inodes(files[-2:])
    assert open_files() == before + 2


@pytest.mark.parametrize("count", [0, FDS_PER_PACKET, 2 * FDS_PER_PACKET + 1])
def test_a_change_larger_than_a_packet_comes_whole(
    ends: Ends, files: list[int], count: int
) -> None:
    """With all its descriptors in their order, and without a file that stays open."""
    supervisor, link = ends
    before = open_files()
    small = change(count)
    large = replace(small, config={"cameras": "x" * 3 * MAX_PACKET})
    assert supervisor.reconfigure(large, files[:count])
    assert supervisor.reconfigure(small, files[:count])
    link.commands()
    [(first, its), (second, others)] = link.reconfigurations
    assert (first, second) == (large, small)
    assert inodes(its) == inodes(others) == inodes(files[:count])
    assert open_files() == before + 2 * count


def test_a_boot_larger_than_a_packet_comes_whole(files: list[int]) -> None:
    """The first thing that an actor gets, with the descriptors of its segments."""
    ours, theirs = pair()
    entries = change(FDS_PER_PACKET).segments
    boot = BootMessage("gateway", "gateway", 1, "/", {"tags": "x" * 3 * MAX_PACKET}, entries)
    SupervisorLink(ours).boot(boot, files[:FDS_PER_PACKET])
    received = receive_boot(theirs)
    assert received is not None
    message, fds = received
    assert message == boot and inodes(fds) == inodes(files[:FDS_PER_PACKET])
    for each in (*fds, ours.detach(), theirs.detach()):
        os.close(each)


def test_an_actor_that_does_not_read_its_link_is_not_sent_a_change(
    ends: Ends, files: list[int]
) -> None:
    """The supervisor is not held up: it learns that, and gives the actor a new process."""
    supervisor, _ = ends
    sent = [supervisor.reconfigure(change(len(files)), files) for _ in range(400)]
    assert sent[0] and not sent[-1]


def test_an_answer_larger_than_a_packet_is_an_error_that_says_so(ends: Ends) -> None:
    """Who asked learns it at once; one of the largest size comes whole."""
    supervisor, link = ends
    link.acknowledge(1, "x" * (MAX_PACKET + 1))
    link.acknowledge(2, "x" * (MAX_PACKET - 64))
    link.acknowledge(3, error="x" * (MAX_PACKET + 1))
    too_large, whole, also = supervisor.messages()[0]
    for answer in (too_large, also):
        assert isinstance(answer, CommandReply)
        assert answer.result is None and f"at most {MAX_PACKET}" in (answer.error or "")
    assert isinstance(whole, CommandReply) and len(whole.result) == MAX_PACKET - 64
