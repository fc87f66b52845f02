"""Ray: a call of an actor's method with the observation, and its result, as Ray's users write it.

Arrays this large go through Ray's shared object store, small ones with the call.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from . import turns, work


class NoOpRayPolicy:
    """The actor; computes the actions of the work."""

    def infer(self, state: Any, images: dict[str, Any]) -> Any:
        """The chunk of an observation."""
        return work.actions(state, {name: work.corner(image) for name, image in images.items()})


@contextmanager
def asking(_way: str) -> Iterator[turns.AskedPeer]:
    """It has one way."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        policy: Any = ray.remote(NoOpRayPolicy).remote()
        images = work.images()

        def ask(number: int) -> Any:
            return ray.get(policy.infer.remote(work.state(number), images))

        yield turns.AskedPeer(ask, f"ray {ray.__version__}")
    finally:
        ray.shutdown()


if __name__ == "__main__":
    turns.main(asking)
