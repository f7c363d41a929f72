"""Several observations on one latent: an image and its label, or the columns of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pyro
import torch
from torch import Tensor, nn

from pyro_vae import networks, posteriors, priors
from pyro_vae.errors import InputError, unknown
from pyro_vae.heads import Head
from pyro_vae.latent_model import LatentModel, masked
from pyro_vae.observed import Observed, checked_shape, head_of

__all__ = ["JointVAE", "Part"]


class Part(NamedTuple):
    """One of the things that are observed.

    Attributes:
        shape: (C, H, W) for images, (D,) for vectors and columns.
        obs: As for :class:`~pyro_vae.vae.VAE`.
        seen: What the encoder sees of it, (N, *shape) → (N, any): one-hot labels, say; by default
            what a VAE's encoder sees.
    """

    shape: tuple[int, ...]
    obs: str | Head | Callable[[Tensor], Any]
    seen: Callable[[Tensor], Tensor] | None = None


class JointVAE(LatentModel):
    r"""A variational autoencoder of several things at once, as a Pyro model/guide pair.

    .. math:: p(x, z) = p(z) \prod_m p(x_m|z)

    Sites are ``latent`` and ``obs.NAME`` in the plate ``data`` at dim −1. Any entry may be missing:
    it is not scored, and the encoder sees 0 in its place. Where entries are missing at random, that
    is the ELBO of what was observed (Nazabal et al. 2020, without a model of each type's own).

    Args:
        parts: What is observed, by name.
        latent_dim: Length of z.
        net: ``"mlp"``, or what :class:`~pyro_vae.vae.VAE` takes: the encoder is given all that is
            seen as one vector, the decoder makes all heads' raw numbers.
        name: Prefix of its parameters in Pyro's store; by default one that no other VAE has.
        prior: p(z), as for :class:`~pyro_vae.vae.VAE`.
        posterior: q(z|x), as for :class:`~pyro_vae.vae.VAE`.

    Raises:
        InputError: If there are no parts, a name is no name, or the parts do not fit.

    Example:
        >>> import pyro.distributions as dist
        >>> label = Head.of(dist.Categorical, logits=(3,))
        >>> vae = JointVAE({"image": Part((1, 8, 8), "bernoulli"), "label": Part((1,), label)}, 2)
        >>> x = {"image": torch.rand(5, 1, 8, 8).round(), "label": torch.ones(5, 1)}
        >>> vae.model(x)["label"].shape, vae.guide(x).shape
        (torch.Size([5, 1]), torch.Size([5, 2]))
    """

    def __init__(
        self,
        parts: Mapping[str, Part | tuple[Any, ...]],
        latent_dim: int = 20,
        net: str | networks.Networks | tuple[nn.Module, nn.Module] = "mlp",
        name: str | None = None,
        prior: str | priors.Prior = "standard-normal",
        posterior: str | posteriors.Posterior = "diagonal",
    ) -> None:
        made = {key: Part(*part) for key, part in parts.items()}
        if not made or not all(isinstance(key, str) and key for key in made):
            raise InputError("parts must be a mapping from names to what is observed, not empty")
        observed = {
            key: Observed(checked_shape(p.shape), head_of(p.obs)) for key, p in made.items()
        }
        width = sum(_seen(part, observed[key], None).shape[1] for key, part in made.items())
        super().__init__((width,), latent_dim, prior, posterior, name)
        self.parts, self.observed = made, observed
        self.likelihoods = nn.ModuleDict(
            {key: part.head.build(part.shape) for key, part in observed.items()}
        )
        if any("data" in likelihood.origins() for likelihood in self._built().values()):
            raise InputError("a scale from the data is for VAE and fit: learn it here, or fix it")
        self.numbers = [likelihood.numbers for likelihood in self._built().values()]
        sizes = networks.Sizes((width,), self.posterior.numbers, latent_dim, sum(self.numbers), 0)
        self.encoder, self.decoder = networks.make(net, sizes)

    def model(
        self,
        x: Mapping[str, Tensor] | None = None,
        beta: float | Tensor = 1.0,
        size: int = 1,
        mask: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The generative model, as a Pyro program.

        Args:
            x: Each part's data, (N, *shape); a part that is left out is missing for all. None draws
                them.
            beta: Scale of the latent site's log-probability; give model and guide the same.
            size: Number of images where x is None.
            mask: Of some parts, True where an entry is observed, (N, *shape). Give model and guide
                the same.

        Returns:
            Each part's observed or drawn data, (N, *shape).

        Raises:
            InputError: If β is negative, or a part has an unknown name or another shape.
        """
        self._register("decoder", {"": self.decoder, "heads.": self.likelihoods})
        self._register_prior()
        x, mask = self._checked(x), self._checked(mask, "a mask")
        values = {
            key: part.filled(part.observe(x[key]), mask.get(key))
            for key, part in self.observed.items()
            if key in x
        }
        if values:
            key, value = next(iter(values.items()))
            size = value.shape[-len(self.observed[key].shape) - 1]
        drawn: dict[str, Tensor] = {}
        with pyro.plate("data", size, dim=-1):
            z = self._latent(self.prior(), beta)
            for key, likelihood in self.decode(z, values).items():
                if key in values or not values:
                    site = masked(likelihood, mask.get(key))
                    drawn[key] = pyro.sample(f"obs.{key}", site, obs=values.get(key))
        return drawn

    def guide(
        self,
        x: Mapping[str, Tensor],
        beta: float | Tensor = 1.0,
        mask: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """The approximate posterior q(z|x), as a Pyro program; arguments as for :meth:`model`.

        Returns:
            The latents drawn, (..., N, latent_dim).
        """
        self._register_guide()
        posterior = self.encode(x, mask)
        with pyro.plate("data", posterior.batch_shape[-1], dim=-1):
            return self._latent(posterior, beta)

    def encode(self, x: Mapping[str, Tensor], mask: Mapping[str, Tensor] | None = None) -> Any:
        """q(z|x), of batch_shape (N,) and event_shape (latent_dim,); arguments as for the model."""
        x, mask = self._checked(x), self._checked(mask, "a mask")
        if not x:
            raise InputError(f"give at least one of {', '.join(self.parts)}")
        size = len(next(iter(x.values())))
        seen = [self._seen_of(key, x.get(key), mask.get(key), size) for key in self.parts]
        return self._posterior_from(self._features(torch.cat(seen, 1)))

    def _features(self, seen: Tensor) -> Tensor:
        return networks.through(self.encoder, seen, 1)

    def _seen_of(self, key: str, x: Tensor | None, mask: Tensor | None, size: int) -> Tensor:
        part, observed = self.parts[key], self.observed[key]
        if x is None:
            width = _seen(part, observed, None).shape[1]
            return next(self.encoder.parameters()).new_zeros(size, width)
        return _seen(part, observed, x, mask)

    def decode(self, z: Tensor, x: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
        """Each part's p(x|z), of batch_shape (...) and event_shape its shape.

        Args:
            z: Latents (..., latent_dim).
            x: What they will score, each (..., *shape), where a scale is the residual of that.
        """
        raw = networks.through(self.decoder, z, 1).split(self.numbers, -1)
        return {
            key: likelihood(part, (x or {}).get(key))
            for (key, likelihood), part in zip(self._built().items(), raw, strict=True)
        }

    def _built(self) -> dict[str, Any]:
        return dict(self.likelihoods.items())

    def _checked(self, x: Mapping[str, Tensor] | None, what: str = "data") -> Mapping[str, Tensor]:
        """Data or masks of parts that there are."""
        if x is not None and not isinstance(x, Mapping):
            raise InputError(
                f"{what} must be a mapping from {', '.join(self.parts)}, got {type(x).__name__}"
            )
        for key in x or {}:
            if key not in self.parts:
                raise unknown(f"part of {what}", key, self.parts)
        return x or {}


def _seen(part: Part, observed: Observed, x: Tensor | None, mask: Tensor | None = None) -> Tensor:
    """What the encoder sees of a part, (N, width); of one with zeros where x is None."""
    if x is None:
        x = torch.zeros(1, *observed.shape)
    if part.seen is None:
        return observed.seen(x, mask).flatten(1)
    seen = part.seen(observed.filled(observed.checked(x), mask)).flatten(1)
    if mask is None:
        return seen
    whole = observed.present(mask).flatten(1)
    if seen.shape[1] != whole.shape[1]:  # entries cannot be told apart: all or nothing
        whole = whole.all(1, keepdim=True)
    return seen.where(whole, seen.new_zeros(()))
