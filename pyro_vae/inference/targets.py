"""Targets: images, their mask and covariates in blocks, each with its fixed noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.distributions import Distribution

from pyro_vae.checks import check_images
from pyro_vae.data import plain
from pyro_vae.elbo import BLOCK, local_params
from pyro_vae.elbo.scores import block_noise, observed_block
from pyro_vae.errors import InputError
from pyro_vae.metrics.encodings import evaluating
from pyro_vae.noise import fixed_noise, noise
from pyro_vae.vae import VAE

__all__: list[str] = []

_SPREAD = 64
"""Draws that the spread of a posterior without a variance in closed form is estimated from."""


@dataclass(frozen=True)
class Target:
    """Up to 250 images as p(z|x) is conditioned on them.

    Attributes:
        number: Of the block.
        x: As the observation takes them, 8-bit levels dequantised once, (n, *data_shape).
        seen: What the encoder is given.
        mask: True where observed, of x's shape, or None.
        covariates: (n, C) or None.
    """

    number: int
    x: Tensor
    seen: Tensor
    mask: Tensor | None
    covariates: Tensor | None

    def model(self, vae: VAE) -> Callable[[], Tensor]:
        """p(z) p(x|z) at these images, as a Pyro program."""
        return partial(vae.model, self.x, covariates=self.covariates, mask=self.mask)

    def guide(self, vae: VAE) -> Distribution:
        """The encoder's q(z|x), batch_shape (n,)."""
        return vae.encode(self.seen, self.covariates, self.mask)

    def start(self, vae: VAE) -> tuple[Tensor, Tensor]:
        """Where the encoder says that z is, and how far it may be from there: (n, L) each.

        Raises:
            InputError: If the model is a hierarchy, whose latents are no one site.
        """
        if vae.lower:
            raise InputError("z is looked for at one latent site, and this model has several")
        q = self.guide(vae)
        centre = vae.code(self.seen, self.covariates, self.mask)
        try:
            return centre, q.stddev
        except NotImplementedError:
            return centre, q.rsample((_SPREAD,)).std(0)


def targets(
    vae: VAE, x: Tensor, mask: Tensor | None, covariates: Tensor | None, seed: int
) -> Iterator[Target]:
    """Blocks of images. What is missing may be anything, NaN too.

    Args:
        vae: The model.
        x: Images (N, *data_shape), levels (uint8) or floats.
        mask: True where observed, of a shape that broadcasts to x's; None where all is.
        covariates: (N, C) or None.
        seed: Of the noise on 8-bit levels.

    Raises:
        InputError: If images, mask or covariates have another shape or type, or what is observed
            does not suit the observation.
    """
    x, mask = checked_images(vae, x, mask)
    if covariates is not None and covariates.shape[:1] != x.shape[:1]:
        raise InputError(
            f"covariates must be given for each of the {len(x)} images, (N, C); "
            f"got shape {tuple(covariates.shape)}"
        )
    for number, start in enumerate(range(0, len(x), BLOCK)):
        rows = slice(start, start + BLOCK)
        with block_noise(number, x.device, seed):
            observed, seen = observed_block(vae, x[rows])
        yield Target(
            number,
            plain(observed),
            plain(seen),
            None if mask is None else mask[rows],
            None if covariates is None else covariates[rows],
        )


def checked_images(vae: VAE, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Images with nothing unusable where nothing is observed, and the mask in their shape.

    Raises:
        InputError: As :func:`targets`.
    """
    if not isinstance(x, Tensor):
        raise InputError(f"images must be a tensor (N, *data_shape), got {type(x).__name__}")
    shape = vae.data_shape
    if x.dim() != len(shape) + 1 or tuple(x.shape[1:]) != shape or len(x) == 0:
        wanted = ", ".join(map(str, shape))
        raise InputError(f"images must have shape (N, {wanted}), N ≥ 1; got {tuple(x.shape)}")
    if x.dtype != torch.uint8:
        x = x.to(next(vae.parameters()).dtype)
    if mask is None:
        _check_values(vae, x)
        return x, None
    mask = _checked_mask(mask, x)
    if bool(mask.any()):
        # Something of the observation's own stands for what is missing.
        _check_values(vae, x.where(mask, x[mask][0]))
    return x.where(mask, x.new_zeros(())), mask


def _check_values(vae: VAE, x: Tensor) -> None:
    if x.is_floating_point() and not bool(torch.isfinite(x).all()):
        raise InputError("images must be finite where they are observed: mask what is missing")
    check_images(vae, x)


def _checked_mask(mask: Tensor, x: Tensor) -> Tensor:
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise InputError(f"a mask must be a boolean tensor, True where observed; got {kind}")
    try:
        return mask.to(x.device).expand_as(x)
    except RuntimeError:
        raise InputError(
            f"a mask must have the images' shape {tuple(x.shape)} or one that broadcasts to it; "
            f"got {tuple(mask.shape)}"
        ) from None


@contextmanager
def standing(vae: VAE) -> Iterator[None]:
    """The model as it is: evaluation mode, no gradients, nothing in Pyro's parameter store."""
    with evaluating(vae), local_params():
        yield


@contextmanager
def seeded(purpose: str, seed: int, block: int, device: torch.device) -> Iterator[None]:
    """Noise of its own for each use of a seed; arguments as for ``noise``."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed must be a non-negative integer, got {seed!r}")
    with fixed_noise(noise(purpose, seed, block), device):
        yield
