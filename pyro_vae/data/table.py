"""Tables of mixed columns with missing entries, from files or frames."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae.data.gathered import Gathered
from pyro_vae.data.kinds import KINDS, SKIP, kind_of, values_of
from pyro_vae.data.rows import Source, source_of
from pyro_vae.errors import InputError, shown, unknown
from pyro_vae.types import JSON

__all__ = ["Column", "Table", "read_table"]


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a table.

    Attributes:
        name: Its name.
        kind: What it is, a key of ``KINDS``, or ``"skip"``.
        values: Numbers, or which category it is, (N, 1), float32; NaN where it is missing.
        categories: The texts of a category's or binary column's values, in their order.
        refused: Why it cannot be used, where its kind is ``"skip"``.
        gathered: What was read of it, from which it can be had as another kind.
    """

    name: str
    kind: str
    values: Tensor
    categories: tuple[str, ...] = ()
    refused: str = ""
    gathered: Gathered = field(kw_only=True, repr=False)

    @property
    def missing(self) -> float:
        """The share of rows without a value."""
        return float(self.values.isnan().double().mean())

    @property
    def is_number(self) -> bool:
        """Whether every value that it has is a number."""
        return self.gathered.odd is None

    def row(self, index: int) -> int:
        """The row of the file, from 1, that the index-th value is from."""
        return self.gathered.rows[index]

    def as_kind(self, kind: str, categories: Sequence[str] | None = None) -> Column:
        """The same column as another kind.

        Args:
            kind: A key of ``KINDS``.
            categories: Of a category or binary column, those that there are.

        Raises:
            InputError: Naming the first value that is not of the kind, and its row.
        """
        given = None if categories is None else tuple(categories)
        values, own = values_of(self.gathered, kind, given)
        column = torch.from_numpy(values.astype(np.float32))[:, None]
        return replace(self, kind=kind, values=column, categories=own, refused="")


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of equally many rows.

    Attributes:
        path: The file.
        columns: In the file's order, or in that of the table that it was read like.
        passed_over: Columns of the file that were not asked for.
        header: The names of all columns of the file, in its order.
    """

    path: str
    columns: tuple[Column, ...]
    passed_over: tuple[str, ...] = ()
    header: tuple[str, ...] = ()

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.columns[0].values) if self.columns else 0

    def __getitem__(self, name: str) -> Column:
        """A column by its name.

        Raises:
            InputError: If there is none (names the nearest).
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise unknown(f"column of {self.path}", name, [column.name for column in self.columns])

    def with_kinds(self, kinds: Mapping[str, str]) -> Table:
        """The table with some columns as another kind, and without those that are to be skipped.

        Raises:
            InputError: If there is no such column, a kind is unknown or not the values', a column
                is left that nothing can be made of, or none is.
        """
        for name, kind in kinds.items():
            self[name]  # refuses a name that there is not
            if kind != SKIP and kind not in KINDS:
                raise unknown(f"kind of column {name!r}", kind, (*KINDS, SKIP))
        kept = []
        for column in self.columns:
            kind = kinds.get(column.name, column.kind)
            if kind == SKIP and column.name in kinds:
                continue
            if kind == SKIP:
                raise InputError(
                    f"{self.path}: column {column.name!r} {column.refused}: leave it out with "
                    f"--column {column.name}={SKIP}"
                )
            kept.append(column if kind == column.kind else _told(self.path, column, kind))
        if not kept:
            raise InputError(f"{self.path}: no column is left")
        return replace(self, columns=tuple(kept))

    def described(self) -> list[JSON]:
        """Its columns as plain data, that :func:`read_table` reads another file like.

        Returns:
            Of each column ``name``, ``kind`` and ``categories``, in order.
        """
        return [
            {"name": column.name, "kind": column.kind, "categories": list(column.categories)}
            for column in self.columns
        ]


def read_table(path: Any, like: Sequence[JSON] | None = None, absent: bool = False) -> Table:
    """Read a table: a .csv or .tsv file, UTF-8, fields set apart by a comma, semicolon, tab or bar.

    Fields that are empty, NA, N/A, NaN, null or ? are missing. The first row has the names where
    it is unlike the others; else columns are called column_1, column_2, ... Where no comma sets
    fields apart, numbers may have a decimal comma. Rows are taken one at a time; a value takes 10
    bytes of memory. A .parquet or .feather file, which polars or pandas reads, and a frame of
    theirs say what columns are called, and keep the categories of those that have them.

    Args:
        path: The file; or a frame of pandas or polars.
        like: What :meth:`Table.described` gave: columns are found by their names, in any order, and
            have the kinds and categories that it says; others are passed over.
        absent: Whether columns of ``like`` may be missing from the file; they are in every row.

    Returns:
        The table; a column that nothing can be made of has the kind ``"skip"``.

    Raises:
        InputError: If the file cannot be read, has no rows, rows of different length or two columns
            of one name; with ``like``, if it lacks a column or a value is not of its column's kind.
    """
    source = source_of(path)
    header, gathered, passed_over = _gather(source, None if like is None else _names(like))
    path = source.path
    names = [column.name for column in gathered]
    if like is None:
        return Table(path, tuple(map(_judged, gathered)), header=header)
    by_name = dict(zip(names, gathered, strict=True))
    lacking = [name for name in _names(like) if name not in by_name]
    if lacking and not absent:
        raise InputError(
            f"{path} lacks the column{'s'[: len(lacking) > 1]} {', '.join(map(repr, lacking))}; "
            f"it has {', '.join(map(repr, (*names, *passed_over)))}"
        )
    columns = []
    for said in like:
        name = said["name"]
        if name not in by_name:
            by_name[name] = Gathered(name, False, gathered[0].rows if gathered else array("q"))
            by_name[name].absent(len(by_name[name].rows))
        columns.append(_told(path, _bare(by_name[name]), said["kind"], said["categories"]))
    return Table(path, tuple(columns), passed_over, header)


def _names(like: Sequence[JSON]) -> list[str]:
    return [said["name"] for said in like]


def _bare(column: Gathered, refused: str = "") -> Column:
    nothing = torch.from_numpy(np.where(column.present, 0.0, np.nan).astype(np.float32))[:, None]
    return Column(column.name, SKIP, nothing, refused=refused, gathered=column)


def _judged(column: Gathered) -> Column:
    kind, why = kind_of(column)
    bare = _bare(column, why)
    return bare if kind == SKIP else bare.as_kind(kind)


def _told(path: str, column: Column, kind: str, categories: Sequence[str] | None = None) -> Column:
    try:
        return column.as_kind(kind, categories if categories else None)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _gather(
    source: Source, wanted: list[str] | None
) -> tuple[tuple[str, ...], list[Gathered], tuple[str, ...]]:
    """All names, the values of the columns that are wanted, and the names of the others."""
    path, delimiter, stream = source.path, source.delimiter, source.stream
    start, first = next(stream, (1, []))
    if not first:
        raise InputError(f"{path} has no rows")
    cells = [cell.strip() for cell in first]
    names = [cell or f"column_{i + 1}" for i, cell in enumerate(cells)]
    lines = array("q")
    own = source.categories
    columns = [
        Gathered(name, delimiter != ",", lines, declared=own.get(name, ())) for name in names
    ]
    named = wanted is not None and not set(wanted).isdisjoint(filter(None, cells))
    # Columns that nobody wants are not kept, but where only the rows tell what the first one is.
    taken = [(i, c.add) for i, c in enumerate(columns) if not named or c.name in (wanted or ())]
    for line, row in stream:
        if len(row) != len(first):
            raise InputError(
                f"{path} row {line} has {len(row)} fields, row {start} has {len(first)}: a field "
                f"that holds {delimiter!r} wants quotes"
            )
        lines.append(line)
        for i, add in taken:
            add(row[i], line)
    if named or source.headed or _is_header(cells, columns):
        _check_names(path, names, start)
    else:
        lines.insert(0, start)
        for i, column in enumerate(columns):
            column.name = f"column_{i + 1}"
            column.add_first(cells[i], start)
    if not lines:
        raise InputError(f"{path} has no rows below the names of its columns")
    kept = [column for column in columns if wanted is None or column.name in wanted]
    over = tuple(c.name for c in columns if wanted is not None and c.name not in wanted)
    return tuple(column.name for column in columns), kept, over


def _is_header(first: list[str], columns: list[Gathered]) -> bool:
    """Whether the first row is of another kind than the rows below it."""
    alone = [Gathered("", column.comma, array("q")) for column in columns]
    for cell, column in zip(first, alone, strict=True):
        column.add(cell, 1)
    if not columns[0].rows:
        return any(a.odd for a in alone)
    if any(a.odd and c.present.any() and not c.odd for a, c in zip(alone, columns, strict=True)):
        return True
    if not any(a.odd for a in alone) or any(a.present.any() and not a.odd for a in alone):
        return False
    return all(cell not in column.texts for cell, column in zip(first, columns, strict=True))


def _check_names(path: str, names: list[str], row: int) -> None:
    for i, name in enumerate(names):
        if name in names[:i]:
            raise InputError(
                f"{path} row {row}: columns {names.index(name) + 1} and {i + 1} have one name, "
                f"{shown(name)}"
            )
