"""Frames of polars or pandas: read from .parquet and .feather files, and gone through by rows."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pyro_vae.data.containers import is_missing
from pyro_vae.errors import InputError, reason

__all__: list[str] = []

_READERS = {
    ".parquet": ("read_parquet", "read_parquet"),
    ".feather": ("read_ipc", "read_feather"),
    ".arrow": ("read_ipc", "read_feather"),
}
"""What polars and what pandas calls the function that reads each kind of file."""

SUFFIXES = tuple(_READERS)


def read(path: Path) -> Any:
    """The frame of a file.

    Args:
        path: A file whose name ends in one of ``SUFFIXES``.

    Raises:
        InputError: If neither polars nor pandas is installed, or the file is none of its kind.
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise InputError(f"{path}: {'Is a directory' if path.is_dir() else 'no such file'}")
    for package, needs, function in (
        ("polars", "polars", _READERS[suffix][0]),
        ("pandas", "pyarrow", _READERS[suffix][1]),
    ):
        if find_spec(package) is None or find_spec(needs) is None:
            continue
        try:
            with path.open("rb") as stream:
                return getattr(import_module(package), function)(stream)
        except Exception as error:  # libraries of formats raise nearly anything
            raise InputError(f"{path} is not a readable {suffix} file: {reason(error)}") from None
    raise InputError(
        f"{path} needs polars, or pandas with pyarrow, and neither is installed: "
        "pip install 'pyro_vae[tables]', or save it as .csv"
    )


def rows(frame: Any) -> Iterator[tuple[int, list[str]]]:
    """The names of a frame's columns, which are row 0, and the texts of every row, from 1."""
    yield 0, [str(name) for name in frame.columns]
    columns = [frame[name].to_list() for name in frame.columns]
    for number, row in enumerate(zip(*columns, strict=True), 1):
        yield number, [_text(value) for value in row]


def categories(frame: Any) -> dict[str, tuple[str, ...]]:
    """The categories of the columns that have any, by the columns' names."""
    found = {}
    for name in frame.columns:
        column = frame[name]
        own = getattr(column.dtype, "categories", None)  # pandas', and polars' Enum
        if type(column.dtype).__name__ == "Categorical":  # polars'
            own = column.cat.get_categories()
            own = [text for text in own if text in set(column.drop_nulls().to_list())]
        if own is not None:
            found[str(name)] = tuple(map(_text, own))
    return found


def _text(value: Any) -> str:
    """A value as a .csv file has it."""
    if is_missing(value) or value != value:  # NaN alone is unlike itself
        return ""
    if isinstance(value, float):
        return repr(float(value))
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return str(value)
