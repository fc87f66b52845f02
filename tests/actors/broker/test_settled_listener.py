"""A listener that is settled needs no question before a wait: its descriptor says the rest."""

from __future__ import annotations

import tempfile
from pathlib import Path

import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.actors.broker.listener import Listener
from holdfast.tests.waiting import wait_until
from holdfast.transport import sockets
from holdfast.transport.poll import Poll

WAIT_MS = 10_000
TURNS = st.lists(st.sampled_from(["there", "back", "look", "ask"]), min_size=1, max_size=60)


class Exchange:
    """A robot and the listener that it talks to, which is waited for as the broker does."""

    def __init__(self, context: sockets.Context, directory: Path) -> None:
        endpoint = sockets.ipc(directory, "front")
        self.listener = Listener(context, endpoint, hwm=128)
        self.poll = Poll()
        self.listener.watch(self.poll)
        self.dealer = sockets.dealer(context, endpoint, "r1:1", hwm=128)
        self.waiting = 0
        self.asked = 0
        """How often a wait had to ask the socket first."""
        wait_until(self.there, "the connection")

    @property
    def settled(self) -> tuple[sockets.Socket, ...]:
        """The listener's socket, if it needs no question."""
        return (self.listener.socket,) if self.listener.settled else ()

    def there(self) -> bool:
        """The robot sends, if there is a connection."""
        sent = sockets.send(self.dealer, [b"x"])
        self.waiting += sent
        return sent

    def back(self) -> None:
        """The listener answers: that reads its events too."""
        assert self.listener.send([b"r1:1", b"y"]) in (None, "full")
        assert not self.settled

    def look(self) -> None:
        """Wait for a message of those on their way, and receive it."""
        wait_until(self._awake, "the wait to name the listener")
        arrival = self.listener.receive()
        assert arrival is not None and arrival.frames == [b"x"]
        self.waiting -= 1

    def _awake(self) -> bool:
        self.asked += not self.settled
        return self.listener.socket in self.poll.wait(WAIT_MS, settled=self.settled)


@settings(max_examples=15, deadline=None)
@given(TURNS)
def test_no_message_is_missed_by_waits_that_ask_nothing_of_a_settled_listener(
    turns: list[str],
) -> None:
    """Whatever is sent, received and asked in between."""
    context: sockets.Context = zmq.Context()
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        pair = Exchange(context, Path(directory))
        for turn in turns:
            if turn == "there":
                pair.there()
            elif turn == "back":
                pair.back()
            elif turn == "ask":
                pair.listener.has_message()
            elif pair.waiting:
                pair.look()
        while pair.waiting:
            pair.look()
        assert pair.listener.receive() is None and pair.settled
        pair.listener.close(0)
        context.destroy(linger=0)


def test_a_listener_that_was_found_empty_is_settled_until_it_is_used(tmp_path: Path) -> None:
    """A wait then does not ask its socket for messages."""
    context: sockets.Context = zmq.Context()
    pair = Exchange(context, tmp_path)
    while pair.waiting:
        pair.look()
    assert not pair.settled  # there may be more
    assert not pair.listener.has_message() and pair.settled
    before = pair.asked
    pair.there()
    pair.look()
    assert pair.asked == before
    pair.back()
    pair.listener.close(0)
    context.destroy(linger=0)
