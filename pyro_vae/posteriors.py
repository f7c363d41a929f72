"""Posteriors q(z|x): modules that turn the encoder's raw output into a distribution of z."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import transforms
from pyro.nn import ConditionalAutoRegressiveNN, ConditionalDenseNN
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.distributions.transforms import Transform

from pyro_vae import specs
from pyro_vae.distributions.chain import Chain
from pyro_vae.distributions.flow import Flow
from pyro_vae.distributions.full_normal import FullNormal
from pyro_vae.errors import InputError
from pyro_vae.heads import Head, Param
from pyro_vae.types import JSON

__all__ = [
    "POSTERIORS",
    "Coupling",
    "Diagonal",
    "Full",
    "InverseAutoregressive",
    "Posterior",
    "code_of",
    "make",
    "spec",
]

Posterior = Callable[[int], nn.Module] | Head
"""latent_dim → a module with ``numbers``, whose forward takes raw (..., numbers) and returns q(z|x)
of batch_shape (...) and event_shape (latent_dim,); or a head, whose grid is the latent's units.
Whatever the raw numbers are of, so is the distribution: it may as well be a prior, p(z|c) of
covariates or p(z_l|z_{l+1}) of the latent above."""

_LOC, _FLOOR = Param(link="identity"), 1e-4
_DIAGONAL = Head.of(dist.Normal, loc=_LOC, scale=Param(floor=_FLOOR))


@dataclass(frozen=True)
class Diagonal:
    """A normal with independent units, 2 L raw numbers (Kingma & Welling 2014).

    Example:
        >>> Diagonal()(3)(torch.zeros(5, 6)).mean.shape
        torch.Size([5, 3])
    """

    def __call__(self, latent_dim: int) -> nn.Module:
        """The module for latents of this length."""
        return _DIAGONAL.build((latent_dim,))


@dataclass(frozen=True)
class Full:
    """A normal with a full covariance, L + L² raw numbers: its mean and its Cholesky factor."""

    def __call__(self, latent_dim: int) -> nn.Module:
        """The module for latents of this length."""
        square = (latent_dim, latent_dim)
        head = Head.of(
            FullNormal,
            loc=Param(shape=(latent_dim,), link="identity"),
            scale_tril=Param(shape=square, floor=_FLOOR),
        )
        return head.build((latent_dim,))


@dataclass(frozen=True)
class InverseAutoregressive:
    r"""Inverse autoregressive flow (Kingma et al. 2016) on a diagonal normal.

    .. math:: z_t = \sigma_t(z_{t-1}, x) \odot z_{t-1} + (1 - \sigma_t(z_{t-1}, x)) \odot
       m_t(z_{t-1}, x)

    in which unit i of σ and m sees units before i only. Drawing, and the density of what was drawn,
    take one pass through each step's network; the density at another z takes L passes one after the
    other. The encoder makes 3 L raw numbers: the normal's 2 L, and L that the steps are given.

    Args:
        steps: Number of steps, T.
        hidden: Width of each step's network, not below L.
    """

    steps: int = 2
    hidden: int = 128

    def __call__(self, latent_dim: int) -> nn.Module:
        """The module for latents of this length, at least 2."""
        _check("posterior iaf", latent_dim)
        # Each step sees the units in the other order than the one before it.
        orders = [torch.arange(latent_dim), torch.arange(latent_dim).flip(0)]
        width = max(self.hidden, latent_dim)
        return _Flows(
            latent_dim,
            [
                _Autoregressive(
                    ConditionalAutoRegressiveNN(
                        latent_dim, latent_dim, [width], permutation=orders[step % 2]
                    ),
                    stable=True,
                )
                for step in range(self.steps)
            ],
        )


@dataclass(frozen=True)
class Coupling:
    """Affine coupling layers (Dinh et al. 2017) on a diagonal normal.

    Each layer scales and shifts one half of the units by a function of the other half and of x.
    Drawing and the density at any z take one pass. The encoder makes 3 L raw numbers, as for
    :class:`InverseAutoregressive`.

    Args:
        steps: Layers; two of them reach every unit.
        hidden: Width of each layer's network.
    """

    steps: int = 4
    hidden: int = 128

    def __call__(self, latent_dim: int) -> nn.Module:
        """The module for latents of this length, at least 2."""
        _check("posterior coupling", latent_dim)
        half = latent_dim // 2
        sizes = [latent_dim - half] * 2
        return _Flows(
            latent_dim,
            [
                transforms.ConditionalAffineCoupling(
                    half, ConditionalDenseNN(half, latent_dim, [self.hidden], sizes)
                )
                for _ in range(self.steps)
            ],
            flips=True,
        )


POSTERIORS: dict[str, type] = {
    "diagonal": Diagonal,
    "full": Full,
    "iaf": InverseAutoregressive,
    "coupling": Coupling,
}
"""Stock posteriors by name; ``name:N`` sets the first of an entry's fields. An installed package
adds to them in the entry-point group ``pyro_vae.posteriors``."""


class _Autoregressive(transforms.ConditionalAffineAutoregressive):  # type: ignore[misc]
    """With an order that its inverse need not read off a tensor, which no graph can hold."""

    def condition(self, context: Tensor) -> Transform:
        conditioned = super().condition(context)
        conditioned.arn.permutation = self.nn.permutation.tolist()
        found: Transform = conditioned
        return found


class _Flows(nn.Module):
    """A diagonal normal, and transforms that are given the rest of the raw numbers."""

    def __init__(self, latent_dim: int, steps: Sequence[nn.Module], flips: bool = False) -> None:
        super().__init__()
        self.base, self.latent_dim, self.flips = Diagonal()(latent_dim), latent_dim, flips
        self.steps = nn.ModuleList(steps)
        self.numbers = 3 * latent_dim

    def forward(self, raw: Tensor) -> Flow:
        raw, context = raw.split([2 * self.latent_dim, self.latent_dim], -1)
        chain = []
        for step in self.steps:
            conditioned: Any = step
            chain.append(conditioned.condition(context))
            if self.flips:
                backwards = torch.arange(self.latent_dim - 1, -1, -1, device=raw.device)
                chain.append(transforms.Permute(backwards))
        return Flow(self.base(raw), chain)


def _check(what: str, latent_dim: int) -> None:
    if latent_dim < 2:
        raise InputError(f"{what} needs latent-dim of at least 2, got {latent_dim}")


def make(posterior: str | Mapping[str, object] | Posterior, latent_dim: int) -> nn.Module:
    """The module that ``posterior`` names or makes.

    Args:
        posterior: A text of :data:`POSTERIORS`, what :func:`spec` gave, a head, or a function of
            the latents' number.
        latent_dim: L.

    Raises:
        InputError: If the name is unknown, or the module has no ``numbers``, of which q is made.
    """
    made: Any
    if isinstance(posterior, Head):
        made = posterior.build((latent_dim,))
    else:
        made = specs.read("posterior", posterior, POSTERIORS)(latent_dim)
    if isinstance(made, nn.Module) and getattr(made, "numbers", None) == 0:
        raise InputError("posterior has no numbers of the encoder's: it would be the same for all")
    if not (isinstance(made, nn.Module) and isinstance(getattr(made, "numbers", None), int)):
        raise InputError(
            "posterior must be a name, or a function of latent_dim that makes a module with "
            "numbers, its raw numbers per image"
        )
    return made


def spec(posterior: object) -> JSON | None:
    """A stock posterior, or an installed package's, as plain data; None for the user's own."""
    if isinstance(posterior, Head):
        return None
    found = specs.read("posterior", posterior, POSTERIORS)
    return specs.described("posterior", found, POSTERIORS)


def code_of(q: Distribution) -> Tensor:
    """The point of latent space that stands for an image.

    Args:
        q: q(z|x), batch_shape (...).

    Returns:
        Its mean, or, of a distribution pushed through transforms, its base's mean pushed through
        them, (..., L).

    Raises:
        NotImplementedError: If it has neither.
    """
    point: Tensor
    if isinstance(q, Flow | Chain):
        return q.centre
    if isinstance(q, torch.distributions.TransformedDistribution):
        point = code_of(q.base_dist)
        for transform in q.transforms:
            point = transform(point)
        return point
    if isinstance(q, torch.distributions.Independent):
        return code_of(q.base_dist)
    point = q.mean
    return point
