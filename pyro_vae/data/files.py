"""Data sets in a user's own .npy and .npz files; nothing in them is unpickled."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae.data.arrays import Data, as_images, split
from pyro_vae.errors import InputError

__all__ = ["SUFFIXES", "read"]

SUFFIXES = (".npy", ".npz")
_HELD_OUT = 0.1


def read(path: str | Path) -> Data:
    """Arrays of a file: uint8 levels, counts or floats, (N, C, H, W), (N, H, W) or (N, D).

    A .npz may hold ``train`` and ``test``, and ``train_labels`` and ``test_labels`` beside them;
    or one array, or ``images`` and ``labels``. Of one array a tenth is held out, always the same.

    Args:
        path: A .npy or .npz file.

    Raises:
        InputError: If the file is missing, damaged, holds objects or other arrays, or its data
            have no shape of images or vectors.
    """
    try:
        return _data(_arrays(Path(path)))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _data(arrays: dict[str, Any]) -> Data:
    if {"train", "test"} <= arrays.keys():
        train = as_images(arrays["train"])
        test = as_images(arrays["test"], tuple(train.shape[1:]))
        parts = [(train, arrays.get("train_labels")), (test, arrays.get("test_labels"))]
    else:
        images = as_images(arrays["images"])
        labels = _labels(arrays.get("labels"), images)
        chosen = split(torch.arange(len(images)), _HELD_OUT)
        parts = [(images[i], None if labels is None else labels[i]) for i in chosen]
    (train, train_labels), (test, test_labels) = parts
    return Data(train, _labels(train_labels, train), test, _labels(test_labels, test))


def _arrays(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"images": loaded}
            arrays = {name: loaded[name] for name in loaded.files}
    except FileNotFoundError:
        raise InputError("there is no such file") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"not a readable {path.suffix} file: {reason}") from None
    if len(arrays) == 1:
        return {"images": next(iter(arrays.values()))}
    if not ({"train", "test"} <= arrays.keys() or "images" in arrays):
        raise InputError(
            f"it holds {', '.join(sorted(arrays)) or 'nothing'}: it must hold one array, "
            "images and labels, or train and test"
        )
    return arrays


def _labels(array: Any, images: Tensor) -> Tensor | None:
    if array is None:
        return None
    labels = np.asarray(array)
    if labels.ndim != 1 or labels.dtype.kind not in "ui":
        raise InputError(f"labels must be integers (N,), got {labels.dtype} {labels.shape}")
    if len(labels) != len(images):
        raise InputError(f"there are {len(images)} images and {len(labels)} labels")
    return torch.from_numpy(labels.astype(np.int64))
