"""Reading: the batches of an epoch in their order, ahead of their use, by a thread or processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pyro_vae.data.batch import Batch, Images, Loaded
from pyro_vae.data.stored import Stored
from pyro_vae.errors import TrainingError

__all__ = ["batches", "order"]

_AHEAD = 2


def order(images: Images) -> Tensor:
    """An epoch's order of images, drawn by torch's own generator.

    It is a permutation; of a stream one in which images change places only within windows, which
    are as long as its buffer and begin elsewhere in every epoch.

    Args:
        images: (N, *data_shape), in memory, on disk or a stream.

    Returns:
        Indices, int64 (N,), on the images' device.
    """
    n, window = len(images), None if isinstance(images, Tensor) else images.window
    if window is None:
        return torch.randperm(n, device=images.device)
    # The first window ends anywhere, so that the others' ends differ from epoch to epoch.
    edges = [0, *range(int(torch.randint(1, window + 1, ())), n, window), n]
    parts = [start + torch.randperm(end - start) for start, end in pairwise(edges)]
    return torch.cat(parts).to(images.device)


def batches(images: Images, parts: Sequence[Tensor], workers: int = 0) -> Iterator[Loaded]:
    """The images of one index after the other; those on disk are read ahead of their use.

    Args:
        images: (N, *data_shape), in memory, on disk or a stream.
        parts: Indices, int64 (n,); of a stream in the order that :func:`order` gives.
        workers: Processes that read image files and shards; what they give does not depend on it.
            Without any a thread does. Arrays are mapped into memory, which no process is needed
            for, and a stream's reading is its own.

    Yields:
        The images of each index, on their device.

    Raises:
        InputError: If an image cannot be read.
        TrainingError: If a worker process dies.
    """
    if isinstance(images, Tensor) or images.window is not None or not _on_disk(images):
        yield from (images[index] for index in parts)
    elif workers and images.decoded:
        yield from (batch.to(images.device) for batch in _by_processes(images, parts, workers))
    else:
        yield from (batch.to(images.device) for batch in _by_thread(images, parts))


def _on_disk(images: Images) -> bool:
    return not isinstance(images, Batch) or not images.in_memory


def _by_thread(images: Stored | Batch, parts: Sequence[Tensor]) -> Iterator[Loaded]:
    with ThreadPoolExecutor(1) as reader:
        ahead: deque[Future[Loaded]] = deque()
        for done in range(len(parts)):
            while len(ahead) <= _AHEAD and done + len(ahead) < len(parts):
                ahead.append(reader.submit(images.read, parts[done + len(ahead)]))
            yield ahead.popleft().result()


class _Readable(Dataset[Any]):
    """Images by an index, read where a worker process is; an error is given and not raised.

    What a worker raises is raised anew with the worker's whole traceback as its words.
    """

    def __init__(self, images: Stored | Batch) -> None:
        self.images = images

    def __getitem__(self, index: NDArray[np.int64]) -> Loaded | Exception:
        try:
            return self.images.read(torch.from_numpy(index))
        except Exception as error:
            return error


T = TypeVar("T")


def _as_it_is(batch: T) -> T:
    return batch


def _by_processes(
    images: Stored | Batch, parts: Sequence[Tensor], workers: int
) -> Iterator[Loaded]:
    loader = DataLoader(
        _Readable(images.to("cpu")),
        batch_size=None,
        sampler=[index.cpu().numpy() for index in parts],
        num_workers=workers,
        collate_fn=_as_it_is,
        prefetch_factor=_AHEAD,
        generator=torch.Generator(),  # else it draws from the one that training draws from
    )
    found = iter(loader)
    try:
        while True:
            try:
                batch = next(found)
            except StopIteration:
                return
            except RuntimeError as error:
                reason = " ".join(str(error).split())
                batch = TrainingError(f"a process that reads images died: {reason}")
            if isinstance(batch, Exception):
                raise batch
            yield batch
    finally:
        # Its processes end with it, and what is raised keeps all that this frame holds.
        del found
