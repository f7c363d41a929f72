"""Arrays: what users pass as images, checked once and kept as one tensor in memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pyro_vae.errors import InputError

__all__ = ["Data", "as_images", "split"]


class Data(NamedTuple):
    """A data set in memory.

    Attributes:
        train: Training images, uint8 (N, C, H, W); of a user's file also floats, or (N, D).
        train_labels: Their classes, int64 (N,), or None.
        test: Held-out images.
        test_labels: Their classes, or None.
    """

    train: Tensor
    train_labels: Tensor | None
    test: Tensor
    test_labels: Tensor | None


def as_images(images: Any, data_shape: tuple[int, ...] | None = None) -> Tensor:
    """Images as one tensor: uint8 levels as they are, any other number as float32.

    Args:
        images: Array or tensor (N, C, H, W) or (N, D), (N, H, W) for one channel, or a map-style
            ``torch.utils.data.Dataset`` of images or (image, ...) tuples.
        data_shape: The shape of one image, if it is known already.

    Returns:
        A tensor of shape (N, *data_shape), uint8 or float32.

    Raises:
        InputError: If the array is empty, of another shape, not numeric, or not finite.

    Example:
        >>> as_images(np.zeros((5, 28, 28), dtype=np.uint8)).shape
        torch.Size([5, 1, 28, 28])
    """
    tensor = _as_tensor(images)
    if tensor.dim() == 3:
        tensor = tensor[:, None]
    wanted = "(N, C, H, W) or (N, D)" if data_shape is None else f"(N, *{tuple(data_shape)})"
    if tensor.dim() not in (2, 4):
        raise InputError(f"images must have shape {wanted}, got {tuple(tensor.shape)}")
    if tensor.numel() == 0:
        raise InputError(f"there are no images: the array has shape {tuple(tensor.shape)}")
    if data_shape is not None and tuple(tensor.shape[1:]) != tuple(data_shape):
        raise InputError(f"images must have shape {wanted}, got {tuple(tensor.shape)}")
    if tensor.dtype != torch.uint8:
        finite = torch.isfinite(tensor)
        if not bool(finite.all()):
            first = int((~finite).flatten(1).any(1).nonzero()[0])
            raise InputError(
                f"images must be finite: {int((~finite).sum())} values are not, "
                f"the first in image {first}"
            )
    return tensor


def _as_tensor(images: Any) -> Tensor:
    if isinstance(images, Dataset):
        items = [images[i] for i in range(len(images))]  # type: ignore[arg-type]
        if not items:
            raise InputError("there are no images: the data set is empty")
        images = torch.stack(
            [torch.as_tensor(item[0] if isinstance(item, tuple | list) else item) for item in items]
        )
    if not isinstance(images, Tensor):
        array = np.asarray(images)
        if array.dtype.kind not in "uifb":
            raise InputError(f"images must be numbers, got an array of {array.dtype}")
        images = torch.from_numpy(np.array(array, copy=not array.flags.writeable))
    if images.is_complex():
        raise InputError(f"images must be real numbers, got {images.dtype}")
    tensor: Tensor = images
    return tensor if tensor.dtype == torch.uint8 else tensor.to(torch.float32)


def split(images: Tensor, validation: Any, seed: int = 0) -> tuple[Tensor, Tensor | None]:
    """Training and held-out images.

    Args:
        images: All images given for training.
        validation: Held-out images as an array, a fraction of ``images`` to hold out (chosen by
            the seed), or None.
        seed: Of the choice.

    Raises:
        InputError: If the fraction is not in (0, 1), leaves nothing, or the array does not fit.
    """
    if validation is None:
        return images, None
    if not isinstance(validation, float | int):
        return images, as_images(validation, tuple(images.shape[1:]))
    if not 0 < validation < 1:
        raise InputError(f"a validation fraction must be between 0 and 1, got {validation}")
    n = round(len(images) * validation)
    if not 0 < n < len(images):
        raise InputError(
            f"a validation fraction of {validation} of {len(images)} images leaves one part empty"
        )
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images[order[n:]], images[order[:n]]
