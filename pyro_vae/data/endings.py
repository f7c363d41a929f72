"""What a data set's name is of, told from its ending, and where that lies."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from pyro_vae.data import files, rows, stores, zips
from pyro_vae.data.braces import is_packed, is_shards

__all__: list[str] = []

KINDS: dict[str, Callable[[str], bool]] = {
    "arrays": lambda name: Path(name).suffix.lower() in files.SUFFIXES,
    "table": lambda name: Path(name).suffix.lower() in rows.SUFFIXES,
    "store": stores.is_store,
    "zip": lambda name: Path(name).suffix.lower() == zips.SUFFIX,
    "shards": is_shards,
    "packed": is_packed,
}
"""Kinds of files by what their names end in."""

WORDS = ".npy, .npz, .h5, .zarr, .csv, .tsv, .parquet, .feather, .zip or .tar"
"""The endings, in words."""


def kind_of(name: str) -> str | None:
    """A key of ``KINDS``, or None for a folder or a name.

    Example:
        >>> kind_of("a/b.csv"), kind_of("cells.h5:x"), kind_of("mnist")
        ('table', 'store', None)
    """
    return next((kind for kind, holds in KINDS.items() if holds(name)), None)


def is_table(name: str) -> bool:
    """Whether a name is of a table, whose columns have names."""
    return kind_of(name) == "table"


def is_images(name: str) -> bool:
    """Whether a name is of a file of pictures, which can be resized."""
    return kind_of(name) in ("zip", "shards")


def expanded(name: str | os.PathLike[str]) -> str:
    """A path whose ``~`` is the user's folder; any other name as it is."""
    return os.path.expanduser(os.fspath(name))


def exists(name: str) -> bool:
    """Whether there is a file or folder of a name."""
    try:
        return stores.split(expanded(name))[0].exists()
    except (OSError, ValueError):  # a name that is longer than any file's, or holds a NUL
        return False


def is_folder(name: str) -> bool:
    """Whether there is a folder of a name."""
    return exists(name) and Path(expanded(name)).is_dir()


def is_path(name: str) -> bool:
    """Whether a name is a file's or folder's, or shards'."""
    return is_shards(name) or exists(name)
