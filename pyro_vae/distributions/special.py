"""Scalar functions in log form that torch lacks or that cancel in float32."""

import math

import numpy as np
import torch
from torch import Tensor

__all__: list[str] = []

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)


def _gauss_legendre(count: int) -> tuple[list[float], list[float]]:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return ((nodes + 1) / 2).tolist(), (weights / 2).tolist()


# Plain numbers, so that a compiler meets no numpy.
_GAUSS = {count: _gauss_legendre(count) for count in (6, 8, 16, 40)}


def gauss_legendre(count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes in (0, 1) and weights that sum to 1, in the dtype and on the device of ``like``.

    Args:
        count: Number of nodes: 6, 8, 16 or 40.
        like: Tensor whose dtype and device are taken.

    Returns:
        Two tensors of shape ``(count,)``.
    """
    nodes, weights = _GAUSS[count]
    return like.new_tensor(nodes), like.new_tensor(weights)


def widened(x: Tensor) -> Tensor:
    """In double precision, where the device has it: Apple's have none."""
    return x if x.device.type == "mps" else x.double()


def inside_unit(x: Tensor) -> Tensor:
    """Draws from (0, 1) that were rounded to an end, moved to the nearest number between.

    An end has no density, and no draw of such a family is one. The gradient is that of ``x``.

    Args:
        x: On [0, 1], of any shape.

    Example:
        >>> inside_unit(torch.tensor([0.0, 0.25, 1.0])) == torch.tensor([0.0, 0.25, 1.0])
        tensor([False,  True, False])
    """
    info, drawn = torch.finfo(x.dtype), x.detach()
    return x + (drawn.clamp(info.tiny, 1 - info.eps / 2) - drawn)


def log1mexp(x: Tensor) -> Tensor:
    r"""Stable :math:`\log(1 - e^{-x})` for :math:`x > 0` (Mächler 2012).

    Example:
        >>> log1mexp(torch.tensor([1e-8, 1.0, 50.0]))
        tensor([-1.8421e+01, -4.5868e-01, -1.9287e-22])
    """
    small = x < math.log(2)
    near, far = torch.where(small, x, 1.0), torch.where(small, 1.0, x)
    return torch.where(small, (-torch.expm1(-near)).log(), torch.log1p(-(-far).exp()))


def log_mills(z: Tensor) -> Tensor:
    r"""Log of Mills' ratio :math:`(1 - \Phi(z)) / \varphi(z)` for :math:`z \ge 0`.

    Beyond 10 (50 in float64) the asymptotic series replaces ``erfcx``, whose derivative
    :math:`2 x\,\mathrm{erfcx}(x) - 2 / \sqrt\pi` cancels there.

    Example:
        >>> log_mills(torch.tensor([0.0, 1.0, 1000.0]))
        tensor([ 0.2258, -0.4221, -6.9078])
    """
    limit = 50.0 if z.dtype == torch.float64 else 10.0
    far = z > limit
    near_z, far_z = torch.where(far, 1.0, z), torch.where(far, z, limit)
    t = far_z.reciprocal().square()
    series = torch.ones_like(t)
    for factor in (11, 9, 7, 5, 3, 1):
        series = 1 - factor * t * series
    near = torch.special.erfcx(near_z * math.sqrt(0.5)).log() + 0.5 * math.log(math.pi / 2)
    return torch.where(far, series.log() - far_z.log(), near)


def gaussian_interval(
    lower: Tensor, upper: Tensor, width: Tensor, below: Tensor, above: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Log-mass of a standard normal interval as ``rest - anchor ** 2 / 2``.

    The interval's large exponent is kept apart, so that the ratio of two masses far out in one
    tail can be formed without cancellation. Three branches: both ends in one tail (Mills'
    ratio), zero inside (error functions), narrow (6-node Gauss-Legendre).

    Args:
        lower: Lower ends; ignored where ``below``.
        upper: Upper ends; ignored where ``above``.
        width: ``upper - lower``, given apart because the caller may know it more exactly.
        below: True where the interval is open to minus infinity.
        above: True where the interval is open to plus infinity; not together with ``below``.

    Returns:
        The anchor (distance from zero of the interval's nearest end; 0 where it holds zero, and
        possibly negative where it is narrow) and the rest.
    """
    middle = 0.5 * (lower + upper)
    near_end = torch.where(below | (~above & (middle < 0)), -upper, lower)
    unbounded = below | above
    narrow = ~unbounded & (width < 0.5) & (width * middle.abs() < 1)
    holds_zero = ~narrow & (near_end < 0)
    tail = ~(narrow | holds_zero)

    start = torch.where(tail, near_end, 1.0)
    step = torch.where(tail & ~unbounded, width, 1.0)
    mills = log_mills(start)
    drop = step * (start + 0.5 * step) + mills - log_mills(start + step)
    in_tail = mills - _HALF_LOG_TWO_PI + torch.where(unbounded, 0.0, log1mexp(drop))

    left = torch.where(holds_zero, -near_end, 1.0)
    right = torch.where(holds_zero & ~unbounded, near_end + width, 1.0)
    outside = torch.erfc(left * math.sqrt(0.5)) + torch.where(
        unbounded, 0.0, torch.erfc(right * math.sqrt(0.5))
    )
    around_zero = torch.log1p(-0.5 * outside)

    start = torch.where(narrow, near_end, 0.0)
    step = torch.where(narrow, width, 0.25)
    narrow_log = _log_narrow(start, step)

    anchor = torch.where(holds_zero, 0.0, near_end)
    rest = torch.where(tail, in_tail, torch.where(narrow, narrow_log, around_zero))
    return anchor, rest


def _log_narrow(start: Tensor, width: Tensor) -> Tensor:
    r""":math:`\log \int_0^w \varphi(a + s) / e^{-a^2/2} ds` for small :math:`w` and :math:`a w`."""
    nodes, weights = _GAUSS[6]
    half, middle = 0.5 * width, start + 0.5 * width
    total = torch.zeros_like(width)
    for node, weight in zip(nodes[3:], weights[3:], strict=True):
        s = width * (node - 0.5)
        total = total + 2 * weight * (-0.5 * s * s).exp() * (middle * s).cosh()
    return width.log() - _HALF_LOG_TWO_PI - half * (start + 0.5 * half) + total.log()


def log_beta(a: Tensor, b: Tensor) -> Tensor:
    r"""Log of the beta function, without the cancellation of three ``lgamma``.

    .. math:: \log B(a, b) = \log\Gamma(a) + \log\Gamma(b) - \log\Gamma(a + b)

    Args:
        a: Positive tensor.
        b: Positive tensor, broadcastable with ``a``.

    Returns:
        A tensor of the broadcast shape; in float32 right to about 1e-6 plus 2e-7 of its value.

    Example:
        >>> log_beta(torch.tensor([2.0, 1e4]), torch.tensor([3.0, 1e4]))
        tensor([-2.4849e+00, -1.3866e+04])
    """
    return log_beta_excess(a, b) - a * torch.log1p(b / a) - b * torch.log1p(a / b)


def log_beta_excess(a: Tensor, b: Tensor) -> Tensor:
    r""":math:`\log B(a, b) - a \log\mu - b \log(1 - \mu)`, :math:`\mu = a / (a + b)`.

    Above 4 (8 in float64) by Stirling's series, whose large terms cancel here on paper
    (DiDonato & Morris 1992, ``betaln`` and ``algdiv``).
    """
    limit = 8.0 if a.dtype == torch.float64 or b.dtype == torch.float64 else 4.0
    less = a <= b  # of equal ones torch.minimum takes half of each, of a second derivative as well
    p, q = torch.where(less, a, b), torch.where(less, b, a)
    both, one = p >= limit, q >= limit
    one_only = one & ~both

    low_p, low_q = torch.where(one, 1.0, p), torch.where(one, 1.0, q)
    direct = torch.lgamma(low_p) + torch.lgamma(low_q) - torch.lgamma(low_p + low_q)
    direct = direct + low_p * torch.log1p(low_q / low_p) + low_q * torch.log1p(low_p / low_q)

    low_p, high_q = torch.where(one_only, p, 1.0), torch.where(one_only, q, limit)
    mixed = torch.lgamma(low_p) + low_p - low_p * low_p.log() + 0.5 * torch.log1p(low_p / high_q)
    mixed = mixed + stirling_rest(high_q) - stirling_rest(low_p + high_q)

    high_p, high_q = torch.where(both, p, limit), torch.where(both, q, limit)
    large = 0.5 * torch.log1p(high_q / high_p) - 0.5 * high_q.log() + _HALF_LOG_TWO_PI
    large = large + (stirling_rest(high_p) + stirling_rest(high_q) - stirling_rest(high_p + high_q))
    return torch.where(both, large, torch.where(one, mixed, direct))


def stirling_rest(x: Tensor) -> Tensor:
    """``lgamma(x)`` less Stirling's leading terms, for ``x`` of at least 4."""
    inverse = x.reciprocal()
    square = inverse * inverse
    total = torch.zeros_like(x)
    for coefficient in reversed(_STIRLING):
        total = total * square + coefficient
    return total * inverse


def log_beta_power(a: Tensor, b: Tensor, x: Tensor, rest: Tensor | None = None) -> Tensor:
    r""":math:`\log [x^a (1 - x)^b / B(a, b)]`, from the mean outwards.

    The large powers at the mean and the beta function cancel on paper, so that only the distance
    from the mean is rounded: a Beta's log-density is this less :math:`\log x (1 - x)`.

    Args:
        a: Positive tensor.
        b: Positive tensor.
        x: Tensor in (0, 1).
        rest: 1 − x, where the caller knows it more exactly.

    Returns:
        A tensor of the broadcast shape, in nats.

    Example:
        >>> a, b, x = torch.tensor(1e4), torch.tensor(2e4), torch.tensor(0.333)
        >>> log_beta_power(a, b, x)
        tensor(3.4760)
    """
    log_rest = torch.log1p(-x) if rest is None else rest.log()
    distance = x * b - (1 - x if rest is None else rest) * a
    return log_power(a, b, distance, x.log(), log_rest) - log_beta_excess(a, b)


def log_power(a: Tensor, b: Tensor, distance: Tensor, log_x: Tensor, log_rest: Tensor) -> Tensor:
    r""":math:`a \log(x / \mu) + b \log((1 - x) / (1 - \mu))`, :math:`\mu = a / (a + b)`.

    Args:
        a: Tensor, at least 0.
        b: The same, not both 0.
        distance: ``x b − (1 − x) a``, as exactly as the caller knows it: of the two logs' leading
            terms, that cancel, nothing is rounded but this.
        log_x: Log of x, for where the distance is large.
        log_rest: Log of 1 − x, likewise.
    """
    some_a, some_b = torch.where(a > 0, a, 1.0), torch.where(b > 0, b, 1.0)
    up, down = distance / some_a, -distance / some_b
    to_mean = torch.where(
        up > -0.5, torch.log1p(up.clamp(min=-0.6)), log_x + torch.log1p(b / some_a)
    )
    to_rest = torch.where(
        down > -0.5, torch.log1p(down.clamp(min=-0.6)), log_rest + torch.log1p(a / some_b)
    )
    return a * to_mean + b * to_rest


def log_choose_excess(k: Tensor, rest: Tensor) -> Tensor:
    r""":math:`\log\binom{n}{k} + k \log\mu + (n - k) \log(1 - \mu)`, :math:`\mu = k / n`.

    The log-mass of a binomial at its own mean, at most 0; ``rest`` is n − k.
    """
    inner = (k > 0) & (rest > 0)
    a, b = torch.where(inner, k, 1.0), torch.where(inner, rest, 1.0)
    return torch.where(inner, (1 / a + 1 / b).log() - log_beta_excess(a, b), 0.0)


def log_beta_cdf(a: Tensor, b: Tensor, x: Tensor, steps: int | None = None) -> Tensor:
    r"""Log of the Beta distribution's cdf, the regularised incomplete beta function.

    The continued fraction on the side of the mean where it converges fast (DiDonato
    & Morris 1992, ``bfrac``), with a fixed number of steps: for shapes from 1e-3 to 1e3 and x
    within 1/256 of either end the error is at rounding level, at 1e4 up to 3e-5 in float32.

    Args:
        a: Positive tensor, the shape at 0.
        b: Positive tensor, the shape at 1.
        x: Tensor in (0, 1).
        steps: Of the fraction; by default 8 in float32, 24 in float64.

    Returns:
        A tensor of the broadcast shape, in nats.

    Example:
        >>> log_beta_cdf(torch.tensor(2.0), torch.tensor(3.0), torch.tensor(0.01)).exp()
        tensor(0.0006)
    """
    upper = x * (a + b + 2) > a + 1
    p, q = torch.where(upper, b, a), torch.where(upper, a, b)
    t, rest = torch.where(upper, 1 - x, x), torch.where(upper, x, 1 - x)
    start = 1 + p * rest - q * t
    fraction = torch.zeros_like(start)
    for n in range(steps or (24 if fraction.dtype == torch.float64 else 8), 0, -1):
        end = p + (2 * n - 1)
        slope = n * (q - n) * t / end
        term = n + slope + (p + n) / (end + 2) * (start + n * (1 + rest))
        fraction = (p + (n - 1)) / end * (p + q + (n - 1)) * t * slope / (term + fraction)
    fraction = fraction + p / (p + 1) * start
    nearer = log_beta_power(a, b, x) - fraction.log()
    return torch.where(upper, log1mexp(torch.where(upper, -nearer, 1.0)), nearer)
