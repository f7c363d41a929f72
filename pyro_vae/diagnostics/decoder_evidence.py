"""What a model makes of images: pictures, scales and ranges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyro_vae import elbo
from pyro_vae.data import context, plain
from pyro_vae.data.batch import Loaded
from pyro_vae.links import Interval
from pyro_vae.plots.runs import unit
from pyro_vae.types import JSON
from pyro_vae.vae import VAE

__all__: list[str] = []


def _blocks(images: Loaded) -> Sequence[Loaded]:
    """Blocks of about one size, so that none holds a single image."""
    parts: Sequence[Any] = images.chunk(-(-len(images) // elbo.BLOCK))
    return parts


def _shown(vae: VAE, z: Tensor, images: Loaded) -> Tensor:
    shown: Tensor = vae.picture(vae.decode(z, **context(images)))
    return shown


@torch.no_grad()
def error_of(vae: VAE, images: Loaded) -> float:
    """Mean squared error of the mean reconstruction over that of the mean image.

    Args:
        vae: The model.
        images: Levels (uint8) or floats, (N, *data_shape).
    """
    target = unit(vae, images).float()
    shown = torch.cat([_shown(vae, vae.code(part), part) for part in _blocks(images)])
    return _relative_error(shown, target, target.mean(0))


@torch.no_grad()
def looks_of(vae: VAE, images: Loaded, train: Loaded | None = None) -> JSON:
    """The fields of :class:`~pyro_vae.diagnostics.evidence.Evidence` that pictures decide.

    Args:
        vae: The model.
        images: Levels (uint8) or floats, (N, *data_shape).
        train: Training images, whose mean image is compared with where ``images`` are held out.
    """
    target = unit(vae, images).float()
    mean_image = (target if train is None else unit(vae, train).float()).mean(0)
    parts: list[Tensor] = []
    others: list[Tensor] = []
    for part in _blocks(images):
        # z alone is shuffled: a decoder that has another way to its image keeps it.
        z = vae.code(part)
        for into, latents in ((parts, z), (others, z.roll(1, 0))):
            into.append(_shown(vae, latents, part))
    shown = torch.cat(parts)
    some = images[: elbo.BLOCK]
    prior = vae.sample(len(some), covariates=context(some).get("covariates"))
    own, other = ((made - target).square().mean() for made in (shown, torch.cat(others)))
    data = target.std(0, correction=0).square().mean().sqrt()
    return {
        "shown_low": float(shown.min()),
        "shown_high": float(shown.max()),
        "error": _relative_error(shown, target, mean_image),
        "spread": _ratio(shown.std(0, correction=0).square().mean().sqrt(), data),
        "shuffled": _ratio(other, own) if len(images) > 1 else None,
        "prior_spread": _ratio(prior.std(0, correction=0).square().mean().sqrt(), data),
    }


def _relative_error(shown: Tensor, target: Tensor, mean_image: Tensor) -> float:
    """Squared error over the mean image's."""
    return _ratio((shown - target).square().mean(), (target - mean_image).square().mean())


def _ratio(part: Tensor, whole: Tensor) -> float:
    """A share; not a number of data that do not vary."""
    return float(part / whole) if float(whole) > 0 else math.nan


@torch.no_grad()
def scales_of(vae: VAE, images: Loaded) -> tuple[float | None, float]:
    """The observation's own standard deviation and the error, in units of the data's range."""
    variance, error = 0.0, 0.0
    for part in _blocks(images):
        x = vae.observe(part)
        likelihood = vae.decode(vae.code(part), x)
        share = len(part) / len(images)
        try:
            error += share * float((vae.obs.display(likelihood) - plain(x)).square().mean())
        except (NotImplementedError, AttributeError):
            error = math.nan
        try:
            variance += share * float(likelihood.variance.mean())
        except (NotImplementedError, AttributeError):
            variance = math.nan
    low, high = vae.obs.interval
    ends = vae.levels.shown(torch.tensor([low, high]), vae.obs.interval)
    width = float(ends[1] - ends[0]) / (high - low)
    sigma = math.sqrt(variance) * width if math.isfinite(variance) else None
    return sigma, math.sqrt(error) * width


def range_of(vae: VAE, images: Loaded) -> tuple[float, float]:
    """The data's smallest and largest value, as the observation takes them."""
    x = plain(vae.observe(images[: elbo.BLOCK]))
    return float(x.min()), float(x.max())


@torch.no_grad()
def saturated(vae: VAE, images: Loaded) -> float:
    """Share of values from links onto an interval that have reached either of its ends."""
    found = [0.0]
    some = images[: elbo.BLOCK]
    likelihood = vae.decode(vae.code(some), **context(some))
    base = getattr(likelihood, "base_dist", likelihood)
    for name, link in vae.likelihood.links.items():
        value = getattr(base, name, None)
        if isinstance(link, Interval) and isinstance(value, Tensor):
            found.append(link.saturated(value))
    return max(found)
