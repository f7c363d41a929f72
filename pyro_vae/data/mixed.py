"""Batches, and several things by their names, checked part by part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from pyro_vae.data.batch import Batch, Images
from pyro_vae.errors import InputError, unknown
from pyro_vae.types import JSON

__all__: list[str] = []


Shape: TypeAlias = tuple[int, ...] | Mapping[str, tuple[int, ...]]
"""Of one image; of several things by their names."""

T = TypeVar("T")


def check_whole(images: object, data_shape: Shape | None) -> tuple[int, ...] | None:
    """The shape of one thing: refuse what is no mapping where several things are wanted."""
    if isinstance(data_shape, Mapping):
        raise InputError(
            f"data must be a mapping from {', '.join(data_shape)}, got {type(images).__name__}"
        )
    return data_shape


def as_batch(images: object, data_shape: Shape | None, read: Callable[..., Any]) -> Batch:
    """A batch, or several things, each checked by itself; a gap among floats is told by the mask.

    Raises:
        InputError: If a part is unknown or missing, or there are not as many rows of each.
    """
    batch = images if isinstance(images, Batch) else Batch(images)
    if not isinstance(batch.x, Mapping):
        found = batch.with_x(read(batch.x, data_shape))
        if batch.covariates is not None and len(batch.covariates) != len(found):
            raise InputError(
                f"there are {len(batch.covariates)} rows of covariates for {len(found)} images"
            )
        return found
    if data_shape is not None and not isinstance(data_shape, Mapping):
        raise InputError(
            f"images must have shape (N, *{tuple(data_shape)}), got parts: {', '.join(batch.x)}"
        )
    known = data_shape or dict.fromkeys(batch.x)
    for name in batch.x:
        if name not in known:
            raise unknown("part of data", name, known)
    if not batch.x:
        raise InputError(f"give at least one of {', '.join(known)}")
    x: dict[str, Any] = {}
    masks = dict(batch.mask or {})
    for name, part in batch.x.items():
        x[name] = _gaps_filled(part, name, masks)
        x[name] = read(x[name], known[name])
    if len({len(part) for part in x.values()}) > 1:
        rows = ", ".join(f"{name} {len(part)}" for name, part in x.items())
        raise InputError(f"all parts must be of as many rows; got {rows}")
    return Batch(x, batch.covariates, masks or None)


def _gaps_filled(part: T, name: str, masks: JSON) -> T | Tensor:
    """A part whose NaN, by which tables tell gaps, have become 0, and the mask that tells them."""
    if not isinstance(part, Tensor | np.ndarray) or part.dtype in (torch.uint8, np.uint8):
        return part
    if isinstance(part, np.ndarray) and not part.flags.writeable:  # which torch warns of
        part = part.copy()
    tensor = torch.as_tensor(part)
    gaps = tensor.isnan()
    if name in masks:
        return tensor.where(torch.as_tensor(masks[name]), tensor.new_zeros(()))
    if bool(gaps.any()):
        masks[name] = ~gaps
    return tensor.where(~gaps, tensor.new_zeros(()))


def shape_of(images: Images) -> Any:
    """Of one image; of several things a mapping."""
    if isinstance(images, Batch) and isinstance(images.x, Mapping):
        return {name: tuple(part.shape[1:]) for name, part in images.x.items()}
    return tuple(images.shape[1:])
