"""More than one process: what `torchrun` starts, each with its share of every batch (DDP)."""

from __future__ import annotations

import contextlib
import inspect
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from hsfuse.errors import RequestError
from hsfuse.fusion.compute import cuda_devices

if TYPE_CHECKING:
    from collections.abc import Iterator


# Buffers never change: to send them along at every step is for nothing. torch 2.13 renamed the word for it.
_SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel).parameters
)


@dataclass(frozen=True)
class Processes:
    """This process among those that train together; by default it is alone."""

    rank: int = 0
    """Which one this is."""

    count: int = 1
    """How many there are."""

    @property
    def first(self) -> bool:
        """Whether this is the one that validates, writes and talks."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network with gradients that are means over all processes."""
        if self.count == 1:
            return network
        device = next(network.parameters()).device
        settings: dict[str, Any] = {_SYNC_BUFFERS: False}
        return DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None, **settings)

    def agree(self, number: float, device: torch.device) -> float:
        """The first process's number, in all of them."""
        if self.count == 1:
            return number
        shared = torch.tensor([number], dtype=torch.float64, device=device)
        distributed.broadcast(shared, src=0)
        return float(shared)

    def every(self, holds: bool, device: torch.device) -> bool:
        """Whether something holds in all processes."""
        if self.count == 1:
            return holds
        told = torch.tensor([int(holds)], device=device)
        distributed.all_reduce(told, distributed.ReduceOp.MIN)
        return bool(told)

    @contextlib.contextmanager
    def exchanging(self, network: nn.Module, *, wanted: bool) -> Iterator[None]:
        """A block whose gradients go to the other processes, with those before, only where that is wanted."""
        if wanted or not isinstance(network, DistributedDataParallel):
            yield
            return
        with network.no_sync():
            yield

    def share(self, each: int) -> slice:
        """Which patches of a step, `each` a process, are this process's."""
        return slice(self.rank * each, (self.rank + 1) * each)


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Join the processes that `torchrun` started, by NCCL on CUDA and gloo on the CPU; alone without it."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    if device.type == "cuda":
        index = torch.cuda.current_device() if device == torch.device("cuda") else device.index
        torch.cuda.set_device(index)  # what NCCL and kernels do without being told a device goes to this one
        distributed.init_process_group("nccl", device_id=torch.device("cuda", index))
    else:
        distributed.init_process_group("gloo")
    try:
        yield Processes(distributed.get_rank(), count)
    finally:
        distributed.destroy_process_group()


def started_first() -> bool:
    """Whether this is the first process that `torchrun` started, or alone."""
    return int(os.environ.get("RANK", "0")) == 0


def local_device(device: torch.device) -> torch.device:
    """The CUDA device of this process where `torchrun` started one a card, else the device as it is.

    Raises:
        RequestError: There are more processes than cards, or all of them are to share one, which NCCL cannot.
    """
    started = os.environ.get("LOCAL_RANK")
    if started is None or device.type != "cuda":
        return device
    rank, count = int(started), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if device != torch.device("cuda"):
        if count > 1:
            raise RequestError(f"{count} processes cannot share {device}: pass `device=cuda`, a card for each of them")
        return device
    if rank >= torch.cuda.device_count():
        raise RequestError(
            f"process {rank} of torchrun has no card, {cuda_devices()}: start as many processes as there are cards"
        )
    return torch.device("cuda", rank)
