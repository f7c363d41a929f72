"""What networks must fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

__all__ = ["Level", "Networks", "Sizes"]


class Level(NamedTuple):
    """A latent of a hierarchy that has another one above it.

    Attributes:
        dim: Its length.
        prior_numbers: Raw numbers of p(z|above), for each image.
        posterior_numbers: Raw numbers of q(z|x, above).
    """

    dim: int
    prior_numbers: int
    posterior_numbers: int


class Sizes(NamedTuple):
    """What a pair of networks must fit.

    Attributes:
        data_shape: (C, H, W) or (D,).
        posterior_numbers: Raw numbers per image from the encoder.
        latent_dim: Length of z.
        grid_numbers: Raw numbers per image from the decoder that belong to the grid of sites.
        image_numbers: Raw numbers for the whole image, after those.
        site_event: Event of the observation inside a site; () where sites are single numbers.
        prior_numbers: Raw numbers of p(z|c) of the topmost latent, where it is made of the
            covariates; else 0. Where there are any, the decoder has the port ``prior(level,
            context)``, (..., C) → (..., prior_numbers), with the number of ``levels`` as level.
        covariates: C, numbers known of each image; where there are any, both networks are called
            with them as a second argument, (N, C).
        levels: Of a hierarchy, its latents below the topmost, from the data up; ``latent_dim``
            and ``posterior_numbers`` are the topmost's then. The port's context is the latent above
            and the covariates, side by side.
    """

    data_shape: tuple[int, ...]
    posterior_numbers: int
    latent_dim: int
    grid_numbers: int
    image_numbers: int
    site_event: tuple[int, ...] = ()
    covariates: int = 0
    levels: tuple[Level, ...] = ()
    prior_numbers: int = 0


Networks = Callable[[Sizes], tuple[nn.Module, nn.Module]]
"""A function from sizes to (encoder, decoder)."""
