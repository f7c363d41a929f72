"""Objectives that score samples: the ELBO, importance-weighted and Rényi bounds."""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.poutine import Trace
from pyro.poutine.messenger import Messenger
from torch import Tensor

from .base import Objective, Program, number
from .terms import Site, log_weights, shared_plates, subsampling, weight

__all__ = ["DoublyReparameterizedELBO", "ImportanceWeightedELBO", "RenyiELBO", "TraceELBO"]

CUT = "_cut_from_its_path"
"""Attribute of a leaf that was made by a pass, and is no parameter."""


class TraceELBO(Objective):
    r"""The ELBO from samples; on the same noise, the value of Pyro's ``Trace_ELBO``.

    .. math:: -\frac1K \sum_k \big[\log p(x, z_k) - \log q(z_k | x)\big], \quad z_k \sim q(z|x)

    Args:
        num_particles: K.
        max_plate_nesting: See :class:`Objective`.

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> def model(x):
        ...     z = pyro.sample("z", dist.Normal(0.0, 1.0))
        ...     pyro.sample("x", dist.Normal(z, 1.0), obs=x)
        >>> def guide(x):  # the exact posterior: every sample gives −log p(x)
        ...     pyro.sample("z", dist.Normal(x / 2, 0.5**0.5))
        >>> x = torch.tensor(1.0)
        >>> elbo = TraceELBO().differentiable_loss(model, guide, x)
        >>> torch.isclose(elbo, -dist.Normal(0.0, 2**0.5).log_prob(x))
        tensor(True)
    """

    @property
    def spec(self) -> str:
        """``trace``, or ``trace:K=10``."""
        return "trace" if self.num_particles == 1 else f"trace:K={self.num_particles}"

    def surrogate(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        """The negative ELBO, averaged over particles, summed over the data."""
        elbo: Tensor = model_trace.log_prob_sum() - guide_trace.log_prob_sum()
        loss: Tensor = -elbo / self.num_particles
        return loss


class ImportanceWeightedELBO(Objective):
    r"""The importance-weighted bound (Burda et al. 2016), at least as tight as the ELBO.

    .. math:: -\sum_n \log \frac1K \sum_k w_{kn}, \qquad
       w_{kn} = \frac{p(x_n, z_{kn})}{q(z_{kn} | x_n)}

    The mean is taken for each element n of the data's plate, not over the whole batch at once.
    A scale β on the latent site is inside the weights:
    :math:`\log w = \log p(x|z) + \beta\,[\log p(z) - \log q(z|x)]`.

    Args:
        num_particles: K.
        max_plate_nesting: See :class:`Objective`.
    """

    def __init__(self, num_particles: int = 10, *, max_plate_nesting: float = math.inf) -> None:
        super().__init__(num_particles, max_plate_nesting=max_plate_nesting)

    @property
    def spec(self) -> str:
        """``iwae:K``."""
        return f"iwae:{self.num_particles}"

    def surrogate(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        """The negative bound, summed over the data."""
        log_p, log_q, factor = log_weights(model_trace, guide_trace)
        return -factor * _log_mean_exp(log_p - log_q).sum()


class RenyiELBO(Objective):
    r"""The variational Rényi bound (Li & Turner 2016), per element of the data.

    .. math:: -\frac{1}{1 - \alpha} \sum_n \log \frac1K \sum_k w_{kn}^{1 - \alpha}

    α = 0 is the importance-weighted bound, α → 1 the ELBO. For α < 0 the limit of many particles
    is above log p(x), but K particles approach it from below. Weights as in
    :class:`ImportanceWeightedELBO`.

    Args:
        alpha: α, finite, not 1.
        num_particles: K.
        max_plate_nesting: See :class:`Objective`.

    Raises:
        ValueError: If α is 1 or not finite.
    """

    def __init__(
        self, alpha: float, num_particles: int = 5, *, max_plate_nesting: float = math.inf
    ) -> None:
        if not math.isfinite(alpha) or alpha == 1:
            raise ValueError(f"alpha must be finite and not 1 (that is the ELBO), got {alpha}")
        super().__init__(num_particles, max_plate_nesting=max_plate_nesting)
        self.alpha = float(alpha)

    @property
    def spec(self) -> str:
        """``renyi:alpha``, or ``renyi:alpha,K=10``."""
        particles = "" if self.num_particles == 5 else f",K={self.num_particles}"
        return f"renyi:{number(self.alpha)}{particles}"

    def surrogate(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        """The negative bound, summed over the data."""
        log_p, log_q, factor = log_weights(model_trace, guide_trace)
        order = 1 - self.alpha
        return -factor / order * _log_mean_exp(order * (log_p - log_q)).sum()


class DoublyReparameterizedELBO(ImportanceWeightedELBO):
    r"""The importance-weighted bound with a doubly reparameterised gradient (Tucker et al. 2019).

    Value and expected gradient are :class:`ImportanceWeightedELBO`'s; the gradient's variance does
    not grow relative to its size as K does. With normalised weights
    :math:`\tilde w_k = w_k / \sum_j w_j`, parameters θ of the model and φ of the guide get

    .. math:: \nabla_\theta = \sum_k \tilde w_k\, \frac{\partial \log p(x, z_k)}{\partial\theta},
       \qquad \nabla_\phi = \sum_k \tilde w_k^2\,
       \frac{\partial \log w_k}{\partial z_k} \frac{\partial z_k}{\partial\phi},

    without the derivative of log q by φ at fixed z. Under a scale β on the latent site
    :math:`\tilde w^2` becomes :math:`(1 - \beta)\,\tilde w + \beta\,\tilde w^2`, which the same
    derivation gives for the tempered weights. Sites of the guide may depend on each other.

    The guide's density must be computable at a given z: normalising flows without an inverse are
    refused by Pyro. The derivatives by z take one more backward pass through the decoder.

    Args:
        num_particles: K.
        max_plate_nesting: See :class:`Objective`.
    """

    @property
    def spec(self) -> str:
        """``dreg:K``."""
        return f"dreg:{self.num_particles}"

    def surrogate(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        """The negative bound, summed over the data, with the estimator as its gradient."""
        log_p, log_q, factor = log_weights(model_trace, guide_trace)
        log_w = log_p - log_q
        bound = factor * _log_mean_exp(log_w).sum()
        if not torch.is_grad_enabled():
            return -bound
        normalised = log_w.detach().softmax(0)
        pseudo = (normalised * log_p).sum()
        plates = shared_plates(model_trace, guide_trace)
        sites = [site for site in guide_trace.nodes.values() if "pathwise" in site]
        for site, gradient in zip(sites, _gradients(log_w.sum(), sites), strict=True):
            beta = weight(site, without=subsampling(site, plates))
            share = normalised if self.num_particles > 1 else normalised[0]
            coefficient = (1 - beta) * share + beta * share**2
            coefficient = coefficient.reshape(coefficient.shape + (1,) * site["fn"].event_dim)
            pseudo = pseudo + (coefficient * gradient * site["pathwise"]).sum()
        pseudo = factor * pseudo
        # The bound's value with the pseudo-objective's gradient.
        return -(bound.detach() + pseudo - pseudo.detach())

    def _get_trace(
        self, model: Program, guide: Program, args: Any, kwargs: Any
    ) -> tuple[Trace, Trace]:
        return super()._get_trace(model, _Cut()(guide), args, kwargs)


class _Drawn(Site):
    """A site whose sample is a leaf, and the path to it."""

    pathwise: Tensor


class _Cut(Messenger):  # type: ignore[misc]
    """Give each sample to the rest of the program as a leaf, and keep its path beside it."""

    def _pyro_sample(self, msg: _Drawn) -> None:
        if msg["done"] or msg["is_observed"] or not msg["fn"].has_rsample:
            return
        msg["pathwise"] = msg["fn"](*msg["args"], **msg["kwargs"])
        msg["value"] = msg["pathwise"].detach().requires_grad_()
        setattr(msg["value"], CUT, True)
        msg["done"] = True


def _gradients(total: Tensor, sites: list[_Drawn]) -> list[Tensor]:
    """Derivatives of ``total`` by each sample, through the samples that depend on it as well.

    Each sample is a leaf to what comes after it, so that autograd gives derivatives at fixed other
    samples and fixed parameters; the last loop adds what flows through later samples.
    """
    if not sites or not total.requires_grad:
        return [torch.zeros_like(site["value"]) for site in sites]
    leaves = [site["value"] for site in sites]
    options: dict[str, Any] = {
        "retain_graph": True,
        "allow_unused": True,
        "materialize_grads": True,
    }
    gradients = list(torch.autograd.grad(total, leaves, **options))
    for later in range(len(sites) - 1, 0, -1):
        path = sites[later]["pathwise"]
        if path.requires_grad:
            through = torch.autograd.grad(path, leaves[:later], gradients[later], **options)
            gradients[:later] = [g + t for g, t in zip(gradients, through, strict=False)]
    return gradients


def _log_mean_exp(values: Tensor) -> Tensor:
    return values.logsumexp(0) - math.log(values.shape[0])
