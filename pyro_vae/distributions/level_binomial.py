"""The binomial over levels, precise in single precision."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Binomial, constraints
from torch.nn.functional import logsigmoid

from pyro_vae.distributions.discretized import LevelMass
from pyro_vae.distributions.special import log_choose_excess, log_power, widened

__all__ = ["LevelBinomial"]


class LevelBinomial(LevelMass):
    r"""Mass over the levels 0 to n of the number of heads in n tosses of a coin.

    .. math:: \log P(k) = \log\binom{n}{k} + k \log p + (n - k) \log(1 - p)

    Its terms are hundreds of nats that cancel: at n = 255 the float32 masses of torch's
    ``Binomial`` are wrong by up to 7e-4. These are computed in double precision, which also is
    faster than keeping the digits in single, and are right to 4e-6, the rounding of the result.
    For float64 logits they are written from their mean outwards (Loader 2000), where nothing
    large cancels: right to 1e-13 of the result or of a nat, whatever the levels and the logits.

    Args:
        logits: :math:`\log p/(1 - p)`, of the batch's shape.
        levels: Number of levels, n + 1.
        validate_args: Whether to check parameters and values.

    Raises:
        ValueError: If there are fewer than 2 levels.

    Example:
        >>> d = LevelBinomial(torch.tensor(0.0))
        >>> d.log_prob(torch.tensor([0.0, 127.0])), d.mean
        (tensor([-176.7525,   -2.9994]), tensor(127.5000))
    """

    arg_constraints = {"logits": constraints.real}  # noqa: RUF012

    def __init__(
        self, logits: Tensor, levels: int = 256, *, validate_args: bool | None = None
    ) -> None:
        if levels < 2:
            raise ValueError(f"there must be at least 2 levels, got {levels}")
        self.logits, self.levels = logits, levels
        super().__init__(logits.shape, validate_args=validate_args)

    @classmethod
    def infer_shapes(cls, **arg_shapes: Any) -> tuple[torch.Size, torch.Size]:
        """Batch and event shape from the parameters' shapes."""
        return torch.Size(arg_shapes["logits"]), torch.Size()

    def expand(
        self, batch_shape: Sequence[int], _instance: "LevelBinomial | None" = None
    ) -> "LevelBinomial":
        """The same distribution with ``batch_shape``."""
        new: LevelBinomial = self._get_checked_instance(LevelBinomial, _instance)
        new.levels, new.logits = self.levels, self.logits.expand(torch.Size(batch_shape))
        super(LevelBinomial, new).__init__(torch.Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def _like(self) -> Tensor:
        return self.logits

    @property
    def probs(self) -> Tensor:
        """Probability of heads."""
        return torch.sigmoid(self.logits)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-mass of the level ``value`` in nats."""
        if self._validate_args:
            self._validate_sample(value)
        n, logits = self.levels - 1, widened(self.logits)
        # A table of all levels: lgamma takes longer than everything else together.
        k = torch.arange(n + 1, dtype=logits.dtype, device=logits.device)
        heads = value.to(logits.dtype)
        if logits.dtype != self.logits.dtype:  # digits to spare: the plain sum, ten times faster
            choices = math.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
            powers = heads * logits + n * logsigmoid(-logits)
        else:
            choices, tails = log_choose_excess(k, n - k), n - heads
            distance = logits.sigmoid() * tails - (-logits).sigmoid() * heads
            powers = log_power(heads, tails, distance, logsigmoid(logits), logsigmoid(-logits))
        log_mass: Tensor = choices[value.long()] + powers
        return log_mass.to(self.logits.dtype)

    @property
    def mean(self) -> Tensor:
        """Mean level, n p."""
        return (self.levels - 1) * self.probs

    @property
    def variance(self) -> Tensor:
        """Variance of the level, n p (1 − p)."""
        return (self.levels - 1) * self.probs * torch.sigmoid(-self.logits)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Levels, as floats of the logits' dtype."""
        with torch.no_grad():
            drawn = Binomial(self.levels - 1, logits=self.logits, validate_args=False)
            level: Tensor = drawn.sample(torch.Size(sample_shape))
            return level
