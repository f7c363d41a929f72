"""Claims: statements as data, and what the figures say of them.

A claim has a ``statement``, optionally ``expected`` (``"holds"``, ``"does not hold"`` or
``"undecided"``: what is known of it from elsewhere), and one check, or a list of ``checks`` that
must all hold. A check compares the ``score`` ``of`` some cells with that of others, or with a
number, seed by seed::

    score = "mse"                                 # a score of the results
    of = { obs = "normal", beta = [1, 4] }        # cells by their axes or options
    is = "<"                                      # <, <=, >, >= or ~
    than = { obs = "bernoulli" }                  # other cells, or a number
    than_score = "mse_mean_image"                 # another score for them, the same by default
    over = "min"                                  # of a group's cells: mean (default), min or max
    factor = 2.0                                  # of the right side, 1 by default
    tolerance = 0.5                               # for ~: how far off still counts as the same

``score = { option = "beta", at = "kl", equals = 24 }`` is the value of a numeric option at which a
group's curve of another score crosses a number, interpolated linearly in the option's logarithm.

With the 95% interval of the mean of the differences over seeds (Student's, paired), ``<`` holds if
all of it lies below 0 and does not hold if all of it lies above; ``~`` holds if it lies within
± tolerance and does not hold if it lies outside. In between, and with one seed, it is undecided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyro_vae.errors import InputError, unknown
from pyro_vae.sweeps.cells import Cell, option_name, placed
from pyro_vae.training.run_config import read_option
from pyro_vae.types import Fields

__all__: list[str] = []

VERDICTS = ("holds", "does not hold", "undecided")
"""What may come of a claim."""

_RELATIONS = ("<", "<=", ">", ">=", "~")
_OVER = ("mean", "min", "max")
_KEYS = ("score", "of", "is", "than", "than_score", "over", "factor", "tolerance")


@dataclass(frozen=True)
class Crossing:
    """Where a group's curve of a score crosses a number.

    Attributes:
        option: The numeric, positive option that varies within the group.
        at: The score.
        equals: The number.
    """

    option: str
    at: str
    equals: float

    def __str__(self) -> str:
        return f"{self.option} at {self.at} = {self.equals:g}"


@dataclass(frozen=True)
class Group:
    """Cells that a claim speaks of.

    Attributes:
        text: How the spec says which.
        cells: Their names.
        options: Each cell's options, canonical.
    """

    text: str
    cells: tuple[str, ...]
    options: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Check:
    """One comparison: attributes as in the module's description, cells found."""

    score: str | Crossing
    of: Group
    relation: str
    than: Group | float
    over: str = "mean"
    factor: float = 1.0
    tolerance: float | None = None
    than_score: str | None = None

    def __str__(self) -> str:
        times = "" if self.factor == 1 else f"{self.factor:g} × "
        right = f"{self.than:g}" if isinstance(self.than, float) else self.than.text
        if self.than_score is not None:
            right = f"{self.than_score} of {right}"
        within = "" if self.tolerance is None else f" within {self.tolerance:g}"
        over = f"{self.over} " if self.over != "mean" else ""
        return f"{over}{self.score} of {self.of.text} {self.relation} {times}{right}{within}"


@dataclass(frozen=True)
class Claim:
    """A statement and the checks that decide it.

    Attributes:
        statement: In words.
        checks: All must hold.
        expected: One of ``VERDICTS``, or None.
    """

    statement: str
    checks: tuple[Check, ...]
    expected: str | None = None


def read_claims(entries: Sequence[object], cells: Sequence[Cell]) -> tuple[Claim, ...]:
    """Claims from a spec's tables.

    Args:
        entries: The tables.
        cells: The spec's cells.

    Raises:
        InputError: If a key is unknown or missing, a value of a wrong type, or a selection finds
            no cell; it quotes the statement.
    """
    claims = []
    for entry in entries:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("statement"), str):
            raise InputError(f"a claim must be a table with a statement, got {entry!r}")
        try:
            claims.append(_claim(entry, cells))
        except InputError as error:
            raise InputError(f"claim {entry['statement']!r}: {error}") from None
    return tuple(claims)


def _claim(entry: Fields, cells: Sequence[Cell]) -> Claim:
    rest = {k: v for k, v in entry.items() if k not in ("statement", "expected", "checks")}
    expected = entry.get("expected")
    if expected is not None and expected not in VERDICTS:
        raise unknown("expected verdict", expected, VERDICTS)
    checks = entry.get("checks", [rest])
    if "checks" in entry and rest:
        raise InputError(f"checks = [...] stands alone, got {', '.join(rest)} beside it")
    if not isinstance(checks, list) or not checks:
        raise InputError(f"checks must be a list of tables, got {checks!r}")
    return Claim(entry["statement"], tuple(_check(check, cells) for check in checks), expected)


def _check(table: object, cells: Sequence[Cell]) -> Check:
    if not isinstance(table, Mapping):
        raise InputError(f"a check must be a table, got {table!r}")
    for key in table:
        if key not in _KEYS:
            raise unknown("key", key, _KEYS)
    for key in ("score", "of", "is", "than"):
        if key not in table:
            raise InputError(f"a check needs {key} = ...")
    relation, over = table["is"], table.get("over", "mean")
    if relation not in _RELATIONS:
        raise InputError(f"is must be one of {' '.join(_RELATIONS)}, got {relation!r}")
    if over not in _OVER:
        raise unknown("over", over, _OVER)
    if (relation == "~") != ("tolerance" in table):
        raise InputError('is = "~" needs a tolerance, and no other relation takes one')
    than, than_score = table["than"], table.get("than_score")
    if than_score is not None and not (isinstance(than_score, str) and isinstance(than, Mapping)):
        raise InputError(f"than_score must name a score of the cells in than, got {than_score!r}")
    return Check(
        score=_score(table["score"]),
        of=_group("of", table["of"], cells),
        relation=relation,
        than=_group("than", than, cells) if isinstance(than, Mapping) else _number("than", than),
        over=over,
        factor=_number("factor", table.get("factor", 1)),
        tolerance=_number("tolerance", table["tolerance"]) if "tolerance" in table else None,
        than_score=than_score,
    )


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{name} must be a number, got {value!r}")
    return float(value)


def _score(value: object) -> str | Crossing:
    if isinstance(value, str):
        return value
    names = ("option", "at", "equals")
    if not isinstance(value, Mapping) or set(value) != set(names):
        raise InputError(
            "score must be the name of one, or { option = ..., at = ..., equals = ... }, "
            f"got {value!r}"
        )
    if not isinstance(value["at"], str) or not isinstance(value["option"], str):
        raise InputError(f"option and at must be texts, got {value!r}")
    option = option_name(value["option"], "score")
    return Crossing(option, value["at"], _number("equals", value["equals"]))


def _group(key: str, selection: object, cells: Sequence[Cell]) -> Group:
    if not isinstance(selection, Mapping):
        raise InputError(f"{key} must be a table that selects cells, got {selection!r}")
    tests = [_test(name, wanted, cells) for name, wanted in selection.items()]
    found = [cell for cell in cells if all(test(cell) for test in tests)]
    text = ",".join(f"{name}={_listed(value)}" for name, value in selection.items()) or "all cells"
    if not found:
        raise InputError(f"{key} selects no cell: {text}")
    options = tuple(cell.config.options for cell in found)
    return Group(text, tuple(cell.name for cell in found), options)


def _listed(value: object) -> str:
    return "|".join(map(str, value)) if isinstance(value, list) else str(value)


def _test(name: str, wanted: object, cells: Sequence[Cell]) -> Callable[[Cell], bool]:
    """Whether a cell is selected by one key."""
    values = wanted if isinstance(wanted, list) else [wanted]
    if name == "cell":
        return lambda cell: cell.name in values
    axes = {axis for cell in cells for axis in cell.labels}
    if name in axes and name.replace("-", "_") not in cells[0].config.options:
        return lambda cell: cell.labels.get(name) in values
    option = option_name(name, f"a selection (axes: {', '.join(sorted(axes)) or 'none'})")
    home = cells[0].home
    accepted = [read_option(option, placed(option, value, home)) for value in values]
    accepted = [list(value) if isinstance(value, tuple) else value for value in accepted]
    return lambda cell: cell.config.options[option] in accepted
