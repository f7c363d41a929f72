"""Stock data sets: digits shipped with the package, others found where they lie already."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyro_vae.data.arrays import Data
from pyro_vae.data.files import SUFFIXES, read
from pyro_vae.errors import InputError, unknown

__all__ = ["TABLE", "Source", "find", "load"]


@dataclass(frozen=True)
class Source:
    """Where a stock data set comes from.

    Attributes:
        name: As given to ``--data``.
        what: What it holds, in one line.
        origin: Who made it, and its licence.
        torchvision: The name of torchvision's class, or None if it ships with the package.
        folders: Names of folders under a data root that may hold its files.
    """

    name: str
    what: str
    origin: str
    torchvision: str | None = None
    folders: tuple[str, ...] = ()


TABLE: dict[str, Source] = {
    source.name: source
    for source in (
        Source(
            "mnist-5k",
            "5,000 digits 1×28×28, 500 of each class: 4,500 + 500",
            "MNIST (LeCun, Cortes, Burges), CC BY-SA 3.0; in this package",
        ),
        Source(
            "mnist",
            "70,000 digits 1×28×28: 60,000 + 10,000",
            "MNIST (LeCun, Cortes, Burges), CC BY-SA 3.0",
            "MNIST",
            ("MNIST/raw", "mnist"),
        ),
        Source(
            "fashion-mnist",
            "70,000 pieces of clothing 1×28×28: 60,000 + 10,000",
            "Fashion-MNIST (Zalando Research), MIT",
            "FashionMNIST",
            ("FashionMNIST/raw", "fashion-mnist"),
        ),
    )
}

_FILES = tuple(
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)
_SYSTEM_ROOT = Path("/usr/share/datasets")


def load(name: str = "mnist-5k", root: str | Path | None = None, download: bool = False) -> Data:
    """A stock data set, or a file of the user's own.

    Args:
        name: A key of :data:`TABLE`, or the path of a .npy or .npz file (see :func:`files.read`).
        root: Folder to look in first; then the variable PYRO_VAE_DATA, ``~/.cache/pyro_vae`` and
            Debian's /usr/share/datasets.
        download: Let torchvision fetch it into the root (or the cache) if it is found nowhere.

    Raises:
        InputError: If the name is unknown, or the data are not at hand.

    Example:
        >>> data = load("mnist-5k")
        >>> data.train.shape, data.test.shape
        (torch.Size([4500, 1, 28, 28]), torch.Size([500, 1, 28, 28]))
    """
    if Path(name).suffix in SUFFIXES:
        return read(name)
    if name not in TABLE:
        raise unknown("data set (or .npy or .npz file)", name, TABLE)
    source = TABLE[name]
    if source.torchvision is None:
        return _embedded(source.name)
    folder = find(source, root)
    if folder is not None:
        with _torchvision_layout(source, folder) as there:
            return _torchvision(source, there, download=False)
    if not download:
        raise InputError(
            f"{name} is not at hand: looked for {_FILES[0]} in "
            f"{', '.join(str(f) for f in _candidates(source, root))}; "
            "name its folder with --data-root, or let torchvision fetch it with --download"
        )
    there = next(_roots(root))
    there.mkdir(parents=True, exist_ok=True)
    return _torchvision(source, there, download=True)


def find(source: Source, root: str | Path | None = None) -> Path | None:
    """The folder that holds a data set's four IDX files, plain or gzipped, or None."""
    for folder in _candidates(source, root):
        if all((folder / f).is_file() or (folder / f"{f}.gz").is_file() for f in _FILES):
            return folder
    return None


def _roots(root: str | Path | None) -> Iterator[Path]:
    if root is not None:
        yield Path(root)
    if os.environ.get("PYRO_VAE_DATA"):
        yield Path(os.environ["PYRO_VAE_DATA"])
    yield Path.home() / ".cache" / "pyro_vae"


def _candidates(source: Source, root: str | Path | None) -> Iterator[Path]:
    for base in (*_roots(root), _SYSTEM_ROOT):
        yield from (base / folder for folder in source.folders)
        if base.name in source.folders:
            yield base


class _torchvision_layout:  # noqa: N801
    """The folder that torchvision's class expects, unpacked to a temporary one where need be."""

    def __init__(self, source: Source, folder: Path) -> None:
        self.source, self.folder = source, folder
        self.temporary: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Path:
        plain = all((self.folder / f).is_file() for f in _FILES)
        if plain and self.folder.parts[-2:] == (self.source.torchvision, "raw"):
            return self.folder.parent.parent
        self.temporary = tempfile.TemporaryDirectory()
        raw = Path(self.temporary.name) / str(self.source.torchvision) / "raw"
        raw.mkdir(parents=True)
        for name in _FILES:
            packed = self.folder / f"{name}.gz"
            opened = gzip.open(packed) if packed.is_file() else (self.folder / name).open("rb")
            with opened as source, (raw / name).open("wb") as target:
                shutil.copyfileobj(source, target)
        return Path(self.temporary.name)

    def __exit__(self, *exception: object) -> None:
        if self.temporary is not None:
            self.temporary.cleanup()


def _torchvision(source: Source, root: Path, download: bool) -> Data:
    # torchvision fails to import beside a torch that it was not built for: only where it is needed.
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError) as error:
        raise InputError(
            f"{source.name} needs torchvision, which does not import beside this torch ({error}); "
            "pip install --upgrade torch torchvision"
        ) from error
    parts: list[Any] = []
    for train in (True, False):
        kind = getattr(datasets, str(source.torchvision))
        try:
            part = kind(str(root), train=train, download=download)
        except (RuntimeError, OSError, ValueError, AssertionError, EOFError) as error:
            raise InputError(f"{source.name} could not be read from {root}: {error!r}") from error
        parts += [torch.as_tensor(part.data)[:, None].contiguous(), torch.as_tensor(part.targets)]
    return Data(*parts)


def _embedded(name: str) -> Data:
    with resources.files("pyro_vae.data").joinpath(f"{name}.npz").open("rb") as stream:
        archive = np.load(stream, allow_pickle=False)
        images = torch.from_numpy(archive["images"])[:, None].contiguous()
        labels = torch.from_numpy(archive["labels"].astype(np.int64))
    return Data(images[:4500], labels[:4500], images[4500:], labels[4500:])
