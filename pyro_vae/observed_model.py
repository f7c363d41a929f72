"""A model whose latent sites are :mod:`~pyro_vae.latent_model`'s, and what it observes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from pyro_vae.data import Batch, Images
from pyro_vae.data import levels as data_levels
from pyro_vae.data.batch import Values, unpacked
from pyro_vae.errors import InputError
from pyro_vae.heads import Head
from pyro_vae.heads.built import BuiltHead
from pyro_vae.latent_model import LatentModel
from pyro_vae.observed import Observed
from pyro_vae.several import Several, observed_of

__all__: list[str] = []


class ObservedModel(LatentModel):
    """The observed sites of a model: how data reach them, what they are of, what is shown of them.

    Arguments are those of :class:`~pyro_vae.vae.VAE`.

    Attributes:
        observed: What is observed: one thing, or several by their names.
        data_shape: Of one image; of several things by their names.
        obs: The observation's head, or a mapping to heads.
        likelihood: The head built: raw numbers → p(x|z).
    """

    def __init__(
        self,
        data_shape: tuple[int, ...] | Mapping[str, object],
        latent_dim: int | Sequence[int],
        obs: str | Head | Callable[[Tensor], Distribution] | Mapping[str, object],
        prior: object,
        posterior: object,
        name: str | None,
        covariates: int,
    ) -> None:
        self.observed: Any = observed_of(data_shape, obs)
        self.data_shape: Any = self.observed.shape
        known = _checked_count(covariates)
        super().__init__(self.observed.seen_shape, latent_dim, prior, posterior, name, known)
        self.obs: Any = self.observed.head
        if covariates and self.prior_encodes:
            raise InputError("a prior made of posteriors cannot be had with covariates")
        self.likelihood: Any = self.observed.build()

    @property
    def levels(self) -> data_levels.Levels:
        """How 8-bit data reach the observation."""
        found: data_levels.Levels = self.observed.levels
        return found

    def _checked_covariates(self, covariates: Tensor | None) -> Tensor | None:
        """Covariates of the right number, for a VAE that has any."""
        if covariates is None and not self.covariates:
            return None
        covariates = None if covariates is None else torch.as_tensor(covariates)
        if covariates is None or covariates.shape[-1:] != (self.covariates,):
            given = "none" if covariates is None else f"shape {tuple(covariates.shape)}"
            raise InputError(
                f"this VAE has {self.covariates} covariates, to be given in shape "
                f"(..., {self.covariates}); got {given}"
            )
        return covariates

    def observe(self, x: Values | Batch, rows: int | None = None) -> Any:
        """8-bit levels as the observation takes them, with fresh noise; floats as they are.

        Args:
            x: Images (N, *data_shape).
            rows: Draw noise for so many images and use that of the first N.

        Returns:
            Floats of the same form and shape, in the observation's unit.
        """
        if isinstance(x, Batch):
            return x.with_x(self.observed.observe(x.x, rows))
        return self.observed.observe(x, rows)

    def given(self, x: Values | Batch, observed: Any) -> Any:
        """What the encoder is given outside training: levels, or what chance made of them.

        Args:
            x: Images (N, *data_shape), or a batch.
            observed: What :meth:`observe` made of them.
        """
        if isinstance(x, Batch):
            return x.with_x(self.observed.given(x.x, observed.x))
        return self.observed.given(x, observed)

    @property
    def joint(self) -> bool:
        """Whether several things are observed, by their names."""
        return isinstance(self.observed, Several)

    def parts_of(
        self, x: Values | Batch
    ) -> Iterator[tuple[str, Observed, BuiltHead, Tensor, Tensor | None]]:
        """What is observed, site by site.

        Args:
            x: Images (N, *data_shape), a mapping or a batch.

        Yields:
            The site's name, what it is of, its built head, its data (N, *shape), and where they
            were observed, or None.
        """
        x, _, mask = unpacked(x, None, None)
        yield from self.observed.parts_of(self.likelihood, x, mask)

    def check_given(self, images: Images) -> None:
        """Make sure that images come with the covariates that this VAE wants, or with none.

        Args:
            images: (N, *data_shape), or a batch.

        Raises:
            InputError: If they do not.
        """
        known = unpacked(images, None, None)[1]
        if known is not None and not self.covariates:
            raise InputError(
                f"covariates were given, {known.shape[1]} numbers each, and this VAE has none: "
                "make it with covariates="
            )
        self._checked_covariates(known)

    def kind_on(self, x: Values | Batch) -> str:
        """What the observation is on these data: ``density``, ``mass`` or ``loss``."""
        found: str = self.observed.kind_on(x.x if isinstance(x, Batch) else x)
        return found

    @torch.no_grad()
    def estimate(self, images: Images) -> None:
        """Set what comes from the data: scales (``source="data"``), a VampPrior's pseudo-inputs.

        Args:
            images: Training images, levels (uint8) or floats, (N, *data_shape).
        """
        if hasattr(self.latent_prior, "start"):
            some = images[torch.randperm(len(images))[:5000].to(images.device)]
            some, _, mask = unpacked(some, None, None)
            self.latent_prior.start(self.observed.seen(some, mask))
        if "data" not in self.likelihood.origins():
            return
        images = unpacked(images, None, None)[0]
        n, first = 0, torch.zeros(self.data_shape, dtype=torch.float64)
        second = first.clone()
        for part in images.split(1000):
            x = self.observe(part).to("cpu", torch.float64)
            n, first, second = n + len(x), first + x.sum(0), second + x.square().sum(0)
        self.likelihood.estimate((second / n - (first / n).square()).clamp_min(0).float())

    @torch.no_grad()
    def picture(
        self, likelihood: Distribution | Mapping[str, Distribution], kind: str = "mean"
    ) -> Any:
        """The picture of p(x|z), on [0, 1] for images.

        Args:
            likelihood: What :meth:`decode` returned.
            kind: ``"mean"``, ``"sample"``, ``"mode"`` or ``"parameter"``.

        Returns:
            Shape (..., *data_shape).

        Raises:
            InputError: If the observation has no such picture.
        """
        return self.observed.picture(likelihood, kind)


def _checked_count(covariates: int) -> int:
    if isinstance(covariates, bool) or not isinstance(covariates, Integral) or covariates < 0:
        raise InputError(f"covariates must be a number of numbers, 0 or more; got {covariates!r}")
    return int(covariates)
