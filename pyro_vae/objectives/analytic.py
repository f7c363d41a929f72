"""Objectives around the analytic KL: mean-field ELBO, free bits, capacity."""

from __future__ import annotations

import math

import torch
from pyro.distributions.util import scale_and_mask
from pyro.infer.util import is_validation_enabled
from pyro.poutine import Trace
from torch import Tensor
from torch.distributions import Independent

from .base import Objective, number
from .terms import (
    Site,
    closed_kl,
    latent_sites,
    nested_sites,
    other_sites,
    shared_plates,
    weight,
)

__all__ = ["CapacityELBO", "FreeBitsELBO", "MeanFieldELBO"]


class MeanFieldELBO(Objective):
    r"""The ELBO with the analytic KL of each latent site that has one.

    .. math:: -E_{q(z|x)}[\log p(x|z)] + \mathrm{KL}(q(z|x)\,\|\,p(z))

    A site whose pair of distributions has no KL registered with torch or Pyro is sampled, and so is
    one of which the model's density may depend on what the guide draws after it
    (``nested_sites``), where Pyro's ``TraceMeanField_ELBO`` would
    be biased. One latent site, and several drawn in one order by model and guide, always fit.

    Args:
        num_particles: K.
        max_plate_nesting: See :class:`Objective`.

    Raises:
        ValueError: When called, if model and guide scale or mask a latent site differently.

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> def model(x):
        ...     with pyro.plate("data", len(x)):
        ...         z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        ...         pyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1), obs=x)
        >>> def guide(x):
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("z", dist.Normal(torch.ones(2), 1.0).to_event(1))
        >>> x = torch.zeros(3, 2)  # KL: ½ per unit; −log p(x): ½ log 2π per pixel
        >>> MeanFieldELBO().differentiable_loss(model, guide, x) / 3
        tensor(2.8379)
    """

    @property
    def spec(self) -> str:
        """``mean-field``, or ``mean-field:K=10``."""
        return "mean-field" + _particles(":", self)

    def surrogate(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        """The negative ELBO, averaged over particles, summed over the data."""
        loss = _without_kl(model_trace, guide_trace)
        nested = nested_sites(model_trace, guide_trace)
        for name, model_site, guide_site in latent_sites(model_trace, guide_trace):
            _check_scales(name, model_site, guide_site)
            kl = closed_kl(guide_site["fn"], model_site["fn"]) if name in nested else None
            if kl is None:
                loss = loss + guide_site["log_prob"].sum() - model_site["log_prob"].sum()
            else:
                loss = loss + scale_and_mask(kl, guide_site["scale"], guide_site["mask"]).sum()
        average: Tensor = loss / self.num_particles
        return average


class FreeBitsELBO(Objective):
    r"""The ELBO with free bits: each unit may use some nats at no cost (Kingma et al. 2016).

    .. math:: -E_q[\log p(x|z)] + \beta \sum_j \max\Big(\frac1N \sum_n \mathrm{KL}_{nj},\
       \lambda\Big) \quad \text{per image}

    The mean is over the batch (all plates of the site), units j are the elements of the site's
    event that its distribution treats as independent: ``Normal(...).to_event(1)`` has as many as
    latents, a multivariate normal is one unit, and so is a site whose KL has no closed form and
    is sampled. A scale β multiplies the floor as well, so that it
    stays at λ nats whatever β is; a mask or a per-image scale weighs the mean.

    Args:
        nats: λ, nats per unit, not negative.
        num_particles: K.
        max_plate_nesting: See :class:`Objective`.

    Raises:
        ValueError: If λ is negative or not finite. When called: if the guide has auxiliary sites,
            or model and guide scale or mask a latent site differently.
    """

    def __init__(
        self, nats: float, num_particles: int = 1, *, max_plate_nesting: float = math.inf
    ) -> None:
        self.nats = _not_negative("nats", nats)
        super().__init__(num_particles, max_plate_nesting=max_plate_nesting)

    @property
    def spec(self) -> str:
        """``free-bits:nats``, or ``free-bits:nats,K=10``."""
        return f"free-bits:{number(self.nats)}" + _particles(",", self)

    def surrogate(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        """The loss, averaged over particles, summed over the data."""
        _refuse_auxiliary(self, model_trace, guide_trace)
        loss = _without_kl(model_trace, guide_trace)
        nested = nested_sites(model_trace, guide_trace)
        for name, model_site, guide_site in latent_sites(model_trace, guide_trace):
            kl, weights = _weighted_units(name, model_site, guide_site, name in nested)
            batch = list(range(len(guide_site["fn"].batch_shape)))
            # N · max(mean, λ) = max(sum, N λ), which has no division where all is masked.
            used = (weights * kl).sum(batch) if batch else weights * kl
            loss = loss + torch.maximum(used, self.nats * weights.sum()).sum()
        average: Tensor = loss / self.num_particles
        return average


class CapacityELBO(Objective):
    r"""The ELBO with a capacity that the KL is drawn to (Burgess et al. 2018).

    .. math:: -E_q[\log p(x|z)] + \gamma\,\beta\,\Big|\frac1N \sum_n \mathrm{KL}_n - C\Big|
       \quad \text{per image}

    The mean is over the elements of the plates that all sites share, the KL summed over units and
    sites; where it has no closed form it is sampled. A scale β multiplies the whole distance (γ
    does the same; sites of different scales count by it, and their mean multiplies C).

    Args:
        capacity: C, nats per image, not negative.
        gamma: γ, positive.
        num_particles: K.
        max_plate_nesting: See :class:`Objective`.

    Attributes:
        capacity: C, a number or a 0-dim tensor; may be set between steps.

    Raises:
        ValueError: If C is negative or not finite, or γ is not positive and finite. When called: if
            the guide has auxiliary sites, or model and guide scale or mask a latent site
            differently.
    """

    capacity: float | Tensor

    def __init__(
        self,
        capacity: float,
        gamma: float = 1000.0,
        num_particles: int = 1,
        *,
        max_plate_nesting: float = math.inf,
    ) -> None:
        if not (math.isfinite(gamma) and gamma > 0):
            raise ValueError(f"gamma must be positive and finite, got {gamma}")
        self.capacity = _not_negative("capacity", capacity)
        self.gamma = float(gamma)
        super().__init__(num_particles, max_plate_nesting=max_plate_nesting)

    @property
    def spec(self) -> str:
        """``capacity:nats``, ``capacity:nats,gamma=100``, with ``,K=10`` for more particles."""
        gamma = "" if self.gamma == 1000 else f",gamma={number(self.gamma)}"
        return f"capacity:{number(self.capacity)}{gamma}" + _particles(",", self)

    def surrogate(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        """The loss, averaged over particles, summed over the data."""
        _refuse_auxiliary(self, model_trace, guide_trace)
        sites = list(latent_sites(model_trace, guide_trace))
        nested = nested_sites(model_trace, guide_trace)
        terms = [_weighted_units(*site, site[0] in nested) for site in sites]
        plates = shared_plates(model_trace, guide_trace) if sites else set()
        elements = self.num_particles
        elements *= math.prod(sites[0][2]["fn"].batch_shape[dim] for _, dim in plates)
        used = sum((weights * kl).sum() for kl, weights in terms)
        scale = sum(weights.mean() for _, weights in terms) / max(1, len(terms))
        penalty = self.gamma * abs(used - self.capacity * elements * scale)
        loss: Tensor = (_without_kl(model_trace, guide_trace) + penalty) / self.num_particles
        return loss


def _without_kl(model_trace: Trace, guide_trace: Trace) -> Tensor:
    """The loss of all sites but the latent ones, summed over particles."""
    observed, auxiliary = other_sites(model_trace, guide_trace)
    likelihood = sum(site["log_prob"].sum() for site in observed)
    loss = sum(site["log_prob"].sum() for site in auxiliary) - likelihood
    return torch.as_tensor(loss)


def _weighted_units(
    name: str, model_site: Site, guide_site: Site, nested: bool
) -> tuple[Tensor, Tensor]:
    """KL of each unit, shape (*batch, *units), and the site's weights, (*batch, 1, ...).

    Without a closed form, or where it would not be right, the site is one unit, at the drawn
    values.
    """
    _check_scales(name, model_site, guide_site)
    q, p = guide_site["fn"], model_site["fn"]
    weights = weight(guide_site)
    # Inside an event of independent elements the base distributions' KL is the units' own.
    while (
        isinstance(q, Independent)
        and isinstance(p, Independent)
        and q.reinterpreted_batch_ndims == p.reinterpreted_batch_ndims
    ):
        q, p = q.base_dist, p.base_dist
    kl = closed_kl(q, p) if nested else None
    if kl is None:
        drawn = guide_site["value"]
        return guide_site["fn"].log_prob(drawn) - model_site["fn"].log_prob(drawn), weights
    return kl, weights.reshape(weights.shape + (1,) * (kl.dim() - weights.dim()))


def _check_scales(name: str, model_site: Site, guide_site: Site) -> None:
    """Refuse different scales or masks, of which an analytic KL could only honour one.

    Tensors are compared under Pyro's validation only, as that reads their values.
    """
    ours, theirs = model_site["scale"], guide_site["scale"]
    if _differ(ours, theirs):
        raise ValueError(
            f"site {name!r} is scaled by {ours} in the model and by {theirs} in the guide: "
            "scale both alike"
        )
    masks = [True if site["mask"] is None else site["mask"] for site in (model_site, guide_site)]
    if _differ(*masks):
        raise ValueError(f"site {name!r} is masked differently in model and guide: mask both alike")


def _differ(ours: float | Tensor, theirs: float | Tensor) -> bool:
    if isinstance(ours, Tensor) or isinstance(theirs, Tensor):
        if not is_validation_enabled():
            return False
        ours, theirs = torch.as_tensor(ours), torch.as_tensor(theirs)
        return bool(((1.0 * ours - 1.0 * theirs).abs() > 1e-6 * theirs).any())
    return not math.isclose(ours, theirs, rel_tol=1e-6)


def _refuse_auxiliary(objective: Objective, model_trace: Trace, guide_trace: Trace) -> None:
    """A guide with auxiliary sites has no analytic KL by latent site."""
    _, auxiliary = other_sites(model_trace, guide_trace)
    if auxiliary:
        names = ", ".join(repr(site["name"]) for site in auxiliary)
        raise ValueError(
            f"{objective} needs an analytic KL, but the guide has auxiliary sites: {names}"
        )


def _not_negative(name: str, value: float) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be finite and not negative, got {value}")
    return float(value)


def _particles(separator: str, objective: Objective) -> str:
    many = objective.num_particles
    return "" if many == 1 else f"{separator}K={many}"
