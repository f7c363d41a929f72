"""Stock data sets: digits shipped with the package, others found where they lie already."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import torch

from pyro_vae.data import endings, folder, hub, patches, shards, stores, vision, zips
from pyro_vae.data.arrays import Data
from pyro_vae.data.files import read
from pyro_vae.data.pictures import SUFFIXES as PICTURES
from pyro_vae.data.pictures import Fit
from pyro_vae.data.table import read_table
from pyro_vae.data.tables import data_of
from pyro_vae.data.vision import Source, emnist_files, idx_files
from pyro_vae.errors import InputError, shown, unknown
from pyro_vae.types import JSON

__all__ = ["TABLE", "load"]

_FILES = idx_files("train", "t10k")
_LETTERS = "letters and digits 1×28×28, upright"
_OF_EMNIST = "EMNIST (Cohen, Afshar, Tapson, van Schaik; from NIST SD 19), public domain"


def _emnist(split: str, what: str) -> Source:
    folders = ("EMNIST/raw", "emnist")
    name, files = f"emnist-{split}", emnist_files(split)
    return Source(name, what, _OF_EMNIST, "EMNIST", folders, files, (("split", split),))


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
            _FILES,
        ),
        Source(
            "fashion-mnist",
            "70,000 pieces of clothing 1×28×28: 60,000 + 10,000",
            "Fashion-MNIST (Zalando Research), MIT",
            "FashionMNIST",
            ("FashionMNIST/raw", "fashion-mnist"),
            _FILES,
        ),
        Source(
            "kmnist",
            "70,000 cursive hiragana 1×28×28, 10 classes: 60,000 + 10,000",
            "KMNIST (Center for Open Data in the Humanities), CC BY-SA 4.0",
            "KMNIST",
            ("KMNIST/raw", "kmnist"),
            _FILES,
        ),
        _emnist("balanced", f"131,600 {_LETTERS}, 47 classes: 112,800 + 18,800"),
        _emnist("byclass", f"814,255 {_LETTERS}, 62 classes: 697,932 + 116,323"),
        _emnist("bymerge", f"814,255 {_LETTERS}, 47 classes: 697,932 + 116,323"),
        _emnist("digits", "280,000 digits 1×28×28, upright: 240,000 + 40,000"),
        _emnist("letters", "145,600 letters 1×28×28, upright, classes 1 to 26: 124,800 + 20,800"),
        Source(
            "cifar10",
            "60,000 photographs 3×32×32, 10 classes: 50,000 + 10,000",
            "CIFAR-10 (Krizhevsky, Nair, Hinton), no licence stated",
            "CIFAR10",
            ("cifar-10-batches-py",),
            (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"),
        ),
        Source(
            "cifar100",
            "60,000 photographs 3×32×32, 100 classes: 50,000 + 10,000",
            "CIFAR-100 (Krizhevsky, Nair, Hinton), no licence stated",
            "CIFAR100",
            ("cifar-100-python",),
            ("train", "test", "meta"),
        ),
        Source(
            patches.NAME,
            "5,500 cuttings of photographs 3×32×32: 5,000 + 500",
            "photographs of scikit-image and scikit-learn, public domain, CC0 and CC BY 2.0",
            folders=(".",),
            files=(patches.FILE,),
        ),
        Source(
            "svhn",
            "99,289 house numbers 3×32×32: 73,257 + 26,032",
            "SVHN (Netzer et al.), non-commercial use",
            "SVHN",
            ("SVHN", "svhn", "."),
            ("train_32x32.mat", "test_32x32.mat"),
        ),
        Source(
            "celeba",
            "182,732 faces 3×218×178, for --crop and --resize: 162,770 + 19,962",
            "CelebA (Liu, Luo, Wang, Tang), non-commercial research",
            "CelebA",
            ("celeba",),
            (
                "list_eval_partition.txt",
                "identity_CelebA.txt",
                "list_bbox_celeba.txt",
                "list_landmarks_align_celeba.txt",
                "list_attr_celeba.txt",
            ),
        ),
    )
}
"""Data sets that go by a name."""

_SYSTEM_ROOT = Path("/usr/share/datasets")


def load(
    name: str = "mnist-5k",
    root: str | Path | None = None,
    download: bool = False,
    resize: int | None = None,
    crop: int | None = None,
    like: JSON | None = None,
) -> Data:
    """A stock data set, or a file or folder of the user's own.

    Args:
        name: A key of :data:`TABLE`; or the path of a .npy or .npz file, an HDF5 file or a Zarr
            folder (``FILE`` or ``FILE:ARRAY``), a table (.csv, .tsv, .parquet or .feather, see
            :func:`~pyro_vae.data.table.read_table`), a folder or a .zip file of images, a folder
            that Hugging Face's ``save_to_disk`` wrote, or .tar shards, perhaps with braces as in
            ``shards-{000..009}.tar``. ``~`` is the user's folder.
        root: Folder to look in first; then the variable PYRO_VAE_DATA, ``~/.cache/pyro_vae`` and
            Debian's /usr/share/datasets.
        download: Let torchvision fetch it into the root (or the cache) if it is found nowhere.
        resize: Of image files, scale the shorter side to so many pixels.
        crop: Of image files, then cut a square of so many pixels from the centre.
        like: Of a table, the ``columns`` and the ``told`` ones that a run keeps of it.

    Raises:
        InputError: If the name is unknown, or the data are not at hand or not whole.

    Example:
        >>> data = load("mnist-5k")
        >>> data.train.shape, data.test.shape
        (torch.Size([4500, 1, 28, 28]), torch.Size([500, 1, 28, 28]))
    """
    name = endings.expanded(name)
    root = None if root is None else endings.expanded(root)
    if not is_image_files(name) and (resize, crop) != (None, None):
        raise InputError(f"--resize and --crop are for image files, {name} is none")
    if name not in TABLE:
        return _of_path(name, resize, crop, like or {})
    source = TABLE[name]
    if not source.files:
        return _embedded(source.name)
    there = find(source, root)
    if there is None and not (download and source.torchvision):
        raise InputError(
            f"{name} is not at hand: looked for {source.files[0]} in "
            f"{', '.join(str(f) for f in _candidates(source, root))}; "
            f"name its folder with --data-root, or {_cure(source, root)}"
        )
    if there is not None and source.torchvision is None:
        return _patches(there / patches.FILE)
    fit = Fit(resize, crop)
    if there is not None:
        return vision.read(source, there, fit)
    return vision.fetch(source, next(_roots(root)), fit)


def _of_path(name: str, resize: int | None, crop: int | None, like: JSON) -> Data:
    """A data set of the user's own."""
    kind = endings.kind_of(name)
    if kind == "arrays":
        return read(name)
    if kind == "table":
        return data_of(read_table(name, like.get("columns")), like.get("told", ()))
    if kind == "store":
        return stores.read(name)
    if kind == "zip":
        return zips.read(name, resize, crop)
    if kind == "shards":
        return shards.read(name, resize, crop)
    if kind == "packed":
        raise InputError(
            f"{name} is compressed: gunzip it first (or bunzip2, unxz, unzstd) to .tar"
        )
    path = Path(name)
    if endings.exists(name):
        if path.is_dir():
            saved = hub.is_saved(path)
            return hub.read(path, resize, crop) if saved else folder.read(path, resize, crop)
        if path.suffix.lower() in PICTURES:
            raise InputError(f"{name} is one image: give the folder that it lies in")
        ending = f"its ending {path.suffix}" if path.suffix else "a name without an ending"
        raise InputError(f"{name} is there, but {ending} is none that is read: {endings.WORDS}")
    if len(path.parts) > 1:
        raise InputError(f"there is no folder {shown(name)}, and no {endings.WORDS} file so called")
    kinds = f"data set (or {endings.WORDS} file, or folder of images)"
    raise unknown(kinds, name, TABLE)


def is_image_files(name: str) -> bool:
    """Whether a name that :func:`load` takes is of image files, which can be resized."""
    if endings.kind_of(name) is not None:
        return endings.is_images(name)
    return name == "celeba" or (name not in TABLE and endings.is_folder(name))


def is_path(name: str) -> bool:
    """Whether a name that :func:`load` takes is a file's or folder's, or shards'."""
    return name not in TABLE and endings.is_path(name)


def find(source: Source, root: str | Path | None = None) -> Path | None:
    """The folder that holds all of a data set's files, IDX ones plain or gzipped, or None."""
    for there in _candidates(source, root):
        if all((there / f).is_file() or (there / f"{f}.gz").is_file() for f in source.files):
            return there
    return None


def default_root() -> Path:
    """The folder that data go to where none is named."""
    return next(_roots(None))


def _cure(source: Source, root: str | Path | None) -> str:
    if source.torchvision is not None:
        return "let torchvision fetch it with --download"
    there = "" if root is None else f" --data-root {root}"
    return f"make it with: pyro-vae data make {source.name}{there}"


def _patches(path: Path) -> Data:
    data = read(path)
    patches.check({"train": data.train.numpy(), "test": data.test.numpy()}, str(path))
    return data


def _roots(root: str | Path | None) -> Iterator[Path]:
    if root is not None:
        yield Path(root)
    if os.environ.get("PYRO_VAE_DATA"):
        yield Path(endings.expanded(os.environ["PYRO_VAE_DATA"]))
    yield Path.home() / ".cache" / "pyro_vae"


def _candidates(source: Source, root: str | Path | None) -> Iterator[Path]:
    for base in (*_roots(root), _SYSTEM_ROOT):
        yield from (base / folder for folder in source.folders)
        if base.name in source.folders:
            yield base


def _embedded(name: str) -> Data:
    with resources.files("pyro_vae.data").joinpath(f"{name}.npz").open("rb") as stream:
        archive = np.load(stream, allow_pickle=False)
        images = torch.from_numpy(archive["images"])[:, None].contiguous()
        labels = torch.from_numpy(archive["labels"].astype(np.int64))
    return Data(images[:4500], labels[:4500], images[4500:], labels[4500:])
