r"""Bounds on log p(x): the importance-weighted one, and exact masses of levels under a density."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral
from typing import Any, NamedTuple

import torch
from pyro.poutine import Trace
from torch import Tensor
from torch.distributions import Distribution

from pyro_vae.data import Batch, plain
from pyro_vae.data.batch import Loaded
from pyro_vae.distributions import log_interval_mass
from pyro_vae.distributions.discretized import in_float64
from pyro_vae.elbo import BLOCK, local_params
from pyro_vae.elbo.scores import block_noise, observed_block
from pyro_vae.errors import InputError, shown
from pyro_vae.metrics.chunking import bytes_of
from pyro_vae.metrics.encodings import evaluating, univariate
from pyro_vae.metrics.particles import Arguments, Particles, rows_of
from pyro_vae.metrics.reliability import Reliability
from pyro_vae.noise import fixed_noise, noise
from pyro_vae.vae import VAE

__all__ = ["Bounds", "importance_bound"]

_CACHED = 32_000_000
"""Bytes that a pass on a processor makes: larger tensors leave its caches, and free memory goes
back to the system each time."""


_DRAWN = 20
"""Particles of a block that are drawn together, however many are wanted."""

_LOWEST = 5
"""Images that are named."""


class Bounds(NamedTuple):
    """Importance-weighted bounds per image, in nats, float64 (N,).

    Attributes:
        observed: Of log p(x), x as the observation takes it.
        mass: Of the log-mass of the image's levels, where a density has it, else None.
        reliable: How far the weights behind ``observed`` can be relied on.
    """

    observed: Tensor
    mass: Tensor | None
    reliable: Reliability


def checked_particles(iwae: object) -> int:
    """A number of particles.

    Raises:
        InputError: If it is not a positive integer.
    """
    if isinstance(iwae, bool) or not isinstance(iwae, Integral) or not 1 <= int(iwae) < 10**6:
        raise InputError(
            "iwae must be a positive integer up to 999,999, the number of particles; got "
            f"{shown(iwae)}"
        )
    return int(iwae)


def importance_bound(
    vae: VAE, images: Loaded, iwae: int, memory_budget: str | int = "512MB", mass: bool = False
) -> Bounds:
    r"""The importance-weighted bound (Burda, Grosse and Salakhutdinov 2016).

    .. math:: \log p(x) \ge E\Big[\log \frac1K \sum_{k=1}^K \frac{p(x|z_k)\,p(z_k)}{q(z_k|x)}\Big],
        \qquad z_k \sim q(z|x)

    Weights are those of the programs, of all their sites. Particles are drawn in fixed numbers for
    fixed blocks of images, so that neither the budget nor what else is asked for changes them, and
    the first of K are those of any smaller K.

    Args:
        vae: The model.
        images: Levels (uint8) or floats, (N, *data_shape).
        iwae: K, the number of particles.
        memory_budget: What decoding may take: bytes, or such as ``"512MB"``. A processor takes no
            more than 32 MB, as it is slower then, unless one image needs them.
        mass: Whether to bound the levels' mass, too; see ``log_level_mass``.

    Raises:
        InputError: If K is no positive integer, or the budget too small for one image.
    """
    checked_particles(iwae)
    budget = bytes_of(memory_budget)
    with evaluating(vae), local_params():
        with block_noise(0, images.device):
            x, seen = observed_block(vae, images[:1])
        program = Particles(vae.model, vae.guide, (x,), (seen,), 1)
        each = program.bytes_per_image() * (2 if mass else 1)
        if each > budget:
            raise InputError(
                f"memory-budget must be at least {each / 1e6:.3g}MB, what one image takes here; "
                f"got {memory_budget}"
            )
        if images.device.type == "cpu":
            budget = max(each, min(budget, _CACHED))
            # glibc hands memory back to the system at every pass until so large a block was freed.
            torch.empty(31 << 20, dtype=torch.uint8)
        parts = [
            _block_bounds(vae, program, part, number, iwae, budget // each, mass)
            for number, part in enumerate(images.split(BLOCK))
        ]
    masses = [part.mass for part in parts if part.mass is not None]
    observed = torch.cat([part.observed for part in parts])
    return Bounds(
        observed,
        torch.cat(masses) if len(masses) == len(parts) else None,
        Reliability.cat(part.reliable for part in parts),
    )


def _block_bounds(
    vae: VAE,
    program: Particles,
    images: Loaded,
    number: int,
    particles: int,
    at_once: int,
    mass: bool,
) -> Bounds:
    """Bounds of a block, ``at_once`` pairs of particle and image at a time."""
    with block_noise(number, images.device):
        x, seen = observed_block(vae, images)

    def weights(trace: Trace, log_p: dict[str, Tensor], rows: slice) -> Tensor | None:
        """Log-mass less log-density of the observed levels."""
        (observed,) = (name for name in log_p if name not in program.terms.latents)
        levels = log_level_mass(vae, trace.nodes[observed]["fn"], plain(images)[rows])
        return None if levels is None else levels.double() - log_p[observed]

    further = weights if mass and len(program.terms.observed) == 1 else None
    found, masses = log_weights(program, (x,), (seen,), particles, at_once, number, further)
    mean = None if masses is None else log_mean(masses)
    return Bounds(log_mean(found), mean, Reliability.of(found))


def log_mean(weights: Tensor) -> Tensor:
    """The bound of each image from log-weights (K, rest, N): summed over the rest."""
    return (weights.logsumexp(0) - math.log(len(weights))).sum(0)


Further = Callable[[Trace, dict[str, Tensor], slice], "Tensor | None"]
"""(the model's trace, its log-densities, images) → what to add to the log-weights."""


def log_weights(
    program: Particles,
    given: Arguments,
    seen: Arguments,
    particles: int,
    at_once: int,
    number: int,
    further: Further | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Log-weights log p(x, z) − log q(z|x) of particles and images.

    Args:
        program: The model and the guide.
        given: The model's arguments for all images, ``program``'s first among them.
        seen: The guide's.
        particles: K.
        at_once: Pairs of particle and image that the model is run for at a time.
        number: Of the block that these images are, for its noise.
        further: What to add for a second set of weights, or None.

    Returns:
        Float64 (K, rest, N), and the second set, or None where there is none.
    """
    count = len(next(value for value in seen if isinstance(value, Tensor | Batch)))
    few = min(count, at_once)
    step = max(1, at_once // few)
    weights: list[Tensor] = []
    others: list[Tensor] | None = None if further is None else []
    for draw, first in enumerate(range(0, particles, _DRAWN)):
        with fixed_noise(noise("particles", block=(number, draw)), _device(seen)):
            # As many as are always drawn, so that the first of them are those of a smaller number.
            drawn = program.guide(seen, _DRAWN)
        wanted = min(_DRAWN, particles - first)
        for start in range(0, wanted, step):
            some = slice(start, min(start + step, wanted))
            parts, more = [], []
            for row in range(0, count, few):
                rows = slice(row, row + few)
                trace, log_p = program.model(drawn, some, rows, rows_of(given, count, rows))
                parts.append(sum(log_p.values()) - program.log_q(drawn, some, rows))
                if further is not None and others is not None:
                    added = further(trace, log_p, rows)
                    others = None if added is None else others
                    more += [] if added is None else [parts[-1] + added]
            weights.append(torch.cat([program.arranged(part) for part in parts], -1))
            if others is not None:
                others.append(torch.cat([program.arranged(part) for part in more], -1))
    return torch.cat(weights), torch.cat(others) if others else None


def _device(arguments: Arguments) -> torch.device:
    return next(value.device for value in arguments if isinstance(value, Tensor | Batch))


def log_level_mass(vae: VAE, p: Distribution, levels: Tensor) -> Tensor | None:
    r"""Log of the mass that a density gives to each image's own levels, summed over pixels.

    .. math:: \sum_d \log [F_d(e_{k_d+1}) - F_d(e_{k_d})],
        \qquad e_k = a + (b - a)\,\frac{k}{256}

    for data on [a, b]. What lies outside [a, b] is given to no level. By Jensen's inequality the
    log-density at dequantised levels, minus D log(256/(b − a)), is below this on average.

    Args:
        vae: The model, for its interval and shape.
        p: p(x|z), batch_shape (..., N).
        levels: uint8 (N, *data_shape).

    Returns:
        Shape (..., N), in nats; None where p has neither an interval mass nor a cdf.
    """
    base = univariate(p, vae.data_shape)
    if base is None:
        return None
    low, high = vae.obs.interval
    k = levels.to(torch.float32)
    lo, hi = (low + (high - low) * edge / 256 for edge in (k, k + 1))
    mass = _interval(base, lo, hi)
    if mass is None or not bool(torch.isfinite(mass).all()):
        return None
    dims = len(vae.data_shape)
    return mass.flatten(mass.dim() - dims).sum(-1)


def _interval(base: Distribution, lo: Tensor, hi: Tensor) -> Tensor | None:
    try:
        return log_interval_mass(base, lo, hi)
    except TypeError:
        pass
    try:
        support: Any = base.support
        if support.is_discrete:  # levels of its own, not bins
            return None
        twin = in_float64(base)
        mass: Tensor = twin.cdf(hi.double()) - twin.cdf(lo.double())
    except NotImplementedError:
        return None
    return mass.log()


def lowest(values: Tensor) -> list[dict[str, float | int]]:
    """The five images that a model finds least likely: mistakes in the data are among them.

    Args:
        values: Nats of each image, (N,).

    Returns:
        Of each, ``image``, which of them it is, and its ``nats``; the lowest first.

    Example:
        >>> lowest(torch.tensor([-2.0, -9.0]))
        [{'image': 1, 'nats': -9.0}, {'image': 0, 'nats': -2.0}]
    """
    order = values.argsort(stable=True)[:_LOWEST].tolist()
    return [{"image": i, "nats": float(values[i])} for i in order]


def standard_error(values: Tensor) -> float | None:
    """Of the mean of values (N,), None for one value."""
    return float(values.double().std() / math.sqrt(len(values))) if len(values) > 1 else None
