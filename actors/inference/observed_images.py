"""The images of a request: pixels at the policy's resolution.

Images in shared memory are read in place (copied only if they are kept) and checked against the
outbox's sequence number after their use: `newest_images` checks those that it copies or resizes,
`overwritten` the others. A robot that overwrites them makes its own request fail and no other.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ...errors import OutboxError, WireError
from ...policy.base import CameraFeature, PolicySpec
from ...transport.bodies import Request
from ...transport.images import Image, resize
from ...transport.messages import Message
from ...transport.outbox import OutboxReader
from ...transport.parallel import in_two_threads


def overwritten(
    message: Message[Request], cameras: Iterable[str], outbox: OutboxReader | None
) -> WireError | None:
    """The error for an image of these cameras in shared memory that is no longer the request's;
    None if all still are."""
    checked = 0
    for name in cameras:
        image = message.body.images[name]
        # The images of one request lie in one slot of the outbox, which has one sequence number.
        number = image.reference.number if image.reference is not None else 0
        if image.encoding == "shm" and number != checked and not _still_valid(image, outbox):
            return _overwritten(name)
        checked = number
    return None


def newest_images(
    message: Message[Request], spec: PolicySpec, outbox: OutboxReader | None, keep: bool
) -> dict[str, NDArray[np.uint8]]:
    """By camera uint8 [h, w, 3] at the policy's resolution; JPEGs are decoded, and images resized,
    by two threads. With `keep` none of them is a view of shared memory. Raises WireError."""

    def one(camera: CameraFeature) -> NDArray[np.uint8]:
        return _image(message, camera, outbox, keep)

    images = message.body.images
    laborious = any(
        image.encoding == "jpeg" or (image.width, image.height) != (camera.width, camera.height)
        for camera in spec.cameras
        if (image := images.get(camera.name)) is not None
    )
    pixels = in_two_threads(one, spec.cameras) if laborious else map(one, spec.cameras)
    return {camera.name: image for camera, image in zip(spec.cameras, pixels, strict=True)}


def _image(
    message: Message[Request], camera: CameraFeature, outbox: OutboxReader | None, keep: bool
) -> NDArray[np.uint8]:
    name = camera.name
    described = message.body.images.get(name)
    if described is None:
        has = ", ".join(sorted(message.body.images)) or "none"
        raise WireError(
            "image-missing", f"the request has no image '{name}', only: {has}; send every camera"
        )
    image = _pixels(message, camera, described, outbox)
    resized = (described.width, described.height) != (camera.width, camera.height)
    if described.encoding == "shm" and (keep or resized):
        if not resized:
            image = image.copy()
        if not _still_valid(described, outbox):
            raise _overwritten(name)
    return image


def _pixels(
    message: Message[Request], camera: CameraFeature, image: Image, outbox: OutboxReader | None
) -> NDArray[np.uint8]:
    """The image, at the policy's resolution; in shared memory, if it needs no resize."""
    try:
        pixels = message.image(image, {} if outbox is None else {outbox.nonce: outbox})
    except OutboxError as error:
        raise WireError("shm-outbox", str(error)) from error
    return resize(pixels, camera.width, camera.height)


def earlier_images(
    message: Message[Request], spec: PolicySpec, outbox: OutboxReader | None
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
        each = {image: _pixels(message, camera, image, outbox) for image in set(described)}
        frames[camera.name] = np.stack([each[image] for image in described])
        for image in each:
            if image.encoding == "shm" and not _still_valid(image, outbox):
                raise _overwritten(camera.name)
    return frames


def _still_valid(image: Image, outbox: OutboxReader | None) -> bool:
    return outbox is not None and image.reference is not None and outbox.valid(image.reference)


def _overwritten(camera: str) -> WireError:
    return WireError(
        "shm-overwritten",
        f"image '{camera}' was overwritten while it was read: the robot has sent several "
        "requests since; it must keep one in flight",
    )
