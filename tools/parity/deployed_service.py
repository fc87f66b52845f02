"""`DeployedService`: one session with a running service, asked as a robot's network actor asks."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import time
from collections.abc import Mapping
from typing import Self

import numpy as np
import zmq
from numpy.typing import NDArray

from ...actors.clients.service_caller import ServiceCaller
from ...actors.embedding.service_list import ServiceOffer
from ...actors.runtime.own_keys import OwnKeys
from ...transport import sockets
from ...transport.bodies import Open, Request
from ...transport.images import Pixels, decode_jpeg, encode_jpeg
from ...transport.messages import Blobs

SLACK_S = 1.0
"""The deadline of a request: robots whose plan runs out sooner are served first."""
SEED = 1
"""Of the sampling noise: the same for every request, so that variants of one can be compared."""


class DeployedService:
    """The service of `offer`, through the `broker`, its replica and its postprocessing. Images
    travel as JPEG of `jpeg_quality`, or raw if 0. Raises what `ServiceCaller.infer` does."""

    def __init__(
        self,
        offer: ServiceOffer,
        broker: str,
        jpeg_quality: int = 0,
        keys: OwnKeys | None = None,
        robot: str | None = None,
    ) -> None:
        self.offer, self._quality = offer, jpeg_quality
        self._broker, self._keys = broker, keys
        self._robot = robot or f"verify-{socket.gethostname()[:40]}-{os.getpid()}"
        self._context: sockets.Context = zmq.Context()
        self._runner = asyncio.Runner()
        self._caller: ServiceCaller | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._caller is not None:
            self._runner.run(self._caller.close("verified"))
        self._runner.close()
        self._context.destroy(linger=100)

    def received(self, image: Pixels) -> Pixels:
        """The pixels that the replica gets for an image of the policy's size."""
        if not self._quality:
            return image
        height, width = image.shape[:2]
        return decode_jpeg(encode_jpeg(image, self._quality), width, height)

    def chunk(
        self, state: NDArray[np.float32], images: Mapping[str, Pixels], task: str
    ) -> NDArray[np.float32]:
        """The chunk [H, A], in the robot's units, for one observation at the policy's sizes, which
        begins an episode."""
        return self._runner.run(self._ask(state, images, task))

    async def _ask(
        self, state: NDArray[np.float32], images: Mapping[str, Pixels], task: str
    ) -> NDArray[np.float32]:
        if self._caller is None:
            self._caller = self._open()
        self._caller.session.new_episode()
        blobs = Blobs()
        body = Request(
            state=blobs.array(np.ascontiguousarray(state, np.float32)),
            images={
                name: blobs.image(np.ascontiguousarray(pixels), self._quality)
                for name, pixels in images.items()
            },
            task=task,
            slack_s=SLACK_S,
            seed=SEED,
            episode_start=True,
        )
        reply = await self._caller.infer(body, blobs)
        return np.array(reply.array(reply.body.chunk))

    def _open(self) -> ServiceCaller:
        offer = self.offer
        opening = Open(
            robot=self._robot,
            service=offer.name,
            action_names=offer.action_names,
            state_names=offer.state_names,
            cameras=offer.cameras,
            fps=offer.fps,
            control_mode="velocity" if offer.control_mode == "velocity" else "position",
            incarnation=1,
            host=socket.gethostname(),
            pid=os.getpid(),
        )
        epochs = itertools.count(time.monotonic_ns() // 100_000_000 & 0xFFFFFFF)
        return ServiceCaller(self._context, self._broker, opening, epochs, self._keys)
