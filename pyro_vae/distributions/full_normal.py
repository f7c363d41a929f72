"""A multivariate normal that knows its KL to a diagonal one."""

from __future__ import annotations

import math
from typing import cast

import torch
from pyro.distributions import MultivariateNormal
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, register_kl

__all__: list[str] = []


class FullNormal(MultivariateNormal):  # type: ignore[misc]
    r"""A normal with a full covariance, given by its Cholesky factor.

    It is :class:`pyro.distributions.MultivariateNormal`, with a closed form of

    .. math:: \mathrm{KL}(N(\mu, LL^T)\,\|\,N(m, \mathrm{diag}(s^2))) = \sum_i \Big[
       \frac{\sum_j L_{ij}^2 + (\mu_i - m_i)^2}{2 s_i^2} - \frac12 - \log\frac{L_{ii}}{s_i}\Big],

    which torch has for two full covariances only. The density of what was drawn last is that of the
    noise it was made of, as a flow's is: solving for the noise again loses every digit where the
    factor's rows are of very different lengths. Arguments and shapes are those of
    :class:`torch.distributions.MultivariateNormal`; batch_shape (...), event_shape (L,).

    Example:
        >>> from torch.distributions import kl_divergence
        >>> q = FullNormal(torch.ones(2), scale_tril=torch.eye(2))
        >>> p = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
        >>> kl_divergence(q, p)  # nats
        tensor(1.)
    """

    _drawn: tuple[Tensor, Tensor] | None = None

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Reparameterised draws, (*sample_shape, *batch_shape, L)."""
        factor: Tensor = self._unbroadcasted_scale_tril
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=factor.dtype, device=factor.device)
        value: Tensor = self.loc + (factor @ noise.unsqueeze(-1)).squeeze(-1)
        self._drawn = value, noise
        return value

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats; exact for what was drawn last.

        Args:
            value: (..., L), whose leading dimensions broadcast against batch_shape.
        """
        factor: Tensor = self._unbroadcasted_scale_tril
        drawn, noise = self._drawn or (None, None)
        wanted = any(x.requires_grad for x in (value, self.loc, factor)) and torch.is_grad_enabled()
        # A draw that is a constant to gradients is no function of the noise and the parameters.
        if noise is None or value is not drawn or (wanted and value.grad_fn is None):
            return cast(Tensor, super().log_prob(value))
        spread = 0.5 * (noise.square() + math.log(2 * math.pi)).sum(-1)
        return -spread - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _to_diagonal(q: FullNormal, p: Independent[Distribution]) -> Tensor:
    base = p.base_dist
    if not (isinstance(base, Normal) and p.reinterpreted_batch_ndims == 1):
        raise NotImplementedError
    factor: Tensor = q.scale_tril
    spread = factor.square().sum(-1) + (q.loc - base.loc).square()
    log_ratio = factor.diagonal(dim1=-2, dim2=-1).log() - base.scale.log()
    units: Tensor = spread / (2 * base.scale.square()) - 0.5 - log_ratio
    return units.sum(-1)


register_kl(FullNormal, Independent)(_to_diagonal)
