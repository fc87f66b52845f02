"""One robot's session at a replica: how its requests become observations, and chunks replies.

A session knows nothing that a request does not repeat: losing it costs a handshake, no chunk. It
belongs to one epoch of one robot; whatever carries another epoch is not its own.

The pixels that a chunk is made from are those the request meant. Images in shared memory are read
where they lie (copied only for who keeps them) and checked against the outbox's sequence word after
they were used: `observe` does so for what it copies or resizes, `overwritten` for the rest. A robot
that overwrites them makes its own request fail and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...errors import OutboxError, WireError
from ...policy.base import Chunk, Observation, PolicySpec
from ...transport.arrays import Buffer
from ...transport.header import VERSION, Header, Kind
from ...transport.images import Image, resize
from ...transport.limits import DEFAULT
from ...transport.messages import Blobs, Error, Message, Reply, Request, encode
from ...transport.outbox import OutboxReader


@dataclass(frozen=True, slots=True)
class TaskRule:
    """What a service does with the task of a request: `pinned` allows no other, `default` stands
    in where there is none."""

    pinned: str | None = None
    default: str = ""

    def choose(self, asked: str) -> str:
        """The task to use. Raises WireError(`task`) for one that a pinned service does not do."""
        if self.pinned is None:
            return asked or self.default
        if asked and asked != self.pinned:
            raise WireError(
                "task",
                f"task {asked!r} at a service that is pinned to {self.pinned!r}: give the robot "
                "that task or none",
            )
        return self.pinned


@dataclass
class ServedSession:
    """One epoch of one robot.

    `outbox` is this host's memory that its images lie in, None for a robot that sends pixels.
    `superseded` counts requests that a newer one replaced since the last reply. `away_s` is what a
    request and its chunk spend outside of this replica, by the delay that the robot reckons with.
    """

    robot: str
    epoch: int
    tags: dict[str, str] = field(default_factory=dict)
    outbox: OutboxReader | None = None
    episode: int = 0
    superseded: int = 0
    away_s: float = 0.0

    @property
    def name(self) -> str:
        """What audit lines and the robot's own are joined by, with `seq`."""
        return f"{self.robot}:{self.epoch}"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a reply says about how it was made; see `messages.Reply`."""

    queue_s: float = 0.0
    inference_s: float = 0.0
    batch: int = 1
    superseded: int = 0
    load: float = 0.0


def answer(request: Header, result: Chunk | Exception, cost: Cost) -> list[Buffer]:
    """The frames of the REPLY or ERROR to the request of that header."""
    if isinstance(result, Exception):
        body = Error(reason=reason_of(result), message=words_of(result)[: DEFAULT.max_text_chars])
        return encode(request._replace(kind=Kind.ERROR, version=VERSION, flags=0), body)
    blobs = Blobs()
    reply = Reply(
        chunk_model=blobs.array(result.model),
        chunk=blobs.array(result.robot),
        queue_s=cost.queue_s,
        inference_s=cost.inference_s,
        batch=cost.batch,
        superseded=cost.superseded,
        load=cost.load,
    )
    return encode(request._replace(kind=Kind.REPLY, version=VERSION, flags=0), reply, blobs)


def reason_of(error: Exception) -> str:
    """A slug to count by: what the wire or the observation got wrong, or that the policy failed."""
    if isinstance(error, WireError):
        return error.reason
    return "observation" if isinstance(error, ValueError) else "policy"


def words_of(error: Exception) -> str:
    """Why a request failed, for people: in the policy's own words where it was the policy."""
    if isinstance(error, WireError | ValueError):
        return str(error)
    return f"the policy failed at this request with {type(error).__name__}: {error}"


def has_prefix(request: Request) -> bool:
    """Whether there is a plan to continue; an empty one is none."""
    return request.prefix is not None and 0 not in request.prefix.shape


def noise_seed(robot: str, epoch: int, episode: int, seq: int) -> int:
    """The seed of a request that brings none: the same on every replica and in every replay, and
    unrelated between robots and requests. 63 bits."""
    word = f"{robot}\0{epoch}\0{episode}\0{seq}".encode()
    return int.from_bytes(hashlib.blake2b(word, digest_size=8).digest(), "little") >> 1


def observe(
    message: Message[Request],
    robot: str,
    spec: PolicySpec,
    tasks: TaskRule,
    outbox: OutboxReader | None,
    keep: bool = True,
) -> Observation:
    """What the policy is asked. Raises WireError whose message names what does not fit.

    Without `keep`, images in shared memory that need no resize are views of it, which the robot may
    overwrite: ask `overwritten` once they have been used.
    """
    request, header = message.body, message.header
    prefix = prefix_robot = None
    if spec.prefix != "none" and has_prefix(request):
        prefix = _actions(message, "prefix", spec)
        if request.prefix_robot is not None:
            prefix_robot = _actions(message, "prefix_robot", spec)
            if len(prefix_robot) != len(prefix):
                raise WireError(
                    "prefix-shape",
                    f"prefix has {len(prefix)} steps, prefix_robot {len(prefix_robot)}: they are "
                    "the same leftover plan in two spaces",
                )
    return Observation(
        state=_floats(message, "state", (len(spec.state_names),)),
        images={
            c.name: _image(message, c.name, c.width, c.height, outbox, keep) for c in spec.cameras
        },
        task=tasks.choose(request.task),
        seed=request.seed or noise_seed(robot, header.epoch, header.episode, header.seq),
        prefix=prefix,
        prefix_robot=prefix_robot,
        delay_steps=min(request.delay_steps, spec.chunk_size - 1),
    )


def overwritten(
    message: Message[Request], cameras: Iterable[str], outbox: OutboxReader | None
) -> WireError | None:
    """What to answer when an image of these cameras that lay in shared memory is no longer the
    request's; None if all still are."""
    for name in cameras:
        image = message.body.images[name]
        if image.encoding == "shm" and not _still_valid(image, outbox):
            return _overwritten(name)
    return None


def _image(
    message: Message[Request],
    name: str,
    width: int,
    height: int,
    outbox: OutboxReader | None,
    keep: bool,
) -> NDArray[np.uint8]:
    described = message.body.images.get(name)
    if described is None:
        has = ", ".join(sorted(message.body.images)) or "none"
        raise WireError(
            "image-missing", f"the request has no image '{name}', only: {has}; send every camera"
        )
    try:
        pixels = message.image(described, {} if outbox is None else {outbox.nonce: outbox})
    except OutboxError as error:
        raise WireError("shm-outbox", str(error)) from error
    image = resize(pixels, width, height)
    if described.encoding == "shm" and (keep or image is not pixels):
        if image is pixels:
            image = pixels.copy()
        if not _still_valid(described, outbox):
            raise _overwritten(name)
    return image


def _still_valid(image: Image, outbox: OutboxReader | None) -> bool:
    return outbox is not None and image.reference is not None and outbox.valid(image.reference)


def _overwritten(camera: str) -> WireError:
    return WireError(
        "shm-overwritten",
        f"image '{camera}' was overwritten while it was read: the robot has sent several "
        "requests since; it must keep one in flight",
    )


def _actions(message: Message[Request], name: str, spec: PolicySpec) -> NDArray[np.float32]:
    """A prefix [P, A], cut to what the policy can be given."""
    described = getattr(message.body, name)
    steps = described.shape[0] if len(described.shape) == 2 else -1
    prefix = _floats(message, name, (steps, len(spec.action_names)))
    return prefix[: spec.max_prefix_steps]


def _floats(message: Message[Request], name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    described = getattr(message.body, name)
    if described.dtype != "f4" or described.shape != shape:
        raise WireError(
            f"{name}-shape".replace("_", "-"),
            f"{name} is {described.dtype}{list(described.shape)}, this policy wants "
            f"f4{['steps' if n < 0 else n for n in shape]}",
        )
    values: NDArray[np.float32] = message.array(described)
    if not np.isfinite(values).all():
        raise WireError(
            "not-finite", f"{name} holds values that are not finite: look at the robot's sensors"
        )
    return values
