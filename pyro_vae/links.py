r"""Links: transforms from raw network output to a parameter's constrained range."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from pyro.distributions.transforms import SoftplusLowerCholeskyTransform
from torch import Tensor
from torch.distributions import constraints, transform_to
from torch.distributions.constraints import Constraint
from torch.distributions.transforms import (
    AffineTransform,
    ExpTransform,
    Transform,
    identity_transform,
)
from torch.nn.functional import softplus

from pyro_vae.errors import InputError, unknown

__all__: list[str] = []

Link = Callable[[Tensor], Tensor]


class Interval(Transform):
    r"""Sigmoid onto an interval, :math:`a + (b - a)\,\mathrm{sigmoid}(r)`.

    Unlike torch's ``SigmoidTransform`` it is not clipped inside the interval, so that its gradient
    vanishes only where float32 itself does.

    Args:
        low: Lower end a.
        high: Upper end b.

    Example:
        >>> Interval(0.0, 255.0)(torch.tensor(0.0))
        tensor(127.5000)
    """

    domain = constraints.real
    bijective = True
    sign = +1

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    @property
    def codomain(self) -> constraints.Constraint:  # type: ignore[override]
        """The interval."""
        return constraints.interval(self.low, self.high)

    def _call(self, x: Tensor) -> Tensor:
        if (self.low, self.high) == (0.0, 1.0):
            return torch.sigmoid(x)
        return self.low + (self.high - self.low) * torch.sigmoid(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return torch.logit((y - self.low) / (self.high - self.low))

    def saturated(self, value: Tensor) -> float:
        """Share of values within 10⁻⁴ of the interval's width from either end.

        Args:
            value: Any shape, in the interval.
        """
        share = (value.detach() - self.low) / (self.high - self.low)
        return float(((share < 1e-4) | (share > 1 - 1e-4)).float().mean())


class Softplus(Transform):
    r"""Softplus above a floor, :math:`\text{floor} + \log(1 + e^r)`.

    Linear in r for large r, where ``exp`` (torch's own link for positive parameters) overflows at
    r = 100, and never below the floor.

    Args:
        floor: Smallest value, positive.

    Raises:
        InputError: If the floor is not positive and finite.

    Example:
        >>> Softplus(0.001)(torch.tensor([-100.0, 0.0, 100.0]))
        tensor([1.0000e-03, 6.9415e-01, 1.0000e+02])
    """

    domain = constraints.real
    codomain = constraints.positive
    bijective = True
    sign = +1

    def __init__(self, floor: float) -> None:
        super().__init__()
        self.floor = _checked_floor(floor)

    def _call(self, x: Tensor) -> Tensor:
        return softplus(x) + self.floor

    def _inverse(self, y: Tensor) -> Tensor:
        above = (y - self.floor).clamp_min(torch.finfo(y.dtype).tiny)
        return above + torch.log(-torch.expm1(-above))


class Bounded(Transform):
    r"""Positive values between two bounds, smooth on the logarithmic scale.

    .. math:: \log c = m + h \tanh(r / h),\quad
              m = \tfrac12(\log a + \log b),\ h = \tfrac12(\log b - \log a)

    Near r = 0 it is :math:`e^{m + r}`; it reaches neither bound. It keeps concentrations where
    float32 can evaluate them, without touching the data.

    Args:
        low: Lower bound a, positive.
        high: Upper bound b.

    Example:
        >>> Bounded(0.001, 1000.0)(torch.tensor([-100.0, 0.0, 100.0]))
        tensor([1.0000e-03, 1.0000e+00, 1.0000e+03])
    """

    domain = constraints.real
    bijective = True
    sign = +1

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = _checked_floor(low), high
        self._middle = (math.log(low) + math.log(high)) / 2
        self._half = (math.log(high) - math.log(low)) / 2

    @property
    def codomain(self) -> constraints.Constraint:  # type: ignore[override]
        """The interval between the bounds."""
        return constraints.interval(self.low, self.high)

    def _call(self, x: Tensor) -> Tensor:
        return torch.exp(self._middle + self._half * torch.tanh(x / self._half))

    def _inverse(self, y: Tensor) -> Tensor:
        return self._half * torch.atanh((torch.log(y) - self._middle) / self._half)


def _checked_floor(floor: float) -> float:
    if not (math.isfinite(floor) and floor > 0):
        raise InputError(f"a floor must be positive and finite, got {floor:g}")
    return float(floor)


class _LowerCholesky:
    """Lower-triangular matrices with a diagonal above a floor (an object, so that it pickles)."""

    def __init__(self, floor: float) -> None:
        self.floor = _checked_floor(floor)

    def __call__(self, raw: Tensor) -> Tensor:
        lower: Tensor = SoftplusLowerCholeskyTransform()(raw)
        return lower + self.floor * torch.eye(raw.shape[-1], dtype=raw.dtype, device=raw.device)


NAMES = ("identity", "affine", "sigmoid", "softplus", "exp")
"""Links that go by a name."""


def make(
    link: str | Link | None,
    constraint: Constraint,
    *,
    floor: float,
    interval: tuple[float, float] = (0.0, 1.0),
) -> Link | None:
    """The link of one parameter.

    Args:
        link: A name of ``NAMES``, a transform or function, or None for the constraint's own.
        constraint: The parameter's torch constraint, or None where the family declares none.
        floor: Smallest value of a positive parameter under ``softplus``.
        interval: Where ``sigmoid`` ends, and where ``affine`` has raw 0 and 1.

    Returns:
        A function raw → value; None where neither a link nor a constraint says what it is, or no
        continuous function leads there.

    Raises:
        InputError: If the link's name is unknown or the floor not positive.
    """
    if callable(link):
        return link
    if link is not None:
        table: dict[str, Callable[[], Link]] = {
            "identity": lambda: identity_transform,
            "affine": lambda: _affine(*interval),
            "sigmoid": lambda: Interval(*interval),
            "softplus": lambda: Softplus(floor),
            "exp": ExpTransform,
        }
        if link not in table:
            raise unknown("link", link, table)
        return table[link]()
    if constraint is None:
        return None
    try:
        return _of_constraint(constraint, floor)
    except NotImplementedError:  # a whole number, or what depends on another parameter
        return None


def _affine(low: float, high: float) -> Link:
    return identity_transform if (low, high) == (0.0, 1.0) else AffineTransform(low, high - low)


def _of_constraint(constraint: Constraint, floor: float) -> Link:
    if constraint in (constraints.positive, constraints.nonnegative):
        return Softplus(floor)
    if constraint is constraints.unit_interval:
        return Interval(0.0, 1.0)
    if constraint in (constraints.lower_cholesky, constraints.lower_triangular):
        return _LowerCholesky(floor)
    if isinstance(constraint, constraints.independent):
        return _of_constraint(constraint.base_constraint, floor)
    if constraint is constraints.real:
        return identity_transform
    transform: Link = transform_to(constraint)
    return transform
