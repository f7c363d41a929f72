"""Arrays in HDF5 files and Zarr folders, which stay there where memory does not hold them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_vae.data.arrays import Data
from pyro_vae.data.files import of_arrays
from pyro_vae.data.stored import limit
from pyro_vae.errors import InputError, reason, unknown

__all__: list[str] = []

HDF5 = (".h5", ".hdf5", ".hdf", ".he5")
ZARR = (".zarr",)
SUFFIXES = (*HDF5, *ZARR)
"""What names of files and folders with arrays by name end in."""


def split(name: str) -> tuple[Path, str | None]:
    """A file and which of its arrays is meant, of ``file.h5:group/name``.

    Args:
        name: As it was given.

    Example:
        >>> split("a/cells.h5:train/images"), split("a/cells.h5")
        ((PosixPath('a/cells.h5'), 'train/images'), (PosixPath('a/cells.h5'), None))
    """
    head, colon, inner = name.rpartition(":")
    if colon and inner and Path(head).suffix.lower() in SUFFIXES:
        return Path(head), inner.strip("/")
    return Path(name), None


def is_store(name: str) -> bool:
    """Whether a name is of an HDF5 file or a Zarr folder, or of an array in one."""
    return split(name)[0].suffix.lower() in SUFFIXES


def read(name: str) -> Data:
    """Arrays of an HDF5 file or a Zarr folder, told by their names as those of a .npz file.

    Args:
        name: ``FILE`` or ``FILE:ARRAY``, of which a tenth is held out.

    Raises:
        InputError: If the package that reads it is missing, the file is none, has no such array, or
            its arrays are no data set; it names the arrays that there are.
    """
    path, inner = split(name)
    if not path.exists():
        raise InputError(f"there is no {path}")
    rows: dict[str, _Rows] = {}
    try:
        rows = {key: _Rows(path, key) for key in _names(path)}
        if inner is not None:
            if inner not in rows:
                raise unknown("array", inner, rows)
            rows = {inner: rows[inner]}
        return of_arrays(_arrays(rows), name)
    except InputError as error:
        said = str(error)
        if f"{path}" in said:
            raise
        more = (
            f" (or give one of them, {path}:NAME)"
            if rows and "it must hold one array" in said
            else ""
        )
        raise InputError(f"{name}: {said}{more}") from None


def _arrays(rows: dict[str, _Rows]) -> dict[str, Any]:
    """Each array in memory, or where it is if it is too large."""
    return {name: each[:] if each.nbytes <= limit() else each for name, each in rows.items()}


class _Rows:
    """An array of a file, opened anew wherever it is read: also in a process of its own.

    Args:
        path: The file.
        name: Of the array in it.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self._axes: tuple[int, ...] = ()
        with _opened(path) as file:
            array = _array(file, name)
            self._shape: tuple[int, ...] = tuple(array.shape)
            self.dtype: np.dtype[Any] = np.dtype(array.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole array."""
        return tuple(self._shape[axis] for axis in self._axes) if self._axes else self._shape

    @property
    def nbytes(self) -> int:
        """Bytes that it would take in memory."""
        return int(prod(self._shape) * self.dtype.itemsize)

    def transpose(self, *axes: int) -> _Rows:
        """The same with its dimensions in another order."""
        self._axes = axes
        return self

    def __len__(self) -> int:
        rows: int = self._shape[0]
        return rows

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> NDArray[np.generic]:
        try:
            with _opened(self.path) as file:
                array = _array(file, self.name)
                found = self._read(array, rows)
        except InputError:
            raise
        except Exception as error:  # libraries of formats raise nearly anything
            raise InputError(f"{self.path}:{self.name} cannot be read: {reason(error)}") from None
        return found.transpose(self._axes) if self._axes else found

    def _read(self, array: Any, rows: NDArray[np.int64] | slice) -> NDArray[np.generic]:
        if isinstance(rows, slice):
            return np.asarray(array[rows] if len(self._shape) else array[()])
        once, back = np.unique(rows, return_inverse=True)  # neither takes a row twice
        if len(once) and once[-1] - once[0] == len(once) - 1:  # a slice is far faster
            return np.asarray(array[int(once[0]) : int(once[-1]) + 1])[back]
        some = array.oindex[once] if hasattr(array, "oindex") else array[once]
        return np.asarray(some)[back]


def _opened(path: Path) -> AbstractContextManager[Any]:
    """A file or folder of arrays, to be read.

    Raises:
        InputError: If the package for it is missing, or it is none.
    """
    hdf5 = path.suffix.lower() in HDF5
    package, extra = ("h5py", "hdf5") if hdf5 else ("zarr", "zarr")
    library = needed(package, extra, str(path))
    try:
        if hdf5:
            file: AbstractContextManager[Any] = library.File(path, "r")
            return file
        return nullcontext(library.open(str(path), mode="r"))
    except Exception as error:  # whatever the library says of files that are none
        said = reason(error)
        raise InputError(f"{path} is not a readable {path.suffix} file: {said}") from None


def needed(package: str, extra: str, what: str) -> Any:
    """A package that is not always there.

    Args:
        package: Its name.
        extra: That of ours which brings it.
        what: What needs it.

    Raises:
        InputError: If it is not installed, or does not import.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise InputError(
            f"{what} needs {package}, which is not installed ({reason(error)}): "
            f"pip install 'pyro_vae[{extra}]'"
        ) from None


def _array(file: Any, name: str) -> Any:
    return file[name] if name and hasattr(file, "keys") else file


def _names(path: Path) -> Sequence[str]:
    """The arrays of a file, whatever groups they are in; one that is the whole is ``""``."""
    with _opened(path) as file:
        if not hasattr(file, "keys"):
            return [""]
        found: list[str] = []
        if hasattr(file, "visititems"):  # it follows no links, which may lead in circles

            def visit(name: str, item: Any) -> None:
                if len(getattr(item, "shape", None) or ()) > 0:
                    found.append(name)

            file.visititems(visit)
            return found
        return list(_below(file, ""))


def _below(group: Any, prefix: str) -> Iterator[str]:
    for key in group.keys():  # noqa: SIM118 (a group is no mapping of its own)
        item = group[key]
        if hasattr(item, "keys"):
            yield from _below(item, f"{prefix}{key}/")
        elif len(item.shape) > 0:
            yield f"{prefix}{key}"
