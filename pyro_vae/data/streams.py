"""Streams: iterable data sets that neither memory nor disk holds, as images to train on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from pyro_vae.data.containers import unmasked
from pyro_vae.data.stored import Stored
from pyro_vae.errors import InputError, positive
from pyro_vae.noise import noise

__all__ = ["stream"]

_HEAD = 256
"""Images from the beginning that are kept, since they are looked at after every epoch."""


def stream(source: Iterable[object], images: int, buffer: int = 10_000) -> Stored:
    """Images that are read one after the other, anew in every epoch.

    An epoch is the first ``images`` of them. They are shuffled within a buffer: each trains within
    a window of that many, so ``source`` should not be sorted. Memory holds at most two buffers,
    whatever ``images`` is, and 8 bytes an image for their order.

    A resumed run goes on bit for bit if ``source`` gives the same images in the same order whenever
    it is iterated over (torch's generator, which it may use, is set for it); what came before is
    read once more and thrown away. Figures of all training images are of the first ones.

    Args:
        source: A ``torch.utils.data.IterableDataset``, or a ``DataLoader``, whose worker processes
            then read ahead; of images, batches of them, or (images, ...) tuples. What iterates over
            it a second time must begin anew.
        images: How many make an epoch; for an endless stream, all that training shall see.
        buffer: How many are shuffled at a time.

    Raises:
        InputError: If it gives no images, or a number is out of range. In training: if it ends
            before there are as many, or they differ in shape.

    Example:
        >>> numbers = stream([torch.full((2,), i) for i in range(5)], images=4, buffer=2)
        >>> numbers[1:3]
        tensor([[1., 1.],
                [2., 2.]])
    """
    positive(**{"images of a stream": images, "buffer of a stream": buffer})
    return Stored(_Stream(source, images, buffer))


class _Stream:
    """Rows of a stream: read forwards, kept while they may still be asked for."""

    def __init__(self, source: Iterable[object], images: int, window: int) -> None:
        self.source, self.window = source, window
        self._noise = torch.Generator().manual_seed(noise("stream")).get_state()
        self._restart()
        with self._own_noise():
            first = next(self._items, None)
        if first is None:
            raise InputError("there are no images: the stream is empty")
        if first.ndim not in (1, 2, 3) or first.dtype.kind not in "uifb":
            raise InputError(
                f"a stream must give images (C, H, W), (H, W) or vectors, got {first.dtype} "
                f"{first.shape}"
            )
        self.shape, self.dtype = (images, *first.shape), first.dtype
        self._head: list[np.ndarray[Any, Any]] = []
        self._restart()

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.generic]:
        if len(rows) == 0:
            return np.empty((0, *self.shape[1:]), self.dtype)
        low, high = int(rows[0]), int(rows[-1])
        if high < len(self._head):
            return np.stack([self._head[row] for row in rows])
        if low < self._next - len(self._kept):
            self._restart()
        # Of a window that is under way, any may be asked for next.
        needed = min(low, high - self.window + 1)
        with self._own_noise():
            while self._next <= high:
                self._take(needed)
        oldest = self._next - len(self._kept)
        return np.stack([self._kept[row - oldest] for row in rows])

    def _restart(self) -> None:
        self._noise = torch.Generator().manual_seed(noise("stream")).get_state()
        self._items = self._iterate()
        self._kept: deque[np.ndarray[Any, Any]] = deque()
        self._next = 0

    def _take(self, needed: int) -> None:
        """Read the next one, and forget those before the first that is needed."""
        item = next(self._items, None)
        if item is None:
            raise InputError(
                f"the stream ended after {self._next} images; images= says {self.shape[0]}"
            )
        if (item.shape, item.dtype) != (self.shape[1:], self.dtype):
            raise InputError(
                f"images must be alike: item 0 of the stream is {self.dtype} {self.shape[1:]}, "
                f"item {self._next} {item.dtype} {item.shape}"
            )
        if self._next == len(self._head) < _HEAD:
            self._head.append(item)
        self._kept.append(item)
        self._next += 1
        while self._next - len(self._kept) < min(needed, self._next):
            self._kept.popleft()

    def _iterate(self) -> Iterator[NDArray[np.generic]]:
        batched = isinstance(self.source, DataLoader) and self.source.batch_size is not None
        for number, item in enumerate(self.source):
            found = unmasked(item[0] if isinstance(item, tuple | list) else item)
            try:
                array = np.asarray(found)
            except (TypeError, ValueError, RuntimeError):
                array = np.empty((), object)
            if array.dtype == object:
                raise InputError(f"item {number} of the stream is no image but a {type(found)}")
            # A copy: a part of a batch would keep all of it.
            yield from (np.array(one) for one in array) if batched or array.ndim == 4 else (array,)

    @contextmanager
    def _own_noise(self) -> Iterator[None]:
        """Let the source draw its own numbers, and leave those of training alone."""
        before = torch.get_rng_state()
        torch.set_rng_state(self._noise)
        try:
            yield
        finally:
            self._noise = torch.get_rng_state()
            torch.set_rng_state(before)
