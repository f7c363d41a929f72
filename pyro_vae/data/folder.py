"""Folders of images, by the conventions of torchvision's ``ImageFolder``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pyro_vae.data import files
from pyro_vae.data.arrays import Data
from pyro_vae.data.pictures import SUFFIXES, Fit
from pyro_vae.data.survey import images_of
from pyro_vae.errors import InputError

__all__ = ["read"]

_PARTS = ("train", "test")


class _Found(NamedTuple):
    """Image files of a folder and their classes' names, or None where it is flat."""

    files: list[Path]
    classes: list[str] | None


def read(path: str | Path, resize: int | None = None, crop: int | None = None) -> Data:
    """Images of a folder: ``CLASS/*.png`` with labels, or ``*.png`` without.

    Folders ``train`` and ``test`` in it, if both exist, hold the two parts, in either form; else a
    tenth is held out, always the same. Classes are numbered in the order of their names; below a
    class folders may be nested. Names that begin with a dot and other files are passed over.

    Grey images have one channel; where any image of the folder has colour, all have three. Palettes
    are resolved, 16-bit channels keep their upper 8 bits, and alpha is dropped; a line logged by
    ``pyro_vae`` says so. What exceeds a quarter of the machine's memory stays on disk and is
    decoded batch by batch.

    Args:
        path: The folder.
        resize: Scale the shorter side to so many pixels, or None.
        crop: Then cut a square of so many pixels from the centre, or None.

    Raises:
        InputError: If it holds fewer than two images, a file that is no image, or images that
            differ in size; it names the file.
    """
    folder, fit = Path(path), Fit(resize, crop)
    if all((folder / part).is_dir() for part in _PARTS):
        train, test = (_find(folder / part) for part in _PARTS)
        classes = _classes(folder, train, test)
        images, held_out = images_of([train.files, test.files], fit)
        return Data(images, _labels(train, classes), held_out, _labels(test, classes))
    found = _find(folder)
    (images,) = images_of([found.files], fit)
    try:
        return files.parts(images, _labels(found, sorted(set(found.classes or ()))))
    except InputError as error:
        raise InputError(f"{folder}: {error} (or give folders train and test)") from None


def _find(folder: Path) -> _Found:
    """The image files of a folder, in the order of their names."""
    classes = sorted(
        entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."
    )
    flat = [folder / entry.name for entry in os.scandir(folder) if _is_image(Path(entry.path))]
    nested = {name: _below(folder / name) for name in classes}
    nested = {name: found for name, found in nested.items() if found or not flat}
    if flat and nested:
        raise InputError(
            f"{folder} holds images ({min(flat).name}) beside folders of images "
            f"({min(nested)}): give either"
        )
    for name, found in nested.items():
        if not found:
            raise InputError(f"{folder / name} holds no images ({', '.join(SUFFIXES)})")
    paths = sorted(flat) or [path for name in classes for path in nested[name]]
    if len(paths) < 2:
        said = f"only one image, {paths[0].name}" if paths else f"no images ({', '.join(SUFFIXES)})"
        raise InputError(f"{folder} holds {said}")
    names = [name for name in classes for _ in nested.get(name, ())]
    return _Found(paths, names or None)


def _below(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name[0] != "."]
        found += [Path(parent, name) for name in names if _is_image(Path(parent, name))]
    return sorted(found)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.name[0] != "." and path.is_file()


def _classes(folder: Path, train: _Found, test: _Found) -> list[str]:
    """The classes' names, which training images define."""
    if (train.classes is None) != (test.classes is None):
        raise InputError(f"{folder}: only one of train and test holds a folder for each class")
    classes = sorted(set(train.classes or ()))
    unknown = sorted(set(test.classes or ()) - set(classes))
    if unknown:
        raise InputError(f"{folder / 'test' / unknown[0]} is a class that train does not hold")
    return classes


def _labels(found: _Found, classes: list[str]) -> Tensor | None:
    if found.classes is None:
        return None
    number = {name: i for i, name in enumerate(classes)}
    return torch.tensor([number[name] for name in found.classes])
