"""A table as a run is trained on it: its columns' heads, and the columns that the model is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pyro_vae.data import Data, Table
from pyro_vae.data.tables import data_of
from pyro_vae.errors import InputError
from pyro_vae.heads import Head
from pyro_vae.observations import parse_columns
from pyro_vae.texts import Word

__all__: list[str] = []


class Tabled(NamedTuple):
    """A table's rows, and what is to be made of them.

    Attributes:
        data: Training and held-out rows, each column a part.
        heads: Each part's head.
        described: Plain data by which :func:`pyro_vae.data.load` reads such a table again.
    """

    data: Data
    heads: dict[str, Head]
    described: dict[str, Any]


def of_table(table: Table, texts: Sequence[str] = (), condition: str | None = None) -> Tabled:
    """Choose the heads of a table's columns.

    Args:
        table: As it was read.
        texts: ``NAME=OBS`` of columns, as of ``--column``.
        condition: Columns that the model is told, ``NAME,NAME``, or None.

    Raises:
        InputError: If there is no such column, all are told, or a column suits no head.
    """
    table, heads = parse_columns(texts, table)
    names = [] if condition is None else [str(name) for name in Word(condition).parts()]
    told: list[dict[str, Any]] = []
    for name in names:
        head = heads.pop(table[name].name, None)
        if head is None:
            raise InputError(f"condition names the column {name!r} twice")
        told.append({"name": name, "levels": head.levels, "interval": list(head.interval)})
    if not heads:
        raise InputError("condition tells all columns: none is left to model")
    described: dict[str, Any] = {"columns": table.described()}
    if told:
        described["told"] = told
    return Tabled(data_of(table, told), heads, described)
