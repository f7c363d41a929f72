"""Evidence: the numbers that tell one failure of a VAE from another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae import measures, schedules
from pyro_vae.diagnosis.forecasting import forecast
from pyro_vae.errors import InputError
from pyro_vae.links import Interval
from pyro_vae.measures import Forecast, signs
from pyro_vae.training import History
from pyro_vae.training.pictures import unit
from pyro_vae.vae import VAE

__all__ = ["Evidence", "evidence_of"]

_MORE = 4
"""The forecast for more latents is made for this many times as many."""

_TARGETS = ("target_kl", "target_reconstruction")
"""Options under which β is adapted instead of given."""


@dataclass(frozen=True)
class Evidence:
    """What was measured; None where it could not be.

    Attributes:
        images: Number of images looked at.
        low: Smallest value of the data as the observation takes them.
        high: Largest value.
        shown_low: Smallest value of the mean reconstructions on the data's unit range.
        shown_high: Largest value.
        active_units: Units whose posterior mean varies by more than 0.01.
        latent_dim: Length of z.
        kl: Nats per image.
        kl_per_latent: The same per unit, falling.
        error: Mean squared error of the mean reconstruction over that of the mean image.
        spread: Standard deviation of mean reconstructions over inputs, relative to the data's.
        shuffled: Squared error with the latents of other images, over that with its own.
        prior_spread: As ``spread``, of images decoded from the prior.
        constant_gain: Reconstruction less the best constant prediction's, nats per image.
        sigma: Root mean square of the observation's standard deviation, in units of the range.
        rmse: Root mean squared error of the mean, in the same unit.
        kl_peak: Largest KL within the first 50 steps, nats per image.
        beta: β at the end.
        beta_wanted: β that the schedule ends at.
        fallen: How far the held-out score is below its best, as a share of what it had gained.
        gap: Training score less held-out score, nats per image.
        rising: Gain of the last tenth of the steps as a share of all that was gained.
        steps: Number of steps.
        gradient_norm: Median over the last tenth of the steps.
        dead_units: Share of the encoder's ReLU units that are 0 for every image.
        saturated: Share of locations within 10⁻⁴ of either end of their range.
        finite: Whether all weights and records are finite.
        pressure: What an eigenvalue must exceed over the largest one: βσ²/λ₁; above 1 collapses.
        pressure_at_1: The same at β = 1.
        predicted: Active units that the forecast predicts.
        predicted_more: The same with four times as many latents.
    """

    images: int
    low: float
    high: float
    shown_low: float
    shown_high: float
    active_units: int
    latent_dim: int
    kl: float
    kl_per_latent: tuple[float, ...] | None
    error: float
    spread: float
    shuffled: float | None
    prior_spread: float
    constant_gain: float
    sigma: float | None
    rmse: float
    kl_peak: float | None
    beta: float
    beta_wanted: float
    fallen: float | None
    gap: float | None
    rising: float | None
    steps: int | None
    gradient_norm: float | None
    dead_units: float | None
    saturated: float
    finite: bool
    pressure: float | None
    pressure_at_1: float | None
    predicted: int | None
    predicted_more: int | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def evidence_of(
    vae: VAE, images: Tensor, history: History | None, settings: Mapping[str, Any]
) -> Evidence:
    """Measure.

    Args:
        vae: The model.
        images: Levels (uint8) or floats, (N, *data_shape).
        history: The run's records, if there are any.
        settings: How it was trained: ``beta`` and whatever else is known of ``fit``'s options.
    """
    training = vae.training
    vae.eval()
    try:
        return _measured(vae, images, history or History(), settings)
    finally:
        vae.train(training)


def _measured(vae: VAE, images: Tensor, history: History, settings: Mapping[str, Any]) -> Evidence:
    beta, wanted = _betas(history, settings)
    if not _finite_weights(vae):
        return _nothing(vae, images, history, beta, wanted)
    with measures.fixed_noise(0, images.device):
        terms = measures.held_out_terms(vae, images)
        seen = _pictures(vae, images)
        sigma, rmse = _scales(vae, images)
        low, high = _range(vae, images)
        forecasts = _forecasts(vae, images, beta)
        constant = measures.best_constant(vae, images).reconstruction
    per_latent = terms.kl_per_latent
    return Evidence(
        images=len(images),
        low=low,
        high=high,
        **seen,
        active_units=int(measures.active_units(terms.mean)),
        latent_dim=vae.latent_dim,
        kl=float(terms.kl.mean()),
        kl_per_latent=None if per_latent is None else _falling(per_latent.mean(0)),
        constant_gain=float(terms.reconstruction.mean()) - constant,
        sigma=sigma,
        rmse=rmse,
        beta=beta,
        beta_wanted=wanted,
        **_course(history),
        dead_units=signs.dead_units(vae, images),
        saturated=_saturated(vae, images),
        finite=_finite(history),
        **forecasts,
    )


def _nothing(vae: VAE, images: Tensor, history: History, beta: float, wanted: float) -> Evidence:
    """What is left to say of a model whose weights are not finite."""
    low, high = _range(vae, images)
    unknown = dict.fromkeys(("shown_low", "shown_high", "kl", "error", "spread"), math.nan)
    absent = dict.fromkeys(
        ("kl_per_latent", "shuffled", "sigma", "dead_units", "pressure", "pressure_at_1",
         "predicted", "predicted_more")
    )  # fmt: skip
    rest = dict.fromkeys(("prior_spread", "constant_gain", "rmse", "saturated"), math.nan)
    known: dict[str, Any] = {**unknown, **absent, **rest, **_course(history)}
    return Evidence(
        images=len(images),
        low=low,
        high=high,
        active_units=0,
        latent_dim=vae.latent_dim,
        beta=beta,
        beta_wanted=wanted,
        finite=False,
        **known,
    )


def _falling(values: Tensor) -> tuple[float, ...]:
    return tuple(values.sort(descending=True).values.tolist())


def _betas(history: History, settings: Mapping[str, Any]) -> tuple[float, float]:
    """β at the end and β that was wanted."""
    adapted = any(settings.get(name) is not None for name in _TARGETS)
    try:
        final = schedules.parse(str(settings.get("beta", "1"))).final
    except ValueError:
        final = None
    wanted = math.nan if final is None or adapted else float(final)
    last = [record["beta"] for record in history.epochs()]
    beta = float(last[-1]) if last else (1.0 if math.isnan(wanted) else wanted)
    return beta, beta if math.isnan(wanted) else wanted


def _blocks(images: Tensor) -> tuple[Tensor, ...]:
    """Blocks of about one size, so that none holds a single image."""
    return images.chunk(-(-len(images) // measures.BLOCK))


@torch.no_grad()
def _pictures(vae: VAE, images: Tensor) -> dict[str, Any]:
    target = unit(vae, images)
    parts: list[Tensor] = []
    others: list[Tensor] = []
    for part in _blocks(images):
        # z alone is shuffled: a decoder that has another way to its image keeps it.
        z = vae.encode(part).mean
        for into, latents in ((parts, z), (others, z.roll(1, 0))):
            mean = vae.obs.display(vae.decode(latents))
            into.append(vae.levels.shown(mean, vae.obs.interval))
    shown = torch.cat(parts)
    prior = vae.sample(min(len(images), measures.BLOCK))
    own = (shown - target).square().mean()
    floor = (target - target.mean(0)).square().mean()
    other = (torch.cat(others) - target).square().mean()
    data = target.std(0, correction=0).square().mean().sqrt()
    return {
        "shown_low": float(shown.min()),
        "shown_high": float(shown.max()),
        "error": _ratio(own, floor),
        "spread": _ratio(shown.std(0, correction=0).square().mean().sqrt(), data),
        "shuffled": _ratio(other, own) if len(images) > 1 else None,
        "prior_spread": _ratio(prior.std(0, correction=0).square().mean().sqrt(), data),
    }


def _ratio(part: Tensor, whole: Tensor) -> float:
    return float(part / whole.clamp_min(torch.finfo(whole.dtype).tiny))


@torch.no_grad()
def _scales(vae: VAE, images: Tensor) -> tuple[float | None, float]:
    """The observation's own standard deviation and the error, in units of the data's range."""
    variance, error = 0.0, 0.0
    for part in _blocks(images):
        x = vae.observe(part)
        likelihood = vae.decode(vae.encode(part).mean, x)
        share = len(part) / len(images)
        error += share * float((vae.obs.display(likelihood) - x).square().mean())
        try:
            variance += share * float(likelihood.variance.mean())
        except NotImplementedError:
            variance = math.nan
    low, high = vae.obs.interval
    ends = vae.levels.shown(torch.tensor([low, high]), vae.obs.interval)
    width = float(ends[1] - ends[0]) / (high - low)
    sigma = math.sqrt(variance) * width if math.isfinite(variance) else None
    return sigma, math.sqrt(error) * width


def _range(vae: VAE, images: Tensor) -> tuple[float, float]:
    x = vae.observe(images[: measures.BLOCK])
    return float(x.min()), float(x.max())


def _course(history: History) -> dict[str, Any]:
    """What the records say of how training went."""
    steps, key = history.steps, history.objective
    found: dict[str, Any] = dict.fromkeys(
        ("kl_peak", "fallen", "gap", "rising", "steps", "gradient_norm")
    )
    if steps:
        tenth = max(1, len(steps) // 10)
        scores = [-record["loss"] for record in steps]
        first, before, last = (
            sum(part) / len(part)
            for part in (scores[:tenth], scores[-2 * tenth : -tenth] or scores, scores[-tenth:])
        )
        found["kl_peak"] = max(record["kl"] for record in steps[: signs.FIRST])
        found["steps"] = len(steps)
        found["rising"] = (last - before) / max(last - first, 1e-9) if len(steps) > 1 else None
        norms = sorted(record["gradient_norm"] for record in steps[-tenth:])
        found["gradient_norm"] = norms[len(norms) // 2]
    held_out = [record[key] for record in history.epochs("held-out")]
    training = [record[key] for record in history.epochs()]
    if held_out and training:
        best = max(held_out)
        found["gap"] = training[-1] - held_out[-1]
        found["fallen"] = (best - held_out[-1]) / max(best - held_out[0], 1e-9)
    return found


@torch.no_grad()
def _saturated(vae: VAE, images: Tensor) -> float:
    """Share of values from links onto an interval that have reached either of its ends."""
    found = [torch.zeros(())]
    likelihood = vae.decode(vae.encode(images[: measures.BLOCK]).mean)
    base = getattr(likelihood, "base_dist", likelihood)
    for name, link in vae.likelihood.links.items():
        value = getattr(base, name, None)
        if isinstance(link, Interval) and isinstance(value, Tensor):
            share = (value - link.low) / (link.high - link.low)
            found.append(((share < 1e-4) | (share > 1 - 1e-4)).float().mean())
    return float(torch.stack(found).max())


def _finite_weights(vae: VAE) -> bool:
    return all(bool(torch.isfinite(p).all()) for p in vae.parameters())


def _finite(history: History) -> bool:
    return all(math.isfinite(record["loss"]) for record in history.steps)


def _forecasts(vae: VAE, images: Tensor, beta: float) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(
        ("pressure", "pressure_at_1", "predicted", "predicted_more")
    )
    try:
        now = measures.forecast_of(vae, images, beta)
        one = measures.forecast_of(vae, images, 1.0)
        more = forecast(images, vae.obs, beta, _MORE * vae.latent_dim)
    except (InputError, NotImplementedError):
        return found
    found.update(
        pressure=_pressure(now),
        pressure_at_1=_pressure(one),
        predicted=now.active_units,
        predicted_more=more.active_units,
    )
    return found


def _pressure(found: Forecast) -> float | None:
    largest = found.eigenvalues[0] if found.eigenvalues else 0.0
    return found.threshold / largest if largest > 0 else None
