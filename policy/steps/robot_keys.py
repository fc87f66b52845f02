"""`RobotKeys`: under which keys a robot's observation travels to a server of openpi, and what its
actions are. Plain values: they can be sent to a process that has not the robot's own code."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np

from ..base import CameraFeature, Observation, PolicySpec
from .data_step import Data
from .key_paths import nested


class RobotKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The data of one kind of robot, as clients of openpi send and get them.

    Attributes:
        name: what the kind is called.
        cameras: the key of each camera's images.
        slots: the camera in each place that models have for images.
        camera_size: width and height of the images that it usually has.
        state: the names of the values under each key of the state, in order.
        action_names: the columns of a chunk.
        fps: actions per second.
        control_mode: whether actions are positions, or velocities (or differences), of which 0
            means rest.
        prompt: the key of the instruction; empty where none is sent.
        nested: whether a key `a/b` is an entry `b` of a map `a`; else it is one entry.
        channels_first: whether images are sent as [3, h, w]; else as [h, w, 3].
    """

    name: str
    cameras: dict[str, str]
    slots: dict[str, str] = {}
    camera_size: tuple[int, int] = (640, 480)
    state: dict[str, tuple[str, ...]]
    action_names: tuple[str, ...]
    fps: float
    control_mode: Literal["position", "velocity"] = "position"
    prompt: str = "prompt"
    nested: bool = False
    channels_first: bool = False

    @property
    def state_names(self) -> tuple[str, ...]:
        """The values of the state, over all its keys."""
        return tuple(name for names in self.state.values() for name in names)

    @property
    def used_cameras(self) -> tuple[str, ...]:
        """The cameras that models have a place for; all, where no slots are named."""
        used = set(self.slots.values())
        return tuple(camera for camera in self.cameras if not used or camera in used)

    def camera_of(self, name: str) -> str | None:
        """The camera that a policy calls `name`: its own name, or that of a slot."""
        return name if name in self.cameras else self.slots.get(name)

    def spec(
        self,
        model: str,
        chunk_size: int,
        revision: str = "1",
        size: tuple[int, int] | None = None,
        **others: Any,
    ) -> PolicySpec:
        """The contract of a policy of such a robot, with its `used_cameras`, of the width and
        height `size` or its `camera_size`. `others` replaces fields of it. Raises TypeError or
        ValueError that begins with the field."""
        width, height = size or self.camera_size
        fields: dict[str, Any] = {
            "model": model,
            "revision": revision,
            "cameras": tuple(
                CameraFeature(name, width=width, height=height) for name in self.used_cameras
            ),
            "state_names": self.state_names,
            "action_names": self.action_names,
            "chunk_size": chunk_size,
            "fps": self.fps,
            "control_mode": self.control_mode,
        }
        return PolicySpec(**{**fields, **others})

    def observed(self, observation: Observation) -> Data:
        """A policy's observation in these keys, as a client sends it: first of the steps.

        An instruction that is empty is left out. A prefix in robot space, which continues a plan,
        becomes `actions`: steps treat it as training treats the actions of a dataset.
        """
        flat: Data = {}
        for name, image in observation.images.items():
            pixels = image.transpose(2, 0, 1) if self.channels_first else image
            flat[self.cameras[name]] = pixels
        if self.state:
            ends = np.cumsum([len(names) for names in self.state.values()])[:-1]
            flat |= zip(self.state, np.split(observation.state, ends), strict=True)
        if observation.task and self.prompt:
            flat[self.prompt] = observation.task
        if observation.prefix_robot is not None:
            flat["actions"] = observation.prefix_robot
        return nested(flat) if self.nested else flat
