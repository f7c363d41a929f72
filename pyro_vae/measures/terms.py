"""The terms of the ELBO, read off the traces of a model and its guide."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions import Independent
from torch import Tensor
from torch.distributions import kl_divergence

from pyro_vae.posteriors import code_of

__all__ = [
    "ACTIVE",
    "Terms",
    "active_of_moments",
    "active_units",
    "closed_kl",
    "terms_of",
]

ACTIVE = 0.01
"""A latent unit is active if its posterior mean varies by more over images (Burda et al. 2016)."""


@dataclass(frozen=True)
class Terms:
    """Terms of the ELBO per image at β = 1, in nats, without gradients.

    Attributes:
        reconstruction: log p(x|z) at the drawn z, averaged over particles, (N,).
        kl: KL(q(z|x) ‖ p(z)), (N,); sampled where there is no closed form.
        kl_per_latent: The same per unit, (N, L), or None where it does not split.
        mean: Mean of q(z|x), or what :func:`~pyro_vae.posteriors.code_of` takes for it, (N, L).
    """

    reconstruction: Tensor
    kl: Tensor
    kl_per_latent: Tensor | None
    mean: Tensor

    @classmethod
    def cat(cls, parts: Iterable[Terms]) -> Terms:
        """The terms of several batches as one.

        Raises:
            ValueError: If there are no parts.
        """
        parts = list(parts)
        if not parts:
            raise ValueError("no terms to join")
        per_latent = [part.kl_per_latent for part in parts if part.kl_per_latent is not None]
        return cls(
            torch.cat([part.reconstruction for part in parts]),
            torch.cat([part.kl for part in parts]),
            torch.cat(per_latent) if per_latent else None,
            torch.cat([part.mean for part in parts]),
        )


@torch.no_grad()
def terms_of(model_trace: Any, guide_trace: Any) -> Terms:
    """The terms at the sites ``obs`` and ``latent``, from traces whose log-probs are computed.

    Args:
        model_trace: Trace of the model, replayed against the guide's.
        guide_trace: Trace of the guide.
    """
    observed, prior = model_trace.nodes["obs"], model_trace.nodes["latent"]
    latent = guide_trace.nodes["latent"]
    reconstruction = _log_prob(observed)
    per_latent = _kl_per_latent(latent["fn"], prior["fn"])
    kl = _kl(latent, prior) if per_latent is None else per_latent.sum(-1)
    mean = code_of(latent["fn"])
    return Terms(
        _over_particles(reconstruction, 1),
        _over_particles(kl, 1),
        None if per_latent is None else _over_particles(per_latent, 2),
        _over_particles(mean, 2),
    )


def _log_prob(site: Any) -> Tensor:
    if "unscaled_log_prob" not in site:
        site["unscaled_log_prob"] = site["fn"].log_prob(site["value"])
    value: Tensor = site["unscaled_log_prob"]
    return value


def _over_particles(value: Tensor, dims: int) -> Tensor:
    # Without particles nothing new is made here: the traces' own tensors still have a graph.
    lead, value = value.dim() - dims, value.detach()
    return value.mean(tuple(range(lead))) if lead else value


def closed_kl(q: Any, p: Any) -> Tensor | None:
    """KL(q ‖ p) in nats, q's batch_shape; None where there is no closed form."""
    try:
        value: Tensor = kl_divergence(q, p)
    except NotImplementedError:
        return None
    return value.expand(q.batch_shape)


def _kl(latent: Any, prior: Any) -> Tensor:
    closed = closed_kl(latent["fn"], prior["fn"])
    return _log_prob(latent) - _log_prob(prior) if closed is None else closed


def _kl_per_latent(q: Any, p: Any) -> Tensor | None:
    if not (isinstance(q, Independent) and isinstance(p, Independent)):
        return None
    if q.reinterpreted_batch_ndims != 1 or p.reinterpreted_batch_ndims != 1:
        return None
    try:
        return kl_divergence(q.base_dist, p.base_dist)
    except NotImplementedError:
        return None


def active_units(mean: Tensor) -> Tensor:
    """Number of latent units whose posterior mean varies by more than 0.01 over images.

    Args:
        mean: Posterior means, (N, L).

    Returns:
        A 0-dim integer tensor.

    Example:
        >>> active_units(torch.tensor([[0.0, 1.0], [0.0, -1.0]]))
        tensor(1)
    """
    return (mean.var(0, correction=0) > ACTIVE).sum()


def active_of_moments(moments: Tensor, count: int | Tensor) -> Tensor:
    """As :func:`active_units`, from sums of the means and of their squares.

    Args:
        moments: (..., 2, L).
        count: Number of images that they are sums over, a number or (..., 1, 1).

    Returns:
        Integers, (...).
    """
    first, second = (moments / count).unbind(-2)
    active: Tensor = (second - first.square() > ACTIVE).sum(-1)
    return active
