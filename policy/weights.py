"""A hash of the weights of a policy that is an object, not a checkpoint."""

from __future__ import annotations

import hashlib
from typing import Any

from .held_objects import is_network, reachable


def weights_hash(policy: object) -> str | None:
    """SHA-256 in hex of names, shapes, types and bytes of the `state_dict` of every torch module
    that `policy` is or refers to (`held_objects.reachable`); None without a module.

    Weights elsewhere (numpy or JAX arrays, a file that is read at each call, another server) and
    the code are not included.
    """
    found = sorted(_of_module(held) for held in reachable(policy) if is_network(held))
    return hashlib.sha256("\n".join(found).encode()).hexdigest() if found else None


def _of_module(module: Any) -> str:
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if not isinstance(value, torch.Tensor):
            digest.update(f"{name} {value!r}\n".encode())
            continue
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        flat = value.detach().reshape(-1).contiguous().cpu()
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
