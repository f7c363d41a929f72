"""Terms of held-out images under fixed noise, and the scores made of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from pyro import poutine
from pyro.poutine import Trace

from pyro_vae.data import Images
from pyro_vae.data.batch import Loaded
from pyro_vae.elbo.terms import Terms, active_units, terms_of
from pyro_vae.history import ElboScores as ElboScores
from pyro_vae.history import SiteScores, objective_key
from pyro_vae.noise import fixed_noise, noise
from pyro_vae.param_store import local_params
from pyro_vae.vae import VAE

__all__ = [
    "bits_per_dim",
    "held_out_terms",
    "local_params",
    "scores_of",
]

BLOCK = 250
"""Images per block of fixed noise: scores do not depend on any other batch size."""


@contextmanager
def evaluation_mode(vae: VAE) -> Iterator[None]:
    """Without dropout; the model is left in the mode that it was in."""
    training = vae.training
    vae.eval()
    try:
        yield
    finally:
        vae.train(training)


def block_noise(block: int, device: torch.device, seed: int = 0) -> AbstractContextManager[None]:
    """The fixed noise of a block of images.

    Args:
        block: Its number.
        device: Where the images are.
        seed: Which fixed noise.
    """
    return fixed_noise(noise("images", seed, block), device)


@torch.no_grad()
def held_out_terms(vae: VAE, images: Images, seed: int = 0) -> Terms:
    """Terms of the ELBO outside training: no dropout, the same noise each time.

    Densities are scored at dequantised x while the encoder sees the levels' midpoints.

    Args:
        vae: The model.
        images: Levels (uint8) or floats, (N, *data_shape).
        seed: Which fixed noise.

    Returns:
        One entry per image, in nats.
    """
    with evaluation_mode(vae):
        return Terms.cat(terms_of(*traces) for *_, traces in held_out_traces(vae, images, seed))


@torch.no_grad()
def held_out_traces(
    vae: VAE, images: Images, seed: int = 0
) -> Iterator[tuple[Loaded, Loaded, Loaded, tuple[Trace, Trace]]]:
    """Model and guide, run on every block of images under its noise.

    Args:
        vae: The model, in evaluation mode.
        images: Levels (uint8) or floats, (N, *data_shape).
        seed: Which fixed noise.

    Yields:
        The images, x as the observation takes them, what the encoder was given, and the traces of
        model and guide.
    """
    for block, start in enumerate(range(0, len(images), BLOCK)):
        batch = images[start : start + BLOCK]
        with block_noise(block, batch.device, seed), local_params():
            x, seen = observed_block(vae, batch)
            guide_trace = poutine.trace(vae.guide).get_trace(seen)
            replayed = poutine.replay(vae.model, trace=guide_trace)
            traces = poutine.trace(replayed).get_trace(x), guide_trace
        yield batch, x, seen, traces


def observed_block(vae: VAE, batch: Loaded) -> tuple[Loaded, Loaded]:
    """A block of images as the observation takes them, and what the encoder is given.

    To be called under ``block_noise``.

    Args:
        vae: The model.
        batch: Levels (uint8) or floats, at most :data:`BLOCK` of them.
    """
    # Drawn for a whole block, so that an image's noise does not depend on how many follow.
    x = vae.observe(batch, BLOCK)
    return x, vae.given(batch, x)


def scores_of(terms: Terms, kind: str) -> ElboScores:
    """Scores from terms: nats per image, averaged over images.

    Args:
        terms: One entry per image.
        kind: What the observation is on these data; for a ``"loss"`` ``elbo`` is None and
            ``objective`` stands in its place, otherwise the other way round.

    """
    reconstruction, kl = float(terms.reconstruction.mean()), float(terms.kl.mean())
    total, loss = reconstruction - kl, objective_key(kind) == "objective"
    per_latent = terms.kl_per_latent
    sites: dict[str, SiteScores] = {
        name: {"reconstruction": float(value.mean())} for name, value in terms.observed.items()
    }
    for name, site in terms.latents.items():
        sites[name] = {
            "kl": float(site.kl.mean()),
            "units": site.code.shape[1],
            "active_units": int(active_units(site.code)),
        }
    return {
        "elbo": None if loss else total,
        "objective": total if loss else None,
        "reconstruction": reconstruction,
        "kl": kl,
        "kl_per_latent": None if per_latent is None else per_latent.mean(0).tolist(),
        "active_units": int(active_units(terms.mean)),
        "sites": sites,
    }


def bits_per_dim(
    elbo: float, kind: str, levels: str, dims: int, interval: tuple[float, float]
) -> float:
    r"""Bits per dimension on the data's own levels, an upper bound.

    .. math:: \frac{-\mathrm{ELBO}}{D \ln 2} + \log_2 \frac{256}{b - a}

    for a density on data scaled to [a, b]; without the second term for a mass.

    Args:
        elbo: Nats per image.
        kind: ``"density"`` or ``"mass"``.
        levels: The observation's levels.
        dims: D, numbers per image.
        interval: (a, b).
    """
    bits = -elbo / (dims * math.log(2))
    if kind == "density" and levels == "dequantised":
        bits += math.log2(256 / (interval[1] - interval[0]))
    return bits
