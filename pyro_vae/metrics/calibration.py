"""Calibration of p(x|z): whether pixels fall where the observation says they do."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyro_vae.data import context, plain
from pyro_vae.metrics.encodings import Block, pieces, univariate
from pyro_vae.metrics.pit import Predicted, predicted
from pyro_vae.metrics.results import Calibration
from pyro_vae.types import JSON
from pyro_vae.vae import VAE

__all__: list[str] = []

CALIBRATED = 250
"""Images whose pixels are looked at, the first ones."""

CENTRAL = (0.5, 0.8, 0.95)
"""Probabilities of the central intervals."""

BINS = 20
"""Of the histogram of integrals; half as many of predicted σ."""

REACH = 3
"""Pixels up to which residuals are correlated."""

_LEAST = 1e-7  # integrals nearer to 0 and 1 count as this: residuals end at 5.2 σ


def predictions(vae: VAE, blocks: list[Block]) -> Predicted:
    """Integrals and moments of the first images at the latents that their ELBO is scored at.

    Where q(z|x) is the exact posterior and the data come from the model, the integrals are
    independent and uniform; at the posterior's mean they would not be.

    Args:
        vae: The model, in evaluation mode.
        blocks: Images with a latent each.
    """
    parts = []
    for block, rows in pieces(blocks, CALIBRATED):
        # Without x: a scale that is a residual is the training data's.
        p = vae.decode(block.latent[rows], **context(block.images[rows]))
        parts.append(predicted(p, univariate(p, vae.data_shape), plain(block.x)[rows]))
    means = [part.mean for part in parts if part.mean is not None]
    sigmas = [part.sigma for part in parts if part.sigma is not None]
    whole = len(sigmas) == len(parts)
    return Predicted(
        torch.cat([part.integral for part in parts]),
        torch.cat(means) if whole else None,
        torch.cat(sigmas) if whole else None,
    )


def calibration_scores(vae: VAE, blocks: list[Block]) -> Calibration:
    """How well p(x|z) is calibrated, pixel by pixel.

    Args:
        vae: The model, in evaluation mode.
        blocks: Images with a latent each; the first ``CALIBRATED`` count.
    """
    found = predictions(vae, blocks)
    u = found.integral
    counts = torch.histc(u, BINS, 0, 1)
    x = torch.cat([plain(block.x) for block in blocks])[: len(u)]
    return Calibration(
        images=len(u),
        pit=(counts / counts.sum()).tolist(),
        pit_distance=_distance(u.flatten()),
        coverage=[(c, float(((u - 0.5).abs() <= c / 2).double().mean())) for c in CENTRAL],
        sigma=_sigma_scores(found, x, _scale(vae)),
        neighbours=_neighbours(u),
    )


def _scale(vae: VAE) -> float:
    """What 1 in the observation's unit is in the picture's."""
    ends = vae.levels.shown(torch.tensor([0.0, 1.0], dtype=torch.float64), vae.obs.interval)
    return float(ends[1] - ends[0])


def _distance(u: Tensor) -> float:
    """Kolmogorov's distance from the uniform distribution."""
    ordered = u.sort().values
    n = len(ordered)
    steps = torch.arange(n + 1, dtype=torch.float64, device=u.device) / n
    return float(torch.maximum(steps[1:] - ordered, ordered - steps[:-1]).max())


def _sigma_scores(found: Predicted, x: Tensor, scale: float) -> JSON | None:
    if found.sigma is None or found.mean is None:
        return None
    sigma, error = found.sigma * scale, (x.double() - found.mean) * scale
    images = sigma.flatten(1).square().mean(1).sqrt(), error.flatten(1).square().mean(1).sqrt()
    return {
        "predicted": _root(sigma),
        "actual": _root(error),
        "per_pixel": _binned(sigma.flatten(), error.flatten()),
        "per_image": torch.stack(images, 1).tolist(),
        "image_correlation": _correlation(*images),
    }


def _root(value: Tensor) -> float:
    return float(value.square().mean().sqrt())


def _binned(sigma: Tensor, error: Tensor) -> list[tuple[float, float]]:
    """Root mean squares of σ and of the error in bins of as many pixels each, by σ."""
    ordered = sigma.sort().values
    bins = BINS // 2
    inner = ordered[torch.arange(1, bins, device=sigma.device) * len(ordered) // bins].unique()
    which = torch.bucketize(sigma, inner, right=True)
    sums = torch.zeros(3, len(inner) + 1, dtype=sigma.dtype, device=sigma.device)
    for row, value in zip(sums, (torch.ones_like(sigma), sigma**2, error**2), strict=True):
        row.index_add_(0, which, value)
    count, ours, theirs = sums[:, sums[0] > 0]
    pairs = torch.stack([(ours / count).sqrt(), (theirs / count).sqrt()], 1)
    return [(a, b) for a, b in pairs.tolist()]


def _correlation(a: Tensor, b: Tensor) -> float | None:
    a, b = a - a.mean(), b - b.mean()
    spread = math.sqrt(float(a.square().sum() * b.square().sum()))
    # A σ that all images share differs by rounding only.
    if spread <= 1e-9 * len(a) * float(b.square().mean()) or len(a) < 2:
        return None
    return float((a * b).sum()) / spread


def _neighbours(u: Tensor) -> JSON | None:
    """Correlation of residuals at every offset up to :data:`REACH` pixels."""
    if u.dim() != 4 or min(u.shape[-2:]) < 2:
        return None
    residual = torch.special.ndtri(u.clamp(_LEAST, 1 - _LEAST))
    residual = residual - residual.mean()
    variance = residual.square().mean()
    height, width = residual.shape[-2:]
    down, across = min(REACH, height - 1), min(REACH, width - 1)

    def at(dy: int, dx: int) -> float:
        # Of the two opposite offsets, which are alike, the one that points down.
        if dy < 0:
            dy, dx = -dy, -dx
        first = residual[..., : height - dy, max(0, -dx) : width - max(0, dx)]
        second = residual[..., dy:, max(0, dx) : width - max(0, -dx)]
        return float((first * second).mean() / variance)

    rows = range(-down, down + 1)
    offsets = [[at(dy, dx) for dx in range(-across, across + 1)] for dy in rows]
    return {"beside": at(0, 1), "below": at(1, 0), "map": offsets}
