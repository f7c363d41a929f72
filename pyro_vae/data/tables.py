"""Tables as data sets: a tenth of the rows held out, gaps told by masks, columns as parts."""

from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from pyro_vae.data import levels
from pyro_vae.data.arrays import Data, as_images
from pyro_vae.data.batch import Batch
from pyro_vae.data.files import divided, parts
from pyro_vae.data.rows import source_of
from pyro_vae.data.table import Table
from pyro_vae.errors import InputError
from pyro_vae.types import JSON

__all__ = ["batch_of"]


def batch_of(table: Table, told: Sequence[JSON] = ()) -> Batch:
    """A table's rows, its columns as parts by their names.

    Args:
        table: As it was read.
        told: Columns that models are told instead, as ``name``, and ``levels`` and ``interval``,
            which say what networks see of them.

    Returns:
        Each part (N, 1), with masks of those that have gaps, and the covariates, 0 in gaps.
    """
    names = [said["name"] for said in told]
    x = {column.name: column.values for column in table.columns if column.name not in names}
    batch: Batch = as_images(x)
    return Batch(batch.x, _seen(table, told) if told else None, batch.mask)


def _seen(table: Table, told: Sequence[JSON]) -> Tensor:
    found = []
    for said in told:
        values, low_high = table[said["name"]].values, tuple(said["interval"])
        there = ~values.isnan()
        seen = levels.get(said["levels"]).seen(values.where(there, torch.ones(())), low_high)
        found.append(seen.where(there.expand_as(seen), seen.new_zeros(())))
    return torch.cat(found, 1)


def data_of(table: Table, told: Sequence[JSON] = ()) -> Data:
    """A table as a data set, a tenth of whose rows are held out, always the same.

    Arguments are those of :func:`batch_of`.

    Raises:
        InputError: If there are too few rows.
    """
    rows = [f"row {row}" for row in table.columns[0].gathered.rows] if table.columns else []
    return parts(batch_of(table, told), None)._replace(table=table, names=divided(rows))


def write_rows(columns: Sequence[JSON], values: Mapping[str, Tensor], path: Path) -> None:
    """Write rows of a table as a .csv file.

    Args:
        columns: What :meth:`~pyro_vae.data.table.Table.described` gave.
        values: By column, (N, 1).
        path: The file to write.

    Raises:
        InputError: If the file cannot be written.
    """
    there = [column for column in columns if column["name"] in values]
    texts = [
        [_text(value, column["categories"]) for value in values[column["name"]].flatten().tolist()]
        for column in there
    ]
    header = [column["name"] for column in there]
    _write(path, itertools.chain([header], zip(*texts, strict=True)), ",")


def _text(value: float, categories: Sequence[str], comma: bool = False) -> str:
    if categories:
        return categories[round(value)]
    text = f"{value:.6g}"
    return text.replace(".", ",") if comma else text


def write_filled(table: Table, values: Mapping[str, Tensor], path: Path) -> None:
    """Write the file that a table was read from, with its gaps filled and all else as it was.

    Args:
        table: The table.
        values: By column, what to put in its gaps: (N, 1), of a category its number.
        path: The file to write.

    Raises:
        InputError: If the file cannot be written.
    """
    filled: dict[int, dict[str, str]] = {}
    header = table.header
    source = source_of(table.path)
    delimiter = source.delimiter
    numbers = (column.gathered for column in table.columns if column.is_number)
    comma = delimiter != "," and any("," in text for each in numbers for text in each.texts)
    for column in table.columns:
        if column.name not in values:
            continue
        for row in column.values.isnan().flatten().nonzero().flatten().tolist():
            text = _text(float(values[column.name][row]), column.categories, comma)
            filled.setdefault(column.row(row), {})[column.name] = text

    def changed() -> Iterator[list[str]]:
        for line, row in source.stream:
            for name, text in filled.get(line, {}).items():
                row[header.index(name)] = text
            yield row

    _write(path, changed(), delimiter)


def _write(path: Path, lines: Iterable[Sequence[str]], delimiter: str) -> None:
    """Write a file beside its place and move it there: it may be the one that is read."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, delimiter=delimiter, lineterminator="\n").writerows(lines)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)
