"""Data sets in a user's own .npy and .npz files; nothing in them is unpickled."""

from __future__ import annotations

import hashlib
import logging
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_vae import ours
from pyro_vae.data.arrays import Data, as_source, channels_first, split
from pyro_vae.data.batch import Batch, subset
from pyro_vae.data.braces import expand, is_shards
from pyro_vae.data.containers import check_numbers
from pyro_vae.data.roles import PARTS, Role, roles
from pyro_vae.data.stored import Stored, limit
from pyro_vae.errors import InputError, reason

__all__: list[str] = []

_LOG = logging.getLogger("pyro_vae")

SUFFIXES = (".npy", ".npz")
HELD_OUT = 0.1
"""Share of the images that is held out where nobody says which ones are."""


def read(path: str | Path) -> Data:
    """Arrays of a file: uint8 levels, counts or floats, (N, C, H, W), (N, H, W) or (N, D).

    A .npz may hold ``train`` and ``test`` (or ``val``, or both: see :class:`Data`), and
    ``train_labels`` and ``test_labels`` beside them; the same as Keras has it (``x_train``,
    ``y_train``) or MedMNIST (``train_images``); or one array, or ``images`` and ``labels``. Of
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
        return of_arrays(_arrays(Path(path)), path)
    except InputError as error:
        said = str(error)
        raise InputError(said if said.startswith(f"{path}") else f"{path}: {said}") from None


def of_arrays(arrays: dict[str, Any], path: str | Path) -> Data:
    """The data set that arrays of a file are.

    Args:
        arrays: By their names, of numpy or read like them. One alone is of images, whatever its
            name; of several the names say what they are.
        path: The file.

    Raises:
        InputError: If the names do not say, or images or labels are none.
    """
    if len(arrays) == 1:
        arrays = {"images": next(iter(arrays.values()))}
    there = roles(arrays, "it")
    images = {role.part: name for role, name in there.items() if not role.labels}
    if None not in images and not ("train" in images and len(images) > 1):
        raise InputError(
            f"it holds {', '.join(sorted(arrays)) or 'nothing'}: it must hold one array, "
            "images and labels, or train and test (also as x_train or train_images)"
        )
    over = sorted(set(arrays) - set(there.values()))
    wanted = [None] if None in images and len(images) < 3 else [p for p in PARTS if p in images]
    found: dict[Any, Any] = {}
    labels: dict[Any, Any] = {}
    for part in wanted:
        shape = tuple(found["train"].shape[1:]) if "train" in found else None
        array = channels_first(arrays[images[part]])
        check_numbers(array.dtype)
        stays = not isinstance(array, np.ndarray)
        found[part] = as_source(Stored(array) if stays else array, shape)
        name = there.get(Role(part, True))
        given = None if name is None else arrays[name]
        labels[part] = None
        if given is not None and len(given.shape) == 2 and given.shape[1] > 1:
            over.append(f"{name} (of {given.shape[1]} columns)")
        else:
            labels[part] = _labels(given, found[part])
    over += sorted(name for role, name in there.items() if role.part not in wanted)
    data = parts(found[None], labels[None]) if None in found else of_parts(found, labels)
    words = f"arrays {', '.join(over)}" if over else ""
    if words:
        _LOG.warning(f"{path}: passed over: {words}")
    return data._replace(passed_over=words)


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


def divided(names: Sequence[str]) -> dict[str, list[str]]:
    """What images are called, by the parts that :func:`parts` makes of them.

    Args:
        names: One for each image, in order.
    """
    return {
        part: [names[i] for i in index.tolist()]
        for part, index in zip(("train", "test"), rows_of_parts(len(names)), strict=True)
    }


def rows_of_parts(count: int) -> tuple[Tensor, Tensor]:
    """Which of so many images are trained on and which held out, each int64 (n,)."""
    order, held_out = split(torch.arange(count), HELD_OUT)
    assert held_out is not None  # a fraction was asked for
    return order, held_out


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
    order, held_out = rows_of_parts(len(images))
    train, test = subset(images, order), subset(images, held_out)
    if labels is None:
        return Data(train, None, test, None)
    return Data(train, labels[order], test, labels[held_out])


def digest(path: str | Path) -> str | None:
    """SHA-256 of a file, or of the contents of several; None where there are none.

    Args:
        path: Of the file, of shards (a pattern with braces), or of a folder, whose files' names
            count too; those of runs in it do not count. Of ``FILE:ARRAY`` the file.
    """
    path = place(path)
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


def place(name: str | Path) -> Path:
    """The file or folder that a data set's name says, of ``FILE:ARRAY`` the file."""
    path = Path(os.path.expanduser(name))
    before = str(path).rpartition(":")[0]
    return Path(before) if before and not path.exists() and Path(before).exists() else path


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
            return {name: loaded[name] for name in loaded.files}
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError("there is no such file") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        # numpy advises whoever meets objects to unpickle them, which runs what is in the file.
        said = "it holds Python objects" if "pickle" in str(error) else reason(error)
        raise InputError(f"not a readable {path.suffix} file: {said}") from None


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


def _labels(array: Any, images: Tensor | Stored) -> Tensor | None:
    if array is None:
        return None
    labels = np.asarray(array[:])
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "ui":
        raise InputError(f"labels must be integers (N,), got {labels.dtype} {labels.shape}")
    if len(labels) != len(images):
        raise InputError(f"there are {len(images)} images and {len(labels)} labels")
    return torch.from_numpy(labels.astype(np.int64))
