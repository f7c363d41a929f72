"""A column of a table while its rows go by, and what can be made of its values."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pyro_vae.errors import InputError, shown

__all__: list[str] = []

MOST = 256
"""Categories that a column may have."""

_MISSING = frozenset({"", "na", "n/a", "nan", "null", "?"})
_ABSENT, _FURTHER = -1, -2


class Found(NamedTuple):
    """The row that a text was found in first, and the text."""

    row: int
    text: str


@dataclass(eq=False)
class Gathered:
    """The values of a column: as numbers, and, as long as they are few, which texts they are.

    Attributes:
        name: The column's.
        comma: Whether numbers may have a decimal comma.
        numbers: NaN where there is none.
        codes: Which of ``texts`` a value is, −1 where it is missing, −2 for further texts.
        texts: The first texts, with the row of each; no more than one above :data:`MOST`.
        odd: The first text that is no number.
        infinite: The first number that is not finite.
        rows: Of all values, shared by the table's columns.
        declared: The categories that its source says it has, in their order; none says nothing.
    """

    name: str
    comma: bool
    rows: array[int]
    numbers: array[float] = field(default_factory=lambda: array("d"))
    codes: array[int] = field(default_factory=lambda: array("h"))
    texts: dict[str, tuple[int, int]] = field(default_factory=dict)
    odd: Found | None = None
    infinite: Found | None = None
    declared: tuple[str, ...] = ()
    _numbers: list[float] = field(default_factory=list, repr=False)  # that the texts are

    def add(self, cell: str, row: int) -> None:
        """Take note of the next value."""
        number, code = self._taken(cell.strip(), row)
        self.numbers.append(number)
        self.codes.append(code)

    def add_first(self, cell: str, row: int) -> None:
        """Take note of a value before all others."""
        number, code = self._taken(cell.strip(), row)
        self.numbers.insert(0, number)
        self.codes.insert(0, code)

    def _taken(self, text: str, row: int) -> tuple[float, int]:
        known = self.texts.get(text)
        if known is not None and known[1] <= row:
            return self._numbers[known[0]], known[0]
        if text.casefold() in _MISSING:
            return math.nan, _ABSENT
        number = _number(text, self.comma)
        if math.isnan(number):
            self.odd = min(self.odd or Found(row, text), Found(row, text))
        elif math.isinf(number):
            self.infinite = min(self.infinite or Found(row, text), Found(row, text))
        if known is None and len(self.texts) > MOST:
            return number, _FURTHER
        if known is None:
            self._numbers.append(number)
        code = known[0] if known else len(self.texts)
        self.texts[text] = code, row
        return number, code

    def absent(self, count: int) -> None:
        """Take note of a column that is missing throughout."""
        self.numbers.extend([math.nan] * count)
        self.codes.extend([_ABSENT] * count)

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """As numbers, NaN where there is none."""
        return np.frombuffer(self.numbers)

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Where there is a value."""
        there: npt.NDArray[np.bool_] = np.frombuffer(self.codes, dtype=np.int16) != _ABSENT
        return there

    @property
    def pointed(self) -> bool:
        """Whether no value is missing and all are written with a decimal point.

        Where some are missing, programs write whole numbers so too.
        """
        return bool(self.present.all()) and all(
            "." in text or (self.comma and "," in text) for text in self.texts
        )

    @property
    def categories(self) -> tuple[str, ...]:
        """Those declared; else distinct values, numbers by their size, texts by the alphabet."""
        if self.declared:
            return self.declared
        found = {spelt(text, self.comma) for text in self.texts}
        by_size = self.odd is None
        return tuple(sorted(found, key=(lambda text: (float(text), text)) if by_size else None))

    def as_numbers(
        self, kind: str, fits: npt.NDArray[np.bool_], what: str
    ) -> npt.NDArray[np.float64]:
        """Its values as numbers.

        Args:
            kind: What they are to be, for messages.
            fits: Which of them are such.
            what: In words.

        Raises:
            InputError: Naming the first value that is none, and its row.
        """
        if self.odd is not None:
            raise self._refused(kind, self.odd, what)
        wrong = np.flatnonzero(~fits & ~np.isnan(self.values))
        if len(wrong):
            first = int(wrong[0])
            raise self._refused(kind, Found(self.rows[first], f"{self.values[first]:g}"), what)
        return self.values

    def as_classes(self, kind: str, categories: tuple[str, ...]) -> npt.NDArray[np.float64]:
        """Its values as which of some categories they are.

        Raises:
            InputError: Naming the first value that is none of them, and its row.
        """
        place = {text: float(i) for i, text in enumerate(categories)}
        index = np.full(len(self.texts) + 1, math.nan)
        for text, (code, row) in self.texts.items():
            key = spelt(text, self.comma)
            if key not in place:
                known = ", ".join(categories)
                raise self._refused(kind, Found(row, text), f"one of {known}")
            index[code] = place[key]
        codes = np.frombuffer(self.codes, dtype=np.int16)
        if (codes == _FURTHER).any():
            raise InputError(f"column {self.name!r} has over {MOST} categories")
        return index[codes]  # the last of them is of what is missing

    def _refused(self, kind: str, found: Found, what: str) -> InputError:
        words = what if len(what) < 200 else f"{what[:199]}…"
        return InputError(
            f"column {self.name!r} cannot be {kind}: row {found.row} has {shown(found.text)}, "
            f"not {words}"
        )


def _number(text: str, comma: bool) -> float:
    """A text as a number, NaN for another; Python's underscores are none of a table's."""
    if "_" in text:
        return math.nan
    try:
        return float(text)
    except ValueError:
        pass
    if comma and text.count(",") == 1:
        return _number(text.replace(",", "."), comma=False)
    return math.nan


def spelt(text: str, comma: bool = False) -> str:
    """A text, a number as it is written shortest: 1.0 and 1 are one category."""
    number = _number(text, comma)
    if not math.isfinite(number):
        return text
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(number)
