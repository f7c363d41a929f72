"""The continuous Bernoulli distribution, exact in logit form."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions.kl import register_kl
from torch.distributions.utils import broadcast_all, lazy_property
from torch.nn.functional import softplus

__all__ = ["ContinuousBernoulli"]


# The distribution is an exponential one cut off at length 1. With steepness a = |logits| and
# depth y = distance from the peak (x below logits 0, 1 - x above), p = a exp(-a y) / (1 - exp(-a)).
# Differences that cancel near a = 0 have a Taylor series there. The two are blended by `lerp` with
# weight 0 or 1, exact and, on a CPU, many times faster than `where` over a mask of mixed pixels.


_CLAMP = 0.99


def _steepness(logits: Tensor) -> Tensor:
    """Return |logits|, its derivative at 0 the one from the left, to match ``logits > 0``."""
    return torch.where(logits > 0, logits, -logits)


def _near(steepness: Tensor, single: float, double: float) -> tuple[float, Tensor]:
    """Return the bound below which this precision needs the series, and 1 below it, else 0.

    Beyond it arguments are clamped a little lower: at the clamp itself a derivative would be 0.
    """
    bound = double if steepness.dtype == torch.float64 else single
    return bound, (bound - steepness.detach()).clamp_min(0).sign()


def _mean_depth(steepness: Tensor) -> Tensor:
    """Return the mean distance from the peak, 1/a - 1/(exp(a) - 1)."""
    bound, near = _near(steepness, 0.6, 0.05)
    low, n = steepness.clamp_max(bound), -steepness.clamp_min(_CLAMP * bound)
    square = low * low
    series = 0.5 - low * ((square / 30240 - 1 / 720) * square + 1 / 12)
    return torch.lerp(torch.exp(n) / torch.expm1(n) - n.reciprocal(), series, near)


def _log_peak(steepness: Tensor) -> Tensor:
    """Return the log-density at the peak, log(a / (1 - exp(-a)))."""
    bound, near = _near(steepness, 0.6, 0.05)
    low, n = steepness.clamp_max(bound), -steepness.clamp_min(_CLAMP * bound)
    square = low * low
    series = 0.5 * low - square * ((square / 181440 - 1 / 2880) * square + 1 / 24)
    # No `lerp`: at an infinite steepness this is infinite.
    return torch.where(near > 0, series, (-n).log() - (-torch.expm1(n)).log())


def log_norm(logits: Tensor) -> Tensor:
    r"""Log of the constant that makes a Bernoulli's pseudo-likelihood a density.

    :math:`\log C = \log\frac{|l|}{\tanh(|l|/2)}`, where :math:`p(x) = C\,\lambda^x
    (1 - \lambda)^{1 - x}` and :math:`\lambda = \operatorname{sigmoid}(l)`.
    """
    steepness = _steepness(logits)
    return _log_peak(steepness) + softplus(-steepness)


def mean(logits: Tensor) -> Tensor:
    r"""Mean, :math:`\frac{1}{1 - e^{-l}} - \frac{1}{l}`; 1/2 at logits 0."""
    depth = _mean_depth(_steepness(logits))
    return torch.where(logits > 0, 1 - depth, depth)


def variance(logits: Tensor) -> Tensor:
    r"""Variance, :math:`\frac{1}{l^2} - \frac{e^{-|l|}}{(1 - e^{-|l|})^2}`; 1/12 at logits 0."""
    steepness = _steepness(logits)
    bound, near = _near(steepness, 1.0, 0.2)
    low, n = steepness.clamp_max(bound), -steepness.clamp_min(_CLAMP * bound)
    square = low * low
    series = (square / 5322240 - 1 / 172800) * square + 1 / 6048
    series = (series * square - 1 / 240) * square + 1 / 12
    decay = torch.expm1(n)
    return torch.lerp(n.reciprocal().square() - torch.exp(n) / decay / decay, series, near)


def _cdf(logits: Tensor, x: Tensor) -> Tensor:
    steepness = _steepness(logits)
    bound, near = _near(steepness, 0.05, 1e-3)
    n = -steepness.clamp(_CLAMP * bound, 1 / torch.finfo(logits.dtype).tiny)
    tail = torch.where(logits > 0, n * (1 - x), 0.0)
    low, spread = logits.clamp(-bound, bound), x * (1 - x)
    series = x - low * spread * (0.5 - low * ((1 - 2 * x) / 12 + low * spread / 24))
    far = tail.exp() * torch.expm1(n * x) / torch.expm1(n)
    return torch.lerp(*torch.broadcast_tensors(far, series, near))


def _icdf(logits: Tensor, u: Tensor) -> Tensor:
    steepness = _steepness(logits)
    bound, near = _near(steepness, 0.05, 1e-3)
    n = -steepness.clamp(_CLAMP * bound, 1 / torch.finfo(logits.dtype).tiny)
    above = torch.where(logits > 0, 1 - u, u)  # mass between the peak and the quantile
    beyond = torch.where(logits > 0, u, 1 - u)
    lost = above * torch.expm1(n)
    # log1p(lost) is log(beyond + above * exp(n)), the better form far from the peak
    deep = torch.logaddexp(beyond.log(), above.clamp_min(0.5).log() + n)
    depth = torch.where(lost > -0.5, lost.clamp_min(-0.5).log1p(), deep) / n
    # From 0 upwards where the peak is at 1: a quantile near 0 has digits of its own.
    rising = torch.where((logits > 0) & (n > -80), -n, 1.0)
    grown = u * rising.expm1()
    from_zero = (logits > 0) & (n > -80) & (grown < 1)
    upper = torch.where(from_zero, torch.where(from_zero, grown, 0.0).log1p() / rising, 1 - depth)
    far = torch.where(logits > 0, upper, depth)
    low, spread = logits.clamp(-bound, bound), u * (1 - u)
    series = u + low * spread * (0.5 + low * ((1 - 2 * u) / 6 + low * (1 - 6 * spread) / 24))
    return torch.lerp(*torch.broadcast_tensors(far, series, near)).clamp(0, 1)


class LogitDistribution(TorchDistribution):  # type: ignore[misc]
    """Base of distributions with one parameter per site, given as probs or as logits."""

    arg_constraints: ClassVar[dict[str, Any]] = {
        "probs": constraints.unit_interval,
        "logits": constraints.real,
    }
    support = constraints.unit_interval

    def __init__(
        self,
        probs: Tensor | float | None = None,
        logits: Tensor | float | None = None,
        validate_args: bool | None = None,
    ) -> None:
        given = {name: p for name, p in (("probs", probs), ("logits", logits)) if p is not None}
        if len(given) != 1:
            what = "both" if given else "neither"
            raise ValueError(f"{type(self).__name__} takes either probs or logits, got {what}")
        ((self._given, value),) = given.items()
        (parameter,) = broadcast_all(value)
        setattr(self, self._given, parameter)
        super().__init__(parameter.shape, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> "LogitDistribution":
        """Return the distribution with its parameter expanded to ``batch_shape``."""
        new: LogitDistribution = self._get_checked_instance(LogitDistribution, _instance)
        shape = torch.Size(batch_shape)
        new._given = self._given
        setattr(new, new._given, getattr(self, self._given).expand(shape))
        super(LogitDistribution, new).__init__(shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @lazy_property
    def logits(self) -> Tensor:
        """Log-odds of ``probs``, infinite where these are exactly 0 or 1."""
        return torch.logit(self.probs)

    @lazy_property
    def probs(self) -> Tensor:
        """Sigmoid of ``logits``."""
        return torch.sigmoid(self.logits)

    @property
    def param_shape(self) -> torch.Size:
        """Shape of the parameter."""
        shape: torch.Size = getattr(self, self._given).shape
        return shape


class ContinuousBernoulli(LogitDistribution):
    r"""Continuous Bernoulli distribution on [0, 1], exact for every finite logit.

    .. math::
        p(x) = \frac{l\,e^{l x}}{e^l - 1}
             = C(\lambda)\,\lambda^x (1 - \lambda)^{1 - x},
        \qquad \lambda = \operatorname{sigmoid}(l)

    Nothing is clamped, so the mean reaches every value in (0, 1): it is about :math:`1 - 1/l`
    for large :math:`l`. ``probs`` is a parameter, not a probability, and always more extreme than
    the mean. Pass ``logits`` where there is a choice: in float32 a sigmoid is exactly 1 from
    logits 17 on, and ``probs`` of exactly 0 or 1 stand for a point mass there, whose log-density
    is infinite: +inf at the point, -inf elsewhere.

    The density is unbounded in the parameter: data with exact zeros or ones are fitted better and
    better by ever larger logits. Dequantise them first.

    Args:
        probs: Parameter in [0, 1], of any shape, the batch shape.
        logits: The same as log-odds; exactly one of the two is given.
        validate_args: Whether to check parameters and values; None means the global default.

    Raises:
        ValueError: If both or none of probs and logits are given; under validation also if a
            parameter or value is out of its range.

    References:
        Loaiza-Ganem and Cunningham, The continuous Bernoulli: fixing a pervasive error in
        variational autoencoders, 2019 (https://arxiv.org/abs/1907.06845).

    Example:
        >>> import torch
        >>> d = ContinuousBernoulli(logits=torch.tensor([-500.0, 0.0, 500.0]))
        >>> d.mean
        tensor([0.0020, 0.5000, 0.9980])
        >>> d.log_prob(torch.tensor([0.0, 0.3, 0.0]))
        tensor([   6.2146,    0.0000, -493.7854])
    """

    has_rsample = True

    @property
    def mean(self) -> Tensor:
        """Mean, less extreme than ``probs`` unless logits are 0."""
        return mean(self.logits)

    @property
    def variance(self) -> Tensor:
        """Variance, at most 1/12."""
        return variance(self.logits)

    @property
    def mode(self) -> Tensor:
        """Where the density is greatest, 0 or 1; at logits 0 the middle of its many modes, 1/2."""
        return (1 + self.logits.detach().sign()) / 2

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats, of the shape to which ``value`` and the batch broadcast."""
        if self._validate_args:
            self._validate_sample(value)
        logits = self.logits
        mode = (logits > 0).to(logits.dtype)  # of either at logits 0, as the steepness is
        depth = value - mode
        rounded = value - (depth + mode)  # what 1 - value lost; at logits 1000 it shows
        log_prob = torch.addcmul(_log_peak(_steepness(logits)), logits, rounded)
        log_prob = torch.addcmul(log_prob, logits, depth)  # one rounding, where this is an FMA
        if self._given == "probs":
            point_mass = torch.where(value == mode, torch.inf, -torch.inf).to(log_prob.dtype)
            log_prob = torch.where(logits.isinf(), point_mass, log_prob)
        return log_prob

    def cdf(self, value: Tensor) -> Tensor:
        """Probability of at most ``value``."""
        if self._validate_args:
            self._validate_sample(value)
        below = _cdf(self.logits, value.clamp(0, 1))
        # A point mass at 0 has all of it at 0 already.
        return torch.where((self.logits == -torch.inf) & (value >= 0), 1.0, below)

    def icdf(self, value: Tensor) -> Tensor:
        """Quantile, in [0, 1], at probability ``value``."""
        return _icdf(self.logits, value)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw by inversion, differentiable in the parameter."""
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.icdf(torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device))

    def entropy(self) -> Tensor:
        """Differential entropy in nats, at most 0."""
        steepness = _steepness(self.logits)
        finite = steepness.clamp_max(1 / torch.finfo(steepness.dtype).tiny)
        return finite * _mean_depth(finite) - _log_peak(steepness)


@register_kl(ContinuousBernoulli, ContinuousBernoulli)  # type: ignore[untyped-decorator]
def _kl_continuous_bernoulli(p: ContinuousBernoulli, q: ContinuousBernoulli) -> Tensor:
    depth = _mean_depth(_steepness(p.logits))
    opposite = (p.logits > 0) != (q.logits > 0)
    steepness = _steepness(q.logits)
    cross = steepness * torch.where(opposite, 1 - depth, depth) - _log_peak(steepness)
    kl = cross - p.entropy()
    point_mass = torch.where(p.logits == q.logits, 0.0, torch.inf).to(kl.dtype)
    return torch.where(p.logits.isinf() | q.logits.isinf(), point_mass, kl)
