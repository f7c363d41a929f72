"""Images, encoded once under fixed noise: what every score starts from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from torch import Tensor

from pyro_vae.measures import BLOCK, evaluation_mode, fixed_noise
from pyro_vae.measures.scores import block_noise, observed_block
from pyro_vae.vae import VAE

__all__ = ["DRAWN", "Block", "encoded", "evaluating", "pieces", "univariate"]

DRAWN = 50
"""Images at a time of what draws from p(x|z) or enumerates it: fixed, so that noise is."""


@dataclass(frozen=True)
class Block:
    """Up to 250 images with their posterior; the draws are those that the ELBO is scored at.

    Attributes:
        images: As given, (n, *data_shape).
        x: As the observation takes them, densities with their noise.
        posterior: q(z|x), batch_shape (n,).
        latent: One draw of it, (n, L).
    """

    images: Tensor
    x: Tensor
    posterior: Any
    latent: Tensor

    def __len__(self) -> int:
        return len(self.images)


@contextmanager
def evaluating(vae: VAE) -> Iterator[None]:
    """Without dropout and gradients; the model is left as it was."""
    # What is scored has been through every check already, or is the model's own.
    with evaluation_mode(vae), torch.no_grad(), pyro.validation_enabled(False):
        yield


def encoded(vae: VAE, images: Tensor) -> list[Block]:
    """Blocks of images under the noise of :func:`pyro_vae.measures.held_out_terms`.

    Args:
        vae: The model, in evaluation mode.
        images: Levels (uint8) or floats, (N, *data_shape).
    """
    blocks = []
    for number, part in enumerate(images.split(BLOCK)):
        with block_noise(number, part.device):
            x, seen = observed_block(vae, part)
            posterior = vae.encode(seen)
            blocks.append(Block(part, x, posterior, posterior.rsample()))
    return blocks


def pieces(blocks: list[Block], limit: int | None = None) -> Iterator[tuple[Block, slice]]:
    """Every :data:`DRAWN` images of the first ``limit``, each under fixed noise of its own."""
    done = 0
    for block in blocks:
        for start in range(0, len(block), DRAWN):
            if limit is not None and done >= limit:
                return
            rows = slice(start, min(start + DRAWN, len(block)))
            with fixed_noise(2_000_003 + done, block.images.device):
                yield block, rows
            done += rows.stop - rows.start


def univariate(p: Any, data_shape: tuple[int, ...]) -> Any | None:
    """The distributions of single pixels, batch_shape (..., *data_shape), where p is made of them.

    Args:
        p: A distribution of event_shape data_shape.
        data_shape: Of one image.
    """
    while isinstance(p, torch.distributions.Independent):
        p = p.base_dist
    n = len(data_shape)
    made_of_pixels = p.event_shape == () and tuple(p.batch_shape[-n:]) == tuple(data_shape)
    return p if made_of_pixels else None
