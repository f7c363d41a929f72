"""Figures of a report, each drawn once as SVG for the page, light and dark, and as PNG."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from pyro_vae.metrics.calibration import BINS
from pyro_vae.reports.differences import Settings
from pyro_vae.reports.runs import Found, number
from pyro_vae.reports.strips import data_uri
from pyro_vae.sweeps.pictures import COLOURS
from pyro_vae.types import Fields

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


__all__: list[str] = []

_INK = "#1f1f1f"
_DARK = {_INK: "#e8e8e8", "#000000": "#ffffff", "#555555": "#bdbdbd"}
"""What becomes of the colours that a dark page would swallow."""
_DASHES = ("solid", (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (5, 1.5, 1.5, 1.5)))
_LEGEND = 24
_RC = {
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "legend.frameon": False,
    "svg.hashsalt": "pyro_vae",
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


class Style(TypedDict):
    """How a line of a group looks."""

    color: str
    linestyle: str


Point = tuple[float, float]


@dataclass(frozen=True)
class Drawn:
    """A figure.

    Attributes:
        name: Of its files, without suffix.
        alt: What it shows, for those who do not see it.
        caption: What it shows and of how many images.
        light: SVG for a light page, as a data URI.
        dark: The same for a dark one.
        wide: Whether it must be scrolled on a narrow screen.
    """

    name: str
    alt: str
    caption: str
    light: str
    dark: str
    wide: bool = False


def drawn(
    draw: Callable[[Path], object],
    folder: Path,
    name: str,
    alt: str,
    caption: str,
    wide: bool = False,
) -> Drawn:
    """Draw a figure.

    Args:
        draw: Draws it into a file, whose suffix says how.
        folder: Where FOLDER/NAME.png and FOLDER/NAME.svg go.
        name: As for :class:`Drawn`, as are the others.
        alt: What it shows.
        caption: What it shows.
        wide: Whether it must be scrolled on a narrow screen.
    """
    import matplotlib

    with matplotlib.rc_context(_RC):
        draw(folder / f"{name}.png")
        with matplotlib.rc_context({"savefig.transparent": True}):
            draw(folder / f"{name}.svg")
    text = (folder / f"{name}.svg").read_text(encoding="utf-8")
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    (folder / f"{name}.svg").write_text(text, encoding="utf-8", newline="\n")
    dark = re.sub("|".join(_DARK), lambda found: _DARK[found[0]], text)
    light, night = (data_uri(each.encode(), "image/svg+xml") for each in (text, dark))
    return Drawn(name, alt, caption, light, night, wide)


def styles_of(groups: Sequence[str]) -> dict[str, Style]:
    """A colour for each group, which no common colour blindness confuses, and then dashes."""
    styles: list[Style] = [
        {"color": colour, "linestyle": dash} for dash, colour in product(_DASHES, COLOURS[:7])
    ]
    names = list(dict.fromkeys(groups))
    return {name: styles[i % len(styles)] for i, name in enumerate(names)}


def _of_cells(groups: Mapping[str, str], settings: Settings) -> dict[str, Style]:
    """The same style for the same runs in every figure."""
    return styles_of([*settings.cells.values(), *groups.values()])


def _columns(names: Collection[str]) -> int:
    return 2 if max(map(len, names), default=0) <= 22 else 1


def _figure(names: Collection[str]) -> tuple[Figure, Axes]:
    """One panel, as narrow as a telephone, and with height for a legend below it."""
    rows = -(-len(names) // _columns(names)) if len(names) <= _LEGEND else 0
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 2.9 + 0.19 * rows), layout="constrained")
    return figure, figure.subplots()


def _legend(figure: Figure, axis: Axes) -> None:
    handles, names = axis.get_legend_handles_labels()
    unique = dict(zip(names, handles, strict=True))
    if 1 < len(unique) <= _LEGEND:
        short = [name if len(name) <= 46 else f"{name[:45]}…" for name in unique]
        style: dict[str, Any] = {"loc": "outside lower left", "fontsize": 8.5}
        style["ncols"] = _columns(unique)
        figure.legend(list(unique.values()), short, **style)


def draw_rate_distortion(runs: Sequence[Found], settings: Settings, path: Path) -> None:
    """KL against squared error, a line for each group of runs that differ in β alone.

    Args:
        runs: Those with both scores.
        settings: What they differ in.
        path: File to write.
    """
    families: dict[str, dict[str, list[Point]]] = {}
    for run in runs:
        kl, mse = number(run.scores, "kl"), number(run.scores, "mse")
        if kl is not None and mse is not None:
            beta = settings.rows.get(run.name, {}).get("fit.beta", "")
            family = families.setdefault(settings.families.get(run.name, run.name), {})
            family.setdefault(beta, []).append((kl, mse))
    styles = styles_of(list(families))
    figure, axis = _figure(families)
    for name, by_beta in families.items():
        style = styles[name]
        points = [point for own in by_beta.values() for point in own]
        axis.plot(*zip(*points, strict=True), ".", color=style["color"], markersize=4)
        means = sorted(_mean(own) for own in by_beta.values())
        shape: dict[str, Any] = {"marker": "o", "markersize": 5, "linewidth": 1.2}
        axis.plot(*zip(*means, strict=True), **style, **shape, label=name)
    axis.set(xlabel="rate: KL, nats per image", ylabel="distortion: squared error per pixel")
    axis.set_ylim(0, 1.05 * axis.get_ylim()[1])
    _legend(figure, axis)
    figure.savefig(path, dpi=110)


def _mean(points: Sequence[Point]) -> Point:
    rates, distortions = zip(*points, strict=True)
    return sum(rates) / len(points), sum(distortions) / len(points)


def draw_courses(
    runs: Sequence[Found], key: str, label: str, settings: Settings, path: Path
) -> None:
    """One figure of every epoch of all runs: held-out where there is one, else training.

    Args:
        runs: The runs.
        key: The figure's name in the records.
        label: What it is, with its unit.
        settings: What the runs differ in, which gives them their colours.
        path: File to write.
    """
    groups = {run.name: settings.cells.get(run.name, run.name) for run in runs}
    styles = _of_cells(groups, settings)
    figure, axis = _figure(set(groups.values()))
    for run in runs:
        style, group = styles[groups[run.name]], groups[run.name]
        training, held_out = _course(run, key, "training"), _course(run, key, "held-out")
        if held_out and training:
            axis.plot(*zip(*training, strict=True), **style, linewidth=0.6, alpha=0.45)
        points = held_out or training
        if points:
            marker = "o" if len(points) == 1 else None
            shape: dict[str, Any] = {"linewidth": 1.3, "marker": marker, "markersize": 4}
            axis.plot(*zip(*points, strict=True), **style, **shape, label=group)
    axis.set(xlabel="step", ylabel=label)
    axis.margins(x=0.02)
    _leave_out_depths(axis)
    _legend(figure, axis)
    figure.savefig(path, dpi=110)


def _course(run: Found, key: str, split: str) -> list[Point]:
    records = run.history.epochs(split)
    pairs = [(number(record, "step"), number(record, key)) for record in records]
    return [(step, value) for step, value in pairs if step is not None and value is not None]


def _leave_out_depths(axis: Axes) -> None:
    """Let a first epoch, or one run that explodes, not flatten all others."""
    values = sorted(float(y) for line in axis.get_lines() for y in np.asarray(line.get_ydata()))
    few = len(values) // 20
    if few:
        low, high = values[few], values[-1 - few]
        width = high - low
        bottom = values[0] if values[0] > low - width else low - 0.1 * width
        top = values[-1] if values[-1] < high + width else high + 0.1 * width
        axis.set_ylim(bottom - 0.04 * (top - bottom) - 1e-9, top + 0.04 * (top - bottom) + 1e-9)


def draw_coverage(calibrations: Mapping[str, Fields], settings: Settings, path: Path) -> None:
    """Cumulative distribution of the integrals of each run: the diagonal if calibrated.

    Args:
        calibrations: By the name of the run.
        settings: What the runs differ in.
        path: File to write.
    """
    groups = {name: settings.cells.get(name, name) for name in calibrations}
    styles = _of_cells(groups, settings)
    figure, axis = _figure({"calibrated", *groups.values()})
    edges = [i / BINS for i in range(BINS + 1)]
    axis.plot([0, 1], [0, 1], color="#999999", linestyle=":", label="calibrated")
    for name, calibration in calibrations.items():
        style = styles[groups[name]]
        axis.plot(
            edges, list(_sums(calibration["pit"])), **style, linewidth=1.2, label=groups[name]
        )
    axis.set(xlim=(0, 1), ylim=(0, 1), ylabel="share of pixels below")
    axis.set_xlabel("probability integral transform of a pixel")
    _legend(figure, axis)
    figure.savefig(path, dpi=110)


def _sums(parts: Sequence[float]) -> Iterator[float]:
    total = 0.0
    yield total
    for part in parts:
        total += part
        yield total
