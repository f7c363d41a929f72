"""The logit-normal distribution, with its true limits at 0 and 1."""

import math
from collections.abc import Sequence

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.utils import broadcast_all

from pyro_vae.distributions.special import inside_unit, widened

__all__ = ["LogitNormal"]

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class LogitNormal(TorchDistribution):  # type: ignore[misc]
    r"""Distribution on (0, 1) whose logit is normal.

    .. math:: p(x) = \frac{1}{\sigma x (1 - x)}\, \varphi(z),
        \qquad z = \frac{\mathrm{logit}(x) - \mu}{\sigma}

    The density tends to 0 at both ends, so ``log_prob`` is minus infinity there (a transformed
    normal clamps silently instead). Samples of large logits stop at the numbers next to the ends.

    ``log_prob`` is computed in double precision, as the logit's own rounding is divided by the
    scale: in float32 it and its gradients are right to the rounding of the result.

    Args:
        loc: Mean of the logit; a tensor of any shape or a number.
        scale: Standard deviation of the logit; the two broadcast.
        validate_args: Whether to check parameters and values.

    Example:
        >>> d = LogitNormal(torch.tensor(1.0), torch.tensor(0.5))
        >>> d.mean, d.median, d.mode
        (tensor(0.7206), tensor(0.7311), tensor(0.7554))
        >>> d.log_prob(torch.tensor([0.0, 0.75]))
        tensor([  -inf, 1.4287])
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012
    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self,
        loc: Tensor | float,
        scale: Tensor | float,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(
        self, batch_shape: Sequence[int], _instance: "LogitNormal | None" = None
    ) -> "LogitNormal":
        """The same distribution with ``batch_shape``."""
        new: LogitNormal = self._get_checked_instance(LogitNormal, _instance)
        new.loc, new.scale = self.loc.expand(batch_shape), self.scale.expand(batch_shape)
        super(LogitNormal, new).__init__(torch.Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats; shape is ``value`` broadcast with the batch."""
        if self._validate_args:
            self._validate_sample(value)
        loc, scale = widened(self.loc), widened(self.scale)
        at_end = (value <= 0) | (value >= 1)
        x = torch.where(at_end, 0.5, value).to(loc)
        log_x, log_rest = x.log(), torch.log1p(-x)
        z = (log_x - log_rest - loc) / scale
        inside = -0.5 * z.square() - scale.log() - _HALF_LOG_TWO_PI - log_x - log_rest
        density: Tensor = torch.where(at_end, -math.inf, inside).to(self.loc.dtype)
        return density

    def cdf(self, value: Tensor) -> Tensor:
        """Probability of a value up to ``value``."""
        if self._validate_args:
            self._validate_sample(value)
        outside = (value <= 0) | (value >= 1)
        x = torch.where(outside, 0.5, value)
        z = (x.log() - torch.log1p(-x) - self.loc) / self.scale
        inside = 0.5 * torch.erfc(-math.sqrt(0.5) * z)  # torch's ndtr is 0 from −6 (−9) on
        return torch.where(outside, (value >= 1).to(inside), inside)

    def icdf(self, value: Tensor) -> Tensor:
        """Quantile of ``value`` in [0, 1]."""
        y: Tensor = self.loc + self.scale * torch.special.ndtri(value)
        return y.sigmoid()

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Reparametrised samples, never 0 or 1."""
        noise = torch.randn(
            self._extended_shape(torch.Size(sample_shape)),
            dtype=self.loc.dtype,
            device=self.loc.device,
        )
        return inside_unit((self.loc + self.scale * noise).sigmoid())

    @property
    def median(self) -> Tensor:
        """The median, the sigmoid of ``loc``."""
        return self.loc.sigmoid()

    @property
    def mode(self) -> Tensor:
        r"""The highest mode by Newton's method; of two equal ones (``loc`` = 0) the upper.

        Solves :math:`y = \mu + \sigma^2 \tanh(y / 2)` for the logit :math:`y`, which has one root
        on the side of ``loc``. Right to 1e-6, but to 1e-3 about ``loc`` = 0, ``scale`` = sqrt 2,
        where three roots meet.
        """
        side, spread = torch.where(self.loc < 0, -1.0, 1.0), self.scale.square()
        y = self.loc.abs() + spread
        for _ in range(24):
            t = (0.5 * y).tanh()
            slope = (1 - 0.5 * spread * (1 - t.square())).clamp(min=1e-6)
            y = (y - (y - self.loc.abs() - spread * t) / slope).clamp(min=0.0)
        return (side * y).sigmoid()

    @property
    def mean(self) -> Tensor:
        """Mean by the trapezoid rule, error below 1e-6 in float32, 1e-12 in float64."""
        return self._moments()[0]

    @property
    def variance(self) -> Tensor:
        """Variance by the same rule; where ``scale`` exceeds 1 to 1e-7 absolutely in float32."""
        return self._moments()[1]

    def _moments(self) -> tuple[Tensor, Tensor]:
        # The rule converges at exp(-2 pi * strip / step): with steps of half a unit in z the poles
        # of the sigmoid, at i pi / scale, are far for scale <= 1; beyond, the roles are swapped.
        steep = self.scale > 1
        z = self._grid(9.0)
        weight = (-0.5 * z.square()).exp()
        weight = weight / weight.sum()
        y = (self.loc + torch.where(steep, 1.0, self.scale) * z).sigmoid()
        mean = (weight * y).sum(0)
        variance = (weight * (y - mean).square()).sum(0)

        level = self._grid(40.0)
        logistic = level.sigmoid() * (-level).sigmoid()
        logistic = logistic / logistic.sum()
        z = (self.loc - level) / torch.where(steep, self.scale, 1.0)
        above = (logistic * torch.special.ndtr(z)).sum(0)
        below = (logistic * torch.special.ndtr(-z)).sum(0)
        density = (-0.5 * z.square() - _HALF_LOG_TWO_PI).exp() / self.scale
        spread = above * below - (logistic * density).sum(0)
        return torch.where(steep, above, mean), torch.where(steep, spread, variance)

    def _grid(self, reach: float) -> Tensor:
        count = int(2 * reach)
        grid = torch.arange(-count, count + 1, dtype=self.loc.dtype, device=self.loc.device)
        return 0.5 * grid.reshape((-1,) + (1,) * self.loc.dim())
