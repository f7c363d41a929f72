"""What is read off the training images before the first step, and said of them."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

from pyro_vae import elbo, forecasting
from pyro_vae.config import FitConfig
from pyro_vae.data.batch import Loaded
from pyro_vae.history import History
from pyro_vae.noise import fixed_noise, noise
from pyro_vae.training import distributed
from pyro_vae.training.notes import kl_note, scale_note
from pyro_vae.training.runs import put_weights
from pyro_vae.vae import VAE

__all__: list[str] = []


_ASIDE = 500
"""Training images, at most, on which a start is tried that was found on the others."""


def prepare(vae: VAE, train: Loaded, settings: FitConfig, history: History) -> str | None:
    """Everything that is read off the training images before the first step, and a warning."""
    with fixed_noise(noise("estimate", settings.seed), train.device):
        vae.estimate(train)
    constants = measure(vae, train, history)
    if settings.init_from_data:
        elbo.start_at(vae, constants, train)
    elif settings.init_from_data is None:
        _start(vae, constants, train)
    return _forecast(vae, train, settings, history)


def _start(vae: VAE, constants: Mapping[str, elbo.Constant], train: Loaded) -> None:
    """Start at the best constant prediction, unless the model's own start is better.

    It is where the model has been trained, and where a constant is all but certain of what other
    images have otherwise. So both are tried on images that the constant was not found on; of fewer
    than 10 images there are none of those, and of columns in units of their own a start at 0 can be
    far off all of them.
    """
    if any(head.offset is not None for _, _, head, _, _ in vae.parts_of(train[:1])):
        return  # it began so when it was trained before
    wanted = min(len(train) // 10, _ASIDE)
    if vae.joint or not wanted:
        elbo.start_at(vae, constants, train)
        return
    known, others = max(each.images for each in constants.values()), constants
    if len(train) - known < wanted:
        known = len(train) - wanted
        others = elbo.best_constants(vae, train[:known])
    tried = train[known : known + wanted]
    own, before = _score(vae, tried), copy.deepcopy(vae.state_dict())
    elbo.start_at(vae, others, train)
    gained = distributed.agreed(_score(vae, tried) - own, train.device)
    for _, _, head, _, _ in vae.parts_of(train[:1]):
        head.offset = None
    put_weights(vae, before)
    # What is not finite is no better, wherever it is; what gains nothing stays as it was.
    if gained > 0 or not math.isfinite(own):
        elbo.start_at(vae, constants, train)


def _score(vae: VAE, images: Loaded) -> float:
    """The ELBO of images, nats per image."""
    terms = elbo.held_out_terms(vae, images)
    return float((terms.reconstruction - terms.kl).mean())


def measure(vae: VAE, train: Loaded, history: History) -> Mapping[str, elbo.Constant]:
    """Baselines and notes; the best constant predictions, by site."""
    constants = elbo.best_constants(vae, train)
    reached = sum(constant.reconstruction for constant in constants.values())
    history.baselines = {"best constant prediction": reached}
    notes = [kl_note(vae, train)]
    if not vae.joint:
        half = elbo.predict_half(vae, train).reconstruction
        history.baselines["predicting ½"] = half
        notes.insert(0, scale_note(vae))
    history.notes = [note for note in notes if note]
    return constants


def _forecast(vae: VAE, train: Loaded, settings: FitConfig, history: History) -> str | None:
    """Note how many latents should survive, and return a warning where none does."""
    # It is of how far latents may be from that prior, at a β known beforehand, of one observation
    # that nothing else tells of.
    known = vae.joint or vae.covariates
    if known or not (settings.forecastable and vae.prior_is_standard):
        return None
    forecast = forecasting.forecast_of(vae, train, settings.schedule().end, limit=5000)
    history.notes.append(forecast.note())
    return forecast.warning()
