"""Evidence: the numbers that tell one failure of a VAE from another."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae import elbo, forecasting, warning_signs
from pyro_vae.data.batch import Loaded
from pyro_vae.diagnostics.decoder_evidence import (
    error_of,
    looks_of,
    range_of,
    saturated,
    scales_of,
)
from pyro_vae.diagnostics.history_evidence import betas_of, course_of, finite
from pyro_vae.errors import InputError
from pyro_vae.forecasting import Forecast
from pyro_vae.forecasting.forecaster import forecast
from pyro_vae.metrics.baselines import baselines_of, constant_nats
from pyro_vae.noise import fixed_noise, noise
from pyro_vae.training import History
from pyro_vae.types import JSON, Fields
from pyro_vae.vae import VAE

__all__ = ["Evidence"]

LOOKED_AT = 1000
"""Images that are looked at, the first ones; baselines are fitted to all training images."""

_MORE = 64
"""Latents for which the forecast is made as well, or four times as many as there are."""

_LOOKS = ("shown_low", "shown_high", "error", "spread", "prior_spread")
"""Fields that are not a number where there are no pictures to look at."""
_FORECAST = ("pressure", "pressure_at_1", "predicted", "predicted_more", "covered")


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
        training_error: The same of training images; None where they were not given.
        spread: Standard deviation of mean reconstructions over inputs, relative to the data's.
        shuffled: Squared error with the latents of other images, over that with its own.
        prior_spread: As ``spread``, of images decoded from the prior.
        score: ELBO, or the objective of a loss, nats per image at β = 1.
        training_score: The same of training images; None where they were not given.
        constant: The best constant prediction's, which is what a collapsed model reaches.
        uniform: A uniform distribution's over 8-bit levels; None of other data.
        ppca: Probabilistic PCA's with as many latents, nats per image; None of a loss.
        training_constant: The best constant prediction's of the training images.
        constant_gain: Reconstruction less the best constant prediction's, nats per image.
        sigma: Root mean square of the observation's standard deviation, in units of the range.
        rmse: Root mean squared error of the mean, in the same unit.
        kl_peak: Largest KL within the first 50 steps, nats per image.
        beta: β at the end.
        beta_wanted: β that the schedule ends at.
        fallen: How far the held-out score is below its best, as a share of what it had gained.
        gap: Training score less held-out score, nats per image; as ``fallen``, where training
            ended, or at the best held-out score if its weights were kept.
        rising: Gain of the last tenth of the steps as a share of all that was gained; None where
            nothing was.
        doubled: Gain of the second half of training, nats per image at the last β: of held-out
            images, or of training images where those were not scored for 8 epochs.
        gain_per_epoch: Of the last tenth, nats per image and epoch.
        steps: Number of steps.
        steps_per_epoch: Number of steps of the first epoch.
        gradient_norm: Median over the last tenth of the steps.
        dead_units: Share of the encoder's activations that are 0 for every image.
        saturated: Share of locations within 10⁻⁴ of either end of their range.
        finite: Whether all weights and records are finite.
        pressure: What an eigenvalue must exceed over the largest one: βσ²/λ₁; above 1 collapses.
        pressure_at_1: The same at β = 1.
        predicted: Active units that the forecast predicts.
        predicted_more: The same with 64 latents, or four times as many if that is more.
        covered: Variance of as many directions as there are latents, as a share of that of all
            directions that would then be active.
        hidden: Why no picture was looked at, None where some were.
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
    training_error: float | None
    spread: float
    shuffled: float | None
    prior_spread: float
    score: float
    training_score: float | None
    constant: float
    uniform: float | None
    ppca: float | None
    training_constant: float | None
    constant_gain: float
    sigma: float | None
    rmse: float
    kl_peak: float | None
    beta: float
    beta_wanted: float
    fallen: float | None
    gap: float | None
    rising: float | None
    doubled: float | None
    gain_per_epoch: float | None
    steps: int | None
    steps_per_epoch: int | None
    gradient_norm: float | None
    dead_units: float | None
    saturated: float
    finite: bool
    pressure: float | None
    pressure_at_1: float | None
    predicted: int | None
    predicted_more: int | None
    covered: float | None
    hidden: str | None = None

    @property
    def below(self) -> tuple[tuple[str, float], ...]:
        """What needs no network and has more nats: its name and nats, the highest first."""
        known = (
            (f"probabilistic PCA with {self.latent_dim} latents", self.ppca),
            ("a uniform distribution", self.uniform),
            ("the best constant prediction", self.constant),
        )
        better = [(name, value) for name, value in known if value is not None]
        better = [(name, value) for name, value in better if self.score < value]
        return tuple(sorted(better, key=lambda each: -each[1]))

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        return asdict(self)


def evidence_of(
    vae: VAE,
    images: Loaded,
    history: History | None,
    settings: Fields,
    train: Loaded | None = None,
) -> Evidence:
    """Measure.

    Args:
        vae: The model.
        images: Levels (uint8) or floats, (N, *data_shape).
        history: The run's records, if there are any.
        settings: How it was trained: ``beta`` and whatever else is known of ``fit``'s options.
        train: Training images, which baselines are taken from, where ``images`` are held out.
    """
    with elbo.evaluation_mode(vae):
        return _measured(vae, images, history or History(), settings, train)


def _measured(
    vae: VAE,
    images: Loaded,
    history: History,
    settings: Fields,
    train: Loaded | None,
) -> Evidence:
    beta, wanted = betas_of(history, settings)
    course = course_of(history, settings)
    if not _finite_weights(vae):
        return _nothing(vae, images, course, beta, wanted)
    with fixed_noise(noise("diagnosis"), images.device):
        terms = elbo.held_out_terms(vae, images)
        hidden, training_error = None, None
        try:
            looks = looks_of(vae, images, None if train is None else train[:LOOKED_AT])
            training_error = None if train is None else error_of(vae, train[:LOOKED_AT])
        except InputError as error:  # it has no mean to show
            looks, hidden = {**dict.fromkeys(_LOOKS, math.nan), "shuffled": None}, str(error)
        sigma, rmse = scales_of(vae, images)
        low, high = range_of(vae, images)
        forecasts = _forecasts(vae, images, beta)
        scores = _scores(vae, images, terms, train)
    per_latent = terms.kl_per_latent
    return Evidence(
        images=len(images),
        low=low,
        high=high,
        **looks,
        training_error=training_error,
        active_units=int(elbo.active_units(terms.mean)),
        latent_dim=vae.latent_dim,
        kl=float(terms.kl.mean()),
        kl_per_latent=None if per_latent is None else _falling(per_latent.mean(0)),
        constant_gain=float(terms.reconstruction.mean()) - scores["constant"],
        **scores,
        sigma=sigma,
        rmse=rmse,
        beta=beta,
        beta_wanted=wanted,
        **course,
        dead_units=warning_signs.dead_units(vae, images),
        saturated=saturated(vae, images),
        finite=finite(history),
        hidden=hidden,
        **forecasts,
    )


def _scores(vae: VAE, images: Loaded, terms: elbo.Terms, train: Loaded | None) -> Fields:
    """The model's score and what it must beat, each in nats per image."""
    kind = vae.kind_on(images)
    found = {
        "score": float((terms.reconstruction - terms.kl).double().mean()),
        **baselines_of(vae, images, kind, train)._asdict(),
    }
    if train is None:
        return {**found, "training_score": None, "training_constant": None}
    some = train[:LOOKED_AT]
    of = elbo.held_out_terms(vae, some)
    return {
        **found,
        "training_score": float((of.reconstruction - of.kl).double().mean()),
        "training_constant": constant_nats(vae, some, None),
    }


def _nothing(vae: VAE, images: Loaded, course: Fields, beta: float, wanted: float) -> Evidence:
    """What is left to say of a model whose weights are not finite."""
    low, high = range_of(vae, images)
    numbers = ("kl", "score", "constant", "constant_gain", "rmse", "saturated")
    unknown = dict.fromkeys((*_LOOKS, *numbers), math.nan)
    absent = dict.fromkeys(
        ("kl_per_latent", "training_error", "shuffled", "sigma", "dead_units", *_FORECAST,
         "training_score", "training_constant", "uniform", "ppca")
    )  # fmt: skip
    known: dict[str, Any] = {**unknown, **absent, **course}
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


def _finite_weights(vae: VAE) -> bool:
    return all(bool(torch.isfinite(p).all()) for p in vae.parameters())


def _forecasts(vae: VAE, images: Loaded, beta: float) -> JSON:
    found: dict[str, Any] = dict.fromkeys(_FORECAST)
    latents = vae.latent_dim
    if vae.covariates:  # they tell of the image what the forecast would have latents tell
        return found
    try:
        now = forecasting.forecast_of(vae, images, beta)
        one = now if beta == 1 else forecasting.forecast_of(vae, images, 1.0)
        more = forecast(images, vae.obs, beta, max(_MORE, 4 * latents))
    except (InputError, NotImplementedError):
        return found
    found.update(
        pressure=_pressure(now),
        pressure_at_1=_pressure(one),
        predicted=now.active_units,
        predicted_more=more.active_units,
        covered=_covered(more, latents),
    )
    return found


def _covered(more: Forecast, latents: int) -> float | None:
    active = more.eigenvalues[: more.active_units]
    return sum(active[:latents]) / sum(active) if active else None


def _pressure(found: Forecast) -> float | None:
    largest = found.eigenvalues[0] if found.eigenvalues else 0.0
    return found.threshold / largest if largest > 0 else None
