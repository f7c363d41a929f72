"""Images that stay where they are: read a batch at a time, in the order in which they lie."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_vae.errors import InputError

__all__ = ["Stored"]

IN_MEMORY = 0.25
"""Share of the machine's memory, or of the container's, that images may take; more stay on disk."""

LOOKED_AT = 10_000
"""Images on disk that stand for all of them where a figure is of all training images."""

_UNKNOWN_MEMORY = 8 * 2**30
_CONTAINER = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class Rows(Protocol):
    """What images are stored in: a memory-mapped array, or anything that is read like one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W), (N, H, W) or (N, D)."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Of the numbers in it."""

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.generic]:
        """The images of some rows, an ascending int64 array."""


class Stored:
    """Images not in memory, indexed like a tensor: an index or a slice gives a tensor that is.

    Args:
        rows: Where they are: an array (N, C, H, W), (N, H, W) for one channel, or (N, D).
        index: The rows that count, int64 (N,), in their order; all by default.
        device: Where the tensors go.

    Attributes:
        shape: (N, C, H, W) or (N, D).
        dtype: uint8 or float32, of the tensors.
        device: Of the tensors.
        window: How many images of a stream are held to be shuffled; None of what is read in any
            order.

    Example:
        >>> images = Stored(np.arange(12, dtype=np.uint8).reshape(4, 3))
        >>> images[torch.tensor([2, 0])]
        tensor([[6, 7, 8],
                [0, 1, 2]], dtype=torch.uint8)
        >>> len(images), images.shape, images[1:3].shape
        (4, torch.Size([4, 3]), torch.Size([2, 3]))
    """

    def __init__(
        self, rows: Rows, index: Tensor | None = None, device: torch.device | str = "cpu"
    ) -> None:
        self._rows, self._index = rows, index
        n, *shape = rows.shape
        if len(shape) == 2:
            shape = [1, *shape]
        self.shape = torch.Size([n if index is None else len(index), *shape])
        self.dtype = wanted_type(rows.dtype)
        self.device = torch.device(device)
        self.window: int | None = getattr(rows, "window", None)
        self._bytes = 0
        if isinstance(rows, np.memmap):
            self._bytes = rows.offset + rows.nbytes

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, index: Tensor | slice | int) -> Tensor:
        return self.read(index).to(self.device)

    def read(self, index: Tensor | slice | int) -> Tensor:
        """The images of an index or a slice, in the host's memory."""
        if isinstance(index, int):
            return self.read(torch.tensor([index]))[0]
        numbers = torch.arange(len(self))[index] if isinstance(index, slice) else index.cpu()
        numbers = numbers if self._index is None else self._index[numbers]
        rows = numbers.numpy()
        order = np.argsort(rows, kind="stable")
        self._check_whole()
        found = self._rows[rows[order]]
        images = np.empty(found.shape, np.uint8 if self.dtype == torch.uint8 else np.float32)
        with np.errstate(over="ignore"):  # told as not finite by those who look
            images[order] = found
        return torch.from_numpy(images).reshape(len(rows), *self.shape[1:])

    def _check_whole(self) -> None:
        """Tell of a file that has been cut short: to read mapped memory beyond its end is fatal.

        One that was removed stays mapped.
        """
        if isinstance(self._rows, np.memmap) and self._rows.filename is not None:
            with suppress(FileNotFoundError):
                if os.stat(self._rows.filename).st_size < self._bytes:
                    raise InputError(f"{self._rows.filename} cannot be read: it was cut short")

    def split(self, size: int) -> Iterator[Tensor]:
        """Tensors of so many images, one after the other."""
        return (self[start : start + size] for start in range(0, len(self), size))

    def to(self, device: torch.device | str) -> Stored:
        """The same images, for another device."""
        return Stored(self._rows, self._index, device)

    def subset(self, index: Tensor) -> Stored:
        """The images of an index, which stay where they are too.

        Raises:
            InputError: If they are a stream.
        """
        if self.window is not None:
            raise InputError(
                "a stream cannot be divided: give validation= held-out images of its own, or none"
            )
        index = index.cpu()
        index = index if self._index is None else self._index[index]
        return Stored(self._rows, index, self.device)

    def beside(self, others: Stored) -> Stored:
        """These images and some others of the same rows; of other rows, these alone."""
        if self._rows is not others._rows or self._index is None or others._index is None:
            return self
        return Stored(self._rows, torch.cat([self._index, others._index]), self.device)

    @property
    def decoded(self) -> bool:
        """Whether reading them is more work than copying memory."""
        return not isinstance(self._rows, np.ndarray)

    @property
    def nbytes(self) -> int:
        """Bytes that they would take in memory."""
        return self.shape.numel() * self.dtype.itemsize

    def some(self, count: int = LOOKED_AT) -> Tensor:
        """As many images, spread evenly, as there may be in memory; all if there are no more.

        Of a stream they are the first ones.

        Args:
            count: At most so many.
        """
        return self[self.spread(count)]

    def spread(self, count: int) -> Tensor:
        """The index of :meth:`some`."""
        n = len(self)
        count = max(1, min(count, n, limit() * n // max(1, self.nbytes)))
        if self.window is not None:
            return torch.arange(count)
        return torch.arange(count) * (n - 1) // max(1, count - 1)


Images: TypeAlias = Tensor | Stored
"""Images in memory or on disk: both have a length, a shape, a dtype, a device and an index."""


def wanted_type(dtype: np.dtype[np.generic]) -> torch.dtype:
    """What numbers become: levels stay uint8, any other is a float32."""
    return torch.uint8 if dtype == np.uint8 else torch.float32


def limit() -> int:
    """Bytes that images may take in memory."""
    return int(IN_MEMORY * memory())


def memory() -> int:
    """Bytes of memory of the machine, or of the container if it has less."""
    try:
        found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, ValueError, OSError):  # not everywhere
        found = [_UNKNOWN_MEMORY]
    for path in _CONTAINER:
        try:
            found.append(int(Path(path).read_text(encoding="ascii")))
        except (OSError, ValueError):  # another system, or "max"
            continue
    return min(found)
