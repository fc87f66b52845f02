"""Where a training computes."""

from __future__ import annotations

import os

import torch


def training_device(name: str, threads: int) -> torch.device:
    """Use `threads` threads of the CPU, and return the device `name`: cpu, cuda, cuda:N, or auto
    for a GPU if torch finds one. Of several processes on a machine each takes the GPU of its
    number.

    On a GPU, deterministic kernels are chosen where torch has them. Raises ValueError for a device
    that is not there.
    """
    torch.set_num_threads(threads)
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if found else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in {"cpu", "cuda"}:
        raise ValueError(f"--device {name}: expected auto, cpu, cuda or cuda:N")
    if device.type == "cpu":
        return device
    together = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if together > 1 and device.index is not None:
        raise ValueError(
            f"--device {name}: {together} processes of this machine would share it; give "
            "--device cuda, and each takes its own"
        )
    index = int(os.environ.get("LOCAL_RANK", "0")) if device.index is None else device.index
    if index >= found:
        raise ValueError(
            f"--device {name}: torch {torch.__version__} finds {found} CUDA devices here, "
            f"expected {index + 1} or more; use --device cpu"
        )
    # Without such a workspace cuBLAS is not deterministic (NVIDIA, cuBLAS, section 2.1.4).
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # The backward passes of some kernels have no deterministic form; torch warns of these.
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.cuda.set_device(index)
    return torch.device("cuda", index)
