"""Augmentation of training images by torchvision's v2 transforms, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pyro_vae.errors import InputError

__all__: list[str] = []

TABLE: dict[str, Callable[[Any, tuple[int, ...]], Any]] = {
    "flip": lambda v2, shape: v2.RandomHorizontalFlip(),
    "shift": lambda v2, shape: v2.RandomAffine(0, translate=(0.1, 0.1)),
    "rotate": lambda v2, shape: v2.RandomRotation(10),
    "zoom": lambda v2, shape: v2.RandomAffine(0, scale=(0.9, 1.1)),
    "crop": lambda v2, shape: v2.RandomCrop(shape[-2:], padding=2),
}
"""Name → (torchvision.transforms.v2, shape of an image) → transform."""


def make(names: Sequence[object], data_shape: tuple[int, ...]) -> Callable[[Tensor], Tensor] | None:
    """Images (N, C, H, W) → the same, each image transformed on its own; None for no names.

    Args:
        names: Of ``TABLE``, or functions of one image (C, H, W), worked through in this order.
        data_shape: (C, H, W).

    Raises:
        InputError: If the data are no images.
    """
    if not names:
        return None
    if len(data_shape) != 3:
        raise InputError(f"augmentation needs images (C, H, W), got data of shape {data_shape}")
    steps = [name if callable(name) else _stock(str(name), data_shape) for name in names]

    def one(image: Tensor) -> Tensor:
        for step in steps:
            image = step(image)
        return image

    def transform(images: Tensor) -> Tensor:
        return torch.stack([one(image) for image in images])

    return transform


def _stock(name: str, data_shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    # Slow to import, and not at all beside a torch that it was not built for.
    from torchvision.transforms import v2

    made: Callable[[Tensor], Tensor] = TABLE[name](v2, data_shape)
    return made
