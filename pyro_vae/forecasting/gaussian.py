"""Forecast: how many latents survive training, read off the data's covariance beforehand."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from pyro_vae import specs
from pyro_vae.data import levels as data_levels
from pyro_vae.data import plain
from pyro_vae.data.batch import Loaded
from pyro_vae.errors import InputError, positive
from pyro_vae.forecasting.curvature import Curvature, curvature_at
from pyro_vae.forecasting.spectra import Covariance, Spectrum, blocks_of
from pyro_vae.noise import fixed_noise, noise
from pyro_vae.vae import VAE

__all__ = ["Forecast", "forecast_gaussian", "forecast_of"]

_NEAR = 0.15
"""Directions whose eigenvalue is this near the threshold may fall on either side."""

_DRAWS = 20_000


@dataclass(frozen=True)
class Forecast:
    r"""What training will come to, as far as the data's covariance and the loss decide it.

    A linear VAE with weight :math:`\beta` and a Gaussian observation of variance :math:`\sigma^2`
    is probabilistic PCA: a latent direction survives exactly where an eigenvalue of the data's
    covariance exceeds :math:`\beta\sigma^2` (Lucas, Tucker, Grosse and Norouzi 2019).

    Attributes:
        active_units: Predicted number of active units, at most ``latent_dim``.
        latent_dim: Length of z.
        beta: Weight of the KL.
        sigma: The observation's standard deviation, fixed or predicted; None where it has none.
        threshold: What an eigenvalue must exceed: βσ², or β where ``sigma`` is None.
        eigenvalues: The largest ones, descending: of the data's covariance, in the observation's
            unit; or, where ``sigma`` is None, of that covariance in units of each pixel's
            precision.
        beta_collapse: The β at which collapse sets in.
        sigma_collapse: The σ at which collapse sets in at this β, None where it has no σ.
        curve: Rate (nats per image) and distortion (mean squared error per pixel on the data's
            unit range) of pPCA with as many latents, by falling distortion.
        operating_point: The point of that curve where training should come to rest, None where
            ``sigma`` is None.
        approximate: Whether this holds only to second order, or σ is not one number for all.
        explanation: What it rests on, in a sentence or two.
    """

    active_units: int
    latent_dim: int
    beta: float
    sigma: float | None
    threshold: float
    eigenvalues: tuple[float, ...]
    beta_collapse: float
    sigma_collapse: float | None
    curve: tuple[tuple[float, float], ...]
    operating_point: tuple[float, float] | None
    approximate: bool
    explanation: str

    @property
    def collapses(self) -> bool:
        """Whether no latent survives."""
        return self.active_units == 0

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        return {**asdict(self), "collapses": self.collapses}

    def note(self) -> str:
        """One line."""
        where = f"collapse from β = {self.beta_collapse:.3g}"
        if self.sigma_collapse is not None:
            where += f" or σ = {self.sigma_collapse:.3g}"
        about = " (approximate)" if self.approximate else ""
        return f"forecast: {self.active_units} of {self.latent_dim} units active; {where}{about}"

    def warning(self) -> str | None:
        """What to change where all latents collapse, in one line; None otherwise."""
        if not self.collapses:
            return None
        if self.beta_collapse == 0:
            return "this will collapse: all images are the same"
        cure = f"lower β below {self.beta_collapse:.3g}"
        if self.sigma_collapse is not None:
            cure += f", or σ below {self.sigma_collapse:.3g}"
        probably = "probably " if self.approximate else ""
        return (
            f"this will {probably}collapse: the KL costs more than any latent can gain "
            f"(β = {self.beta:.4g}); {cure}"
        )

    def __str__(self) -> str:
        about = ", approximate" if self.approximate else ""
        rows = [
            ("active units", f"{self.active_units} of {self.latent_dim}{about}"),
            ("collapse from β", f"{self.beta_collapse:.4g} (β is {self.beta:.4g})"),
        ]
        if self.sigma is not None and self.sigma_collapse is not None:
            text = f"{self.sigma_collapse:.4g} at this β (σ is {self.sigma:.4g})"
            rows.append(("collapse from σ", text))
        if self.operating_point is not None:
            rate, distortion = self.operating_point
            text = f"{rate:.1f} nats per image, squared error {distortion:.5f} (pPCA)"
            rows.append(("at this β", text))
        lines = [f"  {label:<18}{text}" for label, text in rows]
        lines += ["", "  nats per image    mean squared error per pixel (pPCA)"]
        shown = self.curve[:: max(1, (len(self.curve) - 1) // 6)]
        lines += [f"  {rate:14.1f}    {distortion:.5f}" for rate, distortion in shown]
        wrapped = textwrap.wrap(
            self.explanation, 79, initial_indent="  ", subsequent_indent="  ",
            break_on_hyphens=False,
        )  # fmt: skip
        return "\n".join([*lines, "", *wrapped])


def forecast_gaussian(
    images: Tensor, variance: float | None = None, beta: float = 1.0, latent_dim: int = 20
) -> Forecast:
    r"""The forecast for a Gaussian observation with one variance for everything.

    Without a given variance it is learned: pPCA's own at this :math:`\beta` and number of latents,

    .. math:: \sigma^2 = \frac{1}{D} \Big(\sum_{i \le L} \min(\lambda_i, \beta\sigma^2)
       + \sum_{i > L} \lambda_i\Big),

    which has exactly one solution (at :math:`\beta = 1` the mean of the discarded eigenvalues,
    Tipping and Bishop 1999).

    Args:
        images: Levels (uint8, taken at the middle of their interval of [0, 1]) or floats,
            (N, *data_shape).
        variance: σ², or None where it is learned.
        beta: Weight of the KL.
        latent_dim: Length of z.

    Raises:
        InputError: If a number is out of range.

    Example:
        >>> images = torch.tensor([[2.0, 1.0], [-2.0, 1.0], [2.0, -1.0], [-2.0, -1.0]])
        >>> forecast = forecast_gaussian(images, variance=1.5, latent_dim=2)
        >>> forecast.active_units, forecast.eigenvalues, forecast.beta_collapse
        (1, (4.0, 1.0), 2.6666666666666665)
    """
    _check(beta, latent_dim)
    if variance is not None and not (math.isfinite(variance) and variance > 0):
        raise InputError(f"variance must be positive and finite, got {variance}")
    covariance = _covariance(images, data_levels.get("dequantised"), (0.0, 1.0))
    spectrum = Spectrum.of(covariance, latent_dim)
    if variance is None:
        return _learned(spectrum, beta, latent_dim, 0.0, False)
    return _fixed(spectrum, variance, beta, latent_dim)


def forecast_of(vae: VAE, images: Loaded, beta: float = 1.0, limit: int | None = None) -> Forecast:
    """The forecast for a model's observation and number of latents.

    A Gaussian's is exact for linear networks. Another observation with one number per pixel is to
    second order a Gaussian with the precision of its curvature at the data's mean image; one that
    learns its spread is taken for a Gaussian that learns one σ. Both are marked as approximate.

    Args:
        vae: The model; only its observation and ``latent_dim`` are used.
        images: Levels (uint8) or floats, (N, *data_shape).
        beta: Weight of the KL.
        limit: Images to use, spread evenly; all by default.

    Raises:
        InputError: If β is negative or not finite, or the prior is not the standard normal.
    """
    _check(beta, vae.latent_dim)
    if not vae.prior_is_standard:
        other = specs.short(vae.prior_spec) or "one of your own"
        raise InputError(f"the forecast is of a standard normal prior, not of {other}")
    if limit is not None and len(images) > limit:
        images = images[torch.linspace(0, len(images) - 1, limit).long().to(images.device)]
    low, high = interval = vae.obs.interval
    covariance = _covariance(plain(images), vae.levels, interval)
    found = curvature_at(vae.likelihood, covariance)
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    unit = float(vae.levels.shown(ends, interval).diff())
    # σ counts in the interval's unit, also where x is a level from 0 to 255.
    spectrum = Spectrum.of(covariance, vae.latent_dim, unit * (high - low), high - low)
    if found.learned_spread or not bool(found.precision.any()):
        rough = not found.one_learned_spread
        return _learned(spectrum, beta, vae.latent_dim, found.floor, rough)
    if found.quadratic and found.uniform:
        return _fixed(spectrum, 1 / float(found.precision[0]), beta, vae.latent_dim)
    top = covariance.top(vae.latent_dim, found.precision.sqrt())
    return _weighted(top, spectrum, found, beta, vae.latent_dim)


def _check(beta: float, latent_dim: int) -> None:
    if not (math.isfinite(beta) and beta >= 0):
        raise InputError(f"beta must be finite and not negative, got {beta}")
    positive(**{"latent-dim": latent_dim})


def _covariance(
    images: Tensor, levels: data_levels.Levels, interval: tuple[float, float]
) -> Covariance:
    """Of what the observation scores; of many draws where it binarises few images at random."""
    random = levels.noisy and not levels.midpoints and images.dtype == torch.uint8
    if random:
        images = images.repeat(max(1, _DRAWS // len(images)), *[1] * (images.dim() - 1))

    def observe(part: Tensor) -> Tensor:
        if part.dtype != torch.uint8:
            return part
        noise = torch.rand(part.shape, device=part.device) if random else None
        return levels.observe(part, noise, interval)

    blocks = blocks_of(images, observe)

    def fixed() -> Iterator[Tensor]:
        # Every pass must see the same draws.
        with fixed_noise(noise("forecast"), images.device):
            yield from blocks()

    return Covariance(fixed if random else blocks, math.prod(images.shape[1:]))


def _fixed(spectrum: Spectrum, variance: float, beta: float, latents: int) -> Forecast:
    text = (
        f"The observation is Gaussian with σ = {variance**0.5:.4g}: a direction survives where its "
        f"variance in the data exceeds βσ² = {beta * variance:.4g}"
    )
    largest = float(spectrum.top[0])
    return _gaussian(spectrum, variance, beta, latents, largest / variance, text, False)


def _learned(spectrum: Spectrum, beta: float, latents: int, floor: float, rough: bool) -> Forecast:
    variance = max(spectrum.own_variance(beta), floor**2)
    text = (
        f"Its spread is learned and has no fixed threshold: pPCA's own σ with {latents} latents "
        f"at this β is {variance**0.5:.4g}, and a direction survives where its variance in the "
        f"data exceeds βσ² = {beta * variance:.4g}"
    )
    if rough:
        text += ", as if one σ were shared by all pixels and images"
    # Collapsed, σ² is the mean variance of a pixel.
    collapsed = (float(spectrum.top.sum()) + spectrum.rest) / spectrum.dims
    beta_collapse = float(spectrum.top[0]) / collapsed if collapsed else 0.0
    return _gaussian(spectrum, variance, beta, latents, beta_collapse, text, rough)


def _gaussian(
    spectrum: Spectrum,
    variance: float,
    beta: float,
    latents: int,
    beta_collapse: float,
    text: str,
    rough: bool,
) -> Forecast:
    top, threshold = spectrum.top, beta * variance
    noise = 1e-12 * float(top[0])
    return Forecast(
        active_units=int((top > max(threshold, noise)).sum()),
        latent_dim=latents,
        beta=beta,
        sigma=variance**0.5,
        threshold=threshold,
        eigenvalues=tuple(top.tolist()),
        beta_collapse=beta_collapse,
        sigma_collapse=(float(top[0]) / beta) ** 0.5 if beta else None,
        curve=spectrum.curve(),
        operating_point=spectrum.water(threshold) if threshold else None,
        approximate=rough,
        explanation=text + _caution(top, threshold),
    )


def _weighted(
    top: Tensor, spectrum: Spectrum, found: Curvature, beta: float, latents: int
) -> Forecast:
    own = "own σ²" if found.quadratic else "σ² at the mean image, to second order,"
    text = (
        f"A direction survives where its variance in the data, each pixel divided by its {own} "
        f"exceeds β = {beta:.4g}"
    )
    return Forecast(
        active_units=int((top > max(beta, 1e-12 * float(top[0]))).sum()),
        latent_dim=latents,
        beta=beta,
        sigma=None,
        threshold=beta,
        eigenvalues=tuple(top.tolist()),
        beta_collapse=float(top[0]),
        sigma_collapse=None,
        curve=spectrum.curve(),
        operating_point=None,
        approximate=not found.quadratic,
        explanation=text + _caution(top, beta),
    )


def _caution(top: Tensor, threshold: float) -> str:
    near = int(((top / threshold - 1).abs() < _NEAR).sum()) if threshold else 0
    text = ". Networks that are not linear may use fewer." if top[0] > threshold else "."
    if near:
        is_are = "direction is" if near == 1 else "directions are"
        text += f" {near} {is_are} within {_NEAR:.0%} of the threshold: they may go either way."
    return text
