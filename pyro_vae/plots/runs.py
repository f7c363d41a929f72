"""Pictures of a run: reconstructions, samples and training curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_vae.data import cycled, plain
from pyro_vae.data.batch import Loaded
from pyro_vae.history import History, Record
from pyro_vae.ours import MARK
from pyro_vae.vae import VAE

if TYPE_CHECKING:
    from matplotlib.axes import Axes


__all__ = ["draw_grid", "draw_reconstructions", "draw_samples"]

COLOURS = {"reconstruction": "#0072b2", "kl": "#d55e00", "beta": "#555555", "objective": "#009e73"}
_LETTERS = 14
_FILLED = 0.945
"""Part of its place that a picture takes along each side."""


def draw_grid(
    rows: Sequence[tuple[str, Tensor]], path: Path, title: str = "", names: Sequence[str] = ()
) -> None:
    """Rows of pictures on one fixed scale from 0 (black) to 1 (white), each row with its label.

    Args:
        rows: (label, pictures (N, C, H, W) or (N, D) on [0, 1]) from top to bottom.
        path: PNG to write.
        title: Above the rows.
        names: Below the columns, the last letters of each as far as there is place.
    """
    columns = max(len(pictures) for _, pictures in rows)
    below = 0.2 if names else 0.0
    height = 0.75 * len(rows) + (0.4 if title else 0.1) + below
    margin = max(1.2, 0.08 * max(len(label) for label, _ in rows) + 0.2)
    width = 0.7 * columns + margin + 0.1
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    top = 1 - (0.3 if title else 0.02) / height
    # One panel for all: a panel for each picture takes a second for every thirty.
    low = 0.01 + below / height
    axis = figure.add_axes((margin / width, low, 0.995 - margin / width, top - low))
    for i, (_, pictures) in enumerate(rows):
        for j, picture in enumerate(pictures):
            place = (j, j + _FILLED, i + _FILLED, i)
            pixels = _pixels(picture)
            axis.imshow(pixels, cmap="gray", vmin=0, vmax=1, extent=place, aspect="auto")
    axis.set(xlim=(0, columns), ylim=(len(rows), 0), xticks=[], frame_on=False)
    centres = [i + _FILLED / 2 for i in range(len(rows))]
    axis.set_yticks(centres, [label for label, _ in rows], fontsize=9)
    if names:
        places = [j + _FILLED / 2 for j in range(min(columns, len(names)))]
        axis.set_xticks(places, [_ending(name) for name in names[: len(places)]], fontsize=5)
    axis.tick_params(length=0)
    if title:
        figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=110, metadata=MARK)


def _ending(name: str) -> str:
    """The end of a name, where those of one folder differ."""
    name = name if name.isprintable() else repr(name)
    name = name if len(name) <= _LETTERS else f"…{name[1 - _LETTERS :]}"
    return name.replace("$", r"\$")


def _pixels(picture: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = picture.detach().cpu().float().numpy()
    if array.ndim == 1:
        return array[None]
    if array.shape[0] == 3:
        return np.clip(array.transpose(1, 2, 0), 0, 1)
    found: NDArray[np.float32] = array[0]
    return found


def unit(vae: VAE, images: Loaded) -> Tensor:
    """Images as pictures on [0, 1]: levels k/255, floats as the observation shows them."""
    values: Tensor = plain(images)
    if values.dtype == torch.uint8 and vae.levels.eight_bit:
        return values.float() / 255
    return vae.levels.shown(values, vae.obs.interval)


def draw_reconstructions(
    vae: VAE,
    images: Loaded,
    path: Path,
    kinds: Sequence[str] = ("mean",),
    count: int = 16,
    names: Sequence[str] = (),
) -> None:
    """Inputs above their reconstructions, a row for each kind, and below them their names."""
    images = images[:count]
    rows = [("input", unit(vae, images))]
    rows += [(kind, vae.reconstruct(images, kind)) for kind in kinds]
    draw_grid(rows, path, f"{vae.obs.title}: inputs above reconstructions, from 0 to 1", names)


def draw_samples(
    vae: VAE,
    path: Path,
    count: int = 32,
    kind: str = "mean",
    covariates: Mapping[str, Tensor] | None = None,
) -> None:
    """Pictures at latents drawn from the prior, sixteen a row.

    Args:
        vae: The model.
        path: PNG to write.
        count: How many, without covariates.
        kind: What of p(x|z) to show.
        covariates: Those of samples, (n, C), by what they are called.
    """
    if covariates is None:
        drawn = {kind: vae.sample(count, kind)}
    else:
        drawn = {
            label: vae.sample(len(known), kind, covariates=known)
            for label, known in covariates.items()
        }
    rows = [
        ("" if i else label, part)
        for label, pictures in drawn.items()
        for i, part in enumerate(pictures.split(16))
    ]
    draw_grid(rows, path, f"{vae.obs.title}: {kind} of p(x|z) at z drawn from the prior")


def draw_curves(history: History, path: Path) -> None:
    """Reconstruction, KL and β over every step on one time axis, the first 100 steps widened.

    Baselines that make a collapse visible are drawn as horizontal lines.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2, 1))
    name = history.objective
    labels: dict[str, str] = {name: f"{name} (reconstruction − kl)"}
    panels = (("reconstruction", name), ("kl",), ("beta",))
    for axis, keys in zip(axes, panels, strict=True):
        for key in keys:
            _curves(axis, history, key, labels.get(key, key))
    for label, value in history.baselines.items():
        axes[0].axhline(value, color="#999999", linestyle=":", linewidth=1)
        axes[0].annotate(label, (1, value), fontsize=7, color="#555555", va="bottom")
    _limit(axes[0], history, name)
    axes[0].set_ylabel("nats per image")
    axes[1].set_ylabel("KL, nats per image")
    axes[2].set_ylabel("β")
    axes[2].set_xlabel("step (the first 100 linear, then logarithmic)")
    axes[2].set_xscale("symlog", linthresh=100, linscale=1.0)
    last = max(2, len(history.steps))
    axes[2].set_xlim(0, last)
    decades = [m * 10**e for e in range(2, 8) for m in (1, 2, 5)]
    ticks = [tick for tick in (0, 25, 50, 75, *decades) if tick <= last]
    axes[2].set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes[2].minorticks_off()
    for axis in axes[:2]:
        axis.legend(fontsize=8, loc="best")
    figure.savefig(path, dpi=110)


def _curves(axis: Axes, history: History, key: str, label: str) -> None:
    colour = COLOURS.get(key, COLOURS["objective"])
    steps = history.steps
    values = [_number(r, key) for r in steps]
    axis.plot([r["step"] for r in steps], values, color=colour, linewidth=0.7, label=label)
    held_out = [r for r in history.epochs("held-out") if r.get(key) is not None]
    if held_out and key != "beta":
        axis.plot(
            [r["step"] for r in held_out],
            [_number(r, key) for r in held_out],
            color=colour,
            linestyle="--",
            marker="o",
            markersize=2,
            linewidth=1,
            label=f"{label}, {history.part}",
        )


def _number(record: Record, key: str) -> float:
    """A figure of a record, NaN where it has none."""
    value = record.get(key)
    return value if isinstance(value, int | float) else math.nan


def _limit(axis: Axes, history: History, name: str) -> None:
    """Leave the first steps' depths out of view where they would flatten everything else."""
    values = np.array(
        [_number(r, k) for r in history.steps for k in ("reconstruction", name)]
        + list(history.baselines.values())
    )
    values = values[np.isfinite(values)]
    if len(values) > 20:
        low, high = np.quantile(values, 0.02), values.max()
        margin = 0.05 * (high - low) + 1e-6
        axis.set_ylim(low - margin, high + margin)


def draw_run(vae: VAE, images: Loaded, history: History, folder: Path) -> None:
    """The three pictures of a run folder."""
    if not vae.joint:
        draw_reconstructions(vae, images, folder / "reconstructions.png")
        known = cycled(images, 32)
        given = None if known is None else {"mean": known}
        draw_samples(vae, folder / "samples.png", covariates=given)
    draw_curves(history, folder / "curves.png")
