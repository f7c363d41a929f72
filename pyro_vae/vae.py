"""The variational autoencoder: a Pyro model/guide pair whose sites are heads."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyro
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from pyro_vae import networks, param_store, posteriors
from pyro_vae.data import Batch
from pyro_vae.data.batch import Values, unpacked
from pyro_vae.errors import InputError
from pyro_vae.heads import Head
from pyro_vae.observed_model import ObservedModel
from pyro_vae.posteriors import Posterior
from pyro_vae.priors import Prior
from pyro_vae.several import Part
from pyro_vae.types import JSON

__all__ = ["VAE", "JointVAE"]


class VAE(ObservedModel):
    r"""A variational autoencoder (Kingma & Welling 2014) as a Pyro model/guide pair.

    .. math:: p(x, z) = p(z)\,p(x|z),\qquad
       \mathrm{ELBO}(x) = E_{q(z|x)}[\log p(x|z)] - \mathrm{KL}(q(z|x)\,\|\,p(z))

    Sites are ``latent`` and ``obs`` in the plate ``data`` at dim −1; leading dimensions (particles)
    may appear everywhere. Of a hierarchy, p(z_L) ... p(z_1|z_2) p(x|z_1), the latent sites are
    ``latent.1`` to ``latent.L``; z is all of them side by side, in that order. Of several things
    observed together, p(z) ∏ p(x_m|z), the observed sites are ``obs.NAME``; any may be missing: it
    is not scored, and the encoder sees 0 in its place. Where entries are missing at random, that is
    the ELBO of what was observed (Nazabal et al. 2020, without a model of each type's own).

    Args:
        data_shape: (C, H, W) for images, (D,) for vectors; a mapping from names to such shapes, or
            to :class:`~pyro_vae.several.Part`, for several things: x, masks and p(x|z) are mappings
            from these names then, and the networks have them all as one vector.
        latent_dim: Length of z; (D_1, ..., D_L) for a hierarchy, from the data up.
        obs: A stock observation's name, a :class:`~pyro_vae.heads.Head`, or a function raw →
            distribution with an attribute ``num_raw``; of several things, a mapping to these.
        net: ``"mlp"``, ``"conv"``, for a hierarchy ``"ladder"``, a pair (encoder, decoder) of
            modules, or a function that makes one from :class:`~pyro_vae.networks.Sizes`. The
            encoder maps x to (N, numbers of the posterior), 2 × latent_dim for a diagonal normal;
            the decoder maps z to anything that flattens to (N, numbers of the head). With
            covariates both take them as well. Of a hierarchy they have the further ports of
            :class:`~pyro_vae.networks.Ladder`.
        name: Prefix of its parameters in Pyro's store; by default one that no other VAE has.
        prior: p(z), a text of :data:`pyro_vae.priors.PRIORS`, as ``"vamp:50"``, or a function
            (latent_dim, data_shape) → module. With covariates any posterior as well, as
            ``"diagonal"`` for p(z|c); a :class:`~pyro_vae.heads.Head` of the latent's units. For a
            hierarchy the topmost latent's, or a sequence of each, from the data up.
        posterior: q(z|x), a text of :data:`pyro_vae.posteriors.POSTERIORS`, as ``"iaf"``, a head,
            or a function latent_dim → module; for a hierarchy that of all, or a sequence of each.
        covariates: C, how many numbers are known of each image that both networks are given, as a
            label in one-hot form; the VAE is of p(x|c) then (Sohn et al. 2015), and every method
            takes ``covariates``, (..., N, C).

    Networks, prior and posterior may also be given as plain data, as attributes describe them.
    Wherever methods take x they take a :class:`~pyro_vae.data.Batch` as well, with its covariates
    and mask.

    Attributes:
        obs: The observation's head, or a mapping to heads.
        net: Stock networks as plain data, their name and all their fields; None for one's own.
        prior_spec: The prior in the same way.
        posterior_spec: The posterior in the same way.
        arithmetic: What the networks compute in where it is not their weights' dtype, as
            ``torch.bfloat16`` while :func:`~pyro_vae.fit` trains so; else None.

    Raises:
        InputError: If a size is not positive, a name is unknown, or the parts do not fit.

    Example:
        >>> heads = {"image": "bernoulli", "age": "normal"}
        >>> joint = VAE({"image": (1, 8, 8), "age": (1,)}, latent_dim=2, obs=heads)
        >>> joint.model(size=3)["age"].shape
        torch.Size([3, 1])
        >>> vae = VAE((1, 28, 28), latent_dim=20, obs="normal-learned-sigma")
        >>> x = torch.rand(5, 1, 28, 28)
        >>> vae.encode(x).event_shape, vae.decode(torch.zeros(5, 20)).event_shape
        (torch.Size([20]), torch.Size([1, 28, 28]))
        >>> vae.reconstruct(x).shape
        torch.Size([5, 1, 28, 28])
    """

    def __init__(
        self,
        data_shape: tuple[int, ...] | Mapping[str, object],
        latent_dim: int | Sequence[int] = 20,
        obs: str
        | Head
        | Callable[[Tensor], Distribution]
        | Mapping[str, object] = "normal-learned-sigma",
        net: str | Mapping[str, object] | networks.Networks | tuple[nn.Module, nn.Module] = "mlp",
        name: str | None = None,
        prior: str | Mapping[str, object] | Prior | Sequence[object] = "standard-normal",
        posterior: str | Mapping[str, object] | Posterior | Sequence[object] = "diagonal",
        covariates: int = 0,
    ) -> None:
        super().__init__(data_shape, latent_dim, obs, prior, posterior, name, covariates)
        self.arithmetic: torch.dtype | None = None
        self.net = networks.spec(net)
        sizes = networks.Sizes(
            self.observed.seen_shape,
            self.posterior.numbers,
            self.latent_dims[-1],
            self.likelihood.grid_numbers,
            self.likelihood.image_numbers,
            self.likelihood.site_event,
            self.covariates,
            self._level_sizes(),
            self.prior_numbers,
        )
        self.encoder, self.decoder = networks.make(net, sizes)
        if self.prior_numbers and not hasattr(self.decoder, "prior"):
            raise InputError(
                "p(z|c) is made by the decoder's port prior(level, context), which yours lacks: "
                f"(..., {covariates}) to (..., {self.prior_numbers})"
            )

    def model(
        self,
        x: Values | Batch | None = None,
        beta: float | Tensor = 1.0,
        size: int = 1,
        covariates: Tensor | None = None,
        mask: Values | None = None,
    ) -> Any:
        """The generative model p(z) p(x|z), as a Pyro program.

        Args:
            x: Images (N, *data_shape): 8-bit levels (uint8) or floats in the observation's unit; of
                several things a mapping, in which one that is left out is missing for all; None
                draws them.
            beta: Scale of the latent sites' log-probability; give model and guide the same.
            size: Number of images where x is None.
            covariates: (..., N, C), where the VAE has any.
            mask: True where x is observed, (N, *data_shape), or a mapping to such; other entries
                are not scored, and may be anything. Give model and guide the same.

        Returns:
            The observed or drawn images.

        Raises:
            InputError: If β is negative, x, covariates or mask have another shape, or another
                module's parameters are in Pyro's store under this VAE's name.
        """
        x, covariates, mask = unpacked(x, covariates, mask)
        param_store.register(self.name, "decoder", {"": self.decoder, "head.": self.likelihood})
        self._register_prior()
        self.likelihood.check_set()
        if x is not None:
            x = self.observed.filled(self.observe(x), mask)
            size = self.observed.count(x)
        with pyro.plate("data", size, dim=-1):
            z = self._latent(self.prior(**_given(covariates=covariates)), beta)
            likelihood = self.decode(z, x, **_given(covariates=covariates))
            sites = self.observed.sites(likelihood, x, mask)
            drawn = {name: pyro.sample(name, p, obs=value) for name, p, value in sites}
        return self.observed.drawn(drawn)

    def guide(
        self,
        x: Values | Batch,
        beta: float | Tensor = 1.0,
        covariates: Tensor | None = None,
        mask: Values | None = None,
    ) -> Tensor:
        """The approximate posterior q(z|x), as a Pyro program; arguments as for :meth:`model`.

        Returns:
            The latents drawn, (..., N, latent_dim).
        """
        x, covariates, mask = unpacked(x, covariates, mask)
        self._register_guide()
        posterior = self.encode(x, **_given(covariates=covariates, mask=mask))
        with pyro.plate("data", posterior.batch_shape[-1], dim=-1):
            return self._latent(posterior, beta)

    def encode(
        self, x: Values | Batch, covariates: Tensor | None = None, mask: Values | None = None
    ) -> Distribution:
        """q(z|x).

        Args:
            x: Images (..., N, *data_shape): 8-bit levels (uint8, seen at their midpoints) or
                floats in the observation's unit; of several things a mapping.
            covariates: (..., N, C), where the VAE has any.
            mask: True where x is observed, of x's form; elsewhere the encoder sees 0.

        Returns:
            A distribution of batch_shape (..., N) and event_shape (latent_dim,).
        """
        x, covariates, mask = unpacked(x, covariates, mask)
        found: Distribution = self._posterior_from(
            self._features(self.observed.seen(x, mask), covariates)
        )
        return found

    def _features(self, seen: Tensor, covariates: Tensor | None = None) -> Tensor:
        given, event = self._checked_covariates(covariates), len(self.observed.seen_shape)
        return networks.through(self.encoder, seen, event, self.arithmetic, given)

    @torch.no_grad()
    def code(
        self, x: Values | Batch, covariates: Tensor | None = None, mask: Values | None = None
    ) -> Tensor:
        """The point of latent space that stands for an image; arguments as for :meth:`encode`.

        Returns:
            The mean of q(z|x), or, where a flow has none in closed form, its base's mean pushed
            through the flow: (..., N, latent_dim).
        """
        return posteriors.code_of(self.encode(x, **_given(covariates=covariates, mask=mask)))

    def decode(
        self, z: Tensor, x: Values | Batch | None = None, covariates: Tensor | None = None
    ) -> Any:
        """p(x|z).

        Args:
            z: Latents (..., latent_dim).
            x: What it will score, (..., *data_shape), where a scale is the residual of that.
            covariates: (..., C), where the VAE has any; leading dimensions broadcast.

        Returns:
            A distribution of batch_shape (...) and event_shape data_shape; of several things a
            mapping to such.
        """
        x, covariates, _ = unpacked(x, covariates, None)
        given = self._checked_covariates(covariates)
        z = torch.as_tensor(z)
        z = z[..., : self.latent_dims[0]] if self.lower else z
        return self.likelihood(networks.through(self.decoder, z, 1, self.arithmetic, given), x)

    @torch.no_grad()
    def reconstruct(
        self,
        x: Values | Batch,
        kind: str = "mean",
        covariates: Tensor | None = None,
        mask: Values | None = None,
    ) -> Any:
        """Pictures of p(x|z) at the posterior mean z, or what :meth:`code` takes for it.

        Args:
            x: Images (N, *data_shape): levels (uint8) or floats.
            kind: ``"mean"``, ``"sample"``, ``"mode"`` or ``"parameter"``.
            covariates: (N, C), where the VAE has any.
            mask: True where x is observed, (N, *data_shape).

        Returns:
            Shape (N, *data_shape), on [0, 1] for images.

        Raises:
            InputError: If the observation has no such picture.
        """
        x, covariates, mask = unpacked(x, covariates, mask)
        code = self.code(x, **_given(covariates=covariates, mask=mask))
        return self.picture(self.decode(code, **_given(covariates=covariates)), kind)

    @torch.no_grad()
    def sample(self, size: int = 16, kind: str = "mean", covariates: Tensor | None = None) -> Any:
        """Pictures of p(x|z) at z drawn from the prior; arguments as for :meth:`reconstruct`."""
        z = self.sample_latent(size, **_given(covariates=covariates))
        return self.picture(self.decode(z, **_given(covariates=covariates)), kind)


def JointVAE(  # noqa: N802
    parts: Mapping[str, Part | tuple[object, ...]],
    latent_dim: int = 20,
    net: str | Mapping[str, object] | networks.Networks | tuple[nn.Module, nn.Module] = "mlp",
    name: str | None = None,
    **options: Any,
) -> VAE:
    """A VAE of several things, under the name that it had in version 1: deprecated.

    Args:
        parts: What is observed, by name.
        latent_dim: Length of z.
        net: As for :class:`VAE`, as are all others.
        name: Prefix of its parameters in Pyro's store.
        **options: ``prior`` and ``posterior``.
    """
    warnings.warn(
        "JointVAE goes in the next release: give VAE the same mapping",
        DeprecationWarning,
        stacklevel=2,
    )
    shapes = {key: Part(*part) for key, part in parts.items()}
    return VAE(shapes, latent_dim, net=net, name=name, **options)


def checked_vae(vae: object, what: str) -> None:
    """Make sure that a model has one observation, which is what a command can do with.

    Args:
        vae: What was given.
        what: The command's name.

    Raises:
        InputError: If it is no :class:`VAE`.
    """
    if not isinstance(vae, VAE):
        raise InputError(
            f"{what} takes a VAE, of one observation; got {type(vae).__name__}: use its model and "
            "guide in a Pyro script"
        )


def _given(**arguments: object) -> JSON:
    """Those that were given: who overrides a method need not take the others."""
    return {name: value for name, value in arguments.items() if value is not None}
