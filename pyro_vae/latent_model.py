"""What model/guide pairs with one latent site have in common: prior, posterior, names, β."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, cast

import pyro
from pyro import poutine
from pyro.distributions import Independent
from torch import Tensor, nn

from pyro_vae import posteriors, priors
from pyro_vae.errors import InputError, positive

__all__ = ["LatentModel", "local_params", "masked"]

_numbers = itertools.count(2)
_taken: set[str] = set()
_registers: ContextVar[bool] = ContextVar("registers", default=True)


@contextmanager
def local_params() -> Iterator[None]:
    """A context in which a VAE's programs leave its parameters out of Pyro's parameter store.

    They have to be there for an optimiser of Pyro's only, and telling it costs a tenth of a step.
    """
    token = _registers.set(False)
    try:
        yield
    finally:
        _registers.reset(token)


def _unique(name: str) -> str:
    """A name that no other VAE of this process has: Pyro's parameter store goes by names."""
    fresh = name
    while fresh in _taken:
        fresh = f"{name}_{next(_numbers)}"
    _taken.add(fresh)
    return fresh


def _scaled(beta: float | Tensor) -> AbstractContextManager[Any]:
    """Scale the log-probabilities inside by β."""
    if isinstance(beta, Tensor):
        return cast("AbstractContextManager[Any]", poutine.scale(scale=beta))
    if not (math.isfinite(beta) and beta >= 0):
        raise InputError(f"beta must be finite and not negative, got {beta}")
    # poutine.scale refuses 0.
    handler = poutine.mask(mask=False) if beta == 0 else poutine.scale(scale=beta)
    return cast("AbstractContextManager[Any]", handler)


class LatentModel(nn.Module):
    """The latent site of a model/guide pair: p(z), q(z|x) and the names of their parameters.

    Subclasses make ``encoder`` and say what is observed.

    Args:
        data_shape: Of what the encoder sees of one image.
        latent_dim: Length of z.
        prior: A text of :data:`pyro_vae.priors.PRIORS`, or what :func:`pyro_vae.priors.make` takes.
        posterior: A text of :data:`pyro_vae.posteriors.POSTERIORS`, or what
            :func:`pyro_vae.posteriors.make` takes.
        name: Prefix of its parameters in Pyro's store; by default one that no other has.

    Attributes:
        posterior: Module raw → q(z|x).
        latent_prior: Module whose forward returns p(z).
        prior_is_standard: Whether p(z) is N(0, I).
    """

    encoder: nn.Module

    def __init__(
        self,
        data_shape: tuple[int, ...],
        latent_dim: int,
        prior: str | Mapping[str, Any] | priors.Prior,
        posterior: str | Mapping[str, Any] | posteriors.Posterior,
        name: str | None,
    ) -> None:
        super().__init__()
        positive(**{"latent-dim": latent_dim})
        self.latent_dim = latent_dim
        self.name = name or _unique("vae")
        _taken.add(self.name)
        self.prior_is_standard = priors.is_standard(prior)
        self.prior_spec, self.posterior_spec = priors.spec(prior), posteriors.spec(posterior)
        self.posterior: Any = posteriors.make(posterior, latent_dim)
        self.latent_prior: Any = priors.make(prior, latent_dim, data_shape)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Both copy.deepcopy and pickle come through here: a copy that kept the name would share
        # the original's parameters in Pyro's store.
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.name = _unique(self.name)

    @property
    def prior_encodes(self) -> bool:
        """Whether the prior is made of posteriors, so that the model has the encoder's weights."""
        return bool(getattr(self.latent_prior, "uses_encoder", False))

    def prior(self) -> Any:
        """p(z): batch_shape (), event_shape (latent_dim,)."""
        return self.latent_prior(self._posterior_of)

    def _posterior_of(self, seen: Tensor) -> Any:
        """q(z|x) of what the encoder sees."""
        raise NotImplementedError

    def _latent(self, distribution: Any, beta: float | Tensor) -> Tensor:
        """The latent site, its log-probability scaled by β."""
        with _scaled(beta):
            z: Tensor = pyro.sample("latent", distribution)
        return z

    def _register(self, part: str, modules: Mapping[str, nn.Module]) -> None:
        """Give Pyro the parameters, as ``pyro.module`` does, but refuse another VAE's."""
        if not _registers.get():
            return
        for prefix, module in modules.items():
            for key, value in module.named_parameters():
                if value.requires_grad:
                    self._register_one(f"{self.name}.{part}$$${prefix}{key}", value)

    def _register_one(self, name: str, value: nn.Parameter) -> None:
        returned = pyro.param(name, value)
        store = pyro.get_param_store()
        if returned is not value and name in store and store[name] is returned:
            raise InputError(
                f"Pyro's parameter store holds another module's parameters under "
                f"{self.name!r}, so that these would not be trained: give this VAE "
                "another name=, or call pyro.clear_param_store()"
            )

    def _register_guide(self) -> None:
        self._register("encoder", {"": self.encoder, "posterior.": self.posterior})

    def _register_prior(self) -> None:
        self._register("prior", {"": self.latent_prior})
        if self.prior_encodes:
            self._register_guide()


def masked(p: Any, mask: Tensor | None) -> Any:
    """A distribution that scores some entries only.

    Args:
        p: Of batch_shape (...) and event_shape data_shape, independent over entries.
        mask: True where an entry counts, (N, *data_shape); None where all do.

    Raises:
        InputError: If it does not split into entries.
    """
    if mask is None:
        return p
    event = len(p.event_shape)
    if not isinstance(p, Independent):
        raise InputError(f"{type(p).__name__} does not split into entries that can be masked")
    grid = p.reinterpreted_batch_ndims
    if event > grid:  # a site's event is there as a whole or not at all
        mask = mask.flatten(mask.dim() - (event - grid)).all(-1)
    return p.base_dist.mask(mask).to_event(grid)
