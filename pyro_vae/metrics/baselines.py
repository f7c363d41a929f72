"""Baselines that need no network: a constant, uniform levels, probabilistic PCA in closed form."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pyro_vae.data import levels as data_levels
from pyro_vae.data import plain
from pyro_vae.data.batch import Loaded
from pyro_vae.elbo import BLOCK, best_constants, constant_score
from pyro_vae.elbo.scores import block_noise, observed_block
from pyro_vae.forecasting.spectra import WIDE
from pyro_vae.vae import VAE

__all__: list[str] = []

FITTED = 10_000
"""Images that probabilistic PCA is fitted to, the first ones."""

_LEAST = 1e-9  # of the mean variance: rows that span no more than L directions leave no noise

_STRIPS = 4  # in which a symmetric product is made: five eighths of its work


def uniform_bits(levels: str, kind: str) -> float | None:
    """Bits per dimension of a uniform distribution over the values that a pixel can take.

    Args:
        levels: The observation's levels.
        kind: ``"density"`` or ``"mass"``.

    Returns:
        8 for 8-bit levels, 1 for binary pixels, None for data without an upper bound.
    """
    if not data_levels.get(levels).eight_bit:
        return None
    return 8.0 if kind == "density" or levels == "levels" else 1.0


# Ours and not scikit-learn's, which divides by N − 1, is −∞ of rows that span fewer directions
# than L, and is no requirement of the library's.
class PPCA(NamedTuple):
    r"""Probabilistic PCA (Tipping & Bishop 1999): x = W z + μ + σ ε.

    .. math:: x \sim N(\mu,\, U \mathrm{diag}(\lambda - \sigma^2)\, U^T + \sigma^2 I)

    Attributes:
        mean: μ, (D,), float64.
        directions: U, the eigenvectors of the L largest eigenvalues, (D, L).
        eigenvalues: λ, (L,).
        variance: σ², the mean of the other eigenvalues.
    """

    mean: Tensor
    directions: Tensor
    eigenvalues: Tensor
    variance: float

    def log_prob(self, rows: Tensor) -> Tensor:
        """Log-density of rows (N, D) in nats, (N,)."""
        centred = rows.double() - self.mean
        inside = (centred @ self.directions).square()
        outside = (centred.square().sum(-1) - inside.sum(-1)).clamp_min(0)
        d, latents = self.directions.shape
        logdet = self.eigenvalues.log().sum() + (d - latents) * math.log(self.variance)
        distance = (inside / self.eigenvalues).sum(-1) + outside / self.variance
        return -0.5 * (d * math.log(2 * math.pi) + logdet + distance)


def fit_ppca(rows: Tensor, latents: int) -> PPCA | None:
    """The maximum-likelihood fit, in closed form.

    Args:
        rows: (N, D).
        latents: L; at most D − 1 are used.

    Returns:
        None where the rows do not vary at all, or have one number only.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.5], [0.0, -0.5]])
        >>> fit = fit_ppca(rows, 1)
        >>> fit.eigenvalues, fit.variance
        (tensor([0.5000], dtype=torch.float64), 0.125)
    """
    dims = rows.shape[1]
    latents = min(latents, dims - 1)
    centred = rows.to(torch.float64, copy=True)
    mean = centred.mean(0)
    centred -= mean
    total = float(centred.flatten().dot(centred.flatten())) / len(rows)
    if latents < 1 or total == 0:
        return None
    if dims <= WIDE:
        values, vectors = torch.linalg.eigh(_covariance(centred), UPLO="L")
        values, vectors = values.flip(0)[:latents], vectors.flip(1)[:, :latents]
    else:
        size = min(latents + 20, len(rows), dims)
        _, singular, right = torch.svd_lowrank(centred, q=size, niter=8)
        values, vectors = singular[:latents].square() / len(rows), right[:, :latents]
    least = _LEAST * total / dims
    variance = max((total - float(values.sum())) / (dims - values.numel()), least)
    return PPCA(mean, vectors, values.clamp_min(variance), variance)


def _covariance(centred: Tensor) -> Tensor:
    """Of centred rows, (D, D), below and on the diagonal only: it is symmetric."""
    dims = centred.shape[1]
    found, step = centred.new_zeros(dims, dims), -(-dims // _STRIPS)
    for start in range(0, dims, step):
        rows = slice(start, start + step)
        found[rows, : start + step] = centred[:, rows].T @ centred[:, : start + step]
    return found / len(centred)


def ppca_rows(vae: VAE, images: Loaded, kind: str) -> Tensor:
    """Images as probabilistic PCA takes them, in the unit in which the ELBO counts.

    A density is given x as the observation has it; a mass over integers x + u, u uniform, whose
    log-density is on average below the log-mass.

    Args:
        vae: The model, for its observation.
        images: Levels (uint8) or floats, (N, *data_shape).
        kind: ``"density"`` or ``"mass"``.

    Returns:
        Shape (N, D).
    """
    rows = []
    for number, part in enumerate(images.split(BLOCK)):
        with block_noise(number, part.device):
            x = plain(observed_block(vae, part)[0])
            rows.append((x + torch.rand_like(x) if kind == "mass" else x).flatten(1))
    return torch.cat(rows)


class Baselines(NamedTuple):
    """What a model must beat, nats per image in the ELBO's unit; None where there is no such thing.

    Attributes:
        constant: The best constant prediction, which is what a collapsed model reaches.
        uniform: A uniform distribution over the values that a pixel can take.
        ppca: Probabilistic PCA with as many latents.
    """

    constant: float
    uniform: float | None
    ppca: float | None


def baselines_of(vae: VAE, images: Loaded, kind: str, train: Loaded | None) -> Baselines:
    """All of them on images, fitted to the training images where they are known.

    Args:
        vae: The model; only its observation and its number of latents are used.
        images: Levels (uint8) or floats, (N, *data_shape).
        kind: ``"density"``, ``"mass"`` or ``"loss"``.
        train: Training images where ``images`` are held out.
    """
    return Baselines(
        constant_nats(vae, images, train),
        uniform_nats(vae, kind, images),
        ppca_nats(vae, images, kind, images if train is None else train, vae.latent_dim),
    )


def constant_nats(vae: VAE, images: Loaded, train: Loaded | None) -> float:
    """The best constant prediction, of training images if they are known, nats per image."""
    constants = best_constants(vae, images if train is None else train)
    if train is None:
        return sum(constant.reconstruction for constant in constants.values())
    return constant_score(vae, constants, images)


def uniform_nats(vae: VAE, kind: str, images: Loaded) -> float | None:
    """A uniform distribution over what 8-bit images can be, nats per image; None of other data."""
    bits = uniform_bits(str(vae.obs.levels), kind)
    if bits is None or kind == "loss":
        return None
    dims: int = math.prod(vae.data_shape)
    low, high = vae.obs.interval
    if kind == "mass":
        return -dims * bits * math.log(2)
    return dims * math.log(1 / (high - low)) if images.dtype == torch.uint8 else None


def ppca_nats(vae: VAE, images: Loaded, kind: str, fitted: Loaded, latents: int) -> float | None:
    """Probabilistic PCA with so many latents, nats per image; None of a loss, and of constants."""
    if kind == "loss":
        return None
    fit = fit_ppca(ppca_rows(vae, fitted[:FITTED], kind), latents)
    return None if fit is None else float(fit.log_prob(ppca_rows(vae, images, kind)).mean())
