"""Observations of a table's columns, chosen by what the columns are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pyro_vae.data import levels as data_levels
from pyro_vae.data.kinds import KINDS, SKIP
from pyro_vae.data.table import Column, Table
from pyro_vae.errors import InputError, unknown
from pyro_vae.heads import Head, Param
from pyro_vae.observations.lookup import available, get
from pyro_vae.texts import Word
from pyro_vae.types import JSON

__all__ = ["head_of_column", "parse_columns"]

_FEATURES = 16


def _of_classes(column: Column) -> JSON:
    classes = len(column.categories)
    logits = Param(shape=(classes,), features=min(classes, _FEATURES))
    return {"levels": "classes", "interval": (0.0, classes - 1.0), "logits": logits}


_OBSERVATIONS = {
    "real": "real-normal",
    "positive": "lognormal",
    "count": "negative-binomial",
    "binary": "bernoulli",
    "category": "categorical",
}
"""The observation of each kind of column."""
_CHANGES: dict[str, Callable[[Column], dict[str, Any]]] = {
    "real": lambda column: {"scale": "dataset"},
    "binary": lambda column: {"levels": "binary"},
    "category": _of_classes,
}
"""What is changed of it for a column."""


def head_of_column(column: Column) -> Head:
    """The observation of a column, by what it is; networks work in units of its values' spread.

    A real column has a Normal, a positive one a log-normal, counts have a negative binomial, a
    binary column has a Bernoulli and a category a probability for each of its categories. A σ is
    learned for the whole column.

    Args:
        column: Of a table, of a kind that is not ``"skip"``.

    Raises:
        InputError: If nothing can be made of the column.
    """
    if column.kind == SKIP:
        raise InputError(f"column {column.name!r} {column.refused}")
    changes = _CHANGES[column.kind](column) if column.kind in _CHANGES else {}
    return _suited(get(_OBSERVATIONS[column.kind], **changes), column)


def parse_columns(texts: Sequence[str], table: Table) -> tuple[Table, dict[str, Head]]:
    """What ``--column NAME=OBS`` says, done to a table.

    Args:
        texts: ``NAME=OBS``, where OBS is a kind of column, ``skip``, or an observation's name; that
            takes numbers as they are, and a text column's values by their place.
        table: As it was read.

    Returns:
        The table of the columns that are left, and their observations by name, in order.

    Raises:
        InputError: If a text is none such, names no column or no observation, or a value does not
            suit the observation: it names the first one's row.
    """
    said: dict[str, str] = {}
    for text in texts:
        name, obs = _split(text, table)
        if name in said:
            raise InputError(f"--column {name} is given twice: {said[name]} and {obs}")
        said[name] = obs
    own = {name: get(obs) for name, obs in said.items() if obs not in (*KINDS, SKIP)}
    kinds = {name: obs for name, obs in said.items() if name not in own}
    as_given = {name: "real" for name in own if table[name].is_number}
    table = table.with_kinds({**kinds, **as_given})
    heads = {}
    for column in table.columns:
        try:
            name = column.name
            heads[name] = _suited(own[name], column) if name in own else head_of_column(column)
        except InputError as error:
            raise InputError(f"{table.path}: {error}") from None
    return table, heads


def _split(text: str, table: Table) -> tuple[str, str]:
    name, obs = Word(text).pair("=", last=True)
    if not (name and obs):
        raise InputError(f"--column must read NAME=OBS, got {text!r}")
    table[name]
    if obs not in (*KINDS, SKIP) and obs not in available():
        raise unknown(f"observation in --column {name}:", obs, (*KINDS, SKIP, *available()))
    return str(name), str(obs)


def _suited(head: Head, column: Column) -> Head:
    """A head whose interval is that of the column's values, all of which it can take."""
    x = column.values[~column.values.isnan()].double()
    if not len(x):
        raise InputError(f"column {column.name!r} has no value")
    fit = data_levels.get(head.levels).interval_of
    wrong = _unsupported(head, column.values)
    if wrong is not None:
        row, value, support = wrong
        raise InputError(
            f"column {column.name!r} cannot be {head.title}: row {column.row(row)} has {value:g}, "
            f"not {support}"
        )
    if fit is None or head.interval != (0.0, 1.0):
        return head
    low, high = fit(x)
    if not low < high:
        raise InputError(f"column {column.name!r} is {low:g} in every row, which says nothing")
    try:
        return head.replace(interval=(low, high), scaled=True)
    except InputError:  # a family of [0, 1], where its values lie
        return head


def _unsupported(head: Head, values: Tensor) -> tuple[int, float, str] | None:
    """Where the first value is that has no probability, the value, and the support."""
    built = head.build((1,))
    with torch.no_grad():
        support = built(torch.zeros(built.numbers)).support
    base = getattr(support, "base_constraint", support)
    wrong = (~base.check(values) & ~values.isnan()).flatten().nonzero()
    if not len(wrong):
        return None
    first = int(wrong[0])
    return first, float(values[first]), f"in {base}"
