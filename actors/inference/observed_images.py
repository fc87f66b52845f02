"""The images of a request: pixels at the policy's resolution.

Images in shared memory are read in place, in the ring of their camera or in the robot's outbox, and
checked against its sequence number after their use: those that are copied or resized here at once,
the others by `Views.overwritten`. One that its camera has written over is looked for in the outbox.
A robot whose images are gone makes its own request fail and no other.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...errors import WireError
from ...policy.base import CameraFeature, PolicySpec
from ...transport.bodies import Request
from ...transport.images import Image, resize
from ...transport.messages import Message
from ...transport.parallel import in_two_threads
from .robot_memory import RobotMemory, SharedImage


class Views:
    """The images of one request that a policy uses where they lie. `rings`: those in a camera's
    ring too; else they are copied, because the policy takes longer than they last."""

    def __init__(self, rings: bool) -> None:
        self._rings = rings
        self._views: list[tuple[str, Callable[[], bool]]] = []

    def take(self, camera: str, image: SharedImage) -> bool:
        """Whether the image is used where it lies."""
        if image.in_ring and not self._rings:
            return False
        self._views.append((camera, image.still_valid))
        return True

    def overwritten(self) -> WireError | None:
        """The error for an image that is no longer the request's; None if all still are."""
        for camera, still_valid in self._views:
            if not still_valid():
                return _overwritten(camera)
        return None


def newest_images(
    message: Message[Request],
    spec: PolicySpec,
    memory: RobotMemory | None,
    views: Views | None = None,
) -> dict[str, NDArray[np.uint8]]:
    """By camera uint8 [h, w, 3] at the policy's resolution; JPEGs are decoded, and images resized,
    by two threads. Views of shared memory are noted in `views`; without, there are none. Raises
    WireError."""

    def one(camera: CameraFeature) -> NDArray[np.uint8]:
        described = message.body.images.get(camera.name)
        if described is None:
            has = ", ".join(sorted(message.body.images)) or "none"
            raise WireError(
                "image-missing",
                f"the request has no image '{camera.name}', only: {has}; send every camera",
            )
        return _image(message, camera, described, memory, views)

    images = message.body.images
    laborious = any(
        image.encoding == "jpeg" or (image.width, image.height) != (camera.width, camera.height)
        for camera in spec.cameras
        if (image := images.get(camera.name)) is not None
    )
    pixels = in_two_threads(one, spec.cameras) if laborious else map(one, spec.cameras)
    return {camera.name: image for camera, image in zip(spec.cameras, pixels, strict=True)}


def earlier_images(
    message: Message[Request], spec: PolicySpec, memory: RobotMemory | None
) -> dict[str, NDArray[np.uint8]]:
    """By camera the images [k, h, w, 3] of a policy that sees k observations, copied. Raises
    WireError."""
    steps, request = spec.observation_steps, message.body
    if request.state_history is None:
        raise WireError(
            "history-missing",
            f"the request has no state_history: this policy sees the last {steps} observations, "
            f"{spec.observation_stride_steps} steps apart",
        )
    frames = {}
    for camera in spec.cameras:
        described = request.image_history.get(camera.name, ())
        if len(described) != steps:
            raise WireError(
                "history-missing",
                f"image_history has {len(described)} images '{camera.name}', this policy sees the "
                f"last {steps}",
            )
        # The first image of an episode may stand for several: it is decoded once.
        views = Views(rings=False)
        each = {image: _image(message, camera, image, memory, views) for image in set(described)}
        frames[camera.name] = np.stack([each[image] for image in described])
        if gone := views.overwritten():
            raise gone
    return frames


def _image(
    message: Message[Request],
    camera: CameraFeature,
    image: Image,
    memory: RobotMemory | None,
    views: Views | None,
) -> NDArray[np.uint8]:
    """The image at the policy's resolution; a copy, unless `views` takes it or it is raw."""
    if image.encoding != "shm":
        return resize(message.image(image), camera.width, camera.height)
    if memory is None:
        raise WireError("shm-nonce", "a reference to an outbox that is not mapped here")
    try:
        for shared in memory.images(camera.name, image):
            pixels = resize(shared.pixels, camera.width, camera.height)
            if pixels is shared.pixels:
                if views is not None and views.take(camera.name, shared):
                    return pixels
                pixels = pixels.copy()
            if shared.still_valid():
                return pixels
    except WireError as error:
        if error.reason != "shm-overwritten":
            raise
        raise _overwritten(camera.name) from error
    raise _overwritten(camera.name)


def _overwritten(camera: str) -> WireError:
    return WireError(
        "shm-overwritten",
        f"image '{camera}' was overwritten before it was read: the robot has sent several "
        "requests since, and must keep one in flight; or its network actor was not given the "
        "processor for long",
    )
