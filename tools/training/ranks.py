"""`Ranks`: the processes that train one network together, as torchrun starts them.

The weights, their gradients and the optimizer's state are sharded over them (PyTorch's FSDP2,
`fully_shard`; https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html). Each rank
takes its part of every batch, and the gradients are those of the whole batch. A single process, the
default, communicates nothing.

What it does not: end the others when one ends. torchrun does.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from ...policy.pi0.gemma import GemmaBlock
from ...policy.pi0.vision_tower import VisionBlock
from ...policy.transformer import Block

# The others wait while the first decodes a dataset. torchrun notices a process that has ended.
_WAIT = timedelta(days=1)


@dataclass(frozen=True)
class Ranks:
    """This process is `rank` of `count`."""

    rank: int = 0
    count: int = 1

    @classmethod
    def joined(cls, device: torch.device) -> Ranks:
        """The ranks in torchrun's environment, connected; a single one without that. Raises
        ValueError for a torch that cannot shard."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls()
        from torch.distributed.fsdp import fully_shard

        if "ignored_params" not in inspect.signature(fully_shard).parameters:
            raise ValueError(
                f"{count} processes need a newer torch, found {torch.__version__}: its "
                "fully_shard has no ignored_params"
            )
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=_WAIT)
        return cls(distributed.get_rank(), count)

    def left(self) -> None:
        """End the connection, at the end of the training."""
        if self.count > 1:
            distributed.destroy_process_group()

    @contextlib.contextmanager
    def first_alone(self) -> Iterator[None]:
        """A block that the first rank has finished before the others begin it."""
        if self.rank:
            distributed.barrier()
        yield
        if self.count > 1 and not self.rank:
            distributed.barrier()

    def part(self, total: int) -> slice:
        """This rank's places among `total`, which `count` divides."""
        size = total // self.count
        return slice(self.rank * size, (self.rank + 1) * size)

    def means(self, values: dict[str, float]) -> dict[str, float]:
        """The mean of each value over the ranks, which all call this."""
        if self.count == 1:
            return values
        sums = torch.tensor(list(values.values()), dtype=torch.float64)
        distributed.all_reduce(sums)
        return dict(zip(values, (sums / self.count).tolist(), strict=True))

    def any(self, *flags: bool) -> list[bool]:
        """Which of the flags are set on any rank; all ranks call this."""
        named = {str(place): float(flag) for place, flag in enumerate(flags)}
        return [value > 0 for value in self.means(named).values()]

    def shard(self, module: nn.Module, device: torch.device) -> None:
        """Distribute the parameters of `module` over the ranks: those of a transformer's block
        together, the rest together. Parameters without elements stay whole."""
        if self.count == 1:
            return
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        mesh = init_device_mesh(device.type, (self.count,))
        for block in module.modules():
            if isinstance(block, Block | GemmaBlock | VisionBlock):
                fully_shard(block, mesh=mesh)
            if isinstance(block, GemmaBlock):
                # Weights are gathered for `forward` alone, unless another method is named.
                register_fsdp_forward_method(block, "own")
        empty = {parameter for parameter in module.parameters() if not parameter.numel()}
        fully_shard(module, mesh=mesh, ignored_params=empty)


def whole(tensor: Tensor) -> Tensor:
    """A tensor of all its shards, in the memory of the CPU; all ranks call this."""
    together = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return together.detach().cpu()


def sharded_as(tensor: Tensor, other: Tensor) -> Tensor:
    """`tensor`, the same on all ranks, where and as `other` is."""
    if not isinstance(other, DTensor):
        return tensor.to(other.device)
    return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements)
