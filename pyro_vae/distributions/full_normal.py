"""A multivariate normal that knows its KL to a diagonal one."""

from __future__ import annotations

from typing import Any

from pyro.distributions import MultivariateNormal
from torch import Tensor
from torch.distributions import Independent, Normal, register_kl

__all__ = ["FullNormal"]


class FullNormal(MultivariateNormal):  # type: ignore[misc]
    r"""A normal with a full covariance, given by its Cholesky factor.

    It is :class:`pyro.distributions.MultivariateNormal`, with a closed form of

    .. math:: \mathrm{KL}(N(\mu, LL^T)\,\|\,N(m, \mathrm{diag}(s^2))) = \sum_i \Big[
       \frac{\sum_j L_{ij}^2 + (\mu_i - m_i)^2}{2 s_i^2} - \frac12 - \log\frac{L_{ii}}{s_i}\Big],

    which torch has for two full covariances only. Arguments and shapes are those of
    :class:`torch.distributions.MultivariateNormal`; batch_shape (...), event_shape (L,).

    Example:
        >>> import torch
        >>> from torch.distributions import kl_divergence
        >>> q = FullNormal(torch.ones(2), scale_tril=torch.eye(2))
        >>> p = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
        >>> kl_divergence(q, p)  # nats
        tensor(1.)
    """


def _to_diagonal(q: FullNormal, p: Independent[Any]) -> Tensor:
    base = p.base_dist
    if not (isinstance(base, Normal) and p.reinterpreted_batch_ndims == 1):
        raise NotImplementedError
    factor: Tensor = q.scale_tril
    spread = factor.square().sum(-1) + (q.loc - base.loc).square()
    log_ratio = factor.diagonal(dim1=-2, dim2=-1).log() - base.scale.log()
    units: Tensor = spread / (2 * base.scale.square()) - 0.5 - log_ratio
    return units.sum(-1)


register_kl(FullNormal, Independent)(_to_diagonal)
