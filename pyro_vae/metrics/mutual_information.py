"""What the latents carry: mutual information, and how far their aggregate is from the prior."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyro_vae.metrics.encodings import Block
from pyro_vae.types import JSON

__all__: list[str] = []

PAIRED = 2000
"""Images whose posteriors are compared with each other, the first ones."""

LATENT_SCORES = ("mutual_information", "mutual_information_ceiling", "marginal_kl", "encoder_sigma")
"""What ``latent_scores`` gives."""

_PAIRS = 200_000  # pairs of latent and posterior at a time


def log_aggregate(blocks: list[Block], latents: Tensor) -> Tensor:
    r"""Log-density of the aggregate posterior, :math:`\log \frac1M \sum_j q(z|x_j)`.

    Args:
        blocks: M images with their posteriors.
        latents: Where to take it, (m, L).

    Returns:
        Shape (m,), nats, float64.
    """
    count = sum(map(len, blocks))
    parts = []
    for z in latents.split(max(1, _PAIRS // count)):
        pairs = [block.posterior.log_prob(z[:, None]).double() for block in blocks]
        parts.append(torch.cat(pairs, -1).logsumexp(-1) - math.log(count))
    return torch.cat(parts)


def latent_scores(blocks: list[Block], kl: Tensor) -> JSON:
    r"""How much the latents say of x, and how the aggregate posterior differs from the prior.

    .. math:: \frac1M \sum_i \mathrm{KL}(q(z|x_i)\,\|\,p(z))
        = I(x; z) + \mathrm{KL}(q(z)\,\|\,p(z)), \qquad q(z) = \frac1M \sum_i q(z|x_i)

    (Hoffman & Johnson 2016). Of M images at most log M nats can be told apart.

    Args:
        blocks: Images with their posteriors; the first ``PAIRED`` count.
        kl: KL(q(z|x) ‖ p(z)) of each, (N,).

    Returns:
        ``mutual_information``, its ``mutual_information_ceiling`` log M, ``marginal_kl`` (of the
        aggregate posterior to the prior), all in nats, and ``encoder_sigma``, the standard
        deviation of q(z|x) averaged over images and units (None for a flow).
    """
    used: list[Block] = []
    for block in blocks:
        if sum(map(len, used)) < PAIRED:
            used.append(block)
    count = sum(map(len, used))
    own = torch.cat([block.posterior.log_prob(block.latent).double() for block in used])
    everywhere = log_aggregate(used, torch.cat([block.latent for block in used]))
    information = float((own - everywhere).mean())
    return {
        "mutual_information": information,
        "mutual_information_ceiling": math.log(count),
        "marginal_kl": float(kl[:count].double().mean()) - information,
        "encoder_sigma": _sigma(used),
    }


def _sigma(blocks: list[Block]) -> float | None:
    """Standard deviation of q(z|x) over images and units; None where it has no closed form."""
    try:
        return float(torch.cat([block.posterior.stddev for block in blocks]).mean())
    except NotImplementedError:
        return None
