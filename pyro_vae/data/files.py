"""Data sets in a user's own .npy and .npz files; nothing in them is unpickled."""

from __future__ import annotations

import hashlib
import logging
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_vae import ours
from pyro_vae.data.arrays import Data, as_images, as_source, channels_first, split
from pyro_vae.data.batch import Batch
from pyro_vae.data.braces import expand, is_shards
from pyro_vae.data.stored import Stored, limit
from pyro_vae.errors import InputError, reason

__all__: list[str] = []

_LOG = logging.getLogger("pyro_vae")

SUFFIXES = (".npy", ".npz")
HELD_OUT = 0.1
"""Share of the images that is held out where nobody says which ones are."""

_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
"""What people call the parts of a data set."""


def read(path: str | Path) -> Data:
    """Arrays of a file: uint8 levels, counts or floats, (N, C, H, W), (N, H, W) or (N, D).

    A .npz may hold ``train`` and ``test`` (or ``val``, or both: see :class:`Data`), and
    ``train_labels`` and ``test_labels`` beside them; or one array, or ``images`` and ``labels``. Of
    one array a tenth is held out, always the same. Of images with channels last, (N, H, W, 3), the
    channels are brought to the front; a line logged by ``pyro_vae`` says so, and names arrays that
    are passed over.
    A .npy file of more than a quarter of the machine's memory stays on disk, memory-mapped.

    Args:
        path: A .npy or .npz file.

    Raises:
        InputError: If the file is missing, damaged, holds objects or other arrays, or its data
            have no shape of images or vectors.
    """
    try:
        return _data(_arrays(Path(path)), Path(path))
    except InputError as error:
        said = str(error)
        raise InputError(said if said.startswith(f"{path}") else f"{path}: {said}") from None


def _data(arrays: dict[str, NDArray[np.generic]], path: Path) -> Data:
    parts_there = part_names(arrays, path)
    if len(parts_there) > 1 and "train" in parts_there:
        found: dict[str, Any] = {}
        labels: dict[str, Any] = {}
        for part, name in parts_there.items():
            shape = tuple(found["train"].shape[1:]) if found else None
            found[part] = as_images(channels_first(arrays.pop(name)), shape)
            there = f"{name}_labels" in arrays
            labels[part] = _labels(arrays.pop(f"{name}_labels") if there else None, found[part])
        data = of_parts(found, labels)
    else:
        images: Any = as_source(channels_first(arrays.pop("images")))
        labels_there = arrays.pop("labels") if "labels" in arrays else None
        data = parts(images, _labels(labels_there, images))
    over = f"arrays {', '.join(sorted(arrays))}" if arrays else ""
    if over:
        _LOG.warning(f"{path}: passed over: {over}")
    return data._replace(passed_over=over)


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
    for part, known in _NAMES.items():
        found = [name for name in names if name.lower() in known]
        if len(found) > 1:
            raise InputError(f"{where} holds {found[0]} and {found[1]}: which is the {part} part?")
        if found:
            there[part] = found[0]
    return there


def of_parts(images: Mapping[str, Tensor | Stored], labels: Mapping[str, Tensor | None]) -> Data:
    """A data set that says which images are held out.

    Args:
        images: Those of ``train`` and of ``test`` or ``validation``, or of both.
        labels: Their classes.
    """
    figures = "test" if "test" in images else "validation"
    data = Data(images["train"], labels["train"], images[figures], labels[figures])
    if len(images) < 3:
        return data
    name = "validation"
    return data._replace(validation=images[name], validation_labels=labels[name])


def parts(images: Tensor | Stored | Batch, labels: Tensor | None) -> Data:
    """Training and held-out images of a data set that does not say which are which.

    Args:
        images: All of them.
        labels: Their classes, int64 (N,), or None.

    Raises:
        InputError: If they are too few.
    """
    if round(len(images) * HELD_OUT) == 0:
        unit = "rows" if isinstance(images, Batch) else "images"
        raise InputError(
            f"{len(images)} {unit} are too few to hold a tenth of them out: give at least "
            f"{next(n for n in range(1, 100) if round(n * HELD_OUT))}"
        )
    order, held_out = split(torch.arange(len(images)), HELD_OUT)
    assert held_out is not None  # a fraction was asked for
    train, test = (
        images[index] if isinstance(images, Tensor) else images.subset(index)
        for index in (order, held_out)
    )
    if labels is None:
        return Data(train, None, test, None)
    return Data(train, labels[order], test, labels[held_out])


def digest(path: str | Path) -> str | None:
    """SHA-256 of a file, or of the contents of several; None where there are none.

    Args:
        path: Of the file, of shards (a pattern with braces), or of a folder, whose files' names
            count too; those of runs in it do not count.
    """
    path = Path(path)
    if "{" not in path.name and path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    whole = hashlib.sha256()
    if is_shards(str(path)):
        for shard in expand(str(path)):
            whole.update(f"{digest(shard) if shard.is_file() else None}\n".encode())
        return whole.hexdigest()
    if not path.is_dir():
        return None
    for file in sorted(_files(path)):
        name = f"{file.relative_to(path).as_posix()}\0{digest(file)}\n"
        whole.update(name.encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder but those of runs, which are no data."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not ours.only(Path(place, name))]
        yield from (Path(place, name) for name in names if Path(place, name).is_file())


def _arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        if path.suffix == ".npy" and path.stat().st_size > limit():
            return {"images": _mapped(path)}
        with path.open("rb") as stream:
            _check_kind(stream, path.suffix)
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"images": loaded}
            _check_size(loaded.zip)
            arrays = {name: loaded[name] for name in loaded.files}
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError("there is no such file") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        # numpy advises whoever meets objects to unpickle them, which runs what is in the file.
        said = "it holds Python objects" if "pickle" in str(error) else reason(error)
        raise InputError(f"not a readable {path.suffix} file: {said}") from None
    if len(arrays) == 1:
        return {"images": next(iter(arrays.values()))}
    there = part_names(arrays, path)
    if not ("images" in arrays or (len(there) > 1 and "train" in there)):
        raise InputError(
            f"it holds {', '.join(sorted(arrays)) or 'nothing'}: it must hold one array, "
            "images and labels, or train and test"
        )
    return arrays


def _check_kind(stream: IO[bytes], suffix: str) -> None:
    """Make sure that a file begins as numpy's do: of any other it says that it may be pickled."""
    start = stream.read(6)
    stream.seek(0)
    if not start.startswith((b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06")):
        was = "is empty" if not start else "does not begin as those of numpy do"
        raise InputError(f"not a readable {suffix} file: it {was}")


def _mapped(path: Path) -> NDArray[np.generic]:
    array: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    if not array.flags.c_contiguous:
        raise InputError(
            "it is in Fortran's order, in which an image lies all over the file: save it with "
            "np.save(FILE, np.ascontiguousarray(array))"
        )
    return array


def _check_size(archive: zipfile.ZipFile) -> None:
    size = sum(info.file_size for info in archive.infolist())
    if size > 2 * limit():
        raise InputError(
            f"its arrays take {size / 2**30:.2g} GiB, more than half of the memory: save the "
            "images as .npy, which is read from disk"
        )


def _labels(array: NDArray[np.generic] | None, images: Tensor | Stored) -> Tensor | None:
    if array is None:
        return None
    labels = np.asarray(array)
    if labels.ndim != 1 or labels.dtype.kind not in "ui":
        raise InputError(f"labels must be integers (N,), got {labels.dtype} {labels.shape}")
    if len(labels) != len(images):
        raise InputError(f"there are {len(images)} images and {len(labels)} labels")
    return torch.from_numpy(labels.astype(np.int64))
