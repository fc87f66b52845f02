"""The supervisor's loop never calls for a descriptor that has become somebody else's."""

from __future__ import annotations

import os

from holdfast.actors.supervision.event_loop import EventLoop


def test_a_forgotten_callback_is_not_called_although_it_was_readable_in_the_same_round() -> None:
    """The first of two readable pipes closes the other and gives its number to a third, readable
    too: only the third's own callback may be called for it, and not before it is due."""
    watches = EventLoop()
    pipes = [os.pipe() for _ in range(2)]
    for _, writing in pipes:
        os.write(writing, b"x")
    called: list[str] = []
    opened: list[int] = []

    def replace(own: int, other: int) -> None:
        called.append("first")
        watches.forget(own)
        watches.forget(other)
        os.close(other)
        reading, writing = os.pipe()
        os.write(writing, b"y")
        if reading != other:
            os.dup2(reading, other)
            os.close(reading)
        opened.extend((other, writing))
        watches.add(other, lambda: called.append("third"))

    (a, _), (b, _) = pipes
    watches.add(a, lambda: replace(a, b))
    watches.add(b, lambda: replace(b, a))
    watches.poll(1.0)
    assert called == ["first"]
    watches.poll(1.0)
    assert called == ["first", "third"]
    watches.close()
    for fd in {*opened, *(fd for pipe in pipes for fd in pipe)}:
        os.close(fd)
