"""Conditions: what of a data set a model is told of each image, as covariates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from pyro_vae.data.arrays import Data
from pyro_vae.data.batch import Batch
from pyro_vae.errors import InputError, shown, unknown
from pyro_vae.types import JSON

__all__ = ["condition_of", "conditioned", "of_classes"]

LABELS = "labels"
_MOST = 10_000  # classes; more are numbers of something else


def condition_of(data: Data, by: str) -> JSON:
    """How a data set's images are told from each other, as plain data.

    Args:
        data: The data set.
        by: ``"labels"``.

    Returns:
        ``by``, and ``classes``, the number of labels from 0.

    Raises:
        InputError: If it has no labels, or they are no classes.
    """
    if by != LABELS:
        raise unknown("condition", by, [LABELS])
    if data.train_labels is None:
        raise InputError("condition labels needs labels, and the data set has none")
    labels = data.train_labels
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= _MOST:
        raise InputError(
            f"condition labels needs classes from 0 to at most {_MOST - 1}, got {low} to {high}"
        )
    return {"by": by, "classes": high + 1}


def conditioned(data: Data, condition: JSON | None) -> Data:
    """The data with covariates beside the images: each label in one-hot form.

    Args:
        data: The data set.
        condition: What :func:`condition_of` gave, or None for the data as they are.

    Raises:
        InputError: If a part has no labels, or one that is not among the classes.
    """
    if condition is None:
        return data
    parts = {
        "train": data.train_labels,
        "test": data.test_labels,
        "validation": data.validation_labels,
    }
    changed: dict[str, Any] = {}
    for part, labels in parts.items():
        images = getattr(data, part)
        if images is None or not len(images):
            continue
        if labels is None:
            raise InputError(f"condition labels needs labels, and the {part} part has none")
        changed[part] = Batch(images, of_classes(labels, condition["classes"]).to(images.device))
    return data._replace(**changed)


def of_classes(labels: Tensor | Sequence[int], classes: int) -> Tensor:
    """Classes in one-hot form.

    Args:
        labels: Integers, (N,).
        classes: K.

    Returns:
        (N, K), float32.

    Raises:
        InputError: If one is not among the classes.
    """
    tensor = torch.as_tensor(labels).long()
    wrong = tensor[(tensor < 0) | (tensor >= classes)]
    if wrong.numel():
        raise InputError(
            f"class {shown(int(wrong[0]))} is not among the {classes} that the model knows, "
            f"0 to {classes - 1}"
        )
    return one_hot(tensor, classes).float()
