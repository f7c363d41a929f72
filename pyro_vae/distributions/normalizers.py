"""Log-normalisers: what turns the loss that people know into a log-density."""

import math
from functools import singledispatch

import torch
from pyro.distributions import Beta, Cauchy, Laplace, Normal, StudentT
from torch import Tensor
from torch.distributions import Distribution

from pyro_vae.distributions.continuous_bernoulli import ContinuousBernoulli, log_norm
from pyro_vae.distributions.kumaraswamy import Kumaraswamy
from pyro_vae.distributions.truncated_normal import TruncatedNormal

__all__: list[str] = []


@singledispatch
def log_normalizer(distribution: Distribution) -> Tensor | None:
    r"""Log of the factor that makes a family's kernel a density, :math:`-\log\int k(x)\,dx`.

    The kernels are, with :math:`e = x - \mu`: Normal and TruncatedNormal
    :math:`\exp(-e^2 / 2\sigma^2)`; Laplace :math:`\exp(-|e| / b)`; Cauchy and StudentT
    :math:`(1 + e^2 / \nu\sigma^2)^{-(\nu + 1) / 2}`; Beta :math:`x^{a-1} (1 - x)^{b-1}`;
    Kumaraswamy :math:`x^{a-1} (1 - x^a)^{b-1}`; ContinuousBernoulli
    :math:`\lambda^x (1 - \lambda)^{1 - x}`, so that its log-density is the negative cross-entropy
    plus this. Another family joins by ``log_normalizer.register``.

    Args:
        distribution: A univariate density.

    Returns:
        Nats, of the batch shape; None for a family that is not registered.

    Example:
        >>> log_normalizer(ContinuousBernoulli(logits=torch.tensor([0.0, 9.0])))
        tensor([0.6931, 2.1975])
    """
    return None


@log_normalizer.register(Normal)
def _normal(p: Normal) -> Tensor:
    value: Tensor = -p.scale.log() - 0.5 * math.log(2 * math.pi)
    return value


@log_normalizer.register(TruncatedNormal)
def _truncated_normal(p: TruncatedNormal) -> Tensor:
    # The kernel is largest, and so best subtracted, at the point nearest to loc.
    value: Tensor = p.log_prob(p.mode) + 0.5 * ((p.mode - p.loc) / p.scale).square()
    return value


@log_normalizer.register(Laplace)
def _laplace(p: Laplace) -> Tensor:
    value: Tensor = -(2 * p.scale).log()
    return value


@log_normalizer.register(StudentT)
def _student_t(p: StudentT) -> Tensor:
    half = p.df / 2
    spread = 0.5 * (math.pi * p.df).log() + p.scale.log()
    value: Tensor = torch.lgamma(half + 0.5) - torch.lgamma(half) - spread
    return value


@log_normalizer.register(Cauchy)
def _cauchy(p: Cauchy) -> Tensor:
    value: Tensor = -(math.pi * p.scale).log()
    return value


@log_normalizer.register(Beta)
def _beta(p: Beta) -> Tensor:
    a, b = p.concentration1, p.concentration0
    value: Tensor = torch.lgamma(a + b) - torch.lgamma(a) - torch.lgamma(b)
    return value


@log_normalizer.register(Kumaraswamy)
def _kumaraswamy(p: Kumaraswamy) -> Tensor:
    value: Tensor = p.concentration1.log() + p.concentration0.log()
    return value


@log_normalizer.register(ContinuousBernoulli)
def _continuous_bernoulli(p: ContinuousBernoulli) -> Tensor:
    return log_norm(p.logits)
