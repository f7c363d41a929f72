"""The terms of the ELBO, read off the traces of a model and its guide, site by site."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import torch
from pyro.distributions import Independent
from pyro.poutine import Trace
from torch import Tensor
from torch.distributions import Distribution

from pyro_vae.errors import InputError
from pyro_vae.objectives import terms as sites
from pyro_vae.objectives.terms import Site
from pyro_vae.posteriors import code_of

__all__ = ["ACTIVE", "Terms", "active_units", "terms_of"]

ACTIVE = 0.01
"""A latent unit is active if its posterior mean varies by more over images (Burda et al. 2016)."""


@dataclass(frozen=True)
class LatentTerms:
    """Terms of one latent site per image, in nats, without gradients.

    Attributes:
        kl: log q(z|·) − log p(z|·) averaged over q, (N,): in closed form where that is right and
            known, else at the drawn z; averaged over an objective's particles.
        kl_per_unit: The same per unit, (N, U), or None where it does not split.
        code: Mean of q(z|·), or what :func:`~pyro_vae.posteriors.code_of` takes for it, (N, U).
    """

    kl: Tensor
    kl_per_unit: Tensor | None
    code: Tensor


@dataclass(frozen=True)
class Terms:
    """Terms of the ELBO per image at β = 1, in nats, without gradients.

    Attributes:
        observed: log p(x|·) of each observed site at the drawn latents, averaged over particles,
            (N,).
        latents: Of each latent site, in the order of their names.
    """

    observed: dict[str, Tensor]
    latents: dict[str, LatentTerms]

    @property
    def reconstruction(self) -> Tensor:
        """Log p(x|z), summed over observed sites, (N,)."""
        return reduce(torch.add, self.observed.values())

    @property
    def kl(self) -> Tensor:
        """KL(q(z|x) ‖ p(z)), summed over latent sites, (N,)."""
        return reduce(torch.add, (site.kl for site in self.latents.values()))

    @property
    def kl_per_latent(self) -> Tensor | None:
        """The KL of each unit of all latent sites, (N, L), or None where one does not split."""
        each = [site.kl_per_unit for site in self.latents.values()]
        there = [value for value in each if value is not None]
        return torch.cat(there, 1) if len(there) == len(each) else None

    @property
    def mean(self) -> Tensor:
        """The code of all latent sites, (N, L)."""
        return torch.cat([site.code for site in self.latents.values()], 1)

    @classmethod
    def cat(cls, parts: Iterable[Terms]) -> Terms:
        """The terms of several batches as one.

        Raises:
            ValueError: If there are no parts.
        """
        parts = list(parts)
        if not parts:
            raise ValueError("no terms to join")
        observed = {n: torch.cat([part.observed[n] for part in parts]) for n in parts[0].observed}
        latents = {}
        for name in parts[0].latents:
            of = [part.latents[name] for part in parts]
            each = [site.kl_per_unit for site in of if site.kl_per_unit is not None]
            latents[name] = LatentTerms(
                torch.cat([site.kl for site in of]),
                torch.cat(each) if len(each) == len(of) else None,
                torch.cat([site.code for site in of]),
            )
        return cls(observed, latents)


def by_name(name: str) -> list[str | int]:
    """A key that sorts names of sites, the numbers in them as numbers."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


@torch.no_grad()
def terms_of(model_trace: Trace, guide_trace: Trace, closed: bool = True) -> Terms:
    """The terms at every latent and observed site of two traces.

    What a handler masks is not scored; scales (β, a subsampled plate's) are left out, and so is the
    mask False, which is a β of 0.

    Args:
        model_trace: Trace of the model, replayed against the guide's.
        guide_trace: Trace of the guide.
        closed: Whether a KL may be taken in closed form, else at the drawn z.

    Raises:
        InputError: If a site cannot be scored; it names the site.
    """
    try:
        sites.check_sites(model_trace, guide_trace)
        data = sites.data_dim(model_trace, guide_trace)
    except ValueError as error:
        raise InputError(str(error)) from None
    observed, auxiliary = sites.other_sites(model_trace, guide_trace)
    if auxiliary:
        raise InputError(
            f"site {auxiliary[0]['name']!r} of the guide is auxiliary: its density has no "
            "counterpart in the model, so that no KL can be told"
        )
    if not observed:
        raise InputError("the model has no observed site")
    nested = sites.nested_sites(model_trace, guide_trace) if closed else set()
    latents = {
        name: _latent_terms(name, model, guide, data, name in nested)
        for name, model, guide in sites.latent_sites(model_trace, guide_trace)
    }
    if not latents:
        raise InputError("the model has no latent site")
    return Terms(
        {site["name"]: _per_image(_log_prob(site), site, data) for site in observed},
        {name: latents[name] for name in sorted(latents, key=by_name)},
    )


def _latent_terms(name: str, model: Site, guide: Site, data: int, nested: bool) -> LatentTerms:
    q, p = guide["fn"], model["fn"]
    split = _split(q, p, guide["value"], nested)
    if split is not None:
        units = _masked(split, guide, q.event_dim)
        kl = units.flatten(units.dim() - q.event_dim).sum(-1) if q.event_dim else units
    else:
        closed = sites.closed_kl(q, p) if nested else None
        kl = _log_prob(guide) - _log_prob(model) if closed is None else _masked(closed, guide, 0)
    try:
        code = code_of(q).expand(q.batch_shape + q.event_shape)
    except NotImplementedError:
        raise InputError(
            f"site {name!r} of the guide ({type(q).__name__}) has no mean, so that it cannot be "
            "told whether its units are active"
        ) from None
    return LatentTerms(
        _per_image(kl, guide, data),
        None if split is None else _per_unit(units, guide, data, q.event_dim),
        _per_unit(code, guide, data, q.event_dim),
    )


def _log_prob(site: Site) -> Tensor:
    if "unscaled_log_prob" not in site:
        site["unscaled_log_prob"] = site["fn"].log_prob(site["value"])
    return _masked(site["unscaled_log_prob"], site, 0)


def _masked(value: Tensor, site: Site, event_dim: int) -> Tensor:
    """Zero where a handler says that a site's element does not count."""
    mask = site["mask"]
    if not isinstance(mask, Tensor):
        return value
    return value.where(mask.reshape(mask.shape + (1,) * event_dim), value.new_zeros(()))


def _per_image(value: Tensor, site: Site, data: int) -> Tensor:
    """A figure of a site's batch as one of each image: summed over all plates but the data's."""
    # Without particles or plates nothing new is made: the traces' own tensors still have a graph.
    value = sites.over_particles(value.detach(), site)
    others = [dim for dim in range(-value.dim(), 0) if dim != data]
    return value.sum(others) if others else value


def _per_unit(value: Tensor, site: Site, data: int, event_dim: int) -> Tensor:
    """As :func:`_per_image`, with the elements of all other plates and of the event in a row."""
    value = value.detach()
    value = value.flatten(value.dim() - event_dim) if event_dim else value.unsqueeze(-1)
    return sites.over_particles(value, site, 1).movedim(data - 1, 0).flatten(1)


def _split(q: Distribution, p: Distribution, z: Tensor, nested: bool) -> Tensor | None:
    """The KL of each element of the event, batch_shape + event_shape, where both are independent.

    At the drawn z where there is no closed form, or it would not be the right one.
    """
    of_q, of_p, shape = _elements(q), _elements(p), q.batch_shape + q.event_shape
    if of_q is None or of_p is None:
        return None
    closed = sites.closed_kl(of_q, of_p) if nested else None
    value: Tensor = of_q.log_prob(z) - of_p.log_prob(z) if closed is None else closed
    return value.expand(torch.broadcast_shapes(value.shape, shape))


def _elements(distribution: Distribution) -> Distribution | None:
    """A distribution of single numbers, batch_shape + event_shape; None where it is not of such."""
    while isinstance(distribution, Independent):
        distribution = distribution.base_dist
    return distribution if distribution.event_shape == () else None


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
