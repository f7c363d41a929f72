"""How far importance weights can be relied on, by the shape of their tail."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from pyro.ops.stats import fit_generalized_pareto
from torch import Tensor

from pyro_vae.types import JSON

__all__: list[str] = []

UNRELIABLE = 0.7
"""Pareto shape above which importance weights say little (Vehtari et al. 2024)."""

_TAIL = 25  # particles below which there is no tail to fit


class Reliability(NamedTuple):
    """Of the weights of each image, float64 (N,) on the processor.

    Attributes:
        shapes: Pareto shape k̂; not a number below 25 particles.
        sizes: Effective number of particles.
    """

    shapes: Tensor
    sizes: Tensor

    @classmethod
    def of(cls, log_weights: Tensor) -> Reliability:
        """From log-weights (K, ...)."""
        each = log_weights.flatten(1).cpu()
        sizes = (2 * each.logsumexp(0) - (2 * each).logsumexp(0)).exp()
        if len(each) < _TAIL:
            return cls(torch.full_like(sizes, math.nan), sizes)
        return cls(torch.tensor([pareto_shape(column) for column in each.T]), sizes)

    @classmethod
    def cat(cls, parts: Iterable[Reliability]) -> Reliability:
        """Of all parts."""
        shapes, sizes = zip(*parts, strict=True)
        return cls(torch.cat(shapes), torch.cat(sizes))

    @property
    def scores(self) -> JSON:
        """``pareto_shape``, the median, ``unreliable``, the share above .7, ``effective_size``.

        The shape is None where it is not known, and where the largest weights are all alike.
        """
        known = self.shapes[~self.shapes.isnan()]
        median = float(known.median()) if len(known) else math.nan
        return {
            "pareto_shape": median if math.isfinite(median) else None,
            "unreliable": float((known > UNRELIABLE).double().mean()) if len(known) else None,
            "effective_size": float(self.sizes.mean()),
        }


def pareto_shape(log_weights: Tensor) -> float:
    """k̂ of importance weights, the shape of a generalised Pareto distribution of the largest.

    The tail is the min(K/5, 3√K) largest weights (Vehtari et al. 2024).

    Args:
        log_weights: (K,), K of at least 25.

    Returns:
        k̂; −∞ where the largest weights are all alike.
    """
    count = len(log_weights)
    tail = min(count // 5, math.ceil(3 * math.sqrt(count)))
    ordered = (log_weights.double() - log_weights.max()).exp().sort().values
    excess = ordered[-tail:] - ordered[-tail - 1]
    excess = excess[excess > 0]
    if len(excess) < 5 or float(excess.max() - excess.min()) < 1e-12 * float(ordered[-1]):
        return -math.inf
    shape, _ = fit_generalized_pareto(excess)
    return float(shape)
