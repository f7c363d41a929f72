"""Several processes that train one model, each on its part of every batch.

Everything is torch.distributed's; a process on its own is a group of one. Start them by torchrun,
or initialise the process group before calling :func:`~pyro_vae.fit`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from pyro_vae.noise import noise

__all__: list[str] = []


@contextmanager
def group() -> Iterator[None]:
    """The process group that torchrun's environment describes; none where there is no such."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _on():
        yield
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _on() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def present() -> int:
    """The number of this process, from 0; that one writes."""
    return distributed.get_rank() if _on() else 0


def count() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if _on() else 1


def part(index: Tensor) -> Tensor:
    """This process's share of a batch's indices: every n-th of them."""
    return index[present() :: count()]


def total(figures: Tensor) -> Tensor:
    """The sum of all processes' figures."""
    if count() > 1:
        distributed.all_reduce(figures)
    return figures


def parallel(program: nn.Module) -> nn.Module:
    """A module whose gradients are averaged over the processes; its own where there is one."""
    if count() == 1:
        return program
    return DistributedDataParallel(program)


def silent(program: nn.Module) -> AbstractContextManager[None]:
    """A context in which gradients are added up and not exchanged."""
    if isinstance(program, DistributedDataParallel):
        return program.no_sync()
    return nullcontext()


def seed(number: int, epoch: int, batch: int) -> None:
    """Start a process's own noise for a step, so that none is drawn twice and none need be kept.

    Args:
        number: The run's seed.
        epoch: The epoch.
        batch: The batch of it.
    """
    if count() > 1:
        torch.manual_seed(noise("step", number, (epoch, present(), batch)))


def agreed(value: float, device: torch.device) -> float:
    """The first process's figure, in all: what they decide by must not differ by rounding."""
    if count() == 1:
        return value
    found = torch.tensor([value], device=device)
    distributed.broadcast(found, 0)
    return float(found)


def wait() -> None:
    """Wait until all processes are here."""
    if count() > 1:
        distributed.barrier()
