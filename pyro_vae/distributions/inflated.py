"""Masses over levels with atoms at both ends."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, constraints
from torch.utils._python_dispatch import _disable_current_modes

from pyro_vae.distributions.discretized import LevelMass

__all__ = ["ZeroOneInflated"]


class ZeroOneInflated(LevelMass):
    r"""Mass over levels mixed with atoms at the first and the last level.

    .. math:: P(k) = \pi_0 [k = 0] + \pi_1 [k = K - 1] + \pi_2\, Q(k),
        \qquad \pi = \mathrm{softmax}(\text{gate logits})

    Args:
        base: A univariate mass :math:`Q` over the integers 0 to :math:`K - 1`, as
            :class:`~pyro_vae.distributions.discretized.Discretized`, a Binomial or a Categorical.
        gate_logits: Shape ``(*batch, 3)``: atom at 0, atom at the last level, base.
        validate_args: Whether to check parameters and values.

    Raises:
        ValueError: If the base has event dimensions or its support is not the integers from 0 to
            one number, or the gates are not three.

    Example:
        >>> from pyro.distributions import Binomial
        >>> d = ZeroOneInflated(Binomial(255, torch.tensor(0.5)), torch.tensor([1.0, 0.0, 2.0]))
        >>> d.log_prob(torch.tensor([0.0, 128.0, 255.0]))
        tensor([-1.4076, -3.4069, -2.4076])
        >>> d.mean
        tensor(107.7760)
    """

    arg_constraints = {"gate_logits": constraints.real_vector}  # noqa: RUF012

    def __init__(
        self, base: Distribution, gate_logits: Tensor, *, validate_args: bool | None = None
    ) -> None:
        if base.event_shape:
            raise ValueError(f"base must be univariate, got event_shape {tuple(base.event_shape)}")
        if gate_logits.dim() == 0 or gate_logits.shape[-1] != 3:
            shape = tuple(gate_logits.shape)
            raise ValueError(f"gate_logits must have 3 entries last, got shape {shape}")
        self.levels = _levels(base)
        batch_shape = torch.broadcast_shapes(base.batch_shape, gate_logits.shape[:-1])
        self.base_dist = base.expand(batch_shape)
        self.gate_logits = gate_logits.expand((*batch_shape, 3))
        super().__init__(batch_shape, validate_args=validate_args)

    def expand(
        self, batch_shape: Sequence[int], _instance: "ZeroOneInflated | None" = None
    ) -> "ZeroOneInflated":
        """The same distribution with ``batch_shape``."""
        new: ZeroOneInflated = self._get_checked_instance(ZeroOneInflated, _instance)
        new.levels = self.levels
        new.base_dist = self.base_dist.expand(torch.Size(batch_shape))
        new.gate_logits = self.gate_logits.expand((*batch_shape, 3))
        super(ZeroOneInflated, new).__init__(torch.Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def _like(self) -> Tensor:
        return self.gate_logits

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-mass of the level ``value`` in nats."""
        if self._validate_args:
            self._validate_sample(value)
        value = value.to(self.gate_logits.dtype)
        low, high, gate = self.gate_logits.log_softmax(-1).unbind(-1)
        inside = gate + self.base_dist.log_prob(value)
        at_low, at_high = value == 0, value == self.levels - 1
        atom = torch.where(at_low, low, high)
        # Away from the atoms `inside` stands in for them, so that no gradient is lost to infinity.
        with_atom = torch.logaddexp(torch.where(at_low | at_high, atom, inside), inside)
        return torch.where(at_low | at_high, with_atom, inside)

    def cdf(self, value: Tensor) -> Tensor:
        """Mass of the levels up to ``value``, a step between them."""
        if not isinstance(self.base_dist, LevelMass):
            return super().cdf(value)
        if self._validate_args:
            self._validate_sample(value)
        low, _, inside = self.gate_logits.softmax(-1).unbind(-1)
        value = value.to(self.gate_logits.dtype)
        below = low + inside * self.base_dist.cdf(value.clamp(0, self.levels - 1).floor())
        steps: Tensor = torch.where(value < 0, 0.0, below)
        return torch.where(value >= self.levels - 1, 1.0, steps)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Levels, as floats of the gates' dtype."""
        shape = torch.Size(sample_shape)
        with torch.no_grad():
            gate = Categorical(logits=self.gate_logits, validate_args=False).sample(shape)
            inside = self.base_dist.sample(shape).to(self.gate_logits.dtype)
            return torch.where(gate == 2, inside, gate.to(inside) * (self.levels - 1))

    @property
    def mean(self) -> Tensor:
        """Mean level."""
        gates = self.gate_logits.softmax(-1)
        return gates[..., 1] * (self.levels - 1) + gates[..., 2] * _moments(self.base_dist)[0]

    @property
    def variance(self) -> Tensor:
        """Variance of the level, by the law of total variance."""
        low, high, inside = self.gate_logits.softmax(-1).unbind(-1)
        base_mean, base_variance = _moments(self.base_dist)
        mean = high * (self.levels - 1) + inside * base_mean
        within = base_variance + (base_mean - mean).square()
        return low * mean.square() + high * (self.levels - 1 - mean).square() + inside * within


def _levels(base: Distribution) -> int:
    """How many levels the base has."""
    support = base.support
    lower, upper = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    if support is None or not support.is_discrete or lower != 0 or upper is None:
        raise ValueError(f"base must be a mass over 0 to a number, got support {support}")
    if isinstance(base, Categorical):
        return int(base.param_shape[-1])
    if not isinstance(upper, Tensor):
        return int(upper) + 1
    # An operator's own copy, so that a tracer meets no values of tensors here.
    with torch._C.DisableTorchFunction(), _disable_current_modes():
        top = upper.detach()
        if not bool((top == top.max()).all()):
            raise ValueError(
                f"base must have one number of levels, got upper bounds {top.tolist()}"
            )
        return int(top.max()) + 1


def _moments(base: Distribution) -> tuple[Tensor, Tensor]:
    """Mean and variance of the base; a Categorical has none of its own."""
    if not isinstance(base, Categorical):
        return base.mean, base.variance
    masses = base.probs
    values = torch.arange(masses.shape[-1], dtype=masses.dtype, device=masses.device)
    mean = (values * masses).sum(-1)
    return mean, ((values - mean.unsqueeze(-1)).square() * masses).sum(-1)
