"""What model/guide pairs have in common: latent sites, their priors and posteriors, names, β."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, cast

import numpy as np
import pyro
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.distributions import Distribution

from pyro_vae import param_store, posteriors, priors, specs
from pyro_vae.distributions.chain import Chain
from pyro_vae.errors import InputError, positive
from pyro_vae.networks import Level
from pyro_vae.types import JSON, Fields

__all__: list[str] = []


Spec = JSON | tuple[JSON | None, ...] | None
"""A part as plain data, None for the user's own; of a hierarchy one for each latent."""

_Part = str | Fields | posteriors.Posterior


def _scaled(beta: float | Tensor) -> AbstractContextManager[object]:
    """Scale the log-probabilities inside by β."""
    if isinstance(beta, Tensor):
        return cast("AbstractContextManager[Any]", poutine.scale(scale=beta))
    if not (math.isfinite(beta) and beta >= 0):
        raise InputError(f"beta must be finite and not negative, got {beta}")
    # poutine.scale refuses 0.
    handler = poutine.mask(mask=False) if beta == 0 else poutine.scale(scale=beta)
    return cast("AbstractContextManager[Any]", handler)


class LatentModel(nn.Module):
    """The latent sites of a model/guide pair: p(z), q(z|x) and the names of their parameters.

    One site is called ``latent``, several ``latent.1`` (next to the data) to ``latent.L``.
    Subclasses make ``encoder`` and ``decoder`` and say what is observed.

    Args:
        data_shape: Of what the encoder sees of one image.
        latent_dim: Length of z; of a hierarchy each latent's, from the data up.
        prior: Of the topmost latent, what :func:`pyro_vae.priors.make` takes; or of each, from the
            data up, of which those below the topmost are made of what is above them.
        posterior: Of every latent, what :func:`pyro_vae.posteriors.make` takes; or of each.
        covariates: C, how many numbers p(z|c) may be made of.
        name: Prefix of its parameters in Pyro's store; by default one that no other has.

    Attributes:
        latent_dims: Length of each latent, from the data up.
        latent_dim: Of all together.
        posterior: Module raw → q(z|x), of the topmost latent.
        latent_prior: Module whose forward returns p(z) of the topmost latent, or p(z|c).
        prior_spec: The prior as plain data, None for the user's own; of a hierarchy one for each.
        posterior_spec: The posterior in the same way.
        lower: Of each latent below it, from the data up, the heads of p(z|above) and q(z|x, above).
        prior_is_standard: Whether p(z) is N(0, I).
    """

    encoder: nn.Module
    decoder: nn.Module
    arithmetic: torch.dtype | None = None

    def __init__(
        self,
        data_shape: tuple[int, ...],
        latent_dim: int | Sequence[int],
        prior: object,
        posterior: object,
        name: str | None,
        covariates: int = 0,
    ) -> None:
        super().__init__()
        self.latent_dims = checked_dims(latent_dim)
        self.latent_dim = sum(self.latent_dims)
        self.name = param_store.take(name or param_store.unique("vae"))
        self.covariates = covariates
        *lower, top = self.latent_dims
        p = _of_each("prior", prior, len(self.latent_dims), posteriors.Diagonal())
        q = _of_each("posterior", posterior, len(self.latent_dims))
        self.prior_is_standard = priors.is_standard(p[-1]) and not lower
        self.prior_spec: Spec = _one_or_all(map(priors.spec, p))
        self.posterior_spec: Spec = _one_or_all(map(posteriors.spec, q))
        self.posterior: Any = posteriors.make(q[-1], top)
        self.latent_prior: Any = priors.make(p[-1], top, data_shape)
        self.lower = nn.ModuleList(
            _Level(level, p[level - 1], q[level - 1], dim, data_shape)
            for level, dim in enumerate(lower, 1)
        )
        if self.prior_numbers and not covariates:
            said = specs.short(priors.spec(p[-1])) or "of your own"
            raise InputError(
                f"prior {said} is made of what is known of each image, and this VAE has no "
                f"covariates: of nothing are made {', '.join(priors.PRIORS)}"
            )

    def __setstate__(self, state: JSON) -> None:
        # Both copy.deepcopy and pickle come through here: a copy that kept the name would share
        # the original's parameters in Pyro's store.
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.name = param_store.unique(self.name)

    def _levels(self) -> list[_Level]:
        levels: Any = self.lower
        return list(levels)

    def _level_sizes(self) -> tuple[Level, ...]:
        return tuple(
            Level(dim, level.prior.numbers, level.posterior.numbers)
            for dim, level in zip(self.latent_dims, self._levels(), strict=False)
        )

    @property
    def prior_encodes(self) -> bool:
        """Whether the prior is made of posteriors, so that the model has the encoder's weights."""
        return bool(getattr(self.latent_prior, "uses_encoder", False))

    @property
    def prior_numbers(self) -> int:
        """Raw numbers that p(z|c) of the topmost latent is made of; 0 where it is of none."""
        return int(getattr(self.latent_prior, "numbers", None) or 0)

    def prior(self, covariates: Tensor | None = None) -> Distribution:
        """p(z), or p(z|c).

        Args:
            covariates: (..., C), where the VAE has any.

        Returns:
            A distribution of event_shape (latent_dim,) and batch_shape (), or (...) where it is
            made of the covariates.
        """
        decoder: Any = self.decoder
        if covariates is not None:
            covariates = covariates.to(next(decoder.parameters()).dtype)

        def conditional(level: int) -> Callable[[Tensor], Distribution]:
            head: Any = self.lower[level]
            return lambda above: head.prior(
                self._computed(decoder.prior, level, _beside(above, covariates))
            )

        top: Distribution
        if self.prior_numbers and covariates is not None:
            top = self.latent_prior(self._computed(decoder.prior, len(self.lower), covariates))
        elif self.prior_numbers:
            raise InputError("p(z|c) is made of the covariates: give prior(covariates)")
        elif hasattr(self.latent_prior, "numbers"):
            top = self.latent_prior(next(decoder.parameters()).new_zeros(0))
        else:
            top = self.latent_prior(self._top_posterior)
        if not self.lower:
            return top
        return Chain(top, list(map(conditional, self._downwards())), self.latent_dims)

    @torch.no_grad()
    def sample_latent(self, size: int, covariates: Tensor | None = None) -> Tensor:
        """Latents drawn from p(z), or p(z|c).

        Args:
            size: How many.
            covariates: (..., C), where the VAE has any; leading dimensions broadcast with size.

        Returns:
            Shape (size, latent_dim); leading dimensions are the covariates' where p(z|c) is made of
            them.
        """
        lead: tuple[int, ...] = (size,)
        if self.prior_numbers and covariates is not None:
            lead = torch.broadcast_shapes(lead, covariates.shape[:-1])
            return self.prior(covariates.expand(*lead, -1)).sample()
        return self.prior(covariates).sample(lead)

    def _features(self, seen: Tensor) -> Tensor:
        """What the encoder makes of what it sees."""
        raise NotImplementedError

    def _top_posterior(self, seen: Tensor) -> Distribution:
        """q(z|x) of the topmost latent."""
        found: Distribution = self.posterior(self._top_numbers(self._features(seen)))
        return found

    def _top_numbers(self, features: Tensor) -> Tensor:
        """What the topmost posterior is made of: the last of a hierarchy's features, else all."""
        return features[..., -self.posterior.numbers :] if self.lower else features

    def _posterior_from(self, features: Tensor) -> Distribution:
        """q(z|x), from the encoder's features."""
        top: Distribution = self.posterior(self._top_numbers(features))
        if not self.lower:
            return top
        encoder: Any = self.encoder

        def conditional(level: int) -> Callable[[Tensor], Distribution]:
            head: Any = self.lower[level]
            return lambda above: head.posterior(
                self._computed(encoder.posterior, level, features, above)
            )

        return Chain(top, list(map(conditional, self._downwards())), self.latent_dims)

    def _downwards(self) -> range:
        return range(len(self.lower) - 1, -1, -1)

    def _computed(self, port: Callable[..., Tensor], level: int, *given: Tensor) -> Tensor:
        """A port's raw numbers, in float32 or wider, whatever networks compute in."""
        if self.arithmetic is None:
            return port(level, *given)
        with torch.autocast(given[0].device.type, self.arithmetic):
            raw = port(level, *given)
        return raw.to(torch.promote_types(raw.dtype, torch.float32))

    def _latent(self, distribution: Distribution, beta: float | Tensor) -> Tensor:
        """The latent sites, their log-probabilities scaled by β."""

        def draw(level: int, p: Distribution) -> Tensor:
            name = f"latent.{level}" if self.lower else "latent"
            value: Tensor = pyro.sample(name, p)
            return value

        with _scaled(beta):
            chain: Any = distribution
            return chain.steps(draw) if self.lower else draw(1, distribution)

    def _register_guide(self) -> None:
        lower = {f"lower.{i}.": level.posterior for i, level in enumerate(self._levels())}
        param_store.register(
            self.name, "encoder", {"": self.encoder, "posterior.": self.posterior, **lower}
        )

    def _register_prior(self) -> None:
        lower = {f"lower.{i}.": level.prior for i, level in enumerate(self._levels())}
        param_store.register(self.name, "prior", {"": self.latent_prior, **lower})
        if self.prior_encodes:
            self._register_guide()


class _Level(nn.Module):
    """The heads of a latent that has another one above it."""

    def __init__(
        self, level: int, prior: _Part, posterior: _Part, dim: int, data_shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.prior: Any = priors.make(prior, dim, data_shape)
        self.posterior: Any = posteriors.make(posterior, dim)
        if not getattr(self.prior, "numbers", None):
            raise InputError(
                f"prior of latent.{level} must be made of the latent above it, as "
                f"{', '.join(posteriors.POSTERIORS)} are; "
                f"{specs.short(priors.spec(prior)) or 'yours'} is not"
            )


def _beside(above: Tensor, covariates: Tensor | None) -> Tensor:
    """What a level's prior is made of."""
    if covariates is None:
        return above
    lead = torch.broadcast_shapes(above.shape[:-1], covariates.shape[:-1])
    return torch.cat([above.expand(*lead, -1), covariates.expand(*lead, -1)], -1)


def _of_each(what: str, given: object, count: int, below: object = None) -> list[_Part]:
    """A part for each latent, from the data up: as given, or one for the topmost or for all.

    Raises:
        InputError: If there are more or fewer than latents.
    """
    if not isinstance(given, Sequence) or isinstance(given, str):
        return [cast(_Part, below or given)] * (count - 1) + [cast(_Part, given)]
    if len(given) != count:
        raise InputError(f"{what} must be one, or one for each latent, {count}; got {len(given)}")
    return list(given)


def _one_or_all(specs: Iterable[JSON | None]) -> Spec:
    """What is told of one latent, or of each as a tuple."""
    found = tuple(specs)
    return found[0] if len(found) == 1 else found


def checked_dims(latent_dim: object) -> tuple[int, ...]:
    """The length of each latent, from one number or several.

    Raises:
        InputError: If one is no positive integer, or there are none.

    Example:
        >>> checked_dims(20), checked_dims([40, 40])
        ((20,), (40, 40))
    """
    several = isinstance(latent_dim, Sequence | np.ndarray) and not isinstance(latent_dim, str)
    dims: tuple[Any, ...] = tuple(latent_dim) if several else (latent_dim,)  # type: ignore[arg-type]
    if not dims:
        raise InputError("latent-dim must be a positive integer, or several, got none")
    for dim in dims:
        positive(**{"latent-dim": dim})
    return tuple(map(int, dims))
