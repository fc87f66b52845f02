"""One robot's session at a replica: requests to observations, chunks to replies.

A session holds nothing that a request does not repeat, so that losing it costs a handshake and no
chunk. It belongs to one epoch of one robot.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...errors import WireError
from ...policy.base import Chunk, Observation, PolicySpec
from ...transport.arrays import Buffer, all_finite
from ...transport.bodies import Error, Reply, Request
from ...transport.header import VERSION, Header, Kind
from ...transport.limits import DEFAULT
from ...transport.messages import Blobs, Message, encode
from ..runtime.user_code import blame, place
from .observed_images import Views, earlier_images, newest_images
from .robot_memory import RobotMemory

_CONTINUES = ("execution_horizon", "guidance_schedule", "guidance_clip")
"""How a chunk continues its prefix, equally named in a request and in an observation."""


@dataclass(frozen=True, slots=True)
class TaskRule:
    """A service's rule for tasks: `pinned` allows no other, `default` replaces an empty one."""

    pinned: str | None = None
    default: str = ""

    def choose(self, asked: str) -> str:
        """The task to use for the task `asked`. Raises WireError(`task`) for one that a pinned
        service refuses."""
        if self.pinned is None:
            return asked or self.default
        if asked and asked != self.pinned:
            raise WireError(
                "task",
                f"task {asked!r} at a service that is pinned to {self.pinned!r}: give the robot "
                "that task or none",
            )
        return self.pinned


BY_BROKER = b""
"""The way of a request that came by the broker; others are identities at the direct door."""


@dataclass
class AskedRequest:
    """The newest request of a session: the ways by which it came, and the frames of its answer,
    once there is one.

    A robot that came straight asks by the broker too when it waits for long: the policy is called
    once, and each way gets the answer.
    """

    seq: int
    ways: list[bytes]
    answer: list[Buffer] | None = None


@dataclass
class ServedSession:
    """One epoch of one robot. `id` joins the records of its requests with the robot's own, together
    with `seq`.

    `memory` is this host's that its images lie in, None for a robot that sends pixels.
    `superseded` counts requests that a newer one replaced since the last reply. `away_s` is the
    time that a request and its chunk spend outside of this replica, from the robot's delay.
    `broker` is the number of the broker that it comes by, `move` how often that had changed.
    """

    robot: str
    epoch: int
    id: int
    tags: dict[str, str] = field(default_factory=dict)
    memory: RobotMemory | None = None
    episode: int = 0
    superseded: int = 0
    away_s: float = 0.0
    broker: int = 0
    move: int = 0
    asked: AskedRequest | None = None

    @property
    def ways(self) -> list[bytes]:
        """By which ways the answer to the newest request goes."""
        return [BY_BROKER] if self.asked is None else self.asked.ways

    def answered(self, frames: list[Buffer]) -> None:
        """The newest request was answered: keep it for the ways by which it may come yet."""
        if self.asked is not None:
            # Copied, because a policy may write its next chunk into the memory of this one.
            self.asked.answer = [bytes(frame) for frame in frames]


class Cost(msgspec.Struct, frozen=True):
    """How a reply was made; the fields are those of `bodies.Reply`."""

    queue_s: float = 0.0
    inference_s: float = 0.0
    batch: int = 1
    superseded: int = 0
    load: float = 0.0
    interval_s: float = 0.0


def answer(request: Header, result: Chunk | Exception, cost: Cost) -> list[Buffer]:
    """The frames of the REPLY or ERROR to the request with that header."""
    if isinstance(result, Exception):
        body = Error(reason=reason_of(result), message=message_of(result)[: DEFAULT.max_text_chars])
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
        interval_s=cost.interval_s,
    )
    return encode(request._replace(kind=Kind.REPLY, version=VERSION, flags=0), reply, blobs)


def reason_of(error: Exception) -> str:
    """The reason to count `error` by: a wire error's own, `observation` or `policy`."""
    if isinstance(error, WireError):
        return error.reason
    return "observation" if isinstance(error, ValueError) else "policy"


def message_of(error: Exception) -> str:
    """Why a request failed, as a sentence; it quotes the policy's own error, with file and line."""
    if isinstance(error, WireError):
        return str(error)
    if isinstance(error, ValueError):
        return f"{error} {place(error)}".strip()
    return f"the policy failed at this request with {blame(error)}"


def has_prefix(request: Request) -> bool:
    """Whether the request has a prefix that is not empty."""
    return request.prefix is not None and 0 not in request.prefix.shape


def noise_seed(robot: str, epoch: int, episode: int, seq: int) -> int:
    """The seed of a request without one, 63 bits: the same on every replica and in every replay,
    different between robots and requests."""
    key = f"{robot}\0{epoch}\0{episode}\0{seq}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") >> 1


def observe(
    message: Message[Request],
    robot: str,
    spec: PolicySpec,
    tasks: TaskRule,
    memory: RobotMemory | None,
    views: Views | None = None,
) -> Observation:
    """The observation of a request. Raises WireError that names the field that does not fit.

    Images in shared memory that need no resize may be views of it, which are noted in `views`: ask
    it after their use whether they were `overwritten`. Without `views` they are copied.
    """
    request, header = message.body, message.header
    prefix = prefix_robot = None
    continues: dict[str, Any] = {}
    if spec.prefix != "none":
        continues = {name: getattr(request, name) for name in _CONTINUES}
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
    states, frames = None, {}
    if spec.observation_steps > 1:
        frames = earlier_images(message, spec, memory)
        states = _floats(message, "state_history", (spec.observation_steps, len(spec.state_names)))
    return Observation(
        state=_floats(message, "state", (len(spec.state_names),)),
        images=newest_images(message, spec, memory, views),
        task=tasks.choose(request.task),
        seed=request.seed or noise_seed(robot, header.epoch, header.episode, header.seq),
        prefix=prefix,
        prefix_robot=prefix_robot,
        delay_steps=min(request.delay_steps, spec.chunk_size - 1),
        state_history=states,
        image_history=frames,
        **continues,
        session=f"{robot}:{header.epoch}:{header.episode}",
    )


def _actions(message: Message[Request], name: str, spec: PolicySpec) -> NDArray[np.float32]:
    """A prefix, float32 [P, A], cut to `max_prefix_steps`."""
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
    if not all_finite(values):
        raise WireError(
            "not-finite", f"{name} holds values that are not finite: look at the robot's sensors"
        )
    return values
