"""Scores of any pair of Pyro programs, whoever wrote them."""

from __future__ import annotations

from collections.abc import Callable

import pyro
import torch
from torch import Tensor

from pyro_vae.data import Batch
from pyro_vae.elbo import BLOCK, Terms, scores_of, terms_of
from pyro_vae.errors import InputError
from pyro_vae.metrics.chunking import bytes_of
from pyro_vae.metrics.importance import (
    checked_particles,
    log_mean,
    log_weights,
    lowest,
    standard_error,
)
from pyro_vae.metrics.particles import Arguments, Particles, rows_of, run
from pyro_vae.metrics.reliability import Reliability
from pyro_vae.metrics.results import Scores
from pyro_vae.noise import fixed_noise, noise
from pyro_vae.types import JSON

__all__: list[str] = []


def as_arguments(data: object) -> tuple[Arguments, int]:
    """What programs are called with, and how many images that is.

    Args:
        data: A tensor or array with a row for each image, or a tuple of arguments whose first is
            one. Arrays become tensors.

    Raises:
        InputError: If the first argument is no tensor, or has no rows.
    """
    given = data if isinstance(data, tuple) else (data,)
    arguments = tuple(torch.as_tensor(a) if hasattr(a, "__array__") else a for a in given)
    first = arguments[0] if arguments else None
    if isinstance(first, Batch):
        return arguments, len(first)
    if isinstance(first, dict) and first:
        first = next(iter(first.values()))
    if not isinstance(first, Tensor) or not first.dim() or not len(first):
        raise InputError(
            "data of a pair of programs must be a tensor with a row for each image, or a tuple of "
            f"arguments that begins with one; got {type(data).__name__}"
        )
    return arguments, len(first)


@torch.no_grad()
def terms_of_programs(
    model: Callable[..., object], guide: Callable[..., object], data: object
) -> tuple[Terms, Tensor]:
    """Terms of the ELBO of any programs, at one draw for each image under fixed noise.

    Args:
        model: The model.
        guide: The guide, called with the same arguments.
        data: As for ``as_arguments``.

    Returns:
        The terms, and log p(x, z) − log q(z|x) of each image at the draw, (N,).

    Raises:
        InputError: If a site cannot be scored; it names the site.
    """
    arguments, count = as_arguments(data)
    device = next(a.device for a in arguments if isinstance(a, Tensor | Batch))
    parts, drawn = [], []
    for block, start in enumerate(range(0, count, BLOCK)):
        some = rows_of(arguments, count, slice(start, start + BLOCK))
        with fixed_noise(noise("programs", block=block), device):
            traces = run(model, guide, some, some)
        parts.append(terms_of(*traces))
        sampled = terms_of(*traces, closed=False)
        drawn.append(sampled.reconstruction - sampled.kl)
    return Terms.cat(parts), torch.cat(drawn)


def evaluate_programs(
    model: Callable[..., object],
    guide: Callable[..., object],
    data: object,
    *,
    iwae: int | None = None,
    memory_budget: str | int = "512MB",
) -> Scores:
    r"""Scores of a model and a guide, the same from call to call.

    Args:
        model: A Pyro program whose sites are in one plate of the data.
        guide: Its guide, reparameterised, called with the same arguments.
        data: A tensor with a row for each image, or a tuple of arguments that begins with one.
        iwae: K, to add the importance-weighted bound with K particles.
        memory_budget: What scoring these may take: bytes, or such as ``"512MB"``.

    Returns:
        ``elbo``, its ``elbo_standard_error`` over images, ``lowest`` (the images that have least of
        it), ``reconstruction`` and ``kl``, nats per
        image at one draw each, as ``Trace_ELBO`` has them where nothing is scaled;
        ``kl_per_latent`` and, in ``sites``, each site's ``kl``, in closed form where that is right;
        ``active_units``; ``images``; ``iwae``: None, or ``k``, ``bound``, its ``standard_error``,
        ``pareto_shape`` k̂ (the median over images) and ``unreliable``, the fraction of images where
        it exceeds .7 (both None below 25 particles), and ``effective_size``, the mean over images
        of :math:`(\sum w)^2 / \sum w^2`.

    Raises:
        InputError: If a site cannot be scored, as one that is enumerated or not reparameterised; it
            names the site.
    """
    if iwae is not None:
        iwae = checked_particles(iwae)
    budget = bytes_of(memory_budget)
    with pyro.validation_enabled(False):
        terms, drawn = terms_of_programs(model, guide, data)
        reconstruction = float(terms.reconstruction.double().mean())
        elbo = float(drawn.double().mean())
        return Scores(
            {
                **scores_of(terms, "density"),
                "elbo": elbo,
                "reconstruction": reconstruction,
                "kl": reconstruction - elbo,
            },
            elbo_standard_error=standard_error(drawn),
            lowest=lowest(drawn),
            images=len(drawn),
            iwae=None if iwae is None else _bound(model, guide, data, iwae, budget),
        )


@torch.no_grad()
def _bound(
    model: Callable[..., object],
    guide: Callable[..., object],
    data: object,
    particles: int,
    budget: int,
) -> JSON:
    arguments, count = as_arguments(data)
    few = min(2, count)
    first = rows_of(arguments, count, slice(0, few))
    program = Particles(model, guide, first, first, few)
    at_once = max(1, budget // program.bytes_per_image())
    bounds, reliable = [], []
    for block, start in enumerate(range(0, count, BLOCK)):
        some = rows_of(arguments, count, slice(start, start + BLOCK))
        weights, _ = log_weights(program, some, some, particles, at_once, block)
        bounds.append(log_mean(weights))
        reliable.append(Reliability.of(weights))
    bound = torch.cat(bounds)
    return {
        "k": particles,
        "bound": float(bound.mean()),
        "standard_error": standard_error(bound),
        **Reliability.cat(reliable).scores,
    }
