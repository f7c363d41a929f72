"""Chains: Hamiltonian Monte Carlo on the latents of single images, with its diagnostics."""

from __future__ import annotations

from dataclasses import dataclass

import pyro.distributions as dist
import torch
from pyro.infer import MCMC, NUTS
from pyro.infer.autoguide.initialization import init_to_value
from pyro.infer.mcmc.util import diagnostics
from torch import Tensor

from pyro_vae.errors import InputError, positive
from pyro_vae.inference.targets import Target, seeded, standing, targets
from pyro_vae.vae import VAE

__all__ = ["Draws", "hmc"]


@dataclass(frozen=True)
class Draws:
    r"""Draws from p(z|x) of each image, chain after chain.

    Attributes:
        z: Draws (S, N, latent_dim).
        r_hat: Split Gelman-Rubin statistic of each unit, (N, latent_dim), near 1 where the chains
            agree.
        effective_size: Effective number of draws of each unit, (N, latent_dim).
        divergences: Draws after warm-up at which the integrator left the path.
    """

    z: Tensor
    r_hat: Tensor
    effective_size: Tensor
    divergences: int

    @property
    def mean(self) -> Tensor:
        """Mean of z, (N, latent_dim)."""
        return self.z.mean(0)

    @property
    def stddev(self) -> Tensor:
        """Standard deviation of z, (N, latent_dim)."""
        return self.z.std(0)

    @property
    def standard_error(self) -> Tensor:
        """Of the mean, from the effective number of draws, (N, latent_dim)."""
        return self.stddev / self.effective_size.sqrt()


def hmc(
    vae: VAE,
    x: Tensor,
    num_samples: int = 500,
    warmup_steps: int = 200,
    mask: Tensor | None = None,
    covariates: Tensor | None = None,
    seed: int = 0,
    chains: int = 1,
) -> Draws:
    """Draw from the exact posterior p(z|x) of each image by Pyro's NUTS on ``vae.model``.

    The first chain starts at the guide's answer, others at draws from the guide. A chain moves the
    latents of up to 250 images together, its step fits the narrowest of them, and every draw takes
    tens of gradients: give a few images. 8-bit levels are dequantised once, so that the target is
    fixed. Weights, generators and Pyro's parameter store stay as they are.

    Args:
        vae: The model.
        x: Images (N, *data_shape), levels (uint8) or floats.
        num_samples: Draws kept of each chain, at least 4.
        warmup_steps: Draws before, in which step size and mass matrix are adapted.
        mask: True where x is observed, of a shape that broadcasts to x's; elsewhere x may be
            anything.
        covariates: (N, C), where the VAE has any.
        seed: Of all noise.
        chains: Chains, one after the other.

    Returns:
        The draws, S = chains × num_samples, with r-hat and effective number.

    Raises:
        InputError: If a number is out of range or x does not suit the observation.

    Example:
        >>> import pyro_vae as pv
        >>> vae = pv.VAE((1, 28, 28), latent_dim=2, net=pv.networks.MLP(hidden=16))
        >>> draws = hmc(vae, pv.data.load("mnist-5k").test[:1], num_samples=20, warmup_steps=10)
        >>> draws.z.shape, draws.r_hat.shape
        (torch.Size([20, 1, 2]), torch.Size([1, 2]))
    """
    positive(num_samples=num_samples, warmup_steps=warmup_steps, chains=chains)
    if num_samples < 4:
        raise InputError(f"num_samples must be at least 4 for r-hat, got {num_samples}")
    parts = []
    with standing(vae):
        for target in targets(vae, x, mask, covariates, seed):
            with seeded("chains", seed, target.number, x.device):
                runs = [_chain(vae, target, num_samples, warmup_steps, c) for c in range(chains)]
            parts.append(_draws(runs))
    return Draws(
        torch.cat([part.z for part in parts], 1),
        torch.cat([part.r_hat for part in parts]),
        torch.cat([part.effective_size for part in parts]),
        sum(part.divergences for part in parts),
    )


def _chain(vae: VAE, target: Target, num_samples: int, warmup_steps: int, number: int) -> MCMC:
    centre, spread = target.start(vae)
    start = centre if number == 0 else target.guide(vae).rsample()
    # In units of the guide's own scale steps suit all latents from the start.
    whiten = {"latent": dist.transforms.AffineTransform(-centre / spread, 1 / spread)}
    first = init_to_value(values={"latent": start})
    kernel = NUTS(target.model(vae), transforms=whiten, init_strategy=first)
    sampler = MCMC(kernel, num_samples, warmup_steps, transforms=whiten, disable_progbar=True)
    with torch.enable_grad():
        sampler.run()
    return sampler


def _draws(runs: list[MCMC]) -> Draws:
    z = torch.stack([run.get_samples()["latent"].detach() for run in runs])
    found = diagnostics({"latent": z})["latent"]
    left = [run.diagnostics()["divergences"] for run in runs]
    return Draws(
        z.flatten(0, 1),
        found["r_hat"],
        found["n_eff"],
        sum(len(steps) for one in left for steps in one.values()),
    )
