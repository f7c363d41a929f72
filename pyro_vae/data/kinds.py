"""What a column's values are, told from the values."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pyro_vae.data.gathered import MOST, Gathered
from pyro_vae.errors import InputError, shown, unknown

__all__: list[str] = []

KINDS = {
    "real": "numbers",
    "positive": "positive numbers over a wide range",
    "count": "whole numbers 0, 1, 2, ...",
    "binary": "two values",
    "category": "a few values without an order",
}
"""What a column may be."""

SKIP = "skip"
"""What a column is that is left out."""

_FEW, _CODES = 5, 20
_LARGEST = 1e30  # float32 holds no square of what is larger
_COUNTED = 1e5
_FINEST = 1e4 * 2.0**-24  # a deviation of 10⁴ roundings of float32

Numbers = npt.NDArray[np.float64]


def kind_of(column: Gathered) -> tuple[str, str]:
    """What a column is, or ``SKIP`` and why nothing can be made of it.

    Whole numbers are counts where they vary about as much as their mean or more, as a Poisson does:
    years and scores do not, and numbers that are written with a decimal point are none. A few of
    them that repeat are categories, since a density on repeated values has no upper bound. Positive
    numbers over more than a factor of ten are those that a log-normal describes better than a
    Normal.
    """
    if not column.present.any():
        return SKIP, "has no value"
    texts = len(column.categories)
    if column.declared and 1 < texts <= MOST:
        return ("binary" if texts == 2 else "category"), ""
    if column.odd is not None:
        return _of_texts(column, texts)
    x = column.values[~np.isnan(column.values)]
    if column.infinite is not None:
        found = column.infinite
        return SKIP, f"is infinite in row {found.row} ({found.text})"
    size = np.abs(x).max()
    if size > _LARGEST:
        return SKIP, f"has numbers up to {size:g}, of more than float32's square root"
    if x.min() == x.max():
        return SKIP, f"is {x[0]:g} in every row, which says nothing"
    distinct = len(np.unique(x))
    if distinct == 2:
        return "binary", ""
    whole = bool((x == np.floor(x)).all())
    if whole and distinct == len(x) == x.max() - x.min() + 1 > _CODES:
        return SKIP, f"only numbers the rows, {x.min():g} to {x.max():g}"
    repeated = 3 * distinct <= len(x)
    if whole and repeated and distinct <= _FEW:
        return "category", ""
    counted = whole and not column.pointed
    if counted and x.min() >= 0 and x.max() <= _COUNTED and x.var() >= x.mean() / 2:
        return "count", ""
    if whole and repeated and distinct <= _CODES:
        return "category", ""
    if x.min() > 0 and x.max() >= 10 * x.min() and _is_skewed(x):
        return "positive", ""
    if x.std() < _FINEST * size:
        return SKIP, f"varies by {x.std():.2g} about {x.mean():g}: too little for float32"
    return "real", ""


def _of_texts(column: Gathered, texts: int) -> tuple[str, str]:
    present = int(column.present.sum())
    numbers = column.values[~np.isnan(column.values)]
    if len(numbers) >= 0.9 * present and len(np.unique(numbers)) > _CODES:
        found = column.odd
        return SKIP, (
            f"has {len(numbers):,} numbers, and in row {found.row} {shown(found.text)}: "  # type: ignore[union-attr]
            "correct it, or leave the field empty where it is missing"
        )
    if texts > MOST:
        return SKIP, f"has over {MOST} categories"
    if texts > _CODES and texts > present / 2:
        return SKIP, f"has {texts} categories in {present} rows, which do not repeat"
    if texts == 1:
        return SKIP, f"is {shown(column.categories[0])} in every row, which says nothing"
    return ("binary" if texts == 2 else "category"), ""


def _is_skewed(x: Numbers) -> bool:
    """Whether the best log-normal scores the numbers better than the best Normal."""
    logs = np.log(x)
    return bool(logs.mean() + math.log(logs.std()) < math.log(x.std()))


def values_of(
    column: Gathered, kind: str, categories: tuple[str, ...] | None = None
) -> tuple[Numbers, tuple[str, ...]]:
    """A column's values as a kind has them, NaN where they are missing, and its categories.

    Args:
        column: The column.
        kind: A key of ``KINDS``.
        categories: Those that there are; by default the column's own.

    Raises:
        InputError: If the kind is unknown, or a value is none of it: it names the first and its
            row.
    """
    if kind not in KINDS:
        raise unknown("kind of column", kind, KINDS)
    if kind in _NUMBERS:
        fits = _NUMBERS[kind](column.values) & (np.abs(column.values) <= _LARGEST)
        return column.as_numbers(kind, fits, KINDS[kind]), ()
    own = column.categories if categories is None else categories
    if categories is None and len(own) > MOST:
        raise InputError(f"column {column.name!r} has over {MOST} categories")
    if categories is None and (len(own) < 2 or (kind == "binary" and len(own) > 2)):
        wanted = "2" if kind == "binary" else "2 or more"
        raise InputError(
            f"column {column.name!r} cannot be {kind}: it has {len(own)} values, not {wanted}"
            if len(own) < 2
            else _third(column, own)
        )
    return column.as_classes(kind, own), own


def _third(column: Gathered, own: tuple[str, ...]) -> str:
    third, (_, row) = sorted(column.texts.items(), key=lambda item: item[1][0])[2]
    return (
        f"column {column.name!r} cannot be binary: row {row} has {shown(third)}, "
        f"a third of {len(own)} values"
    )


_NUMBERS: dict[str, Callable[[Numbers], npt.NDArray[np.bool_]]] = {
    "real": lambda x: np.isfinite(x),
    "positive": lambda x: x > 0,
    "count": lambda x: (x >= 0) & (x == np.floor(x)),
}
"""Which numbers each kind of them takes."""
