"""Cells: what a spec's grids and lists come to, each a config but for its seed."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro_vae.data.parts import parse
from pyro_vae.data.stock import TABLE
from pyro_vae.errors import InputError, unknown
from pyro_vae.training import RunConfig
from pyro_vae.training.run_config import read_option
from pyro_vae.types import JSON

__all__: list[str] = []

MOST = 1000
"""Cells of a spec that nobody need confirm."""

_LONGEST = 150
_OPTIONS = frozenset(RunConfig().options) - {"seed"}
Table = Mapping[str, Any]
Point = tuple[str, Any, dict[str, Any]]
"""Of an axis: its name, a label, and the options that it sets."""


@dataclass(frozen=True)
class Cell:
    """One combination of options, to be trained once for every seed.

    Attributes:
        name: Its name, which is also its folder's.
        labels: Where it stands on each axis of its grid: the name of a variant, or a value.
        given: Names of the options that the spec sets for it.
        config: Its run's at seed 0.
        home: Folder that paths are relative to.
    """

    name: str
    labels: dict[str, Any]
    given: tuple[str, ...]
    config: RunConfig
    home: Path = Path()

    @classmethod
    def of(cls, name: str, labels: JSON, options: Table, home: Path) -> Cell:
        """A cell from its options.

        Raises:
            InputError: If an option is of a wrong type or out of range, or the name no folder's.
        """
        if len(name) > _LONGEST or not name.strip("."):
            raise InputError(
                f"a cell's name must have 1 to {_LONGEST} characters for its folder, "
                f"got {name!r}: give variants of an axis short names"
            )
        try:
            there = {option: placed(option, value, home) for option, value in options.items()}
            return cls(name, labels, tuple(options), RunConfig.of(**there), home)
        except InputError as error:
            raise InputError(f"cell {name}: {error}") from None


@dataclass(frozen=True)
class Range:
    """An axis of which a search takes values.

    Attributes:
        option: The option that it sets.
        low: The least value.
        high: The largest.
        log: Whether values lie evenly in their logarithm.
        whole: Whether the option takes integers only.
    """

    option: str
    low: float
    high: float
    log: bool
    whole: bool

    @classmethod
    def of(cls, option: str, table: Table) -> Range:
        """A range from a spec's table.

        Raises:
            InputError: If it is none, or the option no number.
        """
        low, high, log = table.get("low"), table.get("high"), table.get("log", False)
        if (
            set(table) - {"low", "high", "log"}
            or not isinstance(low, int | float)
            or not isinstance(high, int | float)
            or not isinstance(log, bool)
        ):
            raise InputError(
                f"grid.{option} must be a list of values, or for a search a range such as "
                f"{{ low = 0.1, high = 1, log = true }}; axes of variants need a name that is no "
                f"option; got {dict(table)!r}"
            )
        if not (0 if log else -math.inf) < low < high < math.inf:
            raise InputError(
                f"grid.{option} must have {'0 < ' if log else ''}low < high, got {dict(table)!r}"
            )
        return cls(option, low, high, log, _whole(option, (low, high)))

    def point(self, value: float) -> Point:
        """The point at a value, with as many digits as anyone needs."""
        if not self.whole:
            value = min(max(float(f"{value:.4g}"), self.low), self.high)
        return self.option, value, {self.option: value}


def _whole(option: str, ends: tuple[float, float]) -> bool:
    try:
        read_option(option, 0.5)
    except InputError:
        for end in ends:
            read_option(option, end)
        return True
    return False


class Space:
    """Cells that a search may try: one grid, with lists, variants and ranges.

    Args:
        base: Options that all cells share.
        grid: Its axes.
        home: Folder that paths are relative to.

    Raises:
        InputError: If an axis is empty or malformed, or an option unknown, set by two axes, of a
            wrong type or out of range.
    """

    def __init__(self, base: Table, grid: Table, home: Path) -> None:
        self.home = home
        self.common = _options(base, "[base]")
        self.axes = {name: _axis(name, values) for name, values in grid.items()}
        self.ends = self._ends()

    def cell(self, points: Sequence[Point]) -> Cell:
        """The cell at one point of every axis."""
        return _cell(self.common, points, self.home)

    def _ends(self) -> tuple[Cell, ...]:
        """A cell for every point of a list and end of a range, others at their first."""
        known = {
            name: [axis.point(axis.low), axis.point(axis.high)] if isinstance(axis, Range) else axis
            for name, axis in self.axes.items()
        }
        first = {name: points[0] for name, points in known.items()}
        return tuple(
            self.cell(list({**first, name: point}.values()))
            for name, points in known.items()
            for point in points
        )


def option_name(name: str, where: str) -> str:
    """An option's name with underscores.

    Raises:
        InputError: If there is no such option; it names the nearest, and where it stands.
    """
    spelt = name.replace("-", "_")
    if spelt == "seed":
        raise InputError(f"{where} must not set seed: the list seeds = [...] does")
    if spelt not in _OPTIONS:
        raise unknown(f"option in {where}", name, _OPTIONS)
    return spelt


def placed(option: str, value: object, home: Path) -> object:
    """An option's value, with a path of data from a folder that it is relative to.

    Args:
        option: Its name.
        value: As the spec has it.
        home: The folder.

    Example:
        >>> home = Path("specs")
        >>> placed("data", "mnist-5k", home), placed("data", "own.npy", home) == "specs/own.npy"
        ('mnist-5k', True)
    """
    paths = ("data", "data_root", "validation")
    if option not in paths or not isinstance(value, str | Path) or home == Path():
        return value
    if option == "validation" and not isinstance(parse(str(value)), str):
        return value  # a share, or how many
    if option == "data" and value in TABLE:
        return value
    value = os.path.expanduser(value)
    there = (home / value).as_posix()
    # What is neither here nor there may be a data set's name, misspelt: whoever loads it says so.
    named = option == "data" and not Path(value).suffix and "/" not in str(value)
    return value if named and not (Path(there).exists() or Path(value).exists()) else there


def count_cells(grids: Sequence[Table], listed: Sequence[Table]) -> int:
    """How many cells there would be, without making them."""
    return len(listed) + sum(math.prod(len(axis) for axis in grid.values()) for grid in grids)


def expand(
    base: Table, grids: Sequence[Table], listed: Sequence[Table], home: Path
) -> tuple[Cell, ...]:
    """All cells: each grid's product, in the order written, then the listed ones.

    Args:
        base: Options that all cells share.
        grids: Of each the axes: a list of values of the option of that name, or a table of
            variants, each a table of options.
        listed: Tables of options, with a ``name``.
        home: Folder that paths are relative to.

    Raises:
        InputError: If an axis is empty or malformed, an option is unknown, set by two axes, of a
            wrong type or out of range, or two cells have one name.
    """
    common = _options(base, "[base]")
    cells = [cell for grid in grids for cell in _product(common, grid, home)]
    for entry in listed:
        own = _options({k: v for k, v in entry.items() if k != "name"}, "[[cells]]")
        name = entry.get("name") or _name(own)
        if not isinstance(name, str):
            raise InputError(f"a cell's name must be text, got {name!r}")
        cells.append(Cell.of(_safe(name), {}, {**common, **own}, home))
    _check(cells)
    return tuple(cells)


def _check(cells: Sequence[Cell]) -> None:
    if not cells:
        raise InputError("the spec has no cells: give a [grid] or [[cells]]")
    names: set[str] = set()
    for cell in cells:
        # Folders of some systems do not tell upper from lower case.
        if cell.name.casefold() in names:
            raise InputError(f"two cells have the name {cell.name!r}: give one of them another")
        names.add(cell.name.casefold())


def _options(table: Table, where: str) -> JSON:
    return {option_name(name, where): value for name, value in table.items()}


def _product(common: Table, grid: Table, home: Path) -> list[Cell]:
    axes: list[list[Point]] = []
    for name, values in grid.items():
        axis = _axis(name, values)
        if isinstance(axis, Range):
            raise InputError(
                f"grid.{name} is a range, of which only a search takes values (--search N): "
                "give it a list"
            )
        axes.append(axis)
    if not axes:
        raise InputError("[grid] is empty: give an option a list of values")
    return [_cell(common, points, home) for points in itertools.product(*axes)]


def _cell(common: Table, points: Sequence[Point], home: Path) -> Cell:
    """The cell at one point of every axis."""
    labels: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for axis, label, options in points:
        both = own.keys() & options
        if both:
            raise InputError(f"two axes of [grid] set {both.pop()}: one cell can have one value")
        labels[axis] = label
        own |= options
    return Cell.of(_name(labels), labels, {**common, **own}, home)


def _axis(name: str, values: object) -> list[Point] | Range:
    """The points of an axis: its name, the point's label, and the options it sets."""
    if not isinstance(values, list | Mapping):
        raise InputError(f"grid.{name} must be a list of values or a table, got {values!r}")
    if not values:
        raise InputError(f"grid.{name} is empty: give it at least one value")
    if isinstance(values, list):
        option = option_name(name, "[grid]")
        return [(option, value, {option: value}) for value in values]
    if name.replace("-", "_") in _OPTIONS:
        return Range.of(option_name(name, "[grid]"), values)
    for label, options in values.items():
        if not isinstance(options, Mapping):
            raise InputError(f"grid.{name}.{label} must be a table of options, got {options!r}")
    return [
        (name, label, _options(options, f"grid.{name}.{label}"))
        for label, options in values.items()
    ]


def _name(labels: Table) -> str:
    return _safe(",".join(f"{axis}={_text(label)}" for axis, label in labels.items()))


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "+".join(map(_text, value))
    return repr(value) if isinstance(value, float) else str(value)


def _safe(name: str) -> str:
    """A name that may be a folder's everywhere."""
    return re.sub(r"[^\w.=,+@-]", "-", name)
