"""A robot at a replica: its observations and the frames of its messages, without a transport."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from holdfast.policy.base import CameraFeature, Observation, PolicySpec
from holdfast.transport.arrays import Buffer
from holdfast.transport.bodies import Open, Request, Reset
from holdfast.transport.header import Header, Kind
from holdfast.transport.host import boot_id
from holdfast.transport.messages import Blobs, encode
from holdfast.transport.outbox import Outbox

SPEC = PolicySpec(
    model="tiny",
    revision="1",
    cameras=(CameraFeature("overhead", 32, 24), CameraFeature("wrist", 16, 16)),
    state_names=("x", "y", "belt"),
    action_names=("x", "y"),
    chunk_size=12,
    fps=30.0,
    prefix="trained",
    max_prefix_steps=6,
)
TASK = "put the red parcel in the left bin"


def example(seed: int, **changes: Any) -> Observation:
    """A valid observation, different for each seed, with `changes` of its fields."""
    return dataclasses.replace(SPEC.example(seed, TASK), **changes)


class RobotSide:
    """The frames of one robot's messages; its images are in `outbox`, if it has one."""

    def __init__(self, name: str, outbox: Outbox | None = None) -> None:
        self.name = name
        self.outbox = outbox

    def open(self, epoch: int = 1, **changes: Any) -> list[Buffer]:
        """The OPEN of a robot that fits SPEC, with `changes` of its body."""
        asked = Open(
            robot=self.name,
            service="pick",
            action_names=SPEC.action_names,
            state_names=SPEC.state_names,
            cameras={c.name: (c.width, c.height) for c in SPEC.cameras},
            fps=SPEC.fps,
            rtc=True,
            boot_id=boot_id() if self.outbox else "",
            outbox_nonce=self.outbox.nonce if self.outbox else 0,
        )
        return encode(Header(Kind.OPEN, epoch=epoch), msgspec.structs.replace(asked, **changes))

    def request(
        self,
        seen: Observation,
        seq: int = 1,
        episode: int = 0,
        epoch: int = 1,
        slack_s: float = 1.0,
        quality: int = 0,
        **changes: Any,
    ) -> list[bytes]:
        """The REQUEST of the observation `seen`, with `changes` of its body."""
        blobs = Blobs()
        frames = {
            (name, place): frame
            for name, image in seen.images.items()
            for place, frame in enumerate([*seen.image_history.get(name, [])[:-1], image])
        }
        if self.outbox is not None:
            placed = self.outbox.reserve({k: _shape(f) for k, f in frames.items()})
            for key, pixels in placed.items():
                pixels[:] = frames[key]
            sent = {k: Blobs.reference(r) for k, r in self.outbox.publish().items()}
        else:
            sent = {k: blobs.image(f, quality) for k, f in frames.items()}
        rows = {name: tuple(i for k, i in sent.items() if k[0] == name) for name in seen.images}
        images = {name: row[-1] for name, row in rows.items()}
        states = seen.state_history
        body = Request(
            state=blobs.array(seen.state),
            images=images,
            task=seen.task,
            delay_steps=seen.delay_steps,
            prefix=None if seen.prefix is None else blobs.array(seen.prefix),
            prefix_robot=None if seen.prefix_robot is None else blobs.array(seen.prefix_robot),
            slack_s=slack_s,
            seed=seen.seed,
            state_history=None if states is None else blobs.array(states),
            image_history=rows if seen.image_history else {},
        )
        body = msgspec.structs.replace(body, **changes)
        header = Header(Kind.REQUEST, seq=seq, episode=episode, epoch=epoch, token=77)
        return [bytes(f) for f in encode(header, body, blobs)]

    def reset(self, episode: int, epoch: int = 1) -> list[Buffer]:
        """The RESET to `episode`."""
        return encode(Header(Kind.RESET, episode=episode, epoch=epoch), Reset())


def _shape(image: NDArray[np.uint8]) -> tuple[int, int, int]:
    height, width, channels = image.shape
    return height, width, channels
