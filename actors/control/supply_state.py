"""`TABLE`: the states of a control loop's supply of actions, and what leads to each.

The states describe supply only. In every one but DEAD the plan is played as long as it holds
actions that may be played; when it does not, the loop applies the fallback. PAUSED stands beside
the states: while paused, no request is made, nothing is played, and every deadline stands still.

`python -m holdfast.actors.control.supply_state` prints the table as the diagram in failsafe.md.
"""

from __future__ import annotations

from enum import StrEnum


class SupplyState(StrEnum):
    """Whether chunks come, and what is played if not."""

    CONNECTING = "CONNECTING"
    """The handshake is under way, or accepted and its first chunk is awaited."""
    STREAMING = "STREAMING"
    """Chunks come in time."""
    DEGRADED = "DEGRADED"
    """A chunk is late; the plan still lasts."""
    STALLED = "STALLED"
    """The plan is dry: the fallback is applied."""
    RECONNECTING = "RECONNECTING"
    """The server is lost; handshakes are tried with a growing pause between them."""
    DEAD = "DEAD"
    """For good: the robot comes to its safe rest, and a person must look."""


class SupplyEvent(StrEnum):
    """What may change the state; `MEANING` says what each is."""

    MERGED = "merged"
    LATE = "late"
    TIMEOUT = "timeout"
    DRY = "dry"
    LOST = "lost"
    UNANSWERED = "unanswered"
    ACCEPTED = "accepted"
    OFFLINE = "offline"
    CHANGED = "changed"
    REFUSED = "refused"


MEANING: dict[SupplyEvent, str] = {
    SupplyEvent.MERGED: "a chunk became the plan",
    SupplyEvent.LATE: "no chunk for degraded_after_s while one was due",
    SupplyEvent.TIMEOUT: "a request was not answered within request_timeout_s",
    SupplyEvent.DRY: "the plan is empty, or too old to be played",
    SupplyEvent.LOST: "the server reports it, or its heartbeats ended",
    SupplyEvent.UNANSWERED: "no answer for 2 * request_timeout_s",
    SupplyEvent.ACCEPTED: "the handshake was accepted",
    SupplyEvent.OFFLINE: "no chunk for max_offline_s while one was due, if there is such a bound",
    SupplyEvent.CHANGED: "the model, its revision, weights, actions or prefix capability changed",
    SupplyEvent.REFUSED: "the server refuses this robot for good",
}

_FATAL = {
    SupplyEvent.OFFLINE: SupplyState.DEAD,
    SupplyEvent.CHANGED: SupplyState.DEAD,
    SupplyEvent.REFUSED: SupplyState.DEAD,
}
_GONE = {
    SupplyEvent.LOST: SupplyState.RECONNECTING,
    SupplyEvent.UNANSWERED: SupplyState.RECONNECTING,
}

TABLE: dict[SupplyState, dict[SupplyEvent, SupplyState]] = {
    SupplyState.CONNECTING: {SupplyEvent.MERGED: SupplyState.STREAMING, **_GONE, **_FATAL},
    SupplyState.STREAMING: {
        SupplyEvent.LATE: SupplyState.DEGRADED,
        SupplyEvent.TIMEOUT: SupplyState.DEGRADED,
        SupplyEvent.DRY: SupplyState.STALLED,
        **_GONE,
        **_FATAL,
    },
    SupplyState.DEGRADED: {
        SupplyEvent.MERGED: SupplyState.STREAMING,
        SupplyEvent.DRY: SupplyState.STALLED,
        **_GONE,
        **_FATAL,
    },
    SupplyState.STALLED: {SupplyEvent.MERGED: SupplyState.STREAMING, **_GONE, **_FATAL},
    SupplyState.RECONNECTING: {SupplyEvent.ACCEPTED: SupplyState.CONNECTING, **_FATAL},
    SupplyState.DEAD: {},
}


def diagram() -> str:
    """TABLE as a Mermaid state diagram. Events that lead from a state to the same one share an
    arrow."""
    lines = ["stateDiagram-v2", "    [*] --> CONNECTING"]
    for state, row in TABLE.items():
        arrows: dict[SupplyState, list[SupplyEvent]] = {}
        for event, following in row.items():
            arrows.setdefault(following, []).append(event)
        for following, events in arrows.items():
            lines.append(f"    {state} --> {following} : {', '.join(events)}")
    lines.append("    DEAD --> [*]")
    return "\n".join(lines)


def document() -> str:
    """failsafe.md: the diagram, and what each event means."""
    rows = "\n".join(f"| {event} | {meaning} |" for event, meaning in MEANING.items())
    return f"""# The fail-safe of a control loop

Made from the table in supply_state.py by `python -m holdfast.actors.control.supply_state`; a test
fails when it is out of date.

```mermaid
{diagram()}
```

| event | when |
|---|---|
{rows}

In every state but DEAD the plan is played as long as it holds actions that may be played; when it
does not, the fallback is applied. PAUSED stands beside the states: no request is made, nothing is
played, and every deadline stands still. DEAD brings the robot to its safe rest and ends the actor.
"""


if __name__ == "__main__":
    print(document(), end="")
