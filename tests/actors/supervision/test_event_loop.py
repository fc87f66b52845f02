"""The supervisor's event loop calls no callback for a descriptor whose number was reused."""

from __future__ import annotations

import os

from holdfast.actors.supervision.event_loop import EventLoop


def test_a_forgotten_callback_is_not_called_even_if_readable_in_the_same_round() -> None:
    """A descriptor number reused within a round gets its new callback only, a round later."""
    loop = EventLoop()
    pipes = [os.pipe() for _ in range(2)]
    for _, writing in pipes:
        os.write(writing, b"x")
    called: list[str] = []
    opened: list[int] = []

    def replace(own: int, other: int) -> None:
        called.append("first")
        loop.forget(own)
        loop.forget(other)
        os.close(other)
        reading, writing = os.pipe()
        os.write(writing, b"y")
        if reading != other:
            os.dup2(reading, other)
            os.close(reading)
        opened.extend((other, writing))
        loop.add(other, lambda: called.append("third"))

    (a, _), (b, _) = pipes
    loop.add(a, lambda: replace(a, b))
    loop.add(b, lambda: replace(b, a))
    loop.poll(1.0)
    assert called == ["first"]
    loop.poll(1.0)
    assert called == ["first", "third"]
    loop.close()
    for fd in {*opened, *(fd for pipe in pipes for fd in pipe)}:
        os.close(fd)
