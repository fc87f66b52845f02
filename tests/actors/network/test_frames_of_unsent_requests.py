"""Frames in rings of requests that were not sent, or that have none; and errors about others."""

from __future__ import annotations

import pytest

from holdfast.actors.network.request_images import RequestImages
from holdfast.actors.runtime.configs import CameraFeed, NetworkConfig
from holdfast.actors.runtime.ring_times import COPY_AFTER_NS
from holdfast.tests.accepted import accept
from holdfast.tests.actors.network.network_bench import SHAPE, noise
from holdfast.transport.arrays import Array
from holdfast.transport.bodies import Error, Request
from holdfast.transport.frame_ring import FrameRing
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import encode
from holdfast.transport.outbox import Outbox

MS = 1_000_000
REQUEST = Header(Kind.REQUEST, seq=1, epoch=1)
SEES = {"top": (64, 48)}


@pytest.fixture
def images() -> RequestImages:
    """Those of a robot whose camera has one frame, which travels as it was captured."""
    memory = {"top": bytearray(FrameRing.size_for(SHAPE)), "out": bytearray(Outbox.size_for(32768))}
    FrameRing(memory["top"], SHAPE).put(noise(), 1)
    config = NetworkConfig(
        robot="r1",
        service="pick",
        control="",
        brokers=(),
        cameras={"top": CameraFeed(segment="top", width=64, height=48)},
        state_names=("a",),
        action_names=("a",),
        outbox="out",
    )
    return RequestImages(config, memory.__getitem__)


def take(images: RequestImages, cameras: dict[str, tuple[int, int]]) -> None:
    """Take the frames of a request of a policy with these cameras."""
    terms = accept(cameras=cameras, shm=True, rings=tuple(cameras))
    images.take(REQUEST, Request(state=Array("f4", (1,), 0)), terms, MS)


def test_the_frames_of_a_request_that_was_not_sent_are_not_copied(images: RequestImages) -> None:
    """No replica reads them, and the next request does not take its answer for late."""
    take(images, SEES)
    assert images.wait_ms(1000) == 1000
    images.copy_overdue(1 << 62)
    assert images.use.counts == {}
    assert images.use.allowed(MS + COPY_AFTER_NS)
    take(images, SEES)
    images.sent(MS)
    assert images.use.counts == {"in_rings": 1}
    assert images.wait_ms(1000) < 1000


def test_a_request_to_a_policy_that_sees_nothing_has_no_frames_in_rings(
    images: RequestImages,
) -> None:
    """The network actor does not wake up to copy them."""
    take(images, {})
    images.sent(MS)
    assert images.wait_ms(1000) == 1000
    assert images.use.counts == {}


@pytest.mark.parametrize(("reason", "gone"), [("shm-nonce", 0), ("shm-overwritten", 1)])
def test_a_frame_counts_as_gone_only_if_it_was_overwritten(
    images: RequestImages, reason: str, gone: int
) -> None:
    """Copies would not help against an outbox that the replica does not map."""
    take(images, SEES)
    images.sent(MS)
    header = REQUEST._replace(kind=Kind.ERROR)
    images.answered(header, list(encode(header, Error(reason=reason))), 2 * MS)
    assert images.use.counts["gone"] == gone
    assert images.use.allowed(2 * MS) == (not gone)
