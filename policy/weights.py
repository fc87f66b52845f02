"""A name for the weights of a policy that comes as an object, not as a checkpoint."""

from __future__ import annotations

import hashlib
from typing import Any

from .held_objects import is_network, reachable


def weights_hash(policy: object) -> str | None:
    """SHA-256 in hex over names, shapes, types and bytes of everything in the `state_dict` of every
    torch module that `policy` is or holds (see `reach`); None when there is none.

    Weights elsewhere (numpy or JAX arrays, a file that is read at each call, another server) are
    not found, nor is the code.
    """
    found = sorted(_of_module(thing) for thing in reachable(policy) if is_network(thing))
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
