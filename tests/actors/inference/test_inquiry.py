"""Inquiries: whether a replica would accept a robot, without an effect on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.tests.actors.inference.bench import Bench, Echo, MakeBench
from holdfast.tests.actors.inference.robot_side import RobotSide, example
from holdfast.transport.arrays import Buffer
from holdfast.transport.bodies import Inquiry, Open
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import decode, encode

CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "action_names": st.sampled_from([("x",), ("y", "x"), ()]),
        "state_names": st.sampled_from([("a",), ("q", "r", "s")]),
        "cameras": st.sampled_from([{}, {"overhead": (640, 480)}, {"top": (64, 48)}]),
        "fps": st.sampled_from([1.0, 29.9, 60.0]),
        "control_mode": st.just("velocity"),
        "rtc": st.booleans(),
        "task": st.sampled_from(["", "dance"]),
        "service": st.just("other"),
        "versions": st.just((7, 9)),
    },
)
LIMITS = st.fixed_dictionaries(
    {"max_sessions": st.integers(1, 3), "strict_fps": st.booleans()},
    optional={"pin_task": st.just("pick")},
)


def asked(frames: Sequence[Buffer], **changes: Any) -> Open:
    body: Open = decode(frames).body
    return msgspec.structs.replace(body, **changes)


def state(b: Bench) -> tuple[object, ...]:
    """The sessions with their episodes, the waiting requests, and the counts."""
    sessions = {n: (id(s), s.epoch, s.episode) for n, s in b.service.sessions.items()}
    return sessions, len(b.service.waiting), {**b.meters.counts, "inquiries": 0}


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    changes=CHANGES,
    limits=LIMITS,
    others=st.integers(0, 3),
    at_work=st.booleans(),
    draining=st.booleans(),
    epoch=st.integers(0, 3),
)
def test_a_verdict_equals_the_answer_to_the_same_open(
    changes: dict[str, Any],
    limits: dict[str, Any],
    others: int,
    at_work: bool,
    draining: bool,
    epoch: int,
    bench: MakeBench,
    echo: Echo,
) -> None:
    """The inquiry changes no session, request or count, whichever robot sends it."""
    b = bench(echo, **limits)
    names = [f"r{n}" for n in range(1, 1 + others)] + ["r0"] * at_work
    for name in names:
        b.receive(name, RobotSide(name).open(epoch=2, task=""))
    b.service.handshake.draining = draining
    body = asked(RobotSide("r0").open(), **changes)
    before = state(b)

    [verdict] = b.receive(
        "r0", encode(Header(Kind.INQUIRY, epoch=epoch, token=9), Inquiry(open=body))
    )

    assert verdict.header == Header(Kind.VERDICT, epoch=epoch, token=9)
    assert state(b) == before
    [answer] = b.receive("r0", encode(Header(Kind.OPEN, epoch=9), body))
    if answer.header.kind is Kind.REJECT:
        assert verdict.body.accept is None
        assert verdict.body.reject == answer.body
    else:
        assert verdict.body.reject is None
        expected = msgspec.structs.replace(answer.body, session="", shm=False)
        assert verdict.body.accept == expected


def test_an_inquiry_between_a_request_and_its_batch_affects_neither(
    bench: MakeBench, echo: Echo
) -> None:
    """A full replica accepts the robot that has its session, and its request is answered."""
    b = bench(echo, max_sessions=1)
    robot = RobotSide("r1")
    b.join("r1")
    b.receive("r1", robot.request(example(1)))
    [verdict] = b.receive("r1", encode(Header(Kind.INQUIRY), Inquiry(open=asked(robot.open()))))
    assert verdict.body.accept is not None, "its own place counts as free"
    [(name, reply)] = b.work()
    assert name == "r1" and reply.header.kind is Kind.REPLY
    assert np.isfinite(reply.array(reply.body.chunk)).all()


def test_an_unreadable_inquiry_is_refused(bench: MakeBench, echo: Echo) -> None:
    """The verdict has the reason of the wire error, and no session opens."""
    b = bench(echo)
    [verdict] = b.receive("r1", [Header(Kind.INQUIRY, token=5).pack(), b"\x80"])
    assert verdict.header.token == 5 and verdict.body.reject.reason == "body"
    assert b.service.sessions == {}
