"""Refinement: a diagonal normal per image, from the guide's answer to the best one there is."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution

from pyro_vae.elbo import BLOCK
from pyro_vae.errors import InputError, positive
from pyro_vae.inference.targets import Target, seeded, standing, targets
from pyro_vae.objectives import MeanFieldELBO
from pyro_vae.vae import VAE

__all__ = ["refine"]


class _Antithetic(dist.Normal):  # type: ignore[misc]
    """A normal whose particles come in pairs that mirror each other about the mean.

    What is linear in the noise cancels, so that on a quadratic log p(x, z) the gradient of the
    mean is exact.
    """

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        particles, images, latents = self._extended_shape(sample_shape)
        # Drawn for a whole block, so that an image's noise does not depend on how many follow.
        half = torch.randn(particles // 2, BLOCK, latents, dtype=self.loc.dtype)
        half = half[:, :images].to(self.loc)
        value: Tensor = self.loc + self.scale * torch.cat([half, -half])
        return value


def refine(
    vae: VAE,
    x: Tensor,
    steps: int = 100,
    lr: float = 0.1,
    mask: Tensor | None = None,
    covariates: Tensor | None = None,
    particles: int = 4,
    seed: int = 0,
) -> Distribution:
    r"""Refine the posterior of each image by gradient steps on its own parameters.

    .. math:: \max_{\mu_n, \sigma_n} E_{N(z; \mu_n, \mathrm{diag}\,\sigma_n^2)}
       [\log p(x_n|z)] - \mathrm{KL}(N(\mu_n, \mathrm{diag}\,\sigma_n^2)\,\|\,p(z))

    Stochastic variational inference on ``vae.model`` with a local guide that starts at the
    encoder's answer (semi-amortised: Kim et al. 2018; Cremer et al. 2018 on the gap it closes).
    Particles come in antithetic pairs, and Adam's rate falls to 0 along a cosine, so that little
    of the noise is left at the end; more steps and particles leave less. 8-bit levels are
    dequantised once. Weights, generators and Pyro's parameter store stay as they are; an image's
    answer does not depend on how many follow.

    Args:
        vae: The model.
        x: Images (N, *data_shape), levels (uint8) or floats.
        steps: Gradient steps.
        lr: Adam's first rate, for means in units of z and for log σ.
        mask: True where x is observed, of a shape that broadcasts to x's; elsewhere x may be
            anything, and z is inferred from the observed entries only.
        covariates: (N, C), where the VAE has any.
        particles: Draws of z per step, an even number.
        seed: Of all noise.

    Returns:
        Diagonal normals, batch_shape (N,) and event_shape (latent_dim,). Where ``vae`` has a
        richer posterior, this one may be worse than the guide's.

    Raises:
        InputError: If an argument is out of range, x does not suit the observation, or the steps
            are so long that the bound is lost.

    Example:
        >>> import pyro_vae as pv
        >>> vae = pv.VAE((1, 28, 28), latent_dim=2, net=pv.networks.MLP(hidden=16))
        >>> digits = pv.data.load("mnist-5k").test[:3]
        >>> q = refine(vae, digits, steps=5)
        >>> q.batch_shape, q.event_shape
        (torch.Size([3]), torch.Size([2]))
    """
    positive(steps=steps, particles=particles)
    if particles % 2:
        raise InputError(f"particles must be an even number, they come in pairs; got {particles}")
    if not (isinstance(lr, float | int) and math.isfinite(lr) and lr > 0):
        raise InputError(f"lr must be positive and finite, got {lr!r}")
    found = []
    with standing(vae):
        for target in targets(vae, x, mask, covariates, seed):
            with seeded("refine", seed, target.number, x.device):
                found.append(_refined(vae, target, steps, lr, particles))
    loc, scale = (torch.cat(parts) for parts in zip(*found, strict=True))
    if not bool(torch.isfinite(loc).all() and torch.isfinite(scale).all()):
        raise InputError(f"the bound was lost at lr {lr:g}: give a smaller one")
    made: Distribution = dist.Normal(loc, scale).to_event(1)
    return made


def _refined(
    vae: VAE, target: Target, steps: int, lr: float, particles: int
) -> tuple[Tensor, Tensor]:
    """Mean and scale after all steps."""
    centre, spread = target.start(vae)
    loc = centre.clone().requires_grad_()
    log_scale = spread.log().requires_grad_()
    optimiser = torch.optim.Adam([loc, log_scale], lr=lr)
    objective = MeanFieldELBO(particles, max_plate_nesting=1)
    model = target.model(vae)

    def guide() -> None:
        with pyro.plate("data", len(loc), dim=-1):
            pyro.sample("latent", _Antithetic(loc, log_scale.exp()).to_event(1))

    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = lr * (1 + math.cos(math.pi * step / steps)) / 2
        with torch.enable_grad():
            loss = objective.differentiable_loss(model, guide)
            # The model's own weights get no gradients.
            loc.grad, log_scale.grad = torch.autograd.grad(loss, [loc, log_scale])
        optimiser.step()
    return loc.detach(), log_scale.detach().exp()
