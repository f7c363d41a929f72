"""Pictures of an evaluation: latents, traversals, interpolations, kinds and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae.data.batch import Loaded
from pyro_vae.metrics.calibration import BINS
from pyro_vae.metrics.results import Calibration
from pyro_vae.noise import fixed_noise, noise
from pyro_vae.plots.runs import draw_grid, draw_reconstructions
from pyro_vae.vae import VAE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.lines import Line2D


__all__: list[str] = []

BLUE, RED, GREY = "#0072b2", "#d55e00", "#999999"
_ROWS, _STEPS = 8, 11


def draw_latents(means: Tensor, labels: Tensor | None, path: Path) -> None:
    """Posterior means of the two units that vary most, coloured by label where there are labels.

    Args:
        means: Of q(z|x), (N, L).
        labels: Classes, (N,), or None.
        path: PNG to write.
    """
    variance = means.var(0, correction=0)
    first, second = variance.argsort(descending=True).tolist()[:2] if means.shape[1] > 1 else (0, 0)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, 5), layout="constrained")
    axis = figure.subplots()
    style: dict[str, Any] = {"c": BLUE} if labels is None else {"c": labels, "cmap": "tab10"}
    dots = axis.scatter(means[:, first], means[:, second], s=6, linewidths=0, **style)
    if labels is not None:
        axis.legend(*_legend(dots), fontsize=8, title="label", loc="best")
    axis.set_xlabel(f"unit {first}: mean of q(z|x), variance {variance[first]:.2f}")
    axis.set_ylabel(f"unit {second}: mean of q(z|x), variance {variance[second]:.2f}")
    figure.savefig(path, dpi=110)


def _legend(dots: PathCollection) -> tuple[list[Line2D], list[str]]:
    """A dot for each label, of at most twenty."""
    handles, names = dots.legend_elements(num=None)  # type: ignore[arg-type]
    return handles[:20], names[:20]


def _shown(vae: VAE, latents: Tensor, known: Tensor | None) -> Tensor:
    found: Tensor = vae.picture(
        vae.decode(latents, **({} if known is None else {"covariates": known}))
    )
    return found


def draw_traversals(
    vae: VAE,
    start: Tensor,
    kl_per_latent: Sequence[float],
    path: Path,
    covariates: Tensor | None = None,
) -> None:
    """What the units of the largest KL do: each from −3 to 3, the others as one image has them.

    Args:
        vae: The model, in evaluation mode.
        start: A latent, (L,).
        kl_per_latent: KL of each unit, (L,).
        path: PNG to write.
        covariates: Of the image, (1, C), where the VAE has any.
    """
    order = torch.tensor(kl_per_latent).argsort(descending=True).tolist()[:_ROWS]
    along = torch.linspace(-3, 3, _STEPS, device=start.device)
    rows = []
    for which in order:
        latents = start.repeat(_STEPS, 1)
        latents[:, which] = along
        rows.append(
            (f"unit {which}\n{kl_per_latent[which]:.2f} nats", _shown(vae, latents, covariates))
        )
    draw_grid(rows, path, f"{vae.obs.title}: one unit at a time from -3 to 3")


def draw_interpolations(
    vae: VAE, means: Tensor, path: Path, covariates: Tensor | None = None
) -> None:
    """Straight lines between the latents of images.

    Args:
        vae: The model, in evaluation mode.
        means: Of q(z|x), (N, L), of which pairs are joined.
        path: PNG to write.
        covariates: Of the images, (N, C), where the VAE has any; they are joined likewise.
    """

    def between(values: Tensor, i: int) -> Tensor:
        return torch.lerp(values[i], values[i + 1], steps)

    steps = torch.linspace(0, 1, _STEPS, device=means.device)[:, None]
    pairs = range(0, min(2 * _ROWS, len(means) - 1), 2)
    rows = [
        (
            f"image {i}\nto {i + 1}",
            _shown(vae, between(means, i), None if covariates is None else between(covariates, i)),
        )
        for i in pairs
    ]
    draw_grid(rows, path, f"{vae.obs.title}: between the latents of two images")


def draw_kinds(vae: VAE, images: Loaded, kinds: Sequence[str], path: Path) -> None:
    """Inputs above every kind of reconstruction."""
    with fixed_noise(noise("pictures"), images.device):
        draw_reconstructions(vae, images, path, kinds)


def draw_calibration(calibration: Calibration, path: Path) -> None:
    """Integrals, coverage, σ against error and correlation of residuals.

    Args:
        calibration: From ``calibration_scores``.
        path: PNG to write.
    """
    panels = [_integrals, _coverage]
    panels += [_sigma] if calibration["sigma"] else []
    panels += [_residuals] if calibration["neighbours"] else []
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(panels), 3.8), layout="constrained")
    axes = figure.subplots(1, len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        panel(axis, calibration)
    figure.savefig(path, dpi=110)


def _integrals(axis: Axes, calibration: Calibration) -> None:
    edges = np.linspace(0, 1, BINS + 1)
    axis.stairs(BINS * np.array(calibration["pit"]), edges, fill=True, color=BLUE)
    axis.axhline(1, color=GREY, linestyle=":")
    axis.set(xlim=(0, 1), xlabel="probability integral transform of a pixel", ylabel="density")
    axis.set_title(f"distance from uniform {calibration['pit_distance']:.3f}", fontsize=9)


def _coverage(axis: Axes, calibration: Calibration) -> None:
    wanted, found = zip(*calibration["coverage"], strict=True)
    axis.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    axis.plot(wanted, found, "o", color=BLUE)
    for x, y in calibration["coverage"]:
        axis.annotate(
            f"{y:.1%}", (x, y), (-6, 0), textcoords="offset points", ha="right", va="center"
        )
    axis.set(xlim=(0, 1), ylim=(-0.03, 1.03))
    axis.set(xlabel="central interval's probability", ylabel="pixels inside")


def _sigma(axis: Axes, calibration: Calibration) -> None:
    sigma = calibration["sigma"]
    images, pixels = np.array(sigma["per_image"]), np.array(sigma["per_pixel"])
    axis.plot(images[:, 0], images[:, 1], ".", color=GREY, markersize=3, label="an image")
    axis.plot(pixels[:, 0], pixels[:, 1], "o-", color=RED, markersize=4, label="pixels, by σ")
    top = 1.1 * max(images.max(), pixels.max())
    axis.plot([0, top], [0, top], color=GREY, linestyle=":")
    axis.set(xlim=(0, top), ylim=(0, top), xlabel="σ of p(x|z), root mean square")
    axis.set_ylabel("error, root mean square")
    axis.legend(fontsize=8, loc="best")


def _residuals(axis: Axes, calibration: Calibration) -> None:
    near = calibration["neighbours"]
    grid = np.array(near["map"])
    down, across = grid.shape[0] // 2 + 0.5, grid.shape[1] // 2 + 0.5
    extent = (-across, across, down, -down)
    shown = axis.imshow(grid, cmap="RdBu_r", vmin=-1, vmax=1, extent=extent)
    axis.figure.colorbar(shown, ax=axis, shrink=0.8)
    axis.set(xlabel="pixels to the right", ylabel="pixels down")
    title = f"correlation of residuals: beside {near['beside']:.2f}, below {near['below']:.2f}"
    axis.set_title(title, fontsize=9)
