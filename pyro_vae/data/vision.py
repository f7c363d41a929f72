"""Data sets that torchvision reads, from the folders in which their files may lie."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae.data.arrays import Data
from pyro_vae.data.pictures import Fit
from pyro_vae.data.survey import images_of
from pyro_vae.errors import InputError

__all__: list[str] = []


@dataclass(frozen=True)
class Source:
    """Where a stock data set comes from.

    Attributes:
        name: As given to ``--data``.
        what: What it holds, in one line.
        origin: Who made it, and its licence.
        torchvision: The name of torchvision's class, or None if it is not read by torchvision.
        folders: Names of folders under a data root that may hold its files.
        files: Names of its files; none if it ships with the package.
        options: What torchvision's class needs to be told, (name, value) each.
    """

    name: str
    what: str
    origin: str
    torchvision: str | None = None
    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()


def idx_files(*parts: str) -> tuple[str, ...]:
    """Names of the files of a data set in MNIST's format."""
    kinds = ("images-idx3", "labels-idx1")
    return tuple(f"{part}-{kind}-ubyte" for part in parts for kind in kinds)


def emnist_files(split: str) -> tuple[str, ...]:
    """Names of the files of one of EMNIST's data sets."""
    return idx_files(f"emnist-{split}-train", f"emnist-{split}-test")


def read(source: Source, folder: Path, fit: Fit) -> Data:
    """The data whose files lie in a folder.

    Args:
        source: The data set.
        folder: The folder; gzipped files are unpacked to a temporary one.
        fit: How image files come to their size.

    Raises:
        InputError: If a file is damaged, or is not the one that was published where a sum is known.
    """
    with _layout(source, folder) as root:
        return _read(source, root, fit, download=False)


def fetch(source: Source, root: Path, fit: Fit) -> Data:
    """The data, fetched into a root by torchvision; arguments and errors as for :func:`read`."""
    root.mkdir(parents=True, exist_ok=True)
    return _read(source, root, fit, download=True)


@contextmanager
def _layout(source: Source, folder: Path) -> Iterator[Path]:
    """The root that torchvision's class expects, a temporary one where need be."""
    name = str(source.torchvision)
    if name in ("CIFAR10", "CIFAR100", "CelebA"):
        yield folder.parent
    elif name == "SVHN":
        yield folder
    elif folder.parts[-2:] == (name, "raw") and all((folder / f).is_file() for f in source.files):
        yield folder.parent.parent
    else:
        with tempfile.TemporaryDirectory() as temporary:
            _unpack(source, folder, Path(temporary, name, "raw"))
            yield Path(temporary)


def _unpack(source: Source, folder: Path, raw: Path) -> None:
    raw.mkdir(parents=True)
    for name in source.files:
        packed = folder / f"{name}.gz"
        path, opener = (packed, gzip.open) if packed.is_file() else (folder / name, open)
        try:
            with opener(path, "rb") as stream, (raw / name).open("wb") as target:
                shutil.copyfileobj(stream, target)
        except (OSError, EOFError) as error:
            raise InputError(f"{source.name} could not be read from {path}: {error}") from error


def _read(source: Source, root: Path, fit: Fit, download: bool) -> Data:
    # torchvision fails to import beside a torch that it was not built for: only where it is needed.
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError) as error:
        raise InputError(
            f"{source.name} needs torchvision, which does not import beside this torch ({error}); "
            "pip install --upgrade torch torchvision"
        ) from error
    kind: Any = getattr(datasets, str(source.torchvision))
    options: Mapping[str, Any] = {**dict(source.options), "download": download}
    by_split = source.torchvision in ("SVHN", "CelebA")
    parts = []
    for part in ("train", "test"):
        chosen = {"split": part} if by_split else {"train": part == "train"}
        try:
            parts.append(kind(str(root), **chosen, **options))
        except ImportError as error:
            raise InputError(f"{source.name}: {error}; pip install {error.name}") from error
        except Exception as error:  # of a damaged file nearly anything is raised
            raise InputError(_reason(source, root, error)) from error
    if source.torchvision == "CelebA":
        return _faces(root, parts, fit)
    train, test = ((_levels(source, part), _classes(part)) for part in parts)
    return Data(*train, *test)


def _reason(source: Source, root: Path, error: Exception) -> str:
    if "not found or corrupted" in str(error):
        return (
            f"{source.name} in {root} is not whole: a file is missing or its MD5 is not the "
            "published one, so nothing of it was read; --download with another --data-root "
            "fetches it anew"
        )
    return f"{source.name} could not be read from {root}: {error!r}"


def _levels(source: Source, part: Any) -> Tensor:
    images = torch.as_tensor(np.asarray(part.data))
    if source.torchvision == "EMNIST":  # its files hold them lying on their side
        images = images.transpose(1, 2)
    if images.dim() == 3:
        images = images[:, None]
    elif images.shape[-1] == 3:
        images = images.permute(0, 3, 1, 2)
    return images.contiguous()


def _classes(part: Any) -> Tensor:
    classes = part.labels if hasattr(part, "labels") else part.targets
    return torch.as_tensor(np.asarray(classes), dtype=torch.int64)


def _faces(root: Path, parts: list[Any], fit: Fit) -> Data:
    there = root / "celeba" / "img_align_celeba"
    paths = [[there / name for name in part.filename] for part in parts]
    train, test = images_of(paths, fit)
    return Data(train, None, test, None)
