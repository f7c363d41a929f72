"""Imputation: missing pixels from the observed ones."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_vae.errors import positive
from pyro_vae.inference.refining import refine
from pyro_vae.inference.targets import checked_images, seeded, standing
from pyro_vae.training.pictures import unit
from pyro_vae.vae import VAE

__all__ = ["impute"]


def impute(
    vae: VAE,
    x: Tensor,
    mask: Tensor,
    steps: int = 100,
    lr: float = 0.1,
    covariates: Tensor | None = None,
    draws: int = 16,
    seed: int = 0,
) -> Tensor:
    r"""Fill missing pixels by their mean given the observed ones.

    .. math:: E[x_\mathrm{mis} | x_\mathrm{obs}] \approx
       \frac1S \sum_s E_{p(x|z_s)}[x_\mathrm{mis}], \qquad z_s \sim q(z|x_\mathrm{obs})

    q(z|x_obs) is :func:`refine` on the observed pixels alone.

    Args:
        vae: The model.
        x: Images (N, *data_shape), levels (uint8) or floats, anything where missing.
        mask: True where x is observed, of a shape that broadcasts to x's.
        steps: As for :func:`refine`.
        lr: As for :func:`refine`.
        covariates: (N, C), where the VAE has any.
        draws: S.
        seed: Of all noise.

    Returns:
        Pictures (N, *data_shape), on [0, 1] for images: x where it is observed.

    Raises:
        InputError: As for :func:`refine`.

    Example:
        >>> import pyro_vae as pv
        >>> vae = pv.VAE((1, 28, 28), latent_dim=2, net=pv.networks.MLP(hidden=16))
        >>> x = pv.data.load("mnist-5k").test[:3]
        >>> mask = torch.arange(28) < 14  # the left half
        >>> impute(vae, x, mask, steps=5).shape
        torch.Size([3, 1, 28, 28])
    """
    positive(draws=draws)
    q = refine(vae, x, steps, lr, mask, covariates, seed=seed)
    known, full = checked_images(vae, x, mask)
    total = torch.zeros(())
    with standing(vae), seeded("impute", seed, 0, known.device):
        for _ in range(draws):  # one at a time: a picture for each image is room enough
            total = total + vae.picture(vae.decode(q.sample(), covariates=covariates), "mean")
    shown = unit(vae, known)
    return shown if full is None else shown.where(full, total / draws)
