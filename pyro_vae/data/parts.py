"""Three parts: weights from the first, choices from the second, figures from the third."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyro_vae.data import files, folder, stock
from pyro_vae.data.arrays import Data, as_source, split
from pyro_vae.data.batch import Batch, Given, Images, plain, subset
from pyro_vae.data.bits import binarised, bits_words
from pyro_vae.data.kept import digests_in
from pyro_vae.data.mixed import shape_of
from pyro_vae.data.stored import Stored
from pyro_vae.errors import InputError, shown
from pyro_vae.types import JSON

__all__: list[str] = []

SHARE = "0.1"
"""Of the training images, held out where something chooses by them and nobody says which."""
_LAST, _NONE = "last:", "none"
_FORMS = "a share of the training images between 0 and 1, last:N, a folder or file, or none"


class Asked(NamedTuple):
    """What is asked of the parts of a data set.

    Attributes:
        validation: What ``--validation`` says; None where nobody says anything.
        by: What chooses by the validation part, in words; empty where nothing does.
        bits: The seed of bits that are drawn once of validation and test images, or None.
    """

    validation: str | None = None
    by: str = ""
    bits: int | None = None


class Parted(NamedTuple):
    """A data set in its parts.

    Attributes:
        data: The data.
        described: Plain data by which it comes to the same parts again.
        notes: What was done, a line each.
    """

    data: Data
    described: dict[str, Any]
    notes: tuple[str, ...]


def parse(text: str) -> float | int | str | None:
    """What a text asks for: a share, how many of the last images, a path, or None for no part.

    Raises:
        InputError: If a number is out of range.

    Example:
        >>> parse("0.1"), parse("last:10000"), parse("pictures/val"), parse("none")
        (0.1, 10000, 'pictures/val', None)
    """
    if text == _NONE:
        return None
    if text.startswith(_LAST):
        number = text.removeprefix(_LAST)
        if not (number.isascii() and number.isdigit() and len(number) < 19 and int(number)):
            raise InputError(f"validation last:N takes a number of images from 1 on, got {text!r}")
        return int(number)
    try:
        share = float(text)
    except ValueError:
        if not text.strip():
            raise InputError(f"validation must be {_FORMS}, got {text!r}") from None
        return text
    if not 0 < share < 1:
        raise InputError(f"validation must be {_FORMS}, got {text}")
    return share


def parted(data: Data, asked: Asked, like: JSON | None = None, anew: bool = True) -> Parted:
    """A data set with the validation part that is asked for, and with fixed bits where they are.

    Args:
        data: The data set.
        asked: What is asked for.
        like: ``resize`` and ``crop`` of image files, ``columns`` and ``told`` of a table.
        anew: Whether this is a new run; else the parts are those that a run describes.

    Raises:
        InputError: If there are not so many images, the data set has such a part already, or the
            images that a path leads to are no others or of another kind.
    """
    described: dict[str, Any] = {}
    notes: list[str] = []
    own = data.validation is not None
    text = asked.validation or (SHARE if asked.by and not own else None)
    if text is not None and not (own and not anew and text != _NONE):
        data, said = _with_validation(data, text, asked, like or {})
        described["validation"] = text
        notes += [said] if said else []
    if asked.bits is not None:
        data, described["binarised"] = binarised(data, asked.bits)
        notes.append(bits_words(described["binarised"]))
    return Parted(data, described, tuple(notes))


def divided(
    images: Images, validation: Given | Data | float | str | Path | None, seed: int
) -> tuple[Images, Images | None]:
    """Training and validation images, as ``fit`` takes them.

    Args:
        images: All images given for training.
        validation: Images; a share; a text as of ``--validation``; a data set, whose validation
            part it is; or None.
        seed: Of the choice of a share.

    Raises:
        InputError: As of :func:`parse` and ``split``, and if a data set has no such part.
    """
    if isinstance(validation, Data):
        if validation.validation is None:
            raise InputError(
                "validation is a data set without a validation part: give images, as data.test"
            )
        return split(images, validation.validation, seed)
    if not isinstance(validation, str | Path):
        return split(images, validation, seed)
    found = parse(str(validation))
    if isinstance(found, str):
        return split(images, _whole(found, {})[0], seed)
    if isinstance(found, int):
        count = _counted(found, images)
        index = torch.arange(len(images))
        return subset(images, index[:-count]), subset(images, index[-count:])
    return split(images, found, seed)


def _with_validation(data: Data, text: str, asked: Asked, like: JSON) -> tuple[Data, str]:
    found, own = parse(text), data.validation
    if found is None:
        return data._replace(validation=None, validation_labels=None), ""
    if isinstance(found, str):
        return _of_path(data, found, like)
    if own is not None:
        raise InputError(
            f"validation {text}: the data have a validation part of their own, of {len(own):,}: "
            "leave --validation out, or none"
        )
    count, unit = len(data.train), "images" if data.table is None else "rows"
    if isinstance(found, int):
        number = _counted(found, data.train)
        rows = torch.arange(count)
        kept, held_out = rows[:-number], rows[-number:]
        which = f"the last {number:,} of {count:,} training {unit}"
    else:
        order, chosen = split(torch.arange(count), found)
        assert chosen is not None  # a share was asked for
        kept, held_out = order.sort().values, chosen.sort().values
        which = f"{len(chosen):,} of {count:,} training {unit}, always the same"
    labels = data.train_labels
    changed = _named(data, kept, held_out)._replace(
        train=subset(data.train, kept),
        train_labels=None if labels is None else labels[kept],
        validation=subset(data.train, held_out),
        validation_labels=None if labels is None else labels[held_out],
    )
    by = f": {asked.by} chooses by them, not by the test part" if asked.by else ""
    return changed, f"validation part: {which}{by}"


def _named(data: Data, kept: Tensor, held_out: Tensor) -> Data:
    """The data with the names of its images, where they have any, in the parts that they are in."""
    names = data.names
    if "train" not in names:
        return data
    parts = {"train": kept, "validation": held_out}
    own = {part: [names["train"][i] for i in rows.tolist()] for part, rows in parts.items()}
    return data._replace(names={**names, **own})


def _counted(count: int, images: Images) -> int:
    if count >= len(images):
        raise InputError(
            f"validation last:{count} leaves nothing to train on: there are {len(images):,} "
            "training images"
        )
    return count


def _of_path(data: Data, path: str, like: JSON) -> tuple[Data, str]:
    """The data with the images that lie at a path as their validation part."""
    images, labels = _whole(path, like)
    if (data.table is None) != (not isinstance(images, Batch)):
        kind = "images" if data.table is None else "a table"
        raise InputError(f"validation {path}: the data are {kind}, and so must be these")
    try:
        images = as_source(images, shape_of(data.train))
    except InputError as error:
        raise InputError(f"validation {path}: {error}") from None
    if images.dtype != data.train.dtype:
        raise InputError(
            f"validation {path}: its images are {images.dtype}, those to train on "
            f"{data.train.dtype}"
        )
    _check_apart(data, images, path)
    labels = _numbered(data, labels, path, like.get("name"))
    changed = data._replace(validation=images, validation_labels=labels)
    return changed, f"validation part: {len(images):,} of {path}"


def _whole(path: str, like: JSON) -> tuple[Images, Tensor | None]:
    """All images at a path, and their classes, in their order."""
    if not stock.is_path(path):
        raise InputError(f"validation must be {_FORMS}, got {shown(path)}: there is none so called")
    there = Path(os.path.expanduser(path))
    if there.is_dir() and folder.has_parts(there):
        raise InputError(f"validation {path} holds parts: give the folder of one of them")
    sizes = (like.get("resize"), like.get("crop")) if stock.is_image_files(path) else (None, None)
    try:
        data = stock.load(path, None, False, *sizes, like)
    except InputError as error:
        raise InputError(f"validation {error}") from None
    count = len(data.train) + len(data.test)
    kept, held_out = files.rows_of_parts(count)
    if data.validation is not None or len(held_out) != len(data.test):
        raise InputError(f"validation {path} holds parts: give images that are one")
    order = torch.cat([kept, held_out]).argsort()
    images = _joined(data.train, data.test)
    labels = None
    if data.train_labels is not None and data.test_labels is not None:
        labels = torch.cat([data.train_labels, data.test_labels])[order]
    return subset(images, order), labels


def _joined(first: Images, second: Images) -> Images:
    if isinstance(first, Stored) and isinstance(second, Stored):
        return first.beside(second)
    joined: Images = Batch.cat([first, second])
    return joined


def _check_apart(data: Data, images: Images, path: str) -> None:
    """Refuse a validation part that is trained on, or that figures are of."""
    mine = digests_in(images)
    cures = {
        "test": "a share or last:N holds training images out",
        "training": "a share or last:N takes them out of it",
    }
    for part, there in (("test", data.test), ("training", data.train)):
        if part == "training" and isinstance(plain(there), Stored):
            continue  # to read all of it may take hours
        known = set(digests_in(there))
        shared = sum(digest in known for digest in mine)
        if 2 * shared > len(mine):
            raise InputError(
                f"validation {path}: {shared:,} of its {len(mine):,} are in the {part} part: "
                f"{cures[part]}"
            )


def _numbered(data: Data, labels: Tensor | None, path: str, name: str | None) -> Tensor | None:
    """Classes of a folder numbered as the training images' are."""
    if labels is None or data.train_labels is None or name is None:
        return labels
    ours, known = _classes(path), _classes(name)
    if ours is None or known is None:
        return labels
    for each in ours:
        if each not in known:
            raise InputError(f"{Path(path, each)} is a class that train does not hold")
    return torch.tensor([known.index(each) for each in ours])[labels]


def _classes(path: str) -> Sequence[str] | None:
    there = Path(os.path.expanduser(path))
    return folder.class_names(there) if there.is_dir() else None
