"""Specs: a comparison as a TOML file, read and checked as a whole before anything is done.

A spec is a few tables; options are those of ``pyro-vae fit``, with dashes or underscores::

    title = "Loss against reduction"
    seeds = [0, 1, 2]                        # each cell is trained once for every seed
    scores = ["kl", "active_units", "mse"]   # columns of the printed table, and curves
    pictures = ["mean", "parameter"]         # kinds of reconstructions to draw
    reference = "NAME"                       # the cell that differences are taken to, or the first

    [base]                                   # options that all cells share
    net = "mlp"
    epochs = 30

    [grid]                                   # the product of its axes
    lr = [1e-3, 1e-2]                        # an option and its values
    [grid.reduction]                         # or an axis of variants, which set any options
    sum = { beta = 1 }
    mean = { beta = 100352 }

    [[cells]]                                # more cells, one by one
    name = "learned"
    obs = "normal-learned-sigma"

    [evaluation]                             # what to score beside the usual, see scoring.py
    iwae = 50

    [[claims]]                               # see pyro_vae.sweeps.claims
    statement = "averaging over pixels switches all latents off"
    score = "active_units"
    of = { reduction = "mean" }
    is = "<"
    than = 0.5

    [settings.small]                         # laid over the spec by --setting small: tables
    base.epochs = 5                          # are merged, all else is replaced
    [settings.large]
    base.data = "fashion-mnist"

Paths of data are relative to the spec's own folder, wherever the command is run.

Several ``[[grid]]`` tables are several products, one after the other. The first setting is taken
where none is asked for.

A search (:func:`pyro_vae.sweeps.search`) tries points of one ``[grid]`` instead of all, and
takes values of numbers from ranges, too::

    [grid]
    sigma = { low = 0.02, high = 1.0, log = true }   # log: evenly in the logarithm
    latent-dim = { low = 2, high = 40 }              # integers, as the option is one
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pyro_vae.errors import InputError, positive, unknown
from pyro_vae.files import expanded
from pyro_vae.sweeps.cells import MOST, Cell, Space, count_cells, expand
from pyro_vae.sweeps.claims import Claim, read_claims
from pyro_vae.sweeps.reading import of_type, texts
from pyro_vae.sweeps.scoring import Evaluation, kinds_of, read_evaluation
from pyro_vae.types import JSON, Fields

__all__ = ["Spec", "read_spec"]

SCORES = ("kl", "active_units", "mse")
"""Scores of a spec that asks for none, such of them as there are."""

_KEYS = (
    "title",
    "base",
    "grid",
    "cells",
    "seeds",
    "scores",
    "reference",
    "pictures",
    "evaluation",
    "claims",
    "settings",
)


@dataclass(frozen=True)
class Spec:
    """A comparison, checked.

    Attributes:
        title: One line.
        cells: What to train.
        seeds: Seeds of each cell.
        scores: Scores to print and draw.
        reference: Name of the cell that the others' differences are taken to.
        pictures: Kinds of reconstructions to draw.
        evaluation: What to score.
        claims: What the figures are to decide.
        limited: Whether cells, steps or seeds were cut down, so that no claim can be judged.
        space: What a search takes cells from; there are none, nor claims, before it has.
    """

    title: str
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    scores: tuple[str, ...]
    reference: str
    pictures: tuple[str, ...]
    evaluation: Evaluation
    claims: tuple[Claim, ...]
    limited: bool = False
    space: Space | None = None

    @property
    def trained(self) -> tuple[Cell, ...]:
        """Its cells, or of one to be searched such as its space ends in."""
        return self.cells if self.space is None else self.space.ends

    def limit(
        self,
        max_cells: int | None = None,
        max_steps: int | None = None,
        seeds: int | None = None,
    ) -> Spec:
        """A smaller spec, to see whether it runs: without verdicts.

        Args:
            max_cells: So many cells at most, spread evenly over the spec's.
            max_steps: So many steps at most, of one epoch if it must be on fewer images.
            seeds: So many of the seeds at most.

        Raises:
            InputError: If one of them is not positive.
        """
        given = {"--max-cells": max_cells, "--max-steps": max_steps, "--seeds": seeds}
        for name, value in given.items():
            if value is None:
                continue
            positive(**{name: value})
            if self.space is not None and name != "--seeds":
                raise InputError(f"{name} is for a sweep: --search N says how many cells it tries")
        cells = self.cells
        if max_cells is not None and max_cells < len(cells):
            cells = tuple(cells[i * len(cells) // max_cells] for i in range(max_cells))
        if max_steps is not None:
            cells = tuple(_shortened(cell, max_steps) for cell in cells)
        limited = replace(self, cells=cells, seeds=self.seeds[:seeds])
        names = [cell.name for cell in cells]
        reference = self.reference if self.reference in names else names[0] if names else ""
        return replace(limited, reference=reference, limited=self.limited or limited != self)


def _shortened(cell: Cell, steps: int) -> Cell:
    config = cell.config
    size = config.fit.batch_size
    there = len(config.load().train)
    images = min(there, steps * size)
    epochs = min(config.fit.epochs, max(1, steps // -(-images // size)))
    training = replace(config.fit, epochs=epochs)
    limit = images if images < there else config.images
    return replace(cell, config=replace(config, fit=training, images=limit))


def read_spec(
    source: str | Path | Mapping[str, object],
    setting: str | None = None,
    many: bool = False,
    search: bool = False,
) -> Spec:
    """Read a spec and check it as a whole; nothing is written, no data are loaded.

    Args:
        source: A TOML file, or what is in one.
        setting: Which of its settings to lay over it; by default the first.
        many: Whether it may have more than ``MOST`` cells.
        search: Whether it is to be searched: then it has a space instead of cells and claims.

    Raises:
        InputError: If it is missing, no TOML, or anything in it is unknown, of a wrong type or
            out of range; it says what, in one line.

    Example:
        >>> spec = read_spec({"grid": {"beta": [1, 4]}, "base": {"obs": "normal"}})
        >>> [cell.name for cell in spec.cells], spec.seeds
        (['beta=1', 'beta=4'], (0,))
    """
    if isinstance(source, Mapping):
        return _spec(source, setting, many, search, "comparison", Path())
    path = expanded(source)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"there is no spec {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    except ValueError as error:  # also of an integer of more digits than Python reads
        raise InputError(f"{path} is not TOML: {error}") from None
    try:
        return _spec(table, setting, many, search, path.stem, path.resolve().parent)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _spec(
    source: Mapping[str, object],
    setting: str | None,
    many: bool,
    search: bool,
    title: str,
    home: Path,
) -> Spec:
    table = _with_setting(source, setting)
    for key in table:
        if key not in _KEYS:
            raise unknown("key", key, _KEYS)
    base = of_type("[base]", table.get("base", {}), Mapping)
    grids, listed = _grids(table)
    space = _space(base, grids, listed, home) if search else None
    cells = () if search else _cells(base, grids, listed, many, home)
    names = [cell.name for cell in cells]
    first = names[0] if names else ""
    reference = of_type("reference", table.get("reference", first), str)
    if names and reference not in names:
        raise unknown("reference, which names a cell,", reference, names)
    claims = () if search else of_type("claims", table.get("claims", []), list)
    return Spec(
        title=of_type("title", table.get("title", title), str),
        cells=cells,
        seeds=_seeds(table.get("seeds", [0])),
        scores=tuple(texts("scores", table.get("scores", list(SCORES)))),
        reference=reference,
        pictures=kinds_of("pictures", table.get("pictures", ["mean"])),
        evaluation=read_evaluation(of_type("[evaluation]", table.get("evaluation", {}), Mapping)),
        claims=read_claims(claims, cells),
        space=space,
    )


def _grids(table: Mapping[str, object]) -> tuple[list[Fields], list[Fields]]:
    """Tables of grids and of listed cells."""
    grid = table.get("grid", [])
    grids = [grid] if isinstance(grid, Mapping) else of_type("grid", grid, list)
    listed = of_type("cells", table.get("cells", []), list)
    for where, entries in (("[grid]", grids), ("[[cells]]", listed)):
        for entry in entries:
            of_type(where, entry, Mapping)
    for one in grids:
        for name, axis in one.items():
            of_type(f"grid.{name}", axis, list, Mapping)
    return grids, listed


def _cells(
    base: Mapping[str, object], grids: list[Fields], listed: list[Fields], many: bool, home: Path
) -> tuple[Cell, ...]:
    count = count_cells(grids, listed)
    if count > MOST and not many:
        raise InputError(f"the spec has {count:,} cells, more than {MOST:,}: --yes runs them all")
    return expand(base, grids, listed, home)


def _space(
    base: Mapping[str, object], grids: list[Fields], listed: list[Fields], home: Path
) -> Space:
    if len(grids) != 1 or not grids[0] or listed:
        raise InputError("a search takes one [grid], not several, and no [[cells]]")
    return Space(base, grids[0], home)


def _with_setting(source: Mapping[str, object], setting: str | None) -> JSON:
    settings = of_type("[settings]", source.get("settings", {}), Mapping)
    rest = {key: value for key, value in source.items() if key != "settings"}
    if setting is None and not settings:
        return rest
    name = next(iter(settings)) if setting is None else setting
    if name not in settings:
        raise unknown("setting", name, settings)
    over = of_type(f"settings.{name}", settings[name], Mapping)
    for key in over:
        if key not in _KEYS or key == "settings":
            raise unknown(f"key in settings.{name}", key, set(_KEYS) - {"settings"})
    return _laid_over(rest, over)


def _laid_over(below: Mapping[str, object], above: Mapping[str, object]) -> JSON:
    """Tables merged, all else replaced."""
    merged = dict(below)
    for key, value in above.items():
        own = merged.get(key)
        both = isinstance(own, Mapping) and isinstance(value, Mapping)
        merged[key] = _laid_over(own, value) if both else value  # type: ignore[arg-type]
    return merged


def _seeds(value: object) -> tuple[int, ...]:
    given = value if isinstance(value, list | tuple) else ()
    fine = bool(given) and all(type(v) is int for v in given)
    if not fine or min(given) < 0 or max(given) >= 2**32:
        raise InputError(f"seeds must be a list of integers from 0 to 2**32 - 1, got {value!r}")
    if len(set(given)) < len(given):
        raise InputError(f"seeds must differ, got {value!r}")
    return tuple(given)
