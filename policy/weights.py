"""A hash of the weights of a policy that is an object, not a checkpoint."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from .held_objects import is_array, is_network, reachable


def weights_hash(policy: object) -> str | None:
    """SHA-256 in hex of names, shapes, types and bytes of the `state_dict` of every torch module,
    and of every array of torch, numpy or JAX, that `policy` is or refers to
    (`held_objects.reachable`); None without any.

    Weights elsewhere (numbers, a file that is read at each call, another server) and the code are
    not included.
    """
    held = list(reachable(policy))
    found = sorted(
        [_of_module(each) for each in held if is_network(each)]
        + [_of_array(each) for each in held if is_array(each)]
    )
    return hashlib.sha256("\n".join(found).encode()).hexdigest() if found else None


def _of_module(module: Any) -> str:
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if not isinstance(value, torch.Tensor):
            digest.update(f"{name} {value!r}\n".encode())
            continue
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(_bytes_of(value))
    return digest.hexdigest()


def _of_array(array: Any) -> str:
    digest = hashlib.sha256(f"{array.dtype} {list(array.shape)}\n".encode())
    if isinstance(array, np.ndarray) or not hasattr(array, "detach"):
        plain = np.ascontiguousarray(np.asarray(array))
        digest.update(plain.reshape(-1).view(np.uint8).data)
    else:
        digest.update(_bytes_of(array))
    return digest.hexdigest()


def _bytes_of(tensor: Any) -> memoryview:
    import torch

    flat = tensor.detach().reshape(-1).contiguous().cpu()
    data: memoryview = flat.view(torch.uint8).numpy().data
    return data
