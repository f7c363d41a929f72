"""The checks before training: do the images suit the observation, do the parts fit together?"""

from __future__ import annotations

import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import constraints

from pyro_vae.data import context
from pyro_vae.data.batch import Loaded
from pyro_vae.elbo.scores import evaluation_mode
from pyro_vae.errors import InputError
from pyro_vae.heads.built import BuiltHead
from pyro_vae.latent_model import local_params
from pyro_vae.links import Interval
from pyro_vae.observed import Observed
from pyro_vae.vae import VAE

__all__: list[str] = []


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
    if images.dtype == torch.uint8:
        return
    low, high = float(images.min()), float(images.max())
    zeros = torch.zeros(1, head.numbers, device=images.device)
    title = f"{of}{observed.head.title}"
    got = f"got values from {low:g} to {high:g}; {observed.levels.refused}"
    found = f"{title} wants data in {{}}, {got}"
    support = head(zeros).support
    links = head.links.values()
    if not support.is_discrete and any(isinstance(link, Interval) for link in links):
        # A location that ends at the interval cannot reach data outside it, whatever the support.
        a, b = observed.head.interval
        if low < a or high > b:
            raise InputError(found.format(f"[{a:g}, {b:g}]"))
    for start in range(0, len(images), 1000):
        if not bool(support.check(images[start : start + 1000]).all()):
            wanted = getattr(support, "base_constraint", support)
            raise InputError(found.format(_words(wanted)))
    for raw in (zeros + 1, zeros - 1):
        ends = torch.stack([torch.full(observed.shape, end) for end in (low, high)])
        log_prob = head(raw.expand(2, -1)).log_prob(ends.to(images))
        if not bool(torch.isfinite(log_prob).all()):
            raise InputError(
                f"{title} has an infinite density at {low:g} or {high:g}, where these "
                "images lie: pass uint8 levels, which are dequantised, or keep floats inside"
            )


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


def _words(support: object) -> str:
    if support is constraints.nonnegative_integer:
        return "0, 1, 2, ..."
    low, high = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    if low is not None and high is not None:
        if getattr(support, "is_discrete", False):
            return f"{int(low)}, {int(low) + 1}, ..., {int(high)}"
        return f"[{float(low):g}, {float(high):g}]"
    return str(support)
