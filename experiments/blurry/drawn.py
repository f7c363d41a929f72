"""Minimisers and outliers, as pictures and numbers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.blurry.loop import rounded
from experiments.blurry.pixels import FAMILIES, corrupted, location, minimiser
from experiments.blurry.setting import Row, Setting

__all__ = ["minimisers", "outliers"]

COLOURS = {
    "Normal": "#d55e00",
    "cross-entropy": "#e69f00",
    "Laplace": "#0072b2",
    "Student-t": "#009e73",
}
COPIES, SHARE = 31, 0.15


def minimisers(setting: Setting) -> Iterator[Row]:
    """The best single picture of all training digits, by squared error and by cross-entropy."""
    images = setting.train.double()
    mean = images.mean(0)
    squared, crossed = (minimiser(loss, images) for loss in ("squared error", "cross-entropy"))
    yield {
        "largest difference": {
            "squared error's, cross-entropy's": rounded((squared - crossed).abs().max()),
            "squared error's, mean image": rounded((squared - mean).abs().max()),
            "cross-entropy's, mean image": rounded((crossed - mean).abs().max()),
        }
    }
    pixel = images[:, 0, 14, 14]
    yield {"pixel": [14, 14], "mean": rounded(pixel.mean()), **_curvatures(pixel)}
    figure = Figure(figsize=(8.3, 2.5), layout="constrained")
    axes = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.7))
    titles = ("mean image", "squared error's best", "cross-entropy's best")
    for axis, picture, title in zip(axes, (mean, squared, crossed), titles, strict=False):
        axis.imshow(picture[0], cmap="gray", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
        axis.set_title(title, fontsize=9)
    _draw_losses(axes[3], pixel)
    figure.savefig(setting.path("minimiser"), dpi=110)


def _losses(theta: Tensor, pixel: Tensor) -> dict[str, Tensor]:
    """Mean losses of predicting θ for a pixel of all images."""
    x = pixel[:, None]
    return {
        "squared error": (theta - x).square().mean(0),
        "cross-entropy": -(x * theta.log() + (1 - x) * torch.log1p(-theta)).mean(0),
    }


def _curvatures(pixel: Tensor) -> Row:
    """Second derivatives of the mean losses at their minimum, by central differences."""
    step, best = 1e-4, pixel.mean()
    near = torch.stack([best - step, best, best + step])
    values = _losses(near, pixel)
    return {
        f"curvature of {name}": rounded((v[0] - 2 * v[1] + v[2]) / step**2)
        for name, v in values.items()
    }


def _draw_losses(axis: object, pixel: Tensor) -> None:
    theta = torch.linspace(0.01, 0.99, 400, dtype=pixel.dtype)
    for (name, value), colour in zip(
        _losses(theta, pixel).items(), ("#0072b2", "#d55e00"), strict=True
    ):
        axis.plot(theta, value - value.min(), color=colour, linewidth=1.2, label=name)  # type: ignore[attr-defined]
    axis.axvline(float(pixel.mean()), color="#777777", linestyle=":", linewidth=1)  # type: ignore[attr-defined]
    axis.set(xlabel="prediction of the middle pixel", ylabel="loss above its least", ylim=(0, 1.2))  # type: ignore[attr-defined]
    axis.set_title("dotted: the pixel's mean", fontsize=9)  # type: ignore[attr-defined]
    axis.legend(fontsize=7, frameon=False, loc="upper center")  # type: ignore[attr-defined]


def outliers(setting: Setting) -> Iterator[Row]:
    """What is fitted to noisy copies of digits of which some pixels are white by mistake."""
    clean = setting.test[setting.shown[::2]].double()
    copies = corrupted(clean, COPIES, SHARE, seed=setting.seed)
    black = (clean == 0).expand_as(copies[0])
    fitted = {name: location(name, copies) for name in FAMILIES}
    fitted["cross-entropy"] = minimiser("cross-entropy", copies)
    mean, median = copies.mean(0), copies.median(0).values
    for name in COLOURS:
        picture = fitted[name]
        yield {
            "family": name,
            "black pixels": rounded(picture[black].mean()),
            "rmse to the clean digits": rounded((picture - clean).square().mean().sqrt()),
            "largest difference to the mean": rounded((picture - mean).abs().max()),
            "to the median": rounded((picture - median).abs().max()),
        }
    rows = [("clean", clean), (f"one of {COPIES} copies", copies[0])]
    setting.grid("outliers", [*rows, *((name, fitted[name]) for name in COLOURS)])
    yield from _pull(setting)


def _pull(setting: Setting) -> Iterator[Row]:
    """The location of one black pixel against the share of its copies that are white."""
    shares = [0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.45]
    n = 401
    noise = torch.randn(n, generator=torch.Generator().manual_seed(setting.seed)).double()
    values = (0.05 * noise).clamp_min(0)[:, None].repeat(1, len(shares))
    for column, share in enumerate(shares):
        values[: round(share * n), column] = 1.0
    fitted = {name: location(name, values) for name in FAMILIES}
    fitted["cross-entropy"] = minimiser("cross-entropy", values)
    figure = Figure(figsize=(5.2, 3.2), layout="constrained")
    axis = figure.subplots()
    for name, colour in COLOURS.items():
        style = ":" if name == "cross-entropy" else "-"
        width = 3 if name == "cross-entropy" else 1.3
        axis.plot(shares, fitted[name], style, color=colour, linewidth=width, label=name)
        yield {
            "family": name,
            "white share": shares,
            "location": [rounded(value) for value in fitted[name]],
        }
    axis.set(xlabel="share of white outliers", ylabel="location fitted to a black pixel")
    axis.set_ylim(-0.02, 0.52)
    axis.legend(fontsize=8, frameon=False)
    figure.savefig(setting.path("pull"), dpi=110)
