"""Data sets that Hugging Face's ``datasets`` saved to disk; their Arrow files are read as they are.

What ``save_to_disk`` writes are Arrow streams beside two JSON files, of which pyarrow alone reads
all that is needed here. Nothing is fetched, unpickled or run.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import torch

from pyro_vae.data import files
from pyro_vae.data.arrays import Data, as_images, channels_first
from pyro_vae.data.containers import check_numbers
from pyro_vae.data.pictures import Fit
from pyro_vae.data.roles import part_names, role_of
from pyro_vae.data.stores import needed
from pyro_vae.data.survey import images_of
from pyro_vae.errors import InputError, reason, shown
from pyro_vae.types import JSON

__all__: list[str] = []

_ONE, _SEVERAL = "state.json", "dataset_dict.json"


def is_saved(folder: Path) -> bool:
    """Whether a folder is what ``save_to_disk`` wrote."""
    return (folder / _SEVERAL).is_file() or (
        (folder / _ONE).is_file() and (folder / "dataset_info.json").is_file()
    )


def read(folder: Path, resize: int | None = None, crop: int | None = None) -> Data:
    """The images of a saved data set, or of its splits ``train`` and ``test`` or ``validation``.

    Args:
        folder: What ``save_to_disk`` wrote.
        resize: Of pictures, scale the shorter side to so many pixels, or None.
        crop: Then cut a square of so many pixels from the centre, or None.

    Raises:
        InputError: If pyarrow is not installed, a file is damaged, or no column has images.
    """
    if not (folder / _SEVERAL).is_file():
        images, labels, over = _read([folder], Fit(resize, crop))
        return _told(files.parts(images[0], labels[0]), over)
    splits = _json(folder / _SEVERAL).get("splits") or []
    parts = part_names(splits, folder)
    if "train" not in parts or len(parts) < 2:
        if len(splits) != 1:
            said = ", ".join(splits) or "no splits"
            raise InputError(f"{folder} holds {said}: give one of them, {folder}/SPLIT")
        return read(folder / splits[0], resize, crop)
    images, labels, over = _read([folder / name for name in parts.values()], Fit(resize, crop))
    known = dict(zip(parts, labels, strict=True))
    return _told(files.of_parts(dict(zip(parts, images, strict=True)), known), over)


def _told(data: Data, over: list[str]) -> Data:
    return data._replace(passed_over=f"columns {', '.join(over)}" if over else "")


def _json(path: Path) -> JSON:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} cannot be read: it holds no names")
    return found


def _read(folders: list[Path], fit: Fit) -> tuple[list[Any], list[Any], list[str]]:
    """The images and the labels of folders, and the columns that are passed over."""
    tables = [_table(folder) for folder in folders]
    features = _json(folders[0] / "dataset_info.json").get("features") or {}
    image, label = _columns(folders[0], tables[0], features)
    labels = [None if label is None else _labels(table, label) for table in tables]
    over = [name for name in tables[0].column_names if name not in (image, label)]
    if _type(features.get(image)) == "Image":
        members = [
            [_Member(folder, image, i, cell) for i, cell in enumerate(table[image].to_pylist())]
            for folder, table in zip(folders, tables, strict=True)
        ]
        return list(images_of(members, fit)), labels, over
    if (fit.resize, fit.crop) != (None, None):
        raise InputError(f"--resize and --crop are for image files, {folders[0]} holds arrays")
    return [_array(folders[0], table, image) for table in tables], labels, over


def _table(folder: Path) -> Any:
    """All rows of a folder, in their order."""
    pyarrow = needed("pyarrow", "hugging-face", str(folder))
    state = _json(folder / _ONE)
    if state.get("_indices_data_files"):
        raise InputError(
            f"{folder} is a selection that was saved beside all rows: save it after "
            "flatten_indices()"
        )
    parts = []
    for said in state.get("_data_files") or []:
        path = folder / Path(str(said.get("filename"))).name
        try:
            with path.open("rb") as stream, pyarrow.ipc.open_stream(stream) as reader:
                parts.append(reader.read_all())
        except (OSError, pyarrow.ArrowException) as error:
            raise InputError(f"{path} cannot be read: {reason(error)}") from None
    if not parts or not sum(map(len, parts)):
        raise InputError(f"{folder} holds no rows")
    return pyarrow.concat_tables(parts)


def _type(feature: object) -> str | None:
    return feature.get("_type") if isinstance(feature, Mapping) else None


def _columns(folder: Path, table: Any, features: JSON) -> tuple[str, str | None]:
    """The names of the images' column and of their classes'."""
    names = table.column_names
    pictures = [name for name in names if _type(features.get(name)) == "Image"]
    if not pictures:
        told = [name for name in names if (role_of(name) or (None, True))[1] is False]
        arrays = [name for name in names if str(_type(features.get(name))).startswith("Array")]
        pictures = arrays or told
    if len(pictures) != 1:
        said = f"{len(pictures)} columns of images" if pictures else "no column of images"
        raise InputError(
            f"{folder} has {said}, of {', '.join(names)}: keep one, with select_columns"
        )
    classes = [name for name in names if _type(features.get(name)) == "ClassLabel"]
    classes = classes or [name for name in names if (role_of(name) or (None, False))[1]]
    return pictures[0], classes[0] if len(classes) == 1 else None


def _labels(table: Any, name: str) -> torch.Tensor | None:
    values = table[name].to_pylist()
    whole = all(isinstance(value, int) for value in values)
    return torch.tensor(values, dtype=torch.int64) if whole else None


def _array(folder: Path, table: Any, name: str) -> Any:
    try:
        array = np.array(table[name].to_pylist())
    except ValueError:
        raise InputError(f"{folder}: column {name!r} has rows of different shapes") from None
    kind = str(table.schema.field(name).type)
    if "uint8" in kind and array.dtype.kind in "iu":
        array = array.astype(np.uint8)
    check_numbers(array.dtype)
    return as_images(channels_first(array))


class _Member:
    """A picture in a cell, read like a file.

    Args:
        folder: Of the data set.
        column: Its name.
        row: The cell's.
        cell: The picture's bytes, or where it lies.
    """

    def __init__(self, folder: Path, column: str, row: int, cell: Mapping[str, Any] | None) -> None:
        self.name = f"{column} of row {row}"
        self._text = f"{folder}: {self.name}"
        self._bytes = (cell or {}).get("bytes")
        self._path = (cell or {}).get("path")

    @contextmanager
    def open(self, mode: Literal["rb"]) -> Iterator[IO[bytes]]:
        """Its bytes."""
        if self._bytes is not None:
            yield io.BytesIO(self._bytes)
        elif self._path is not None:
            with open(self._path, mode) as stream:
                yield stream
        else:
            raise InputError(f"{self._text} has no picture, got {shown(None)}")

    def __str__(self) -> str:
        return self._text
