"""Imputation: missing pixels or columns from the observed ones."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution

from pyro_vae.data import Batch, context
from pyro_vae.errors import positive
from pyro_vae.inference.refining import refine
from pyro_vae.inference.targets import checked_images, seeded, standing
from pyro_vae.observed import Observed
from pyro_vae.plots.runs import unit
from pyro_vae.vae import VAE

__all__ = ["impute", "impute_parts"]


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
    known, full = checked_images(vae, x, mask)
    with standing(vae), seeded("impute, tried", seed, 0, known.device):
        given = None if covariates is None else torch.as_tensor(covariates)[:1].float()
        vae.sample(1, covariates=given)  # of no mean it is told before all that work
    q = refine(vae, x, steps, lr, mask, covariates, seed=seed)
    total = torch.zeros(())
    with standing(vae), seeded("impute", seed, 0, known.device):
        for _ in range(draws):  # one at a time: a picture for each image is room enough
            total = total + vae.picture(vae.decode(q.sample(), covariates=covariates), "mean")
    shown = unit(vae, known)
    return shown if full is None else shown.where(full, total / draws)


@torch.no_grad()
def impute_parts(vae: VAE, batch: Batch, draws: int = 100, seed: int = 0) -> dict[str, Tensor]:
    r"""Fill gaps of several things observed together, by what is known of each row.

    .. math:: p(x_\mathrm{mis} | x_\mathrm{obs}) \approx \sum_s w_s\, p(x_\mathrm{mis}|z_s),
       \qquad w_s \propto \frac{p(x_\mathrm{obs}|z_s)\,p(z_s)}{q(z_s|x_\mathrm{obs})},
       \qquad z_s \sim q(z|x_\mathrm{obs})

    The weights, which sum to 1, make up for what q misses (Mattei and Frellsen 2019).

    Args:
        vae: The model, of several things.
        batch: Their data, with masks of what was observed.
        draws: Of z for each row.
        seed: Of the latents.

    Returns:
        Each part, (N, *shape): x where it was observed; elsewhere the mean of that distribution,
        rounded where the part takes whole numbers only, or, of classes without an order, its mode.

    Raises:
        InputError: If draws is not positive, or a name is not one of the model's.
    """
    positive(draws=draws)
    means: dict[str, Tensor] = {}
    whole: dict[str, bool] = {}
    with standing(vae), seeded("impute parts", seed, 0, batch.device):
        x = vae.observed.filled(vae.observe(batch).x, batch.mask)
        q, prior = vae.encode(batch), vae.prior(**context(batch))
        log_total = torch.tensor(-torch.inf)
        for _ in range(draws):
            z = q.sample()
            likelihood = vae.decode(z, **context(batch))
            log_weight = prior.log_prob(z) - q.log_prob(z)
            for _, p, value in vae.observed.sites(likelihood, x, batch.mask):
                log_weight = log_weight + p.log_prob(value)
            log_total = torch.logaddexp(log_total, log_weight)
            share = (log_weight - log_total).exp()  # of this draw among those that there were
            for name, p in likelihood.items():
                value = _expected(vae.observed.parts[name], p)
                whole[name] = p.support.is_discrete
                before = means.get(name, torch.zeros_like(value))
                means[name] = before + share.reshape(-1, *[1] * (value.dim() - 1)) * (
                    value - before
                )
    found: dict[str, Tensor] = {}
    for name, part in vae.observed.parts.items():
        guess = means[name]
        if part.levels.width(part.head.interval) > 1:
            guess = guess.argmax(-1) + part.head.interval[0]
        elif whole[name]:
            guess = guess.round()
        known = batch.x.get(name)
        masks = batch.mask or {}
        there = masks.get(name)
        if known is not None:
            guess = known if there is None else known.where(there, guess.to(known))
        found[name] = guess
    return found


def _expected(part: Observed, p: Distribution) -> Tensor:
    """The mean of a part, (N, *shape), or the probability of each class, (N, *shape, K)."""
    classes = part.levels.width(part.head.interval)
    if classes == 1:
        mean: Tensor = p.mean
        return mean
    base: Distribution = getattr(p, "base_dist")  # noqa: B009
    shape = (*p.batch_shape, *part.shape)
    values = (part.head.interval[0] + k for k in range(classes))
    return torch.stack([base.log_prob(torch.full(shape, v)).exp() for v in values], -1)
