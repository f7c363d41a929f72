"""Batches: images, or parts of something by their names, with what is known beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, overload

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.data import Dataset

from pyro_vae.data.stored import LOOKED_AT, Stored
from pyro_vae.data.stored import Images as Plain
from pyro_vae.errors import InputError

__all__ = [
    "Batch",
    "Images",
    "context",
    "cycled",
    "looked_at",
    "of_covariates",
    "plain",
]


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of data with all that a model is given of them; indexed and split like a tensor.

    A VAE's methods take one wherever they take x.

    Attributes:
        x: Images (N, *data_shape), also on disk; or parts by their names, each (N, *shape).
        covariates: (N, C), or None.
        mask: True where a value was observed, of x's form and shape; None where all were.

    Example:
        >>> batch = Batch(torch.zeros(5, 1, 8, 8), covariates=torch.eye(5))
        >>> len(batch), batch[:2].covariates.shape, [len(part) for part in batch.split(3)]
        (5, torch.Size([2, 5]), [3, 2])
    """

    x: Any
    covariates: Tensor | None = None
    mask: Any = None

    def each(self, change: Callable[[Any], Any]) -> Batch:
        """The same with every tensor changed."""
        return Batch(*(_each(part, change) for part in (self.x, self.covariates, self.mask)))

    def tensors(self) -> list[Tensor]:
        """All tensors, in a fixed order, each (N, ...)."""
        found: list[Tensor] = []
        self.each(lambda tensor: found.append(tensor))
        return found

    def filled(self, tensors: list[Tensor] | tuple[Tensor, ...]) -> Batch:
        """One of the same form with other tensors, in the order of :meth:`tensors`."""
        given = iter(tensors)
        return self.each(lambda tensor: next(given))

    def with_x(self, x: object) -> Batch:
        """The same beside other data."""
        return Batch(x, self.covariates, self.mask)

    @classmethod
    def cat(cls, parts: Iterable[Any]) -> Any:
        """Tensors one after the other, or batches of one form."""
        parts = list(parts)
        if isinstance(parts[0], Tensor):
            return torch.cat(parts)
        each = zip(*(part.tensors() for part in parts), strict=True)
        return parts[0].filled([torch.cat(tensors) for tensors in each])

    def _first(self) -> Any:
        return next(iter(self.x.values())) if isinstance(self.x, Mapping) else self.x

    def __len__(self) -> int:
        return len(self._first())

    def __getitem__(self, index: Tensor | slice | int) -> Batch:
        return self.each(lambda tensor: tensor[index])

    def read(self, index: Tensor) -> Batch:
        """The rows of an index, those of images on disk in the host's memory."""
        return self.each(lambda t: t.read(index) if isinstance(t, Stored) else t[index])

    def subset(self, index: Tensor) -> Batch:
        """The rows of an index; images on disk stay there."""
        return self.each(lambda t: t.subset(index) if isinstance(t, Stored) else t[index])

    def split(self, size: int) -> Iterator[Batch]:
        """Batches of so many rows, one after the other."""
        return (self[start : start + size] for start in range(0, len(self), size))

    def chunk(self, count: int) -> list[Batch]:
        """As many batches of about one size, as of ``torch.chunk``."""
        return list(self.split(-(-len(self) // count)))

    def some(self) -> Batch:
        """Those that stand for all: of images on disk ``LOOKED_AT``, else all."""
        if not isinstance(self.x, Stored):
            return self
        index = self.x.spread(LOOKED_AT)
        return self[index]

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""
        return self.each(lambda tensor: tensor.to(device))

    @property
    def in_memory(self) -> bool:
        """Whether nothing of it is on disk."""
        return not isinstance(self.x, Stored)

    @property
    def window(self) -> int | None:
        """Of a stream, as of :class:`~pyro_vae.data.Stored`."""
        return getattr(self.x, "window", None)

    @property
    def decoded(self) -> bool:
        """Whether reading is more work than copying memory."""
        return bool(getattr(self.x, "decoded", False))

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        found: torch.device = self._first().device
        return found

    @property
    def dtype(self) -> torch.dtype:
        """Of x; of several parts the first one's."""
        found: torch.dtype = self._first().dtype
        return found

    @property
    def shape(self) -> torch.Size:
        """Of x; of several parts the first one's."""
        return torch.Size(self._first().shape)


Loaded: TypeAlias = Tensor | Batch
"""Data in memory, alone or with what is known beside them."""

Images: TypeAlias = Plain | Batch
"""Images in memory or on disk, alone or with what is known beside them."""

Values: TypeAlias = Tensor | Mapping[str, Tensor]
"""What is observed, or a mask of it: one thing, or several by their names."""

Given: TypeAlias = Images | ArrayLike | Dataset[object] | Mapping[str, object]
"""What users pass as images."""


def _each(part: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(part, Mapping):
        return {name: _each(each, change) for name, each in part.items()}
    return None if part is None else change(part)


@overload
def plain(images: Loaded) -> Tensor: ...
@overload
def plain(images: Images) -> Plain: ...
def plain(images: Images) -> Plain:
    """The data alone, (N, *shape), without what is known beside them; several parts as one row."""
    if not isinstance(images, Batch):
        return images
    if isinstance(images.x, Mapping):
        return torch.cat([part.flatten(1).float() for part in images.x.values()], 1)
    found: Plain = images.x
    return found


def context(images: object) -> dict[str, Tensor]:
    """The covariates that images come with, as an argument by its name; none if there are none."""
    known = images.covariates if isinstance(images, Batch) else None
    return {} if known is None else {"covariates": known}


def cycled(images: object, count: int) -> Tensor | None:
    """The covariates of images, gone through again and again, for so many samples; or None."""
    known = context(images).get("covariates")
    return None if known is None else known[torch.arange(count) % len(known)]


def looked_at(images: Images) -> Loaded:
    """What stands for all images: themselves, or of those on disk ``LOOKED_AT``."""
    return images if isinstance(images, Tensor) else images.some()


def subset(images: Images, index: Tensor) -> Any:
    """The rows of an index; images on disk stay there."""
    return images[index] if isinstance(images, Tensor) else images.subset(index)


@overload
def of_covariates(images: Loaded, covariates: ArrayLike | None) -> Loaded: ...
@overload
def of_covariates(images: Images, covariates: ArrayLike | None) -> Images: ...
def of_covariates(images: Images, covariates: ArrayLike | None) -> Images:
    """Images with covariates beside them; as they are where there are none.

    Args:
        images: (N, *data_shape), or a batch.
        covariates: Array (N, C), or None.

    Raises:
        InputError: If there is no row of finite numbers for each image.
    """
    if covariates is None:
        return images
    tensor = torch.as_tensor(covariates)
    rows = len(images)
    if tensor.dim() != 2 or len(tensor) != rows:
        raise InputError(
            f"covariates must have shape ({rows}, C), one row for each image; "
            f"got {tuple(tensor.shape)}"
        )
    tensor = tensor.float()
    if not bool(torch.isfinite(tensor).all()):
        raise InputError("covariates must be finite")
    batch = images if isinstance(images, Batch) else Batch(images)
    return Batch(batch.x, tensor, batch.mask)


def unpacked(x: Any, covariates: Tensor | None, mask: Any) -> tuple[Any, Tensor | None, Any]:
    """Data, covariates (N, C) and mask, which a batch has all together."""
    if not isinstance(x, Batch):
        return x, covariates, mask
    return (
        x.x,
        x.covariates if covariates is None else covariates,
        x.mask if mask is None else mask,
    )
