"""The messages of an actor, as its supervisor receives them."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from holdfast.actors.runtime.link_messages import FromActor
from holdfast.actors.runtime.supervisor_link import SupervisorLink
from holdfast.tests.waiting import wait_until

INBOXES: WeakKeyDictionary[SupervisorLink, list[FromActor]] = WeakKeyDictionary()


def receive(link: SupervisorLink, kind: type[FromActor]) -> FromActor:
    """The next message of `kind` from the actor."""
    inbox = INBOXES.setdefault(link, [])

    def arrived() -> bool:
        inbox.extend(link.messages()[0])
        return any(isinstance(m, kind) for m in inbox)

    wait_until(arrived, f"a {kind.__name__}")
    return inbox.pop(next(i for i, m in enumerate(inbox) if isinstance(m, kind)))
