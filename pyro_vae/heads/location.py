"""Which parameters of a family say where on the data's range it lies: asked of its density."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.constraints import Constraint

from pyro_vae import links
from pyro_vae.heads.families import Family, attribute
from pyro_vae.heads.param import Param

__all__: list[str] = []

Parameters = Mapping[str, Param]

_POINTS = (0.2, 0.5, 0.7)
_FROM, _BY = 0.3, 0.1
_TOLERANCE = 1e-3


def example(family: Family, parameters: Parameters, **values: Tensor) -> Distribution:
    """The family's distribution at raw output 0, by the parameters' or their constraints' links.

    Args:
        family: The family.
        parameters: Of a head.
        **values: Values to take instead.
    """
    found: Distribution = family(
        **{**{name: _at_zero(family, name, p) for name, p in parameters.items()}, **values}
    )
    return found


def _at_zero(family: Family, name: str, param: Param) -> Tensor:
    if not isinstance(param.scope, str):
        return torch.full(param.shape or (), float(param.scope or 0.0))
    constraint = attribute(family, "arg_constraints", {}).get(name)
    link = links.make(param.link, constraint, floor=param.floor_or_default())
    zeros = torch.zeros(param.shape or ())
    return zeros if link is None else link(zeros)


def is_location(family: Family, parameters: Parameters, name: str) -> bool:
    r"""Whether moving a parameter moves the density by as much along the data's axis.

    .. math:: p(x + d; \theta + d) \propto p(x; \theta)

    on a support that stays where it is, the real line or an interval. So the ``loc`` of a Normal
    or of a truncated one is a location, and that of a LogNormal, of a logit-normal or of a Pareto's
    lower end is none, whatever its name.

    Args:
        family: The family.
        parameters: Of a head.
        name: One of them.
    """
    constraint = attribute(family, "arg_constraints", {}).get(name)
    if name not in parameters or _base(constraint) is not constraints.real:
        return False
    try:
        with torch.device("cpu"):  # whose values can be looked at, wherever a module is made
            return _moves(family, parameters, name)
    except Exception:  # it refuses its parameters, which build() says in words
        return False


def _moves(family: Family, parameters: Parameters, name: str) -> bool:
    shape = parameters[name].shape or ()
    low, high = bounds_of(example(family, parameters).support)
    if math.isinf(low) != math.isinf(high):
        return False
    start, width = (0.0, 1.0) if math.isinf(low) else (low, high - low)
    here, there = (
        example(family, parameters, **{name: torch.full(shape, start + share * width)})
        for share in (_FROM, _FROM + _BY)
    )
    if not (low, high) == bounds_of(here.support) == bounds_of(there.support):
        return False
    return _alike(here, there, start, width)


def _alike(here: Distribution, there: Distribution, start: float, width: float) -> bool:
    """Whether log-densities differ by a constant between points as far apart as the two are."""
    shape = here.batch_shape + here.event_shape
    gaps, largest = [], 1.0
    for point in _POINTS:
        x = torch.full(shape, start + point * width)
        try:
            before, after = here.log_prob(x), there.log_prob(x + _BY * width)
        except NotImplementedError:  # its support must do
            return here.support is constraints.real
        gaps.append(after - before)
        largest = max(largest, float(before.abs().max()))
    among = torch.stack(gaps)
    return bool((among.amax(0) - among.amin(0)).max() <= _TOLERANCE * largest)


def bounds_of(support: Constraint | None) -> tuple[float, float]:
    """The ends of a continuous support, infinite where it has none.

    Raises:
        ValueError: If it is discrete, or no interval of the real line.
    """
    base = _base(support)
    if base is constraints.real:
        return -math.inf, math.inf
    low, high = getattr(base, "lower_bound", None), getattr(base, "upper_bound", None)
    if base is None or base.is_discrete or (low is None and high is None):
        raise ValueError(f"{support} is no interval")
    return (
        -math.inf if low is None else float(low),
        math.inf if high is None else float(high),
    )


def _base(constraint: Constraint | None) -> Constraint | None:
    """The constraint of one number."""
    while isinstance(constraint, constraints.independent):
        constraint = constraint.base_constraint
    return constraint
