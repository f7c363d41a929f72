"""Images, encoded once under fixed noise: what every score starts from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro.distributions import MaskedDistribution
from pyro.poutine import Trace
from torch import Tensor
from torch.distributions import Distribution

from pyro_vae.data import plain
from pyro_vae.data.batch import Loaded
from pyro_vae.elbo import Terms, evaluation_mode, terms_of
from pyro_vae.elbo.scores import held_out_traces
from pyro_vae.noise import fixed_noise, noise
from pyro_vae.posteriors import code_of
from pyro_vae.vae import VAE

__all__: list[str] = []

DRAWN = 50
"""Images at a time of what draws from p(x|z) or enumerates it: fixed, so that noise is."""


@dataclass(frozen=True)
class Block:
    """Up to 250 images with their posterior; the draws are those that the ELBO is scored at.

    Attributes:
        images: As given, (n, *data_shape), or a batch.
        x: As the observation takes them, densities with their noise.
        posterior: q(z|x), batch_shape (n,); None where sites of a user's own make it up.
        latent: One draw of it, (n, L), of several sites in the order of their names.
        terms: Of the ELBO at that draw.
        mass: What p(x|z) at that draw gives each image's levels, nats, (n,); None where it was not
            asked for or there is none.
    """

    images: Any
    x: Any
    posterior: Any
    latent: Tensor
    terms: Terms
    mass: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)


@contextmanager
def evaluating(vae: VAE) -> Iterator[None]:
    """Without dropout and gradients; the model is left as it was."""
    # What is scored has been through every check already, or is the model's own.
    with evaluation_mode(vae), torch.no_grad(), pyro.validation_enabled(False):
        yield


def encoded(
    vae: VAE, images: Loaded, mass: Callable[[Distribution, Tensor], Tensor | None] | None = None
) -> list[Block]:
    """Blocks of images, run through model and guide once: their terms are
    :func:`pyro_vae.elbo.held_out_terms`'.

    Args:
        vae: The model, in evaluation mode.
        images: Levels (uint8) or floats, (N, *data_shape).
        mass: (p(x|z), levels) → the log-mass of each image's, where blocks are to have it and x is
            observed at one site.
    """
    blocks = []
    for batch, x, seen, (model, guide) in held_out_traces(vae, images):
        terms = terms_of(model, guide)
        found = None
        if mass is not None and len(terms.observed) == 1:
            found = mass(model.nodes[next(iter(terms.observed))]["fn"], plain(batch))
        posterior = _posterior(vae, seen, guide, terms)
        blocks.append(Block(batch, x, posterior, _latent(guide, terms), terms, found))
    return blocks


def _posterior(vae: VAE, seen: Loaded, guide_trace: Trace, terms: Terms) -> Distribution | None:
    """q(z|x), which of several sites the model alone knows as one distribution."""
    first, *more = terms.latents
    found: Distribution = vae.encode(seen) if more else guide_trace.nodes[first]["fn"]
    whole = found.event_shape == (terms.mean.shape[1],) and found.batch_shape == (len(seen),)
    return found if whole else None


def _latent(guide_trace: Trace, terms: Terms) -> Tensor:
    values = [guide_trace.nodes[name]["value"] for name in terms.latents]
    return values[0] if len(values) == 1 else torch.cat(values, -1)


def codes_of(vae: VAE, blocks: list[Block]) -> Tensor:
    """The code of each image, (N, L), as :meth:`pyro_vae.VAE.code` gives it.

    Images are encoded once more only where the encoder was given a draw of them, as of pixels that
    are made binary by chance.
    """
    exact = vae.levels.midpoints or not vae.levels.noisy
    return torch.cat(
        [
            code_of(block.posterior)
            if block.posterior is not None and (exact or block.images.dtype != torch.uint8)
            else vae.code(block.images)
            for block in blocks
        ]
    )


def pieces(blocks: list[Block], limit: int | None = None) -> Iterator[tuple[Block, slice]]:
    """Every :data:`DRAWN` images of the first ``limit``, each under fixed noise of its own."""
    done = 0
    for block in blocks:
        for start in range(0, len(block), DRAWN):
            if limit is not None and done >= limit:
                return
            rows = slice(start, min(start + DRAWN, len(block)))
            with fixed_noise(noise("pieces", block=done), block.images.device):
                yield block, rows
            done += rows.stop - rows.start


def univariate(p: Distribution, data_shape: tuple[int, ...]) -> Distribution | None:
    """The distributions of single pixels, batch_shape (..., *data_shape), where p is made of them.

    Args:
        p: A distribution of event_shape data_shape.
        data_shape: Of one image.
    """
    while isinstance(p, torch.distributions.Independent | MaskedDistribution):
        p = p.base_dist
    n = len(data_shape)
    made_of_pixels = p.event_shape == () and tuple(p.batch_shape[-n:]) == tuple(data_shape)
    return p if made_of_pixels else None
