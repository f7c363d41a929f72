"""Curvature: the Gaussian that an observation is to second order, at the data's mean image."""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import pyro
import torch
from torch import Tensor

from pyro_vae.forecasting.spectra import Covariance
from pyro_vae.heads import BuiltHead, Param
from pyro_vae.heads.families import Whole

__all__: list[str] = []

_REACH = 1e4
_BISECTIONS = 60


class Curvature(NamedTuple):
    """What an observation is near the best constant prediction.

    Attributes:
        precision: Of each number of an image, (D,): 1/σ² for a Gaussian; 0 where there is none.
        quadratic: Whether it is a Gaussian everywhere, not to second order only.
        learned_spread: Whether its spread follows the errors, so that its precision is not fixed.
        one_learned_spread: Whether it is a Gaussian with one learned σ.
        floor: Smallest value of a learned scale.
    """

    precision: Tensor
    quadratic: bool
    learned_spread: bool
    one_learned_spread: bool
    floor: float

    @property
    def uniform(self) -> bool:
        """Whether all numbers have the same precision."""
        return bool(torch.allclose(self.precision, self.precision[:1], rtol=1e-9, atol=0.0))


def curvature_at(head: BuiltHead, covariance: Covariance) -> Curvature:
    r"""The precision of the Gaussian that an observation is to second order.

    With the raw number r per pixel that fits the mean image, the loss per image is
    :math:`\frac12 H (r' - r)^2 - c\,(x - \bar x)(r' - r)`, a Gaussian of precision
    :math:`c^2 / H`: :math:`1/\sigma^2` for a Normal, :math:`1/(\theta(1 - \theta))` for
    cross-entropy. H and c are the differences of the score over small steps in r and over one
    standard deviation of the pixel in x; of a location, also in r, so that a corner (Laplace)
    has a curvature.

    Args:
        head: The observation, built.
        covariance: The data's, in its unit.
    """
    scales = [param for name, param in head.head.parameters if name == head.scale]
    following = [param for param in scales if param.origin in ("learned", "residual")]
    per_pixel = not head.site_event or isinstance(head.head.family, Whole)
    single = per_pixel and head.grid_numbers == math.prod(head.data_shape)
    floor = max((head.head.floor(param) * head.head.unit for param in following), default=0.0)
    none = Curvature(torch.zeros_like(covariance.mean), False, True, False, floor)
    if not single:
        return none
    try:
        return _measured(_with_free_location(head), covariance, following, floor)
    except RuntimeError:  # some families compute in float32 only
        return none


def _measured(
    head: BuiltHead, covariance: Covariance, following: list[Param], floor: float
) -> Curvature:
    mean, spread = covariance.mean, covariance.variance.sqrt()
    # A family need not know what to say of values that no image has.
    below, above = ((mean + d).clamp(covariance.low, covariance.high) for d in (-spread, spread))
    with pyro.validation_enabled(False):
        raw = _fitting(head, mean)
        step = torch.full_like(mean, 1e-3)
        if head.location in head.links:
            reach = (_fitting(head, above) - _fitting(head, below)) / 2
            step = torch.where(reach > 0, reach, step)
        moved = (_score(head, raw - step, mean) - _score(head, raw + step, mean)) / (2 * step)
        varied = _score(head, raw, above) - _score(head, raw, below)
        precision = (varied / (above - below)).square() / moved
        precision = torch.where((moved > 0) & precision.isfinite(), precision, 0.0)
        quadratic = _is_quadratic(head, below, mean, above)
    if quadratic:
        precision = _score(head, mean - 1, mean)
    shared = all(param.scope in ("dataset", "batch") for param in following)
    return Curvature(precision, quadratic, bool(following), quadratic and shared, floor)


def _with_free_location(head: BuiltHead) -> BuiltHead:
    """A copy on the CPU, in double precision, whose location is the raw number itself."""
    head = copy.deepcopy(head).cpu().double()
    head.offset = None
    if head.location is not None and head.location in head.links:
        head.links = {**head.links, head.location: lambda raw: raw}
    return head


def _score(head: BuiltHead, raw: Tensor, x: Tensor) -> Tensor:
    """Derivative of log p(x) by each pixel's raw number, (D,)."""
    raw = raw.detach().requires_grad_(True)
    with torch.enable_grad():
        numbers = torch.cat([raw, raw.new_zeros(head.image_numbers)])
        log_prob = head(numbers).log_prob(x.view(head.data_shape))
        (score,) = torch.autograd.grad(log_prob.sum(), raw)
    return score


def _fitting(head: BuiltHead, mean: Tensor) -> Tensor:
    """The raw number of each pixel at which its score vanishes, by bisection."""
    low, high = torch.full_like(mean, -_REACH), torch.full_like(mean, _REACH)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        up = _score(head, middle, mean) > 0
        low, high = torch.where(up, middle, low), torch.where(up, high, middle)
    return (low + high) / 2


def _is_quadratic(head: BuiltHead, *probes: Tensor) -> bool:
    """Whether the score is proportional to x − r wherever it is probed."""
    if head.location not in head.links:
        return False
    unit = _score(head, probes[0] - 1, probes[0])
    return all(
        torch.allclose(_score(head, x - distance, x), distance * unit, rtol=1e-5)
        for x, distance in zip(probes, (0.5, 2.0, -1.0), strict=True)
    )
