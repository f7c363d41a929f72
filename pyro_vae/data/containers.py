"""Containers: what people keep images in, as one array: loaders, data sets, lists, frames."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from pyro_vae.data.stored import limit
from pyro_vae.errors import InputError

__all__: list[str] = []

T = TypeVar("T")


def unmasked(values: T) -> T:
    """The values themselves.

    Args:
        values: The images that a user gave.

    Raises:
        InputError: If a mask hides some of them, which would be dropped.
    """
    parts = values if isinstance(values, list | tuple) else (values,)
    hidden = sum(_hidden(part) for part in parts)
    if hidden:
        raise InputError(
            f"images are masked, {hidden} values of them hidden: give all values "
            "(array.filled(VALUE)), leave those rows out, or give a mapping of parts, "
            "NaN where there is nothing"
        )
    return values


def _hidden(part: object) -> int:
    """Values that a mask of numpy's or torch's hides."""
    if isinstance(part, np.ma.MaskedArray):
        return int(np.ma.getmaskarray(part).sum())
    if isinstance(part, Tensor) and hasattr(part, "get_mask"):
        return int((~part.get_mask()).sum())
    return 0


def opened(images: Any) -> Any:
    """What holds images as what they are: a loader's data set, the images beside labels.

    Args:
        images: A tensor, an array, a frame, a loader, a data set, a list or what iterates.

    Raises:
        InputError: If a frame's column holds no numbers.
    """
    if isinstance(images, str | os.PathLike):
        raise InputError(
            f"images are numbers, not a path: give pyro_vae.data.load({os.fspath(images)!r}).train"
        )
    if isinstance(images, DataLoader):
        images = images.dataset
    if isinstance(images, Iterator):
        images = list(images)
    if isinstance(images, tuple | list) and len(images) == 2 and _are_labels(*images):
        images = images[0]
    elif _has_items(images) and isinstance(images[0], tuple | Mapping):
        images = _Listed(images)
    if isinstance(images, Tensor):
        return dense(images).detach()
    if is_frame(images):
        return _numbers_of(images)
    return images.toarray() if hasattr(images, "toarray") else images


def is_frame(images: object) -> bool:
    """Whether something is a table of pandas or polars."""
    return all(hasattr(images, name) for name in ("columns", "to_numpy", "__getitem__"))


def columns_of(frame: Any) -> dict[str, NDArray[np.generic]]:
    """The columns of a frame by their names, each (N, 1), NaN where an entry is missing.

    Raises:
        InputError: If one holds no numbers.
    """
    return {str(name): _column(frame[name], name)[:, None] for name in frame.columns}


def _numbers_of(frame: Any) -> NDArray[np.generic]:
    columns = [_column(frame[name], name) for name in frame.columns]
    if not columns:
        raise InputError("there are no images: the frame has no columns")
    return np.stack(columns, 1)


def _column(column: Any, name: object) -> NDArray[np.generic]:
    """A column's numbers, (N,), NaN where one is missing."""
    array = np.asarray(column.to_numpy())
    if array.dtype.kind in "uifb":
        return array
    try:
        # pandas has objects where whole numbers are missing.
        return np.asarray([np.nan if is_missing(x) else x for x in array], np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"column {str(name)!r} of the frame holds no numbers but {array.dtype}: give "
            "pyro_vae.data.tables.batch_of(pyro_vae.data.read_table(frame)), which keeps categories"
        ) from None


def is_missing(value: object) -> bool:
    """Whether a value is what Python, pandas or polars has where there is none."""
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _are_labels(images: Any, labels: Any) -> bool:
    """Whether two arrays are images and a label of each."""
    shapes = [getattr(part, "shape", None) for part in (images, labels)]
    if shapes[0] is None or shapes[1] is None:
        return False
    return len(shapes[0]) > 1 and len(shapes[1]) == 1 and shapes[0][0] == shapes[1][0]


def _has_items(images: Any) -> bool:
    """Whether it is a list, or what has a length and items as one, as others' data sets have."""
    if isinstance(images, tuple | Dataset | Mapping) or is_frame(images):
        return False
    arrays = any(hasattr(images, name) for name in ("__array__", "toarray"))
    listed = all(hasattr(images, name) for name in ("__getitem__", "__len__"))
    return listed and not arrays and len(images) > 0


class _Listed(Dataset[Any]):
    """What has items by their number, as a data set."""

    def __init__(self, items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def dense(x: Tensor) -> Tensor:
    """A tensor as one that has all its entries."""
    return x if x.layout == torch.strided else x.to_dense()


def check_numbers(dtype: np.dtype[np.generic]) -> None:
    """Refuse an array of anything but numbers.

    Raises:
        InputError: Naming what it is of, and what would make numbers of it.
    """
    if dtype.kind not in "uifb":
        raise InputError(f"images must be numbers, got an array of {_WORDS.get(dtype.kind, dtype)}")


_WORDS = {
    "O": "object: Python's own (rows of different lengths, None, texts, integers above 64 bits)",
    "U": "texts: read them as a table, or as files of a folder",
    "S": "bytes: decode them to pictures first",
    "c": "complex numbers: give real and imaginary parts as channels, or the magnitude",
    "V": "records: numpy.lib.recfunctions.structured_to_unstructured makes one array of them",
    "M": "dates: give numbers, as days since a first one",
    "m": "durations: give numbers, as seconds",
}
"""What arrays hold that are none of numbers, by numpy's letter."""


def as_array(images: object) -> NDArray[np.generic]:
    """What numpy makes of it.

    Raises:
        InputError: If its rows are not of one shape.
    """
    try:
        return np.asarray(images)
    except (ValueError, TypeError, RuntimeError):  # rows of different lengths
        raise InputError(
            "images must be one array of numbers; these are not of one shape"
        ) from None


def read_whole(data_set: Dataset[object]) -> Tensor:
    """The images of a data set until it ends, as long as they fit in memory.

    Raises:
        InputError: If it is empty or too large, or an item is no image of the first one's shape.
    """
    found: list[Tensor] = []
    room = limit()
    for number, item in enumerate(_items(data_set)):
        image = unmasked(item[0] if isinstance(item, tuple | list) else _image_of(item))
        try:
            image = torch.as_tensor(image)
        except (TypeError, ValueError, RuntimeError):
            raise InputError(
                f"item {number} of the data set is no image tensor but a {type(image).__name__}: "
                "give it transform=torchvision.transforms.PILToTensor()"
            ) from None
        if found and image.shape != found[0].shape:
            raise InputError(
                f"images must have one shape: item 0 of the data set has {tuple(found[0].shape)}, "
                f"item {number} {tuple(image.shape)}"
            )
        room -= image.nbytes
        if room < 0:
            raise InputError(
                f"the data set exceeds {limit() / 2**30:.2g} GiB, what images may take in memory, "
                f"at item {number}: end it sooner, pass pyro_vae.data.stream(it, images=N), or "
                "save it as .npy and pass np.load(FILE, mmap_mode='r')"
            )
        found.append(image)
    if not found:
        raise InputError("there are no images: the data set is empty")
    return torch.stack(found)


def _image_of(item: Any) -> Any:
    """Of an item that is a mapping, the one value that has a shape; any other item as it is."""
    if not isinstance(item, Mapping):
        return item
    shaped = [name for name, value in item.items() if len(getattr(value, "shape", ())) > 0]
    if len(shaped) == 1:
        return item[shaped[0]]
    names = ", ".join(map(repr, item))
    raise InputError(
        f"items of the data set are mappings with {names}, and which is the image is not told: "
        f"give [item[NAME] for item in it]"
    )


def _items(data_set: Dataset[object]) -> Iterator[object]:
    if isinstance(data_set, IterableDataset):
        return iter(data_set)
    try:
        count = len(data_set)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        name = type(data_set).__name__
        raise InputError(
            f"the data set {name} has no length: define __len__, or make it an IterableDataset"
        ) from None
    return (data_set[i] for i in range(count))
