"""Log-mass of narrow intervals, family by family, without subtracting rounded cdfs."""

import math
from collections.abc import Callable
from typing import TypeVar, cast

import torch
from pyro.distributions import Logistic
from torch import Tensor
from torch.distributions import Beta, Distribution, Laplace, MixtureSameFamily, Normal
from torch.nn.functional import logsigmoid, softplus

from pyro_vae.distributions.continuous_bernoulli import ContinuousBernoulli
from pyro_vae.distributions.kumaraswamy import Kumaraswamy
from pyro_vae.distributions.logit_normal import LogitNormal
from pyro_vae.distributions.special import (
    gauss_legendre,
    gaussian_interval,
    log1mexp,
    log_beta,
    log_beta_cdf,
    log_beta_power,
    widened,
)
from pyro_vae.distributions.truncated_normal import TruncatedNormal

__all__ = ["log_interval_mass", "register_interval_mass"]

_BLOCK = 16  # levels at a time, so that temporaries stay small beside the masses themselves
_STEPS = 200  # of a continued fraction that shapes of 10,000 need
IntervalMass = Callable[[Distribution, Tensor, Tensor], Tensor]
D = TypeVar("D", bound=Distribution)
_FAMILIES: dict[type[Distribution], IntervalMass] = {}


def register_interval_mass(
    family: type[D],
) -> Callable[[Callable[[D, Tensor, Tensor], Tensor]], Callable[[D, Tensor, Tensor], Tensor]]:
    """Decorator that makes a function the interval mass of a family and its subclasses.

    Args:
        family: A class of univariate densities.

    Returns:
        A decorator for a function of a distribution, lower and upper ends, with the contract of
        :func:`log_interval_mass`.
    """

    def register(
        function: Callable[[D, Tensor, Tensor], Tensor],
    ) -> Callable[[D, Tensor, Tensor], Tensor]:
        _FAMILIES[family] = cast(IntervalMass, function)  # called with its own family's only
        return function

    return register


def log_interval_mass(base: Distribution, lo: Tensor, hi: Tensor) -> Tensor:
    r"""Log of the mass between two points, :math:`\log[F(hi) - F(lo)]`, in nats.

    Finite, with finite gradients, wherever ``lo < hi``, in the far tails too.

    Args:
        base: A distribution of one of the registered families: Normal, TruncatedNormal, Logistic,
            Laplace, Kumaraswamy, LogitNormal, ContinuousBernoulli, Beta, or a mixture of one.
        lo: Lower ends, of any shape that broadcasts with the batch; minus infinity for none.
        hi: Upper ends, of the same kind; plus infinity for none. Not both infinite.

    Returns:
        A tensor of the shape to which the ends and the batch broadcast.

    Raises:
        TypeError: If the family is not registered.

    Example:
        >>> from pyro.distributions import Normal
        >>> lo = torch.tensor([0.0, 20.0])
        >>> log_interval_mass(Normal(0.0, 1.0), lo, lo + 1)
        tensor([  -1.0749, -203.9172])
    """
    return _interval_mass(base)(base, lo, hi)


def check_family(base: Distribution) -> None:
    """Raise TypeError unless ``base``, or the components of a mixture, have an interval mass."""
    _interval_mass(base)
    if isinstance(base, MixtureSameFamily):
        _interval_mass(base.component_distribution)


def _interval_mass(base: Distribution) -> IntervalMass:
    for family in type(base).__mro__:
        if family in _FAMILIES:
            return _FAMILIES[family]
    names = ", ".join(sorted(family.__name__ for family in _FAMILIES))
    raise TypeError(
        f"no interval mass for {type(base).__name__}: registered are {names}; "
        "register_interval_mass adds one"
    )


def _finite(lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ends with a stand-in for the infinite ones, and which these are."""
    below, above = lo == -math.inf, hi == math.inf
    return torch.where(below, hi - 1, lo), torch.where(above, lo + 1, hi), below, above


@register_interval_mass(Normal)
def _normal(base: Normal, lo: Tensor, hi: Tensor) -> Tensor:
    lo, hi, below, above = _finite(lo, hi)
    lower, upper = (lo - base.loc) / base.scale, (hi - base.loc) / base.scale
    anchor, rest = gaussian_interval(lower, upper, (hi - lo) / base.scale, below, above)
    return rest - 0.5 * anchor.square()


@register_interval_mass(TruncatedNormal)
def _truncated_normal(base: TruncatedNormal, lo: Tensor, hi: Tensor) -> Tensor:
    return base.log_mass(lo.clamp(min=base.low), hi.clamp(max=base.high))


@register_interval_mass(LogitNormal)
def _logit_normal(base: LogitNormal, lo: Tensor, hi: Tensor) -> Tensor:
    below, above = lo <= 0, hi >= 1
    lo, hi = torch.where(below, 0.5 * hi, lo), torch.where(above, 0.5 * (lo + 1), hi)
    lower = (lo.log() - torch.log1p(-lo) - base.loc) / base.scale
    upper = (hi.log() - torch.log1p(-hi) - base.loc) / base.scale
    width = torch.log1p((hi - lo) / lo) + torch.log1p((hi - lo) / (1 - hi))
    anchor, rest = gaussian_interval(lower, upper, width / base.scale, below, above)
    return rest - 0.5 * anchor.square()


@register_interval_mass(Logistic)
def _logistic(base: Logistic, lo: Tensor, hi: Tensor) -> Tensor:
    lo, hi, below, above = _finite(lo, hi)
    up_to_hi = torch.where(above, 0.0, logsigmoid((hi - base.loc) / base.scale))
    from_lo = torch.where(below, 0.0, logsigmoid((base.loc - lo) / base.scale))
    between = torch.where(below | above, 0.0, log1mexp((hi - lo) / base.scale))
    return up_to_hi + from_lo + between


@register_interval_mass(Laplace)
def _laplace(base: Laplace, lo: Tensor, hi: Tensor) -> Tensor:
    lo, hi, below, above = _finite(lo, hi)
    lower, upper = (lo - base.loc) / base.scale, (hi - base.loc) / base.scale
    left, right = (upper <= 0) & ~above, (lower >= 0) & ~below
    open_tail = below | above
    near_end = torch.where(left, -upper, torch.where(right, lower, 0.0))
    tail = -math.log(2) - near_end + torch.where(open_tail, 0.0, log1mexp((hi - lo) / base.scale))
    astride = ~(left | right)
    lost_below = torch.where(below, -1.0, torch.expm1(torch.where(astride & ~below, lower, -1.0)))
    lost_above = torch.where(above, -1.0, torch.expm1(torch.where(astride & ~above, -upper, -1.0)))
    return torch.where(astride, (-0.5 * (lost_below + lost_above)).log(), tail)


@register_interval_mass(Kumaraswamy)
def _kumaraswamy(base: Kumaraswamy, lo: Tensor, hi: Tensor) -> Tensor:
    r"""With L = log(1 - x^a): b L(lo) + log(1 - exp(-b [L(lo) - L(hi)])).

    The difference is log1p(v), v = expm1(a log(hi / lo)) lo^a / (1 - hi^a), formed in log v.
    """
    a, b = base.concentration1, base.concentration0
    below, above = lo <= 0, hi >= 1
    lo, hi = torch.where(below, 0.5 * hi, lo), torch.where(above, 0.5 * (lo + 1), hi)
    depth_hi = -a * hi.log()
    survival = b * log1mexp(-a * lo.log())
    rise = log1mexp(a * torch.log1p((hi - lo) / lo)) - depth_hi - log1mexp(depth_hi)
    inside = survival + _log1mexp_of_log(b.log() + _log_softplus(rise))
    to_hi = _log1mexp_of_log(b.log() + _log_softplus(-depth_hi - log1mexp(depth_hi)))
    return torch.where(below, to_hi, torch.where(above, survival, inside))


def _log_softplus(x: Tensor) -> Tensor:
    """log(log(1 + exp(x))), also where exp(x) underflows."""
    small = x < -20
    near = torch.where(small, 0.0, x)
    return torch.where(small, x - 0.5 * x.clamp(max=-20.0).exp(), softplus(near).log())


def _log1mexp_of_log(log_x: Tensor) -> Tensor:
    """log(1 - exp(-x)) from log x, also where x under- or overflows."""
    small = log_x < -20
    x = torch.where(small, 0.0, log_x).clamp(max=50.0).exp()
    return torch.where(small, log_x - 0.5 * log_x.clamp(max=-20.0).exp(), log1mexp(x))


@register_interval_mass(ContinuousBernoulli)
def _continuous_bernoulli(base: ContinuousBernoulli, lo: Tensor, hi: Tensor) -> Tensor:
    """An interval of a truncated exponential is one too, ``width`` times as steep."""
    rising = base.logits > 0
    falling = torch.where(rising, -base.logits, base.logits)
    lo, hi = lo.clamp(min=0.0), hi.clamp(max=1.0)
    width, depth = hi - lo, torch.where(rising, 1 - hi, lo)
    whole = ContinuousBernoulli(logits=falling, validate_args=False)
    inside = ContinuousBernoulli(logits=falling * width, validate_args=False)
    return whole.log_prob(depth) - inside.log_prob(torch.zeros_like(depth)) + width.log()


@register_interval_mass(Beta)
def _beta(base: Beta, lo: Tensor, hi: Tensor) -> Tensor:
    """Of any width: by quadrature where it is narrow, else by the cdf on both sides."""
    a, b, lo, hi = torch.broadcast_tensors(
        base.concentration1, base.concentration0, lo.clamp(min=0.0), hi.clamp(max=1.0)
    )
    width = hi - lo
    wide = (width > 1 / 64) & (width < 1)
    near_lo, near_hi = torch.where(wide, 0.25, lo), torch.where(wide, 0.25 + 1 / 256, hi)
    narrow = narrow_beta(base, near_lo, near_hi)
    lo, hi = torch.where(wide, lo, 0.25), torch.where(wide, hi, 0.5)
    return torch.where(wide, _wide_beta(widened(a), widened(b), lo, hi).to(a.dtype), narrow)


def _wide_beta(a: Tensor, b: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
    """By the smaller of the masses below and above, or as what both leave."""
    lo, hi = lo.to(a), hi.to(a)
    at_start, at_end = lo <= 0, hi >= 1
    inner_lo, inner_hi = (
        torch.where(at_start, 0.5 * hi, lo),
        torch.where(at_end, 0.5 + 0.5 * lo, hi),
    )
    mean = a / (a + b)
    below_lo, below_hi = (log_beta_cdf(a, b, x, _STEPS) for x in (inner_lo, inner_hi))
    above_lo, above_hi = (log_beta_cdf(b, a, 1 - x, _STEPS) for x in (inner_lo, inner_hi))

    def less(whole: Tensor, part: Tensor, chosen: Tensor) -> Tensor:
        drop = torch.where(chosen, whole - part, 1.0)
        return torch.where(chosen, whole, 0.0) + log1mexp(drop.clamp(min=1e-300))

    left = ~at_start & ~at_end & (inner_hi <= mean)
    right = ~at_start & ~at_end & ~left & (inner_lo >= mean)
    astride = ~(at_start | at_end | left | right)
    outside = (
        torch.where(astride, below_lo, -1.0).exp() + torch.where(astride, above_hi, -1.0).exp()
    )
    middle = torch.log1p(-torch.where(astride, outside, 0.5))
    inside = torch.where(
        left,
        less(below_hi, below_lo, left),
        torch.where(right, less(above_lo, above_hi, right), middle),
    )
    return torch.where(at_start, below_hi, torch.where(at_end, above_lo, inside))


def narrow_beta(base: Beta, lo: Tensor, hi: Tensor) -> Tensor:
    """Bins at 0 and 1 by the cdf; others, up to a width of about 1/64, by Gauss-Legendre.

    Of a bin in which the density rises too steeply for the nodes, the last 20 nats (40 in float64):
    what lies below has e**-20 of the mass.
    """
    mirrored = lo >= 0.5  # distances from the nearer end keep their digits
    a = torch.where(mirrored, base.concentration0, base.concentration1)
    b = torch.where(mirrored, base.concentration1, base.concentration0)
    lo, hi = torch.where(mirrored, 1 - hi, lo), torch.where(mirrored, 1 - lo, hi)
    below, whole = lo <= 0, (lo <= 0) & (hi >= 1)
    # The terms of both are large and cancel: in float32 all masses would sum to 1 to 1.3e-6 only.
    wide_a, wide_b = widened(a), widened(b)
    steps = None if a.dtype == torch.float64 else 10
    edge = log_beta_cdf(wide_a, wide_b, torch.where(below & ~whole, hi, 0.5).to(wide_a), steps)

    lo, hi = torch.where(below, 0.25, lo), torch.where(below, 0.25 + 1 / 256, hi)
    rise = 40.0 if a.dtype == torch.float64 else 20.0
    rate = (a.detach() - 1) / hi - (b.detach() - 1) / (1 - hi)
    lo = torch.maximum(lo, hi - rise / rate.clamp(min=rise))
    width, middle = hi - lo, 0.5 * (lo + hi)
    nodes, weights = gauss_legendre(16 if a.dtype == torch.float64 else 8, a)
    step = (width.unsqueeze(-1)) * (nodes - 0.5)
    log_x = torch.log1p(step / middle.unsqueeze(-1))
    log_rest = torch.log1p(-step / (1 - middle).unsqueeze(-1))
    ratio = (a.unsqueeze(-1) - 1) * log_x + (b.unsqueeze(-1) - 1) * log_rest + weights.log()
    wide = middle.to(wide_a)
    density = log_beta_power(wide_a, wide_b, wide) - wide.log() - torch.log1p(-wide)
    inside = (density + width.log()).to(a.dtype) + ratio.logsumexp(-1)
    return torch.where(whole, 0.0, torch.where(below, edge.to(a.dtype), inside))


def beta_log_masses(base: Beta, levels: int) -> Tensor:
    """Log-masses of equal bins of [0, 1], of all at once.

    As :func:`log_interval_mass`, but where the nodes are the same for every element their
    logarithms are taken once and the exponents are a matrix product.

    Args:
        base: Any number of Beta distributions.
        levels: Number of bins, at least 64.

    Returns:
        Shape (levels, *batch_shape), in nats.
    """
    a, b = base.concentration1, base.concentration0
    powers = torch.stack([a.flatten() - 1, b.flatten() - 1, torch.ones_like(a).flatten()])
    wide_a, wide_b = a.double().flatten(), b.double().flatten()
    first = torch.arange(1, levels - 1, dtype=torch.float64, device=a.device)[:, None] / levels
    nodes, weights = gauss_legendre(16 if a.dtype == torch.float64 else 8, wide_a)
    middle = first + 0.5 / levels
    step = (nodes - 0.5) / levels
    rise, fall = torch.log1p(step / middle), torch.log1p(-step / (1 - middle))
    table = torch.stack([rise, fall, weights.log().expand_as(rise)], -1).to(a.dtype)
    # Bins that a steep density rises in by more than this hold nothing that counts.
    ratio = [
        (rows.flatten(0, 1) @ powers).clamp(max=80).exp().unflatten(0, rows.shape[:2]).sum(1).log()
        for rows in table.split(_BLOCK)
    ]
    logs = torch.cat([middle.log(), torch.log1p(-middle)], 1)
    density = logs @ torch.stack([wide_a - 1, wide_b - 1]) - log_beta(wide_a, wide_b)
    inside = density - math.log(levels) + torch.cat(ratio)
    edge = wide_a.new_tensor(1 / levels)
    ends = log_beta_cdf(wide_a, wide_b, edge), log_beta_cdf(wide_b, wide_a, edge)
    whole = torch.cat([ends[0][None], inside, ends[1][None]])
    return whole.to(a.dtype).reshape(levels, *a.shape)


@register_interval_mass(MixtureSameFamily)
def _mixture(base: MixtureSameFamily, lo: Tensor, hi: Tensor) -> Tensor:
    logits = base.mixture_distribution.logits.log_softmax(-1)
    component = base.component_distribution
    masses = log_interval_mass(component, lo.unsqueeze(-1), hi.unsqueeze(-1))
    return (logits + masses).logsumexp(-1)
