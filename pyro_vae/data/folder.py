"""Folders of images, by the conventions of torchvision's ``ImageFolder``."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pyro_vae import ours
from pyro_vae.data import files
from pyro_vae.data.arrays import Data
from pyro_vae.data.found import Search
from pyro_vae.data.pictures import SUFFIXES, File, Fit
from pyro_vae.data.roles import part_names
from pyro_vae.data.survey import images_of
from pyro_vae.errors import InputError

__all__: list[str] = []

_LOG = logging.getLogger("pyro_vae")


class Found(NamedTuple):
    """Image files of a folder, and their classes' names, or None where it is flat.

    Attributes:
        files: The files.
        names: What each is called below the folder.
        classes: The class of each, or None.
    """

    files: Sequence[File]
    names: list[str]
    classes: list[str] | None


def read(path: str | Path, resize: int | None = None, crop: int | None = None) -> Data:
    """Images of a folder: ``CLASS/*.png`` with labels, or ``*.png`` without.

    Folders ``train`` and ``test`` in it hold two parts, in either form; ``val`` (or ``valid``,
    ``validation``, ``dev``) is a third one, or stands in for ``test``. Else a tenth is held out,
    always the same. Classes are numbered in the order of their names; below a class folders may be
    nested. Names that begin with a dot, files of other endings, and folders of runs and
    comparisons are passed over, as is what links lead to a second time; a line logged by
    ``pyro_vae`` says so.

    Grey images have one channel; where any image of the folder has colour, all have three. Images
    are turned as their EXIF orientation says. Palettes are resolved, of 16-bit channels the upper 8
    of the bits in use are kept, alpha is dropped, and of several pages or frames the first alone is
    read; a line says so. What exceeds a quarter of the machine's memory stays on disk and is
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
    parts = _parts(folder)
    search = Search(folder, list(parts.values()) or [folder])
    if parts:
        _beside(folder, parts, search)
    found = {part: _found(there, search) for part, there in (parts or {"all": folder}).items()}
    data = of_found(folder, parts, found, fit)
    if search.words:
        _LOG.warning(f"{folder}: passed over: {search.words}")
    return data._replace(passed_over=search.words)


def has_parts(folder: Path) -> bool:
    """Whether a folder holds a training part and another one."""
    return len(_parts(folder)) > 1


def class_names(folder: Path) -> list[str] | None:
    """The names of a folder's classes, in the order of their numbers; None where it is flat."""
    parts = _parts(folder)
    found = _found(parts.get("train", folder), Search(folder, list(parts.values()) or [folder]))
    return None if found.classes is None else sorted(set(found.classes))


def of_found(folder: Path, parts: Mapping[str, Path], found: Mapping[str, Found], fit: Fit) -> Data:
    """The data set of image files whose parts and classes have been found.

    Args:
        folder: What holds them.
        parts: Where each part lies; none where all images are one.
        found: The files, by part; of one alone a tenth is held out.
        fit: How the images come to their size.

    Raises:
        InputError: If a file is no image, the sizes differ, or there are too few.
    """
    sources = dict(zip(found, images_of([one.files for one in found.values()], fit), strict=True))
    if len(found) > 1:
        classes = _classes(parts, found)
        labels = {part: _labels(one, classes) for part, one in found.items()}
        data = files.of_parts(sources, labels)
        names = {part: one.names for part, one in found.items()}
        return data._replace(names=names)
    ((part, one),) = found.items()
    try:
        data = files.parts(sources[part], _labels(one, sorted(set(one.classes or ()))))
    except InputError as error:
        raise InputError(f"{folder}: {error} (or give folders train and test)") from None
    return data._replace(names=files.divided(one.names))


def _parts(folder: Path) -> dict[str, Path]:
    """The folders of the parts; none where all images of the folder are one."""
    names = [path.name for path in _inside(folder) if path.is_dir() and not ours.only(path)]
    parts = part_names(names, folder)
    if "train" not in parts and parts and len(parts) == len(names):
        given = " and ".join(sorted(parts.values()))
        raise InputError(
            f"{folder} holds {given} and no train: give train beside it, or {folder / min(names)} "
            "for all images"
        )
    # Without another part, train beside other folders is a class of its own.
    if "train" not in parts or (len(parts) == 1 and len(names) > 1):
        return {}
    return {part: folder / name for part, name in parts.items()}


def _beside(folder: Path, parts: Mapping[str, Path], search: Search) -> None:
    """Take note of what lies beside the folders of the parts."""
    for path in _inside(folder):
        if path not in parts.values():
            search.passed_over[f"folder {path.name}" if path.is_dir() else "loose file"] += 1


def _inside(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name[0] != ".")


def _found(folder: Path, search: Search) -> Found:
    """The image files of a folder, in the order of their names."""
    paths = search.of(folder)
    below = [path.relative_to(folder).parts for path in paths]
    flat = [names for names in below if len(names) == 1]
    classes = classes_of(folder, below)
    suffixes = ", ".join(SUFFIXES)
    for path in _inside(folder):
        empty = path.is_dir() and not path.is_symlink() and path.name not in (classes or ())
        if empty and not flat and not ours.holds(path):
            raise InputError(f"{path} holds no images ({suffixes})")
    if len(paths) < 2:
        said = f"only one image, {paths[0].name}" if paths else f"no images ({suffixes})"
        over = f"; passed over: {search.words}" if search.words else ""
        raise InputError(f"{folder} holds {said}{over}")
    return Found(paths, ["/".join(names) for names in below], classes)


def classes_of(folder: Path, below: Sequence[Sequence[str]]) -> list[str] | None:
    """The class of each image by the folder that it lies in; None where it is flat.

    Args:
        folder: What holds the images, for messages.
        below: The names that lead to each from there.

    Raises:
        InputError: If images lie beside folders of images, or parts deeper than the folder.
    """
    _check_parts_below(folder, below)
    flat = [names[0] for names in below if len(names) == 1]
    classes = [names[0] for names in below if len(names) > 1]
    if flat and classes:
        raise InputError(
            f"{folder} holds images ({min(flat)}) beside folders of images "
            f"({min(classes)}): give either"
        )
    return classes or None


def _check_parts_below(folder: Path, below: Iterable[Sequence[str]]) -> None:
    """Refuse parts that lie deeper than the folder: they would become one class."""
    children: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for names in below:
        for depth in range(1, len(names) - 1):
            children[tuple(names[:depth])].add(names[depth])
    for above, inside in sorted(children.items()):
        deeper = folder.joinpath(*above)
        parts = part_names(sorted(inside), deeper)
        if "train" in parts and len(parts) > 1:
            train, other = parts["train"], next(parts[part] for part in parts if part != "train")
            raise InputError(
                f"{deeper} holds parts, {train} and {other}: give {deeper} itself, or folders "
                f"{train}/{above[-1]} and {other}/{above[-1]}"
            )


def _classes(parts: Mapping[str, Path], found: Mapping[str, Found]) -> list[str]:
    """The classes' names, which training images define."""
    train = found["train"]
    classes = sorted(set(train.classes or ()))
    for part, one in found.items():
        if (train.classes is None) != (one.classes is None):
            raise InputError(
                f"{parts[part].parent}: only one of {parts['train'].name} and {parts[part].name} "
                "holds a folder for each class"
            )
        unknown = sorted(set(one.classes or ()) - set(classes))
        if unknown:
            raise InputError(f"{parts[part] / unknown[0]} is a class that train does not hold")
    return classes


def _labels(found: Found, classes: list[str]) -> Tensor | None:
    if found.classes is None:
        return None
    number = {name: i for i, name in enumerate(classes)}
    return torch.tensor([number[name] for name in found.classes])
