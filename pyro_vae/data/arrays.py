"""Arrays: what users pass as images, checked once and kept in memory where they fit."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, TypeVar, overload

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pyro_vae.data.batch import Batch, Given, Images, subset
from pyro_vae.data.containers import (
    as_array,
    check_numbers,
    columns_of,
    dense,
    is_frame,
    opened,
    read_whole,
    unmasked,
)
from pyro_vae.data.mixed import Shape, as_batch, check_whole, shape_of
from pyro_vae.data.stored import LOOKED_AT, Stored, limit
from pyro_vae.errors import InputError

__all__ = ["Data", "as_given", "as_images", "as_source", "first", "split"]

A = TypeVar("A", bound=Any)

_LOG = logging.getLogger("pyro_vae")

_CHANNELS = (1, 3, 4)
_SIDE = 8  # pixels at least of an image whose channels are taken to come last


@dataclass(frozen=True, eq=False)
class Data:
    """A data set; it unpacks as ``train, train_labels, test, test_labels = data``.

    Attributes:
        train: Training images, uint8 (N, C, H, W); of a user's file also floats, or (N, D). What
            does not fit in memory is a :class:`~pyro_vae.data.stored.Stored`.
        train_labels: Their classes, int64 (N,), or None.
        test: Held-out images, which figures are of.
        test_labels: Their classes, (N,), or None.
        validation: Held-out images of their own for choices in training, where the data set has
            three parts; else None.
        validation_labels: Their classes, (N,), or None.
        table: The :class:`~pyro_vae.data.table.Table` that they are rows of, or None.
        passed_over: What of a folder or file was not read, in a few words.
        names: What the images of each part are called, ``"train"``, ``"validation"`` and
            ``"test"``, as far as they have names: files' names below their folder, or rows of a
            table.
    """

    # Images. Who has asked for data that fit should not have to tell the type checker.
    train: Any
    train_labels: Tensor | None
    test: Any
    test_labels: Tensor | None
    validation: Any = None
    passed_over: str = ""
    validation_labels: Tensor | None = None
    table: Any = None
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def name(self, part: str, index: int) -> str:
        """What an image is called: its name, or its number in its part.

        Args:
            part: ``"train"``, ``"validation"`` or ``"test"``.
            index: Which of the part.
        """
        images, names = getattr(self, part), self.names.get(part, ())
        return names[index] if len(names) == len(images) else f"{part} {index}"

    @property
    def held_out(self) -> Any:
        """Images that choices in training are made by: the validation part, else the test one."""
        return self.test if self.validation is None else self.validation

    def __iter__(self) -> Iterator[Images | Tensor | None]:
        return iter((self.train, self.train_labels, self.test, self.test_labels))

    def _replace(self, **changes: Any) -> Data:
        """The same with other parts, as of a named tuple."""
        return replace(self, **changes)


def as_images(images: Given, data_shape: Shape | None = None) -> Any:
    """Images as one tensor: uint8 levels as they are, any other number as float32.

    Args:
        images: Array or tensor (N, C, H, W) or (N, D), (N, H, W) for one channel, or a
            ``torch.utils.data.Dataset``, map-style or iterable, of images or (image, ...) tuples.
            Of images on disk (a memory-mapped array, a :class:`~pyro_vae.data.stored.Stored`) that
            exceed a quarter of the machine's memory 10,000 are taken, spread evenly. Of several
            things a mapping from names to arrays, or a :class:`~pyro_vae.data.Batch` of any of it.
        data_shape: The shape of one image, if it is known already; of several things a mapping.

    Returns:
        A tensor of shape (N, *data_shape), uint8 or float32; a batch for a batch or a mapping.

    Raises:
        InputError: If the array is empty, of another shape, not numeric, or not finite, or a
            data set exceeds a quarter of the machine's memory.

    Example:
        >>> as_images(np.zeros((5, 28, 28), dtype=np.uint8)).shape
        torch.Size([5, 1, 28, 28])
    """
    if isinstance(images, Batch | Mapping):
        return as_batch(images, data_shape, as_images)
    if isinstance(data_shape, Mapping) and is_frame(images):
        return as_batch(columns_of(images), data_shape, as_images)
    shape = check_whole(images, data_shape)
    if isinstance(images, Stored | np.memmap):
        stored = _as_stored(images, shape)
        tensor = stored[:] if stored.nbytes <= limit() else stored.some(LOOKED_AT)
    else:
        tensor = _as_tensor(images)
    if tensor.dim() == 3:
        tensor = tensor[:, None]
    _check_shape(tuple(tensor.shape), shape)
    if tensor.dtype != torch.uint8:
        _check_finite(tensor)
    return tensor


def as_source(images: Given, data_shape: Shape | None = None) -> Images:
    """Images as training reads them: those on disk stay there, all others are one tensor.

    Arguments and errors are those of :func:`as_images`. Of floats on disk, ``LOOKED_AT`` are
    checked to be finite.

    Example:
        >>> images = Stored(np.zeros((5, 28, 28), dtype=np.uint8))
        >>> as_source(images) is images, as_source(images[:2]).shape
        (True, torch.Size([2, 1, 28, 28]))
    """
    if isinstance(images, Batch | Mapping):
        return as_batch(images, data_shape, as_source)
    if isinstance(data_shape, Mapping) and is_frame(images):
        return as_batch(columns_of(images), data_shape, as_source)
    shape = check_whole(images, data_shape)
    if not isinstance(images, Stored | np.memmap):
        tensor: Tensor = as_images(images, data_shape)
        return tensor
    stored = _as_stored(images, shape)
    if stored.dtype != torch.uint8:
        _check_finite(stored.some())
    return stored


def _as_stored(images: Stored | np.memmap, data_shape: tuple[int, ...] | None) -> Stored:
    if isinstance(images, np.memmap):
        check_numbers(images.dtype)
        if images.ndim not in (2, 3, 4):
            _check_shape(images.shape, data_shape)
        images = Stored(images)
    _check_shape(tuple(images.shape), data_shape)
    return images


def _check_shape(shape: tuple[int, ...], data_shape: tuple[int, ...] | None) -> None:
    known = data_shape is not None
    wanted = f"(N, *{tuple(data_shape)})" if data_shape is not None else "(N, C, H, W) or (N, D)"
    if len(shape) not in (2, 4):
        raise InputError(f"images must have shape {wanted}, got {shape}")
    if 0 in shape:
        raise InputError(f"there are no images: the array has shape {shape}")
    last = _channels_last(shape)
    cure = f": channels come first, as in images.{last}" if last else ""
    if known and shape[1:] != data_shape:
        raise InputError(f"images must have shape {wanted}, got {shape}{cure}")
    if last and shape[-1] > 1:
        raise InputError(
            f"images of shape {shape} would be of {shape[1]} channels of {shape[2]}x{shape[3]} "
            f"pixels{cure}"
        )


def _channels_last(shape: tuple[int, ...]) -> str | None:
    """What brings the channels to where they belong, if they seem to come last."""
    if len(shape) != 4 or shape[-1] not in _CHANNELS or min(shape[1:3]) < _SIDE:
        return None
    return "transpose(0, 3, 1, 2)"


def channels_first(array: A) -> A:
    """An array (N, H, W, C) as (N, C, H, W), and a line logged; any other as it is.

    It is for files, whose arrays nobody can give another shape in passing. Those of 8 pixels or
    more each way whose last dimension is 1, 3 or 4 are taken for images with channels last.

    Args:
        array: Of any shape, in memory, mapped into it, or read like one.
    """
    if _channels_last(array.shape) is None:
        return array
    n, height, width, channels = array.shape
    _LOG.warning(
        f"({n}, {height}, {width}, {channels}) is taken for {n} images of {height}x{width} pixels "
        f"with {channels} channels, which come last"
    )
    found: A = array.transpose(0, 3, 1, 2)
    return found


def _check_finite(images: Tensor) -> None:
    finite = torch.isfinite(images)
    if not bool(finite.all()):
        first = int((~finite).flatten(1).any(1).nonzero()[0])
        raise InputError(
            f"images must be finite: {int((~finite).sum())} values are not, the first in image "
            f"{first}: leave those out, or give a table (.csv), whose gaps are masked"
        )


def _as_tensor(images: object) -> Tensor:
    if isinstance(images, Data):
        raise InputError("images are one part of a data set: give its train or its test")
    images = opened(images)
    unmasked(images)
    if isinstance(images, Dataset):
        images = read_whole(images)
    if not isinstance(images, Tensor):
        array = as_array(images)
        check_numbers(array.dtype)
        if any(stride < 0 for stride in array.strides):  # which torch does not know either
            array = np.ascontiguousarray(array)
        if not array.dtype.isnative or array.dtype.itemsize > 8:  # which torch does not know
            array = array.astype(f"{array.dtype.kind}{min(8, array.dtype.itemsize)}")
        images = torch.from_numpy(np.array(array, copy=not array.flags.writeable))
    if images.is_complex():
        raise InputError(f"images must be real numbers, got {images.dtype}")
    tensor: Tensor = images
    return tensor if tensor.dtype == torch.uint8 else tensor.to(torch.float32)


def as_given(x: Any) -> Tensor:
    """A batch that a method was given, as a tensor: levels as they are, other numbers as floats.

    Args:
        x: A tensor, or what numpy takes for an array of numbers.

    Raises:
        InputError: If it is none.
    """
    if not isinstance(x, Tensor):
        array = np.ascontiguousarray(as_array(x.toarray() if hasattr(x, "toarray") else x))
        check_numbers(array.dtype)
        x = torch.from_numpy(array if array.flags.writeable else array.copy())
    tensor: Tensor = dense(x)
    whole = tensor.dtype == torch.uint8 or tensor.is_floating_point()
    return tensor if whole else tensor.to(torch.get_default_dtype())


def first(data: Data, count: int | None) -> Data:
    """The first images of a data set, training and held-out ones, or all of them.

    Args:
        data: The data set.
        count: How many of each, or None.
    """
    if count is None:
        return data
    further = (data.validation, data.validation_labels)
    train, labels, test, test_labels, validation, validation_labels = (
        None if part is None else subset(part, torch.arange(len(part))[:count])
        for part in (*data, *further)
    )
    return replace(
        data,
        train=train,
        train_labels=labels,
        test=test,
        test_labels=test_labels,
        validation=validation,
        validation_labels=validation_labels,
        names={part: names[:count] for part, names in data.names.items()},
    )


@overload
def split(
    images: Tensor, validation: Given | float | None, seed: int = 0
) -> tuple[Tensor, Tensor | None]: ...
@overload
def split(
    images: Images, validation: Given | float | None, seed: int = 0
) -> tuple[Images, Images | None]: ...
def split(
    images: Images, validation: Given | float | None, seed: int = 0
) -> tuple[Images, Images | None]:
    """Training and held-out images; of those on disk both parts stay there.

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
    if not isinstance(validation, Real):
        return images, as_source(validation, shape_of(images))
    validation = float(validation)
    if not 0 < validation < 1:
        raise InputError(f"a validation fraction must be between 0 and 1, got {validation}")
    n = round(len(images) * validation)
    if not 0 < n < len(images):
        raise InputError(
            f"a validation fraction of {validation} of {len(images)} images leaves one part empty"
        )
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return subset(images, order[n:]), subset(images, order[:n])
