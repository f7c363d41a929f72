"""The variational autoencoder: a Pyro model/guide pair whose two ends are heads."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, cast

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn

from pyro_vae import networks, observations
from pyro_vae.data import levels as data_levels
from pyro_vae.errors import InputError, unknown
from pyro_vae.heads import Head, Param

__all__ = ["KINDS", "POSTERIOR", "VAE", "local_params"]

KINDS = ("mean", "sample", "mode", "parameter")
POSTERIOR = Head.of(dist.Normal, loc=Param(link="identity"), scale=Param(floor=1e-4))
"""q(z|x): a diagonal normal."""

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


class VAE(nn.Module):
    r"""A variational autoencoder (Kingma & Welling 2014) as a Pyro model/guide pair.

    .. math:: p(x, z) = p(z)\,p(x|z),\qquad
       \mathrm{ELBO}(x) = E_{q(z|x)}[\log p(x|z)] - \mathrm{KL}(q(z|x)\,\|\,p(z))

    Sites are ``latent`` and ``obs`` in the plate ``data`` at dim −1; leading dimensions (particles)
    may appear everywhere.

    Args:
        data_shape: (C, H, W) for images, (D,) for vectors.
        latent_dim: Length of z.
        obs: A stock observation's name, a :class:`~pyro_vae.heads.Head`, or a function raw →
            distribution with an attribute ``num_raw``.
        net: ``"mlp"``, ``"conv"``, a pair (encoder, decoder) of modules, or a function that makes
            one from :class:`~pyro_vae.networks.Sizes`. The encoder maps x to (N, 2 × latent_dim);
            the decoder maps z to anything that flattens to (N, numbers of the head).
        name: Prefix of its parameters in Pyro's store; by default one that no other VAE has.

    Attributes:
        obs: The observation's head.
        arithmetic: What the networks compute in where it is not their weights' dtype, as
            ``torch.bfloat16`` while :func:`~pyro_vae.fit` trains so; else None.

    Raises:
        InputError: If a size is not positive, a name is unknown, or the parts do not fit.

    Example:
        >>> vae = VAE((1, 28, 28), latent_dim=20, obs="normal-learned-sigma")
        >>> x = torch.rand(5, 1, 28, 28)
        >>> vae.encode(x).event_shape, vae.decode(torch.zeros(5, 20)).event_shape
        (torch.Size([20]), torch.Size([1, 28, 28]))
        >>> vae.reconstruct(x).shape
        torch.Size([5, 1, 28, 28])
    """

    def __init__(
        self,
        data_shape: tuple[int, ...],
        latent_dim: int = 20,
        obs: str | Head | Callable[[Tensor], Any] = "normal-learned-sigma",
        net: str | networks.Networks | tuple[nn.Module, nn.Module] = "mlp",
        name: str | None = None,
    ) -> None:
        super().__init__()
        self.data_shape = _checked_shape(data_shape)
        if not isinstance(latent_dim, int) or latent_dim < 1:
            raise InputError(f"latent-dim must be a positive integer, got {latent_dim!r}")
        self.latent_dim = latent_dim
        self.name = name or _unique("vae")
        _taken.add(self.name)
        self.obs = _as_head(obs)
        self.arithmetic: torch.dtype | None = None
        self.net = networks.spec(net)
        self.posterior = POSTERIOR.build((latent_dim,))
        self.likelihood = self.obs.build(self.data_shape)
        sizes = networks.Sizes(
            self.data_shape,
            self.posterior.numbers,
            latent_dim,
            self.likelihood.grid_numbers,
            self.likelihood.image_numbers,
            self.likelihood.site_event,
        )
        self.encoder, self.decoder = networks.make(net, sizes)
        self._zero: Tensor
        self.register_buffer("_zero", torch.zeros(()), persistent=False)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Both copy.deepcopy and pickle come through here: a copy that kept the name would share
        # the original's parameters in Pyro's store.
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.name = _unique(self.name)

    @property
    def levels(self) -> data_levels.Levels:
        """How 8-bit data reach the observation."""
        return data_levels.get(self.obs.levels)

    def model(self, x: Tensor | None = None, beta: float | Tensor = 1.0, size: int = 1) -> Tensor:
        """The generative model p(z) p(x|z), as a Pyro program.

        Args:
            x: Images (N, *data_shape): 8-bit levels (uint8) or floats in the observation's unit;
                None draws them.
            beta: Scale of the latent site's log-probability; give model and guide the same.
            size: Number of images where x is None.

        Returns:
            The observed or drawn images.

        Raises:
            InputError: If β is negative, x has another shape, or another module's parameters are
                in Pyro's store under this VAE's name.
        """
        self._register("decoder", self.decoder, self.likelihood)
        self.likelihood.check_set()
        if x is not None:
            x = self.observe(x)
            size = x.shape[-len(self.data_shape) - 1]
        with pyro.plate("data", size, dim=-1):
            with _scaled(beta):
                z = pyro.sample("latent", self.prior())
            drawn: Tensor = pyro.sample("obs", self.decode(z, x), obs=x)
        return drawn

    def guide(self, x: Tensor, beta: float | Tensor = 1.0) -> Tensor:
        """The approximate posterior q(z|x), as a Pyro program; arguments as for :meth:`model`.

        Returns:
            The latents drawn, (..., N, latent_dim).
        """
        self._register("encoder", self.encoder)
        posterior = self.encode(x)
        with pyro.plate("data", posterior.batch_shape[-1], dim=-1), _scaled(beta):
            z: Tensor = pyro.sample("latent", posterior)
        return z

    def prior(self) -> Any:
        """p(z): batch_shape (), event_shape (latent_dim,)."""
        zeros = self._zero.expand(self.latent_dim)
        return dist.Normal(zeros, torch.ones_like(zeros)).to_event(1)

    def encode(self, x: Tensor) -> Any:
        """q(z|x).

        Args:
            x: Images (..., N, *data_shape): 8-bit levels (uint8, seen at their midpoints) or
                floats in the observation's unit.

        Returns:
            A distribution of batch_shape (..., N) and event_shape (latent_dim,).
        """
        x = self._checked(x)
        if x.dtype == torch.uint8:
            x = self.levels.observe(x, None, self.obs.interval)
        seen = self.levels.seen(x, self.obs.interval)
        return self.posterior(
            networks.through(self.encoder, seen, len(self.data_shape), self.arithmetic)
        )

    def decode(self, z: Tensor, x: Tensor | None = None) -> Any:
        """p(x|z).

        Args:
            z: Latents (..., latent_dim).
            x: What it will score, where a scale is the residual of that.

        Returns:
            A distribution of batch_shape (...) and event_shape data_shape.
        """
        return self.likelihood(networks.through(self.decoder, z, 1, self.arithmetic), x)

    def observe(self, x: Tensor) -> Tensor:
        """8-bit levels as the observation takes them, with fresh noise; floats as they are.

        Args:
            x: Images (N, *data_shape).

        Returns:
            Floats of the same shape, in the observation's unit.
        """
        x = self._checked(x)
        if x.dtype != torch.uint8:
            return x
        noise = torch.rand(x.shape, device=x.device) if self.levels.noisy else None
        return self.levels.observe(x, noise, self.obs.interval)

    @torch.no_grad()
    def estimate(self, images: Tensor) -> None:
        """Set the scales that come from the data (``source="data"``) from training images.

        Args:
            images: Levels (uint8) or floats, (N, *data_shape).
        """
        n, first = 0, torch.zeros(self.data_shape, dtype=torch.float64)
        second = first.clone()
        for part in images.split(1000):
            x = self.observe(part).to("cpu", torch.float64)
            n, first, second = n + len(x), first + x.sum(0), second + x.square().sum(0)
        self.likelihood.estimate((second / n - (first / n).square()).clamp_min(0).float())

    @torch.no_grad()
    def reconstruct(self, x: Tensor, kind: str = "mean") -> Tensor:
        """Pictures of p(x|z) at the posterior mean z.

        Args:
            x: Images (N, *data_shape): levels (uint8) or floats.
            kind: ``"mean"``, ``"sample"``, ``"mode"`` or ``"parameter"``.

        Returns:
            Shape (N, *data_shape), on [0, 1] for images.

        Raises:
            InputError: If the observation has no such picture.
        """
        return self._picture(self.decode(self.encode(x).mean), kind)

    @torch.no_grad()
    def sample(self, size: int = 16, kind: str = "mean") -> Tensor:
        """Pictures of p(x|z) at z drawn from the prior; arguments as for :meth:`reconstruct`."""
        return self._picture(self.decode(self.prior().sample((size,))), kind)

    def _picture(self, likelihood: Any, kind: str) -> Tensor:
        if kind not in KINDS:
            raise unknown("kind of picture", kind, KINDS)
        if kind == "parameter" and self.obs.parameter is None:
            raise InputError(
                f"{self.obs.title} has no parameter on the data's range to show; "
                "kind must be mean, sample or mode"
            )
        display: dict[str, Callable[[Any], Tensor]] = {
            "mean": self.obs.display,
            "sample": lambda p: cast(Tensor, p.sample()),
            "mode": lambda p: cast(Tensor, p.mode),
            "parameter": self.obs.parameter or self.obs.display,
        }
        try:
            value = display[kind](likelihood)
        except NotImplementedError:
            raise InputError(f"{self.obs.title} has no {kind} to show") from None
        if not torch.isfinite(value).all():
            raise InputError(f"the {kind} of {self.obs.title} is not finite here: show another")
        return self.levels.shown(value, self.obs.interval)

    def _checked(self, x: Tensor) -> Tensor:
        n = len(self.data_shape)
        if x.dim() <= n or tuple(x.shape[-n:]) != self.data_shape:
            wanted = ", ".join(map(str, self.data_shape))
            raise InputError(f"images must have shape (N, {wanted}), got {tuple(x.shape)}")
        return x

    def _register(self, part: str, *modules: nn.Module) -> None:
        """Give Pyro the parameters, as ``pyro.module`` does, but refuse another VAE's."""
        if not _registers.get():
            return
        for module in modules:
            for key, value in module.named_parameters():
                if not value.requires_grad:
                    continue
                name = f"{self.name}.{part}$$$" + ("" if module is modules[0] else "head.") + key
                returned = pyro.param(name, value)
                store = pyro.get_param_store()
                if returned is not value and name in store and store[name] is returned:
                    raise InputError(
                        f"Pyro's parameter store holds another module's parameters under "
                        f"{self.name!r}, so that these would not be trained: give this VAE "
                        "another name=, or call pyro.clear_param_store()"
                    )


def _as_head(obs: str | Head | Callable[[Tensor], Any]) -> Head:
    if isinstance(obs, str):
        return observations.get(obs)
    if isinstance(obs, Head):
        return obs
    if callable(obs):
        return Head.wrap(obs)
    raise InputError(f"obs must be a name, a Head or a function, got {type(obs).__name__}")


def _checked_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    shape = tuple(shape)
    if len(shape) not in (1, 3) or not all(isinstance(s, int) and s > 0 for s in shape):
        raise InputError(f"data-shape must be (C, H, W) or (D,) of positive integers, got {shape}")
    return shape
