"""What arrays of a file are, told from their names: images or labels, and of which part."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pyro_vae.errors import InputError

__all__: list[str] = []

PARTS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
"""What people call the parts of a data set."""

_IMAGES = ("images", "image", "imgs", "img", "x", "data", "features")
_LABELS = ("labels", "label", "y", "targets", "target", "classes")


class Role(NamedTuple):
    """What an array is.

    Attributes:
        part: A key of ``PARTS``, or None where nothing says.
        labels: Whether it has the labels of images and not the images.
    """

    part: str | None
    labels: bool


def part_of(name: str) -> str | None:
    """The part that a name is one of, in whatever letters."""
    return next((part for part, known in PARTS.items() if name.lower() in known), None)


def part_names(names: Iterable[str], where: str | Path) -> dict[str, str]:
    """Which of some names are those of parts: train, validation and test, in this order.

    Args:
        names: Of folders or arrays.
        where: What holds them.

    Raises:
        InputError: If two of them name one part.

    Example:
        >>> part_names(["val", "Train", "cats"], "here")
        {'train': 'Train', 'validation': 'val'}
    """
    there: dict[str, str] = {}
    names = list(names)
    for part in PARTS:
        found = [name for name in names if part_of(name) == part]
        if len(found) > 1:
            raise InputError(f"{where} holds {found[0]} and {found[1]}: which is the {part} part?")
        if found:
            there[part] = found[0]
    return there


def role_of(name: str) -> Role | None:
    """What an array of a name is, or None where the name does not say.

    Example:
        >>> role_of("x_train"), role_of("val_labels")
        (Role(part='train', labels=False), Role(part='validation', labels=True))
        >>> role_of("train/image"), role_of("weights")
        (Role(part='train', labels=False), None)
        >>> role_of("cells/images")
        Role(part=None, labels=False)
    """
    whole = _role_of(name)
    return _role_of(name.rpartition("/")[2]) if whole is None else whole


def _role_of(name: str) -> Role | None:
    words = name.lower().replace("/", "_").replace("-", "_").split("_")
    parts = [part for part in map(part_of, words) if part is not None]
    rest = [word for word in words if part_of(word) is None]
    if len(parts) > 1 or len(rest) > 1 or not (parts or rest):
        return None
    kind = rest[0] if rest else "images"
    if kind not in (*_IMAGES, *_LABELS):
        return None
    return Role(parts[0] if parts else None, kind in _LABELS)


def roles(names: Iterable[str], where: str | Path) -> dict[Role, str]:
    """What each array is; those whose name does not say are left out.

    Args:
        names: Of the arrays.
        where: What holds them.

    Raises:
        InputError: If two are of one kind and one part.
    """
    found: dict[Role, str] = {}
    for name in names:
        role = role_of(name)
        if role is None:
            continue
        if role in found:
            what = "labels" if role.labels else "images"
            of = f" of the {role.part} part" if role.part else ""
            raise InputError(f"{where} holds {found[role]} and {name}: which are the {what}{of}?")
        found[role] = name
    return found
