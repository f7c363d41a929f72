"""The checks before training: do the images suit the observation, do the parts fit together?"""

from __future__ import annotations

from typing import Any

import torch
from pyro import poutine
from pyro.distributions.constraints import sphere
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.constraints import Constraint

from pyro_vae.data import context
from pyro_vae.data.batch import Loaded
from pyro_vae.data.causes import likeliest
from pyro_vae.elbo.scores import evaluation_mode
from pyro_vae.errors import InputError, reason
from pyro_vae.heads.built import BuiltHead
from pyro_vae.links import Interval
from pyro_vae.noise import fixed_noise, noise
from pyro_vae.observed import Observed
from pyro_vae.param_store import local_params
from pyro_vae.vae import VAE

__all__: list[str] = []

_REFUSALS = (ValueError, RuntimeError, IndexError, TypeError, AssertionError)
"""What families raise of data that they were not made for."""


@torch.no_grad()
def check_images(vae: VAE, images: Loaded) -> None:
    """Refuse images that the observation gives no finite probability.

    Args:
        vae: The model.
        images: Levels (uint8, which always fit) or floats, (N, *data_shape), or a batch.

    Raises:
        InputError: Naming the observation, the range found, the range wanted, and the two
            likeliest causes.
    """
    for name, observed, head, x, mask in vae.parts_of(images):
        seen = observed.filled(x, mask)
        of = f"{name.removeprefix('obs.')}: " if vae.joint else ""
        _check(observed, head, seen, of)


def _check(observed: Observed, head: BuiltHead, images: Tensor, of: str) -> None:
    title = f"{of}{observed.head.title}"
    support = _support(head(torch.zeros(1, head.numbers, device=images.device)))
    if support is not None:
        _check_support(observed, head, support, images, title)
    if images.dtype != torch.uint8:
        _check_density(head, images, title)
    _check_draws(observed, head, images, title)


def _support(likelihood: Distribution) -> Constraint | None:
    """Where data may lie; None where a family does not say."""
    try:
        support: Constraint | None = likelihood.support
    except (NotImplementedError, AttributeError):
        return None
    return support


def _check_support(
    observed: Observed, head: BuiltHead, support: Constraint, images: Tensor, title: str
) -> None:
    low, high = float(images.min()), float(images.max())
    got = f"got values from {low:g} to {high:g}"
    site = support
    while isinstance(site, constraints.independent):
        site = site.base_constraint
    if images.dtype == torch.uint8 and site.event_dim == 0:  # no level between can be outside
        ends = [torch.full((1, *observed.shape), end, dtype=torch.uint8) for end in (low, high)]
        images = torch.cat(ends).to(images.device)
    elif images.dtype != torch.uint8 and not support.is_discrete:
        # A location that ends at the interval cannot reach data outside it, whatever the support.
        a, b = observed.head.interval
        ends_there = any(isinstance(link, Interval) for link in head.links.values())
        if ends_there and (low < a or high > b):
            raise InputError(
                f"{title} wants data in [{a:g}, {b:g}], {got}; {_causes(observed, images)}"
            )
    for part in images.split(1000):
        x = part
        if part.dtype == torch.uint8:
            x = observed.levels.observe(part, None, observed.head.interval)
        try:
            inside = bool(support.check(x).all())
        except _REFUSALS as error:
            raise InputError(f"{title} cannot take these images: {reason(error)}") from error
        if inside:
            continue
        if site.event_dim:
            raise InputError(f"{title} wants {_event_words(site)}, {got}")
        raise InputError(
            f"{title} wants data in {_words(site)}, {got}; {_causes(observed, images)}"
        )


def _causes(observed: Observed, images: Tensor) -> str:
    """Likeliest causes of data that do not suit."""
    cure = ", or numbers in units of their own (Head.of(..., levels='real'))"
    own = observed.head.name is None and observed.levels.name == "dequantised"
    return likeliest(observed.levels, images.float()) + (cure if own else "")


def _check_density(head: BuiltHead, images: Tensor, title: str) -> None:
    """Whether those images have a finite density that the least and the greatest value are in."""
    flat = images.flatten(1)
    rows = torch.stack([flat.amin(1).argmin(), flat.amax(1).argmax()])
    x, low, high = images[rows], float(images.min()), float(images.max())
    for value in (1.0, -1.0):
        raw = torch.full((2, head.numbers), value, device=images.device)
        log_prob = _log_prob(head(raw), x, title)
        if bool(torch.isfinite(log_prob).all()):
            continue
        if _unbounded(_support(head(raw))):
            raise InputError(
                f"{title} gives no probability to {low:g} or {high:g}, where these images lie"
            )
        raise InputError(
            f"{title} has an infinite density at {low:g} or {high:g}, where these "
            "images lie: pass uint8 levels, which are dequantised, or keep floats inside"
        )


def _unbounded(support: Constraint | None) -> bool:
    """Whether no number is an end of a family's support, so that none is too near to it."""
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    ends = (getattr(support, name, None) for name in ("lower_bound", "upper_bound"))
    return all(end is None for end in ends) and support not in (constraints.simplex,)


def _check_draws(observed: Observed, head: BuiltHead, images: Tensor, title: str) -> None:
    """Whether what the head draws is of the data's shape, and something that it can score."""
    raw = torch.zeros(2, head.numbers, device=images.device)
    likelihood = head(raw)
    with fixed_noise(noise("check"), images.device):
        try:
            drawn = likelihood.sample()
        except (RuntimeError, ValueError):
            # It can be trained without draws; of parameters that are NaN the first step will tell.
            return
    if drawn.shape[1:] != observed.shape:
        found = tuple(drawn.shape[1:])
        raise InputError(f"{title} draws data of shape {found}, these are {observed.shape}")
    if not bool(torch.isfinite(_log_prob(likelihood, drawn, title)).any()):
        raise InputError(f"{title} gives what it draws itself no finite log_prob")


def _log_prob(likelihood: Distribution, x: Tensor, title: str) -> Tensor:
    """Of each image, where the family has one.

    Raises:
        InputError: If it has none, refuses these, or gives other than one number for each.
    """
    try:
        log_prob: Tensor = likelihood.log_prob(x)
    except NotImplementedError:
        raise InputError(f"{title} has no log_prob, which training needs") from None
    except _REFUSALS as error:
        raise InputError(f"{title} cannot score these images: {reason(error)}") from error
    if log_prob.shape != (len(x),):
        raise InputError(
            f"log_prob of {title} has shape {tuple(log_prob.shape)} for {len(x)} images"
        )
    return log_prob


@torch.no_grad()
def check_parts(vae: VAE, images: Loaded) -> None:
    """Refuse networks, a prior or a posterior that do not go with each other.

    Neither the generators nor the model are left changed.

    Args:
        vae: The model.
        images: A few, levels (uint8) or floats, (N, *data_shape), or a batch.

    Raises:
        ValueError: If p(z) or q(z|x) is no distribution of the latents, or p(x|z) none of images.
        Exception: Whatever else the parts raise.
    """
    n, dim = len(images), (vae.latent_dim,)
    with torch.random.fork_rng(), evaluation_mode(vae), local_params():
        told = context(images)
        lead = (n,) if vae.prior_numbers else ()
        _same("p(z)", vae.prior(**told).sample().shape, (*lead, *dim))
        _same("q(z|x)", vae.encode(images).rsample().shape, (n, *dim))
        guide = poutine.trace(vae.guide).get_trace(images)
        model = poutine.trace(poutine.replay(vae.model, guide)).get_trace(images)
        for trace, of in ((guide, "q(z|x)"), (model, "p(x, z)")):
            trace.compute_log_prob()
            for name, site in trace.nodes.items():
                if site["type"] == "sample" and not site_is_subsample(site):
                    _same(f"{of}'s log_prob of {name}", site["log_prob"].shape, (n,))


def _same(what: str, found: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    if tuple(found) != tuple(wanted):
        raise ValueError(f"{what} is of shape {tuple(found)}, not {tuple(wanted)}")


_EVENTS: dict[Any, str] = {
    constraints.simplex: "in each row numbers of at least 0 that sum to 1",
    constraints.one_hot: "in each row a single 1 among 0s",
    constraints.positive_definite: "symmetric matrices with positive eigenvalues",
    constraints.lower_cholesky: "lower triangular matrices with a positive diagonal",
    constraints.corr_cholesky: "Cholesky factors of correlation matrices",
    sphere: "in each row a vector of length 1",
}
"""What data of several numbers must be together, by the constraint of a site."""


def _event_words(site: object) -> str:
    if isinstance(site, constraints.multinomial):
        return f"in each row whole numbers that sum to {int(site.upper_bound)}"
    return _EVENTS.get(site, f"data that satisfy {site}")


def _words(support: object) -> str:
    if support is constraints.nonnegative_integer:
        return "0, 1, 2, ..."
    low, high = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    if low is not None and high is not None:
        low, high = torch.as_tensor(low).min(), torch.as_tensor(high).max()
        if getattr(support, "is_discrete", False):
            return f"{int(low)}, {int(low) + 1}, ..., {int(high)}"
        return f"[{float(low):g}, {float(high):g}]"
    return str(support)
