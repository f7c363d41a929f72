"""Two stages: a second VAE that learns the aggregate posterior of the first."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pyro_vae import networks, observations
from pyro_vae.data.batch import Given
from pyro_vae.errors import positive
from pyro_vae.inference.aggregate import aggregate_draws
from pyro_vae.inference.targets import seeded, standing
from pyro_vae.training import History, fit
from pyro_vae.vae import VAE

__all__ = ["TwoStage", "two_stage"]

_WIDTH, _DEPTH = 256, 2
_DRAWS = 10


@dataclass(frozen=True)
class TwoStage:
    """A second VAE on z, to draw latents of the first from.

    Attributes:
        vae: The second VAE, on z in units of its own mean and standard deviation.
        loc: That mean, (latent_dim,).
        scale: That standard deviation, (latent_dim,).
        history: Of the second VAE's training.
    """

    vae: VAE
    loc: Tensor
    scale: Tensor
    history: History

    def sample(self, size: int = 16, seed: int | None = None) -> Tensor:
        """Latents of the first VAE, drawn through the second.

        Args:
            size: How many.
            seed: Of the draws; None takes torch's own generator on, as ``vae.sample`` does.

        Returns:
            Shape (size, latent_dim).

        Raises:
            InputError: If the size is not positive.
        """
        positive(size=size)
        noise = nullcontext() if seed is None else seeded("second stage", seed, 0, self.loc.device)
        with standing(self.vae), noise:
            z: Tensor = self.vae.decode(self.vae.prior().sample((size,))).sample()
        return self.loc + self.scale * z


def two_stage(
    vae: VAE,
    images: Given,
    epochs: int = 30,
    seed: int = 0,
    lr: float = 1e-3,
    batch_size: int = 256,
    net: networks.Networks | str | None = None,
    covariates: Tensor | None = None,
    **options: Any,
) -> TwoStage:
    r"""Train a second VAE on draws from the aggregate posterior of the first (Dai & Wipf 2019).

    .. math:: u \sim N(0, I), \quad z \sim N(\mu(u), \gamma^2 I), \quad x \sim p(x|z)

    The second has as many latents as the first and one learned γ for all of them. As z fills its
    space where x does not, its aggregate posterior can match N(0, I) where the first's does not.
    Ten draws of z per image are its data. Pictures are
    ``vae.picture(vae.decode(stage.sample(16)))``.

    Args:
        vae: The first VAE.
        images: Training images, levels (uint8) or floats, (N, *data_shape).
        epochs: Passes over the draws.
        seed: Of draws, first weights, batches and noise.
        lr: Learning rate.
        batch_size: Draws per step.
        net: Networks of the second VAE; by default two hidden layers of 256.
        covariates: (N, C), where the first VAE has any.
        **options: Of :func:`pyro_vae.fit`.

    Raises:
        InputError: If a number is out of range or the images do not suit the observation.

    Example:
        >>> import pyro_vae as pv
        >>> vae = pv.VAE((1, 28, 28), latent_dim=2, net=pv.networks.MLP(hidden=16))
        >>> stage = two_stage(vae, pv.data.load("mnist-5k").train[:100], epochs=1)
        >>> stage.sample(5).shape
        torch.Size([5, 2])
    """
    z = aggregate_draws(vae, images, _DRAWS, covariates, seed)
    loc, scale = z.mean(0), z.std(0).clamp_min(1e-6)
    obs = observations.get("real-normal", scale="dataset")
    made = net or networks.MLP(hidden=_WIDTH, depth=_DEPTH)
    with seeded("fit of the second stage", seed, 0, z.device):
        second = VAE((vae.latent_dim,), vae.latent_dim, obs, made).to(z.device)
    history = fit(
        second,
        (z - loc) / scale,
        epochs=epochs,
        seed=seed,
        lr=lr,
        batch_size=batch_size,
        **{"lr_schedule": "cosine", **options},
    )
    return TwoStage(second, loc, scale, history)
