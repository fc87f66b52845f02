"""The whole state of the cell as one fixed-size block of bytes.

The robot's driver publishes it, cameras draw from it, and a new driver resumes from it: there is
nothing about the cell that is not in here. Little-endian, `SIZE` bytes, starts with `MAGIC`; a
block of another size, magic or version is refused. It carries no checksum: who stores or transports
it sees to it that it is whole.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...errors import RobotError
from .task import sentence

MAGIC = b"HFSCENE"
VERSION = 3
MAX_PARCELS = 6

_HEAD = struct.Struct("<7sB8q5b3x")
_BODY = struct.Struct("<5d5d8d")
_PARCEL = struct.Struct("<q3d")
SIZE = _HEAD.size + _BODY.size + MAX_PARCELS * _PARCEL.size


class Parcel(NamedTuple):
    """A box on the belt. It rides: its place in the room is `y = along - scene.travel`."""

    colour: int
    x: float
    along: float
    """Where it lies on the belt's own ruler, metres."""
    yaw: float


@dataclass(slots=True)
class Scene:
    """Everything there is, in metres, radians and seconds.

    `instant_ns` is when the scene was true, on the clock of its process. `held` indexes
    `parcels`, or is -1; `slip` and `twist` are how the held parcel sits between the fingers, along
    them and in yaw. The belt's speed is `pace * (1 + sway * sin(pulse * t + phase))`, t since the
    episode began. `attempted` is 1 once the arm was commanded in this episode;
    `joined` is the episode in the middle of which it was commanded for the very first time, -1 if
    that was at one's beginning, 0 before.
    """

    seed: int
    instant_ns: int = 0
    steps: int = 0
    episode: int = 0
    episode_steps: int = 0
    tried: int = 0
    succeeded: int = 0
    joined: int = 0
    colour: int = 0
    bin: int = 0
    outcome: int = 0
    held: int = -1
    attempted: int = 0
    position: list[float] = field(default_factory=lambda: [0.0] * 5)
    target: list[float] = field(default_factory=lambda: [0.0] * 5)
    speed: float = 0.0
    travel: float = 0.0
    pace: float = 0.0
    sway: float = 0.0
    pulse: float = 0.0
    phase: float = 0.0
    slip: float = 0.0
    twist: float = 0.0
    parcels: list[Parcel] = field(default_factory=list)

    @property
    def task(self) -> str:
        """The sentence the policy gets."""
        return sentence(self.colour, self.bin)

    def copy(self) -> Scene:
        """An independent scene, equal to this one."""
        return Scene(
            self.seed,
            self.instant_ns,
            self.steps,
            self.episode,
            self.episode_steps,
            self.tried,
            self.succeeded,
            self.joined,
            self.colour,
            self.bin,
            self.outcome,
            self.held,
            self.attempted,
            self.position[:],
            self.target[:],
            self.speed,
            self.travel,
            self.pace,
            self.sway,
            self.pulse,
            self.phase,
            self.slip,
            self.twist,
            self.parcels[:],
        )


_NOTHING = Parcel(-1, 0.0, 0.0, 0.0)


def pack(scene: Scene) -> bytes:
    """`scene` as `SIZE` bytes."""
    absent = [_NOTHING] * (MAX_PARCELS - len(scene.parcels))
    return b"".join(
        (
            _HEAD.pack(
                MAGIC,
                VERSION,
                scene.seed,
                scene.instant_ns,
                scene.steps,
                scene.episode,
                scene.episode_steps,
                scene.tried,
                scene.succeeded,
                scene.joined,
                scene.colour,
                scene.bin,
                scene.outcome,
                scene.held,
                scene.attempted,
            ),
            _BODY.pack(
                *scene.position,
                *scene.target,
                scene.speed,
                scene.travel,
                scene.pace,
                scene.sway,
                scene.pulse,
                scene.phase,
                scene.slip,
                scene.twist,
            ),
            *(_PARCEL.pack(*parcel) for parcel in scene.parcels + absent),
        )
    )


def unpack(block: bytes | bytearray | memoryview) -> Scene:
    """The scene in `block`. Raises RobotError when the block is not a scene of this version."""
    if len(block) != SIZE:
        raise RobotError(
            f"a scene of {len(block)} bytes, expected {SIZE}: "
            "run driver and cameras from the same version of holdfast"
        )
    magic, version, *whole = _HEAD.unpack_from(block)
    if magic != MAGIC or version != VERSION:
        raise RobotError(
            f"a scene that begins {magic!r} version {version}, expected {MAGIC!r} version "
            f"{VERSION}: run driver and cameras from the same version of holdfast"
        )
    body = _BODY.unpack_from(block, _HEAD.size)
    parcels = [
        Parcel(*_PARCEL.unpack_from(block, _HEAD.size + _BODY.size + i * _PARCEL.size))
        for i in range(MAX_PARCELS)
    ]
    present = [p for p in parcels if p.colour >= 0]
    fields: tuple[Any, ...] = (*whole, list(body[:5]), list(body[5:10]), *body[10:], present)
    return Scene(*fields)
