"""Pictures of a comparison: curves along an option, rate and distortion, and reconstructions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from pyro_vae import ours
from pyro_vae.errors import InputError
from pyro_vae.plots.runs import draw_grid, unit
from pyro_vae.sweeps.cells import Cell
from pyro_vae.sweeps.results import Row, by_cell
from pyro_vae.sweeps.spec import Spec
from pyro_vae.sweeps.statistics import Estimate, estimate
from pyro_vae.training import load

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__: list[str] = []

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
_ALWAYS = ("rate-distortion.png", "reconstructions.png")
_SHOWN, _ROWS = 12, 40
Line = tuple[str, list[tuple[float, Cell]]]


def draw_comparison(rows: Sequence[Row], spec: Spec, out: Path) -> list[Path]:
    """Draw what there is to see.

    Args:
        rows: Of all runs.
        spec: What they are of.
        out: Folder of the comparison.

    Returns:
        ``by-OPTION.png`` for β and other numeric options that take three values or more,
        ``rate-distortion.png``, and ``reconstructions.png`` of the first seed; these
        two where there are pictures.
    """
    files = []
    ours.claim(out, ours.COMPARISON, names_of(spec.cells))
    for option in _varying(spec.cells):
        files.append(out / _by(option))
        _draw_curves(rows, spec, option, files[-1])
    done = [row for row in rows if row.fault is None]
    distorted = [row for row in done if {"kl", "mse"} <= {*row.scores}]
    if distorted:
        files.append(out / _ALWAYS[0])
        _draw_rate_distortion(distorted, spec, files[-1])
    shown = _reconstructions(done, spec)
    if shown:
        files.append(out / _ALWAYS[1])
        draw_grid(shown, files[-1], f"{spec.title}: reconstructions, from 0 to 1")
    return files


def names_of(cells: Sequence[Cell]) -> list[str]:
    """Names of the pictures that may be drawn of cells."""
    return [*map(_by, _varying(cells)), *_ALWAYS]


def _by(option: str) -> str:
    return f"by-{option.replace('_', '-')}.png"


def _varying(cells: Sequence[Cell]) -> list[str]:
    """Numeric options along which there are curves."""
    given = list(dict.fromkeys(name for cell in cells for name in cell.given))
    found = []
    for name in given:
        values = {_number(cell, name) for cell in cells}
        if None not in values and len(values) > (1 if name == "beta" else 2):
            found.append(name)
    return found


def _number(cell: Cell, option: str) -> float | None:
    value = cell.config.options[option]
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _lines(cells: Sequence[Cell], option: str) -> list[Line]:
    """Cells that differ in an option only, each group with what it has in common."""
    groups: dict[str, list[tuple[float, Cell]]] = {}
    for cell in cells:
        value = _number(cell, option)
        if value is not None:
            rest = {k: v for k, v in cell.config.options.items() if k != option}
            groups.setdefault(repr(rest), []).append((value, cell))
    lines = []
    for points in groups.values():
        first = points[0][1]
        shared = [
            f"{axis}={label}"
            for axis, label in first.labels.items()
            # A cell with a name of its own has no labels, and may lie on the line.
            if axis != option and all(cell.labels.get(axis, label) == label for _, cell in points)
        ]
        name = first.name if not first.labels else ",".join(shared)
        lines.append((name, sorted(points, key=lambda point: point[0])))
    return lines


def _draw_curves(rows: Sequence[Row], spec: Spec, option: str, path: Path) -> None:
    own, lines = by_cell(rows), _lines(spec.cells, option)
    columns = 2 if len(spec.scores) in (2, 4) else min(3, len(spec.scores))
    height = -(-len(spec.scores) // columns)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * columns, 3.3 * height + 0.5), layout="constrained")
    axes = figure.subplots(height, columns, squeeze=False).flatten()
    for axis, score in zip(axes, spec.scores, strict=False):
        for colour, (name, points) in zip(_cycle(), lines, strict=False):
            there = list(_estimates(points, own, score))
            if there:
                _errors(axis, there, colour, name)
        values = [value for _, points in lines for value, _ in points]
        if min(values) > 0 and max(values) / min(values) > 5:
            axis.set_xscale("log")
            ticks = sorted(set(values))
            # The usual ones overlap where there are few powers of ten.
            if len(ticks) <= 6 and ticks[-1] < 100 * ticks[0]:
                axis.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
                axis.set_xticks([], minor=True)
        axis.set(xlabel=option.replace("_", " "), ylabel=score)
    for axis in axes[len(spec.scores) :]:
        axis.set_visible(False)
    _legend(figure, axes[0], len(lines))
    figure.savefig(path, dpi=110)


def _estimates(
    points: Sequence[tuple[float, Cell]], own: dict[str, list[Row]], score: str
) -> Iterator[tuple[float, Estimate]]:
    for value, cell in points:
        found = estimate([r.scores[score] for r in own[cell.name] if score in r.scores])
        if found is not None:
            yield value, found


def _errors(axis: Axes, points: list[tuple[float, Estimate]], colour: str, name: str) -> None:
    axis.errorbar(
        [value for value, _ in points],
        [found.mean for _, found in points],
        [found.standard_error or 0.0 for _, found in points],
        color=colour,
        marker="o",
        markersize=3,
        linewidth=1,
        capsize=2,
        label=name or "mean and standard error over seeds",
    )


def _cycle() -> Iterator[str]:
    while True:
        yield from COLOURS


def _legend(figure: Figure, axis: Axes, count: int) -> None:
    handles, names = axis.get_legend_handles_labels()
    if handles and count <= 16:
        figure.legend(handles, names, fontsize=7, frameon=False, loc="outside upper left", ncols=3)


def _draw_rate_distortion(rows: Sequence[Row], spec: Spec, path: Path) -> None:
    own, lines = by_cell(rows), _lines(spec.cells, "beta")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4.6), layout="constrained")
    axis = figure.subplots()
    for colour, (name, points) in zip(_cycle(), lines, strict=False):
        runs = [row for _, cell in points for row in own.get(cell.name, [])]
        places = [(row.scores["kl"], row.scores["mse"]) for row in runs]
        if not places:
            continue
        axis.plot(*zip(*places, strict=True), ".", color=colour, markersize=4)
        means = [
            [sum(row.scores[key] for row in there) / len(there) for key in ("kl", "mse")]
            for _, cell in points
            if (there := own.get(cell.name))
        ]
        label = name or "a run; lines join means over seeds"
        axis.plot(*zip(*means, strict=True), "o-", color=colour, linewidth=1, label=label)
    axis.set(xlabel="rate: KL in nats per image", ylabel="distortion: squared error per pixel")
    axis.set_ylim(0, 1.05 * axis.get_ylim()[1])
    _legend(figure, axis, len(lines))
    figure.savefig(path, dpi=110)


def _reconstructions(rows: Sequence[Row], spec: Spec) -> list[tuple[str, Tensor]]:
    """The same inputs through every cell's first finished seed."""
    cells = {cell.name: cell for cell in spec.cells}
    firsts = {name: own[0] for name, own in by_cell(rows).items()}
    shown: list[tuple[str, Tensor]] = []
    before = None
    for name, row in firsts.items():
        config = cells[name].config
        images = config.load().test[:_SHOWN]
        vae = load(row.folder, **config.own())
        if vae.joint:
            continue
        if config.data != before:
            shown.append((f"input: {config.data}", unit(vae, images)))
            before = config.data
        for kind in spec.pictures:
            label = name if spec.pictures == ("mean",) else f"{name} {kind}"
            try:
                shown.append((label, vae.reconstruct(images, kind)))
            except InputError:
                continue  # the observation has no such picture
        if len(shown) >= _ROWS:
            break
    return shown
