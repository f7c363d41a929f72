"""Priors p(z): modules that return a distribution of z, trained with the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, ClassVar, cast

import pyro.distributions as dist
import torch
from pyro.contrib.zuko import ZukoToPyro
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import softplus

from pyro_vae import posteriors, specs
from pyro_vae.errors import InputError
from pyro_vae.heads import Head
from pyro_vae.types import JSON

__all__ = [
    "PRIORS",
    "DiagonalNormal",
    "FlowPrior",
    "MixtureOfNormals",
    "Prior",
    "StandardNormal",
    "VampPrior",
    "make",
    "spec",
]

Encode = Callable[[Tensor], Distribution]
"""What the encoder sees, (K, *data_shape) → q(z|x)."""

Prior = Callable[[int, tuple[int, ...]], nn.Module] | posteriors.Posterior
"""(latent_dim, data_shape) → a module whose forward takes a context and returns a distribution of
z, of event_shape (latent_dim,).

Where the module has ``numbers``, the context is so many raw numbers, (..., numbers), as a
posterior's, which any prior may be: the decoder's port ``prior`` makes them of the covariates, for
p(z|c), or of the latent above. Else it is ``Encode``, and p(z) has batch_shape (); ``uses_encoder =
True`` says that it is called, and maps what the encoder sees of K images to their q(z|x). If the
module has a method ``start``, ``VAE.estimate`` calls it with what the encoder sees of training
images. ``is_standard = True`` on the function says that p(z) is N(0, I), which forecasts are of."""

_FLOOR = 1e-4


@dataclass(frozen=True)
class StandardNormal:
    """N(0, I).

    Example:
        >>> StandardNormal()(3, (8,))(None).mean
        tensor([0., 0., 0.])
    """

    is_standard: ClassVar[bool] = True

    def __call__(self, latent_dim: int, data_shape: tuple[int, ...]) -> nn.Module:
        """The module; it has nothing to learn."""
        return _Standard(latent_dim)


@dataclass(frozen=True)
class DiagonalNormal:
    """A normal whose means and standard deviations are learned; it begins at N(0, I)."""

    def __call__(self, latent_dim: int, data_shape: tuple[int, ...]) -> nn.Module:
        """The module, with 2 L numbers to learn."""
        return _Diagonal(latent_dim)


@dataclass(frozen=True)
class MixtureOfNormals:
    """A mixture of diagonal normals with learned weights, means and standard deviations.

    Args:
        components: Number of components, K.
    """

    components: int = 10

    def __call__(self, latent_dim: int, data_shape: tuple[int, ...]) -> nn.Module:
        """The module, with K (2 L + 1) numbers to learn."""
        return _Mixture(latent_dim, self.components)


@dataclass(frozen=True)
class VampPrior:
    r"""A mixture of the posteriors of K learned pseudo-inputs (Tomczak & Welling 2018).

    .. math:: p(z) = \frac1K \sum_k q(z | u_k)

    Pseudo-inputs are what the encoder sees: images on [0, 1]. :func:`~pyro_vae.fit` starts them at
    K of the training images; else they start at noise.

    Args:
        components: Number of components, K.
    """

    components: int = 50

    def __call__(self, latent_dim: int, data_shape: tuple[int, ...]) -> nn.Module:
        """The module, with K pseudo-inputs to learn."""
        return _Vamp(data_shape, self.components)


@dataclass(frozen=True)
class FlowPrior:
    """A masked autoregressive flow (Papamakarios et al. 2017) on N(0, I), by the package zuko.

    Its density takes one pass through each step's network, drawing L passes.

    Args:
        steps: Autoregressive transforms.
        hidden: Width of each step's network.
    """

    steps: int = 2
    hidden: int = 64

    def __call__(self, latent_dim: int, data_shape: tuple[int, ...]) -> nn.Module:
        """The module.

        Raises:
            InputError: If zuko is not installed, or there is one latent only.
        """
        if latent_dim < 2:
            raise InputError(f"prior flow needs latent-dim of at least 2, got {latent_dim}")
        return _Flow(latent_dim, self.steps, self.hidden)


PRIORS: dict[str, type] = {
    "standard-normal": StandardNormal,
    "diagonal-normal": DiagonalNormal,
    "mixture": MixtureOfNormals,
    "vamp": VampPrior,
    "flow": FlowPrior,
}
"""Stock priors of no context by name; ``name:N`` sets the first of an entry's fields. An installed
package adds to them in the entry-point group ``pyro_vae.priors``. Behind them stand those of
:data:`pyro_vae.posteriors.POSTERIORS`, which have one."""


class _Standard(nn.Module):
    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self._zero: Tensor
        self.register_buffer("_zero", torch.zeros(()), persistent=False)

    def _load_from_state_dict(self, *args: object, **kwargs: object) -> None:
        """What is not saved is made anew: it may have been left uninitialised."""
        super()._load_from_state_dict(*args, **kwargs)
        self._zero.zero_()

    def forward(self, encode: Encode) -> Distribution:
        zeros = self._zero.expand(self.latent_dim)
        found: Distribution = dist.Normal(zeros, torch.ones_like(zeros)).to_event(1)
        return found


class _Diagonal(nn.Module):
    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(latent_dim))
        self.raw_scale = nn.Parameter(_raw(torch.ones(latent_dim)))

    def forward(self, encode: Encode) -> Distribution:
        found: Distribution = dist.Normal(self.loc, softplus(self.raw_scale) + _FLOOR).to_event(1)
        return found


class _Mixture(nn.Module):
    def __init__(self, latent_dim: int, components: int) -> None:
        super().__init__()
        shape = (components, latent_dim)
        self.logits = nn.Parameter(torch.zeros(components))
        # Apart, else they would all learn the same.
        self.loc = nn.Parameter(torch.randn(shape))
        self.raw_scale = nn.Parameter(_raw(torch.ones(shape)))

    def forward(self, encode: Encode) -> Distribution:
        scale = softplus(self.raw_scale) + _FLOOR
        found: Distribution = dist.MixtureSameFamily(
            dist.Categorical(logits=self.logits), dist.Normal(self.loc, scale).to_event(1)
        )
        return found


class _Vamp(nn.Module):
    uses_encoder = True

    def __init__(self, data_shape: tuple[int, ...], components: int) -> None:
        super().__init__()
        self.inputs = nn.Parameter(torch.rand(components, *data_shape))

    def forward(self, encode: Encode) -> Distribution:
        posteriors = encode(self.inputs)
        found: Distribution = dist.MixtureSameFamily(
            dist.Categorical(logits=self.inputs.new_zeros(len(self.inputs))), posteriors
        )
        return found

    @torch.no_grad()
    def start(self, seen: Tensor) -> None:
        """Set the pseudo-inputs to images, drawn at random where there are more.

        Args:
            seen: What the encoder sees, (N, *data_shape).
        """
        order = torch.randperm(len(seen))
        chosen = order[torch.arange(len(self.inputs)) % len(seen)]
        self.inputs.copy_(seen[chosen.to(seen.device)])


class _Flow(nn.Module):
    def __init__(self, latent_dim: int, steps: int, hidden: int) -> None:
        super().__init__()
        validated = torch.distributions.Distribution._validate_args
        try:
            import zuko
        except ImportError:
            raise InputError("prior flow needs zuko: pip install 'pyro_vae[flows]'") from None
        finally:  # it switches validation off for all of torch
            torch.distributions.Distribution._validate_args = validated
        self.flow = zuko.flows.MAF(
            latent_dim, transforms=steps, hidden_features=(hidden,), activation=nn.ELU
        )

    def forward(self, encode: Encode) -> Distribution:
        return _Drawn(self.flow())


class _Drawn(ZukoToPyro):  # type: ignore[misc]
    """A flow of zuko's that can be drawn from outside of Pyro's programs, too."""

    def rsample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        return cast(Tensor, self(sample_shape))


def _raw(scale: Tensor) -> Tensor:
    """What softplus plus the floor makes this of."""
    return (scale - _FLOOR).expm1().log()


def make(
    prior: str | Mapping[str, object] | Prior, latent_dim: int, data_shape: tuple[int, ...]
) -> nn.Module:
    """The module that ``prior`` names or makes.

    Args:
        prior: A text of ``table``, what :func:`spec` gave, a head, or a function of the
            latents' number and the data's shape, or of their number alone.
        latent_dim: L.
        data_shape: Of one image.

    Raises:
        InputError: If the name is unknown, or what is made is no module.
    """
    if isinstance(prior, Head):
        return prior.build((latent_dim,))
    made: Any = specs.read("prior", prior, table())
    made = made(latent_dim, data_shape) if _takes_both(made) else made(latent_dim)
    if not isinstance(made, nn.Module):
        raise InputError(
            "prior must be a name, or a function of (latent_dim, data_shape) that makes a module"
        )
    return made


def table() -> dict[str, type]:
    """What may be a prior, by name: :data:`PRIORS`, and any posterior."""
    return {**posteriors.POSTERIORS, **PRIORS}


def _takes_both(function: Callable[..., object]) -> bool:
    """Whether a function can be given the latents' number and the data's shape."""
    try:
        signature(function).bind(1, ())
    except TypeError:
        return False
    except ValueError:  # of a builtin's, nothing is known
        return True
    return True


def is_standard(prior: str | Mapping[str, object] | Prior) -> bool:
    """Whether a prior says that it is N(0, I).

    Raises:
        InputError: If its name is unknown.

    Example:
        >>> is_standard("standard-normal"), is_standard("vamp:50")
        (True, False)
    """
    found = prior if isinstance(prior, Head) else specs.read("prior", prior, table())
    return bool(getattr(found, "is_standard", False))


def spec(prior: object) -> JSON | None:
    """A stock prior, or an installed package's, as plain data; None for the user's own."""
    if isinstance(prior, Head):
        return None
    return specs.described("prior", specs.read("prior", prior, table()), table())
