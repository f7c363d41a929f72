"""The aggregate posterior: draws from it, and a mixture of normals fitted to them."""

from __future__ import annotations

import importlib
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution

from pyro_vae.data import as_images
from pyro_vae.data.batch import Given
from pyro_vae.errors import InputError, positive
from pyro_vae.inference.targets import seeded, standing, targets
from pyro_vae.vae import VAE

__all__ = ["mixture_prior"]

_ITERATIONS = 1000


def aggregate_draws(
    vae: VAE, images: Given, draws: int = 1, covariates: Tensor | None = None, seed: int = 0
) -> Tensor:
    r"""Draws from the aggregate posterior, :math:`q(z) = \frac1N \sum_n q(z|x_n)`.

    Args:
        vae: The model.
        images: Levels (uint8) or floats, (N, *data_shape).
        draws: Of each image's posterior.
        covariates: (N, C), where the VAE has any.
        seed: Of all noise.

    Returns:
        Shape (draws × N, latent_dim).
    """
    parts = []
    with standing(vae):
        for target in targets(vae, as_images(images, vae.data_shape), None, covariates, seed):
            with seeded("aggregate", seed, target.number, target.x.device):
                parts.append(target.guide(vae).rsample((draws,)))
    return torch.cat(parts, 1).flatten(0, 1)


def mixture_prior(
    vae: VAE,
    images: Given,
    components: int = 10,
    seed: int = 0,
    draws: int = 1,
    covariates: Tensor | None = None,
) -> Distribution:
    r"""Fit a mixture of normals with full covariances to the aggregate posterior.

    .. math:: p(z) = \sum_k \pi_k N(z; \mu_k, \Sigma_k) \quad \text{by EM on draws of} \quad
       q(z) = \frac1N \sum_n q(z|x_n)

    What a decoder has been trained on is q(z), not the prior: drawing from the mixture leads
    samples past the prior's empty regions (ex-post density estimation: Ghosh et al. 2020).
    Pictures of it are ``vae.picture(vae.decode(mixture.sample((16,))))``.

    Args:
        vae: The model.
        images: Training images, levels (uint8) or floats, (N, *data_shape).
        components: Normals in the mixture.
        seed: Of the draws and of EM's start.
        draws: Draws from each image's posterior that are fitted.
        covariates: (N, C), where the VAE has any.

    Returns:
        A Pyro distribution of batch_shape () and event_shape (latent_dim,).

    Raises:
        InputError: If a number is out of range, there are fewer draws than components, the images
            do not suit the observation, or scikit-learn is not installed.

    Example:
        >>> import pyro_vae as pv
        >>> vae = pv.VAE((1, 28, 28), latent_dim=2, net=pv.networks.MLP(hidden=16))
        >>> mixture = mixture_prior(vae, pv.data.load("mnist-5k").train[:300], components=2)
        >>> mixture.sample((5,)).shape, mixture.log_prob(torch.zeros(3, 2)).shape
        (torch.Size([5, 2]), torch.Size([3]))
    """
    positive(components=components, draws=draws)
    try:
        mixture: Any = importlib.import_module("sklearn.mixture")
    except ImportError:
        raise InputError(
            "mixture_prior needs scikit-learn: pip install 'pyro_vae[inference]'"
        ) from None
    z = aggregate_draws(vae, images, draws, covariates, seed)
    if len(z) < components:
        raise InputError(f"{components} components need as many draws at least, got {len(z)}")
    fitted = mixture.GaussianMixture(components, random_state=seed, max_iter=_ITERATIONS)
    fitted.fit(z.double().cpu().numpy())
    weights, means, covariances = (
        torch.from_numpy(part) for part in (fitted.weights_, fitted.means_, fitted.covariances_)
    )
    factors = torch.linalg.cholesky(covariances)
    mixed: Distribution = dist.MixtureSameFamily(
        dist.Categorical(weights.to(z)),
        dist.MultivariateNormal(means.to(z), scale_tril=factors.to(z)),
    )
    return mixed
