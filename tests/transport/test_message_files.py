"""The files that large messages between processes of one host lie in."""

from __future__ import annotations

import pytest

from holdfast.errors import WireError
from holdfast.tests.transport.packet_peers import WaitingClient, WaitingServer, large


def test_four_large_messages_wait_whole_until_they_are_read(
    server: WaitingServer, client: WaitingClient
) -> None:
    """Of each connection; in as many files, whichever were used before."""
    for before in (0, 1, 3, 6):
        client.close()
        for number in range(before):
            assert client.send(large(number))
            assert server.next()[1] == large(number)
        for number in range(4):
            assert client.send(large(number))
        assert [server.next()[1] for _ in range(4)] == [large(number) for number in range(4)]


def test_a_fifth_large_message_takes_the_place_of_the_first_that_was_not_read(
    server: WaitingServer, client: WaitingClient
) -> None:
    """That is refused, and the others arrive; none has the bytes of another."""
    for number in range(5):
        assert client.send(large(number))
    with pytest.raises(WireError, match="written over"):
        server.next()
    assert [server.next()[1] for _ in range(4)] == [large(number) for number in range(1, 5)]


def test_a_large_message_that_is_not_taken_costs_none_that_was(
    server: WaitingServer, client: WaitingClient
) -> None:
    """However often it is tried: but for the one whose place it takes."""
    for number in range(3):
        assert client.send(large(number))
    taken = 3
    while client.send([bytes(5000)]):
        taken += 1
    for _ in range(6):
        assert not client.send(large(7))
    assert [server.next()[1] for _ in range(3)] == [large(number) for number in range(3)]
    for _ in range(taken - 3):
        server.next()
    assert client.send(large(8)) and server.next()[1] == large(8)
