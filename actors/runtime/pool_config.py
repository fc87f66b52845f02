"""`PoolConfig`: what a pool of replicas on a cluster gets in its boot."""

from __future__ import annotations

import msgspec

from .configs import InferenceConfig
from .key_files import KeyFiles


class PoolConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Between `fewest` and `most` replicas of `service` on the Ray cluster at `address`.

    They are numbered from `first`. `replica` is the configuration of each, but for its number, its
    host and its keys, which `keys` has for all of them, in order.
    `fixed` counts the service's replicas that are not in the pool. `namespace` keeps the fleets on
    one cluster apart.
    """

    service: str
    address: str
    namespace: str
    first: int
    fewest: int
    most: int
    fixed: int
    replica: InferenceConfig
    keys: tuple[KeyFiles, ...]
    lease_s: float = 600.0
    """After so long without a visit of its pool a replica ends."""
