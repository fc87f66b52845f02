"""Device errors: which exceptions suggest that the device failed and not the request.

A failing launch, exhausted memory and a lost GPU do. An exception alone proves nothing: memory also
runs out for one absurd request, and an error's text may quote the request. `PolicyRunner` verifies
by running an example that worked before.
"""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Iterator

_PATTERN = re.compile(
    r"\b(CUDA|HIP|XPU|MPS|cuDNN|cuBLAS|cuFFT|cuSOLVER|NCCL|ROCm) (error|driver|backend|kernel)"
    r"|\b(CUDNN|CUBLAS|CUFFT|CUSOLVER|MIOPEN|NVML)_(STATUS_|ERROR_)"
    r"|\bcuda(Error|runtime)\w*"
    r"|out of memory|can't allocate memory|RESOURCE_EXHAUSTED"
    r"|device-side assert|launch failure|illegal memory access|misaligned address"
    r"|GPU is lost|device (is )?lost|fallen off the bus|uncorrectable ECC",
    re.IGNORECASE,
)
_TORCH_TYPES = ("OutOfMemoryError", "AcceleratorError")


def is_device_error(error: BaseException) -> bool:
    """Whether `error`, its cause or its context names a failure of the device."""
    return any(
        isinstance(e, (MemoryError, *_torch_types())) or _PATTERN.search(str(e))
        for e in _chain(error)
        # A policy raises ValueError for an observation; its text may quote anything.
        if not isinstance(e, ValueError)
    )


def free_memory(thoroughly: bool = False) -> None:
    """Free cached device memory; `thoroughly`: also objects in reference cycles, which takes some
    tenths of a second."""
    if thoroughly:
        gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        try:
            torch.cuda.empty_cache()
        except RuntimeError as error:
            # Freeing fails on a lost device too; the attempt that follows reports it.
            if not is_device_error(error):
                raise


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _torch_types() -> tuple[type[BaseException], ...]:
    torch = sys.modules.get("torch")
    found = (getattr(torch, name, None) for name in _TORCH_TYPES)
    return tuple(kind for kind in found if kind is not None)
