"""Frames that stay in their cameras' rings, from the camera to the policy."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import WireError
from holdfast.tests.actors.inference.observing_arm import Arm, seeing
from holdfast.transport.header import Header, Kind


@settings(deadline=None)
@given(
    steps=st.integers(1, 4),
    stride=st.integers(1, 6),
    doings=st.lists(
        st.one_of(
            st.sampled_from(["reset", "kill", *["step"] * 8]),
            st.tuples(st.integers(0, 30), st.booleans()),
        ),
        max_size=40,
    ),
)
def test_frames_that_stay_in_their_rings_are_those_of_their_request_or_the_request_fails(
    steps: int, stride: int, doings: Sequence[str | tuple[int, bool]]
) -> None:
    """However many frames its camera writes meanwhile; with copies in the outbox none is lost."""
    arm, first = Arm(seeing(steps, stride), near=True, rings=True), 1
    arm.step()
    arm.images.follow_episode(Header(Kind.REQUEST), 0)
    for doing in doings:
        if doing == "step":
            arm.step()
        elif doing == "kill":
            arm.restart_network()
        elif doing == "reset":
            arm.reset()
            first = arm.tick + 1
            arm.step()
        elif not isinstance(doing, str):
            tick, (meanwhile, copied) = arm.tick, doing
            before = arm.images.use.counts["copied"]
            try:
                seen = arm.ask(meanwhile, copied)
            except WireError as error:
                assert error.reason == "shm-overwritten"
                assert meanwhile > 2 and not copied
                assert arm.images.use.counts["copied"] == before
                continue
            assert (seen.images["eye"] == tick % 256).all()
            if seen.image_history:
                wanted = [max(tick - back * stride, first) for back in range(steps - 1, -1, -1)]
                found = seen.image_history["eye"][:, 0, 0, 0].tolist()
                assert found == [n % 256 for n in wanted]
