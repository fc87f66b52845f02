"""`SeenObservations`: the observations that a script gave to `act`, for its worker and for policies
that see several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from mmap import mmap

import numpy as np
from numpy.typing import NDArray

from ...robot.base import RobotSpec
from ...transport.bodies import Accept
from ...transport.frame_ring import FrameRing
from ..control.config import ControlConfig
from ..control.plan_memory import Word
from ..control.tick_log import TICK_BYTES, TickLog
from .script_config import RING_SLOTS

Images = Mapping[str, NDArray[np.uint8]]


class SeenObservations:
    """Of one robot. `log` has the states; `memory` gives that of a camera's ring, which is as long
    as the policy looks back. The images of other observations than the requests' are copied only
    for a policy that sees them."""

    def __init__(
        self,
        config: ControlConfig,
        robot: RobotSpec,
        shapes: Mapping[str, tuple[int, int, int]],
        memory: Callable[[str], mmap],
        words: memoryview[int],
    ) -> None:
        self.log = TickLog(
            memoryview(bytearray(TICK_BYTES)), len(robot.state_names), len(robot.action_names)
        )
        self._config, self._words = config, words
        self._shapes, self._memory = shapes, memory
        self._rings: dict[str, FrameRing] = {}
        self._kept_ns = 0

    def keep(
        self, state: NDArray[np.float32], images: Images, now_ns: int, terms: Accept | None
    ) -> None:
        """The observation of a policy step; `terms` are those of the session, if there is one."""
        self.log.write(now_ns, 0, self._words[Word.EPISODE], state, None, None, begins_step=True)
        if terms is not None and terms.observation_steps > 1:
            self._put(
                images, now_ns, (terms.observation_steps - 1) * terms.observation_stride_steps
            )

    def send(self, images: Images, now_ns: int) -> None:
        """The observation of a request that is about to be made."""
        if now_ns != self._kept_ns:
            self._put(images, now_ns, 0)

    def _put(self, images: Images, now_ns: int, window_steps: int) -> None:
        for name, shape in self._shapes.items():
            if name not in self._rings:
                # Made when the policy is known, which does not change within a session's life.
                slots = RING_SLOTS + window_steps
                self._rings[name] = FrameRing(self._memory(name), shape, slots)
            self._rings[name].put(images[name], now_ns)
        self._kept_ns = now_ns
