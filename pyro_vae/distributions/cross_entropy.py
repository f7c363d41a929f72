"""Cross-entropy on grey pixels: a Bernoulli's pseudo-likelihood on the unit interval."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions.kl import register_kl
from torch.nn.functional import softplus

from pyro_vae.distributions.continuous_bernoulli import LogitDistribution

__all__ = ["BernoulliCrossEntropy"]


class BernoulliCrossEntropy(LogitDistribution):
    r"""Bernoulli distribution whose ``log_prob`` also takes grey values: a loss, no likelihood.

    .. math::
        \operatorname{log\_prob}(x) = x \log\lambda + (1 - x) \log(1 - \lambda)
            = x l - \log(1 + e^l)

    On {0, 1} this is the Bernoulli's log-mass, and samples, moments, entropy and KL are the
    Bernoulli's. In between it is a pseudo-likelihood: as a density on [0, 1] it integrates to
    less than 1. So it must not be reported as a log-likelihood or in bits per dimension. It is
    largest at :math:`\lambda = x`, but not 0 there: what remains is the data's own
    entropy, :math:`-x \log x - (1 - x) \log(1 - x)`, which no model can undercut.

    Nothing is clamped. ``probs`` of exactly 0 or 1 give -inf for every value but that one.

    Args:
        probs: Probability of a 1, in [0, 1], of any shape, the batch shape.
        logits: The same as log-odds; exactly one of the two is given.
        validate_args: Whether to check parameters and values; None means the global default.

    Raises:
        ValueError: If both or none of probs and logits are given; under validation also if a
            parameter or value is out of its range.

    Example:
        >>> import torch
        >>> d = BernoulliCrossEntropy(probs=torch.tensor(0.3))
        >>> d.log_prob(torch.tensor([0.0, 0.3, 1.0]))
        tensor([-0.3567, -0.6109, -1.2040])
        >>> d.entropy()
        tensor(0.6109)
    """

    @property
    def mean(self) -> Tensor:
        """Mean of the Bernoulli, ``probs``, where the loss on average grey is smallest."""
        probs: Tensor = self.probs
        return probs

    @property
    def variance(self) -> Tensor:
        """Variance of the Bernoulli."""
        return torch.sigmoid(self.logits) * torch.sigmoid(-self.logits)

    @property
    def mode(self) -> Tensor:
        """The likelier of 0 and 1; 0 where they are equally likely."""
        return (self.logits > 0).to(self.logits.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """Negative cross-entropy in nats, shaped as ``value`` and the batch broadcast."""
        if self._validate_args:
            self._validate_sample(value)
        if self._given == "probs":
            # Where a term has no weight it has no gradient either, whatever probs are.
            probs, value = torch.broadcast_tensors(self.probs, value)
            light = torch.xlogy(value, torch.where(value == 0, 1.0, probs))
            dark: Tensor = torch.special.xlog1py(1 - value, torch.where(value == 1, 0.0, -probs))
            return light + dark
        logits, value = torch.broadcast_tensors(self.logits, value)
        # Torch's own subtracts two terms of the logit's size where that is negative.
        ones = logits > 0
        share = torch.where(ones, value - 1, value)
        score: Tensor = share * logits - softplus(torch.where(ones, -logits, logits))
        return score

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw zeros and ones."""
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            return torch.bernoulli(self.probs.expand(shape))

    def entropy(self) -> Tensor:
        """Entropy of the Bernoulli in nats."""
        n = (-self.logits.abs()).clamp_min(torch.finfo(self.logits.dtype).min)
        return softplus(n) - n * torch.sigmoid(n)


@register_kl(BernoulliCrossEntropy, BernoulliCrossEntropy)  # type: ignore[untyped-decorator]
def _kl_bernoulli_cross_entropy(p: BernoulliCrossEntropy, q: BernoulliCrossEntropy) -> Tensor:
    def part(sign: int) -> Tensor:
        weight = torch.sigmoid(sign * p.logits)
        log_ratio = softplus(-sign * q.logits) - softplus(-sign * p.logits)
        return torch.where(weight == 0, 0.0, weight * log_ratio)

    return part(1) + part(-1)
