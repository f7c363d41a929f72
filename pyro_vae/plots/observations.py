"""Portraits of observations: their curves on one page."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyro_vae.data import levels
from pyro_vae.ours import MARK
from pyro_vae.plots.curves import Curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes


__all__ = ["draw_observation"]

COLOURS = ("#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00")
SAID = {
    "density": "log-density, nats",
    "mass": "log-mass, nats",
    "loss": "minus the loss, nats (no likelihood)",
}
Panel = Callable[["Axes", Curves], None]


def draw_observation(curves: Curves, path: Path) -> None:
    """Draw an observation's curves: a panel for each thing that it has.

    Args:
        curves: From :func:`pyro_vae.plots.curves_of`.
        path: PNG to write.
    """
    panels: list[Panel] = [_log_prob]
    if _constant(curves) is None and curves.log_normalizer is not None:
        panels.append(_log_normalizer)
    if curves.pictures:
        panels.append(_pictures)
    if curves.reach is not None:
        panels.append(_reach)
    if curves.errors is not None:
        panels += [_loss, _gradient]
    columns = 2 if len(panels) in (2, 4) else 3
    rows = -(-len(panels) // columns)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8 * columns, 3.5 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis, panel in zip(axes, panels, strict=False):
        panel(axis, curves)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    figure.suptitle(_title(curves), fontsize=10)
    figure.savefig(path, dpi=110, metadata=MARK)


def _title(curves: Curves) -> str:
    on_pixels = " on 8-bit pixels" if levels.get(curves.head.levels).eight_bit else ""
    parts = [f"{curves.head.title}, a {curves.kind}{on_pixels}"]
    parts += [f"{name} = {value}" for name, value in curves.others]
    constant = _constant(curves)
    if constant is not None and curves.kind != "loss":
        parts.append(f"log-normaliser {constant:.3g} nats for every {curves.name}")
    return "\n".join(textwrap.wrap("; ".join(parts), 110))


def _constant(curves: Curves) -> float | None:
    """The log-normaliser where the parameter on the axis does not change it."""
    value = curves.log_normalizer
    if value is None or float(value.max() - value.min()) > 1e-3:
        return None
    return float(value.mean())


def _log_prob(axis: Axes, curves: Curves) -> None:
    for colour, (label, value) in zip(COLOURS, curves.log_prob, strict=False):
        axis.plot(curves.parameter, value, color=colour, linewidth=1.2, label=label)
    _window(axis, torch.stack([value for _, value in curves.log_prob]))
    _parameter_axis(axis, curves)
    axis.set_ylabel(SAID[curves.kind])
    _legend(axis)


def _log_normalizer(axis: Axes, curves: Curves) -> None:
    assert curves.log_normalizer is not None  # it is drawn only where there is one
    axis.plot(curves.parameter, curves.log_normalizer, color=COLOURS[0], linewidth=1.2)
    _parameter_axis(axis, curves)
    axis.set_ylabel("log-normaliser, nats")


def _pictures(axis: Axes, curves: Curves) -> None:
    for (kind, value), style in zip(curves.pictures, ("-", ":"), strict=False):
        axis.plot(curves.parameter, value, style, color=COLOURS[0], linewidth=1.2, label=kind)
    if curves.head.parameter is not None:
        shown = levels.get(curves.head.levels).shown(curves.parameter, curves.head.interval)
        label = "the parameter itself"
        axis.plot(curves.parameter, shown, color="#999999", linewidth=0.8, zorder=0, label=label)
    _parameter_axis(axis, curves)
    _picture_axis(axis, curves, curves.pictures[0][1])
    _legend(axis)


def _reach(axis: Axes, curves: Curves) -> None:
    assert curves.reach is not None
    axis.plot(curves.raw, curves.reach, color=COLOURS[0], linewidth=1.2)
    axis.set_xscale("asinh", linear_width=1.0)
    ticks = [-1000, -100, -10, -1, 0, 1, 10, 100, 1000]
    axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axis.minorticks_off()
    axis.set_xlabel("raw number from the decoder")
    _picture_axis(axis, curves, curves.reach)
    low, high = float(curves.reach.min()), float(curves.reach.max())
    axis.set_title(f"the mean reaches {low:.4g} to {high:.4g}", fontsize=9)


def _loss(axis: Axes, curves: Curves) -> None:
    assert curves.errors is not None
    axis.plot(curves.errors.error, curves.errors.loss, color=COLOURS[0], linewidth=1.2)
    axis.set_xlabel("error x − loc (its root mean square where σ is shared)")
    axis.set_ylabel("loss with σ the error's own, nats")


def _gradient(axis: Axes, curves: Curves) -> None:
    assert curves.errors is not None
    axis.plot(curves.errors.error, curves.errors.gradient, color=COLOURS[0], linewidth=1.2)
    axis.axhline(0, color="#999999", linewidth=0.6)
    axis.set_xlabel("error x − loc (its root mean square where σ is shared)")
    axis.set_ylabel("derivative of that loss in the error")


def _legend(axis: Axes) -> None:
    """Above the panel, where no curve runs."""
    axis.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=5,
        fontsize=7,
        frameon=False,
        handlelength=1.2,
        columnspacing=1.0,
    )


def _parameter_axis(axis: Axes, curves: Curves) -> None:
    axis.set_xlabel(curves.name)
    if curves.head.parameter is None and _decades(curves.parameter):
        axis.set_xscale("log")


def _picture_axis(axis: Axes, curves: Curves, values: Tensor) -> None:
    if levels.get(curves.head.levels).eight_bit:
        axis.set_ylim(-0.05, 1.05)
        axis.set_ylabel("picture, from 0 to 1")
        return
    axis.set_ylabel("picture")
    if _decades(values):
        axis.set_yscale("log")


def _decades(values: Tensor) -> bool:
    """Whether positive values span so much that only a logarithmic axis shows them."""
    return bool(values.min() > 0) and float(values.max() / values.min()) > 1e3


def _window(axis: Axes, values: Tensor) -> None:
    """Leave depths out of view that would flatten everything else."""
    finite = values[torch.isfinite(values)]
    low, high = torch.quantile(finite, 0.2), finite.max()
    margin = float(0.08 * (high - low)) + 1e-6
    axis.set_ylim(float(low) - margin, float(high) + margin)
