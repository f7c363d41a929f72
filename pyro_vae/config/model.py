"""What a run's model is made of, beside its observation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyro_vae.config.fields import MOST, option
from pyro_vae.errors import InputError, shown
from pyro_vae.texts import Word

__all__ = ["ModelConfig"]


def _dims(value: object) -> int | tuple[int, ...]:
    """The length of z, or of each latent of a hierarchy, as text (``40,40``) or numbers."""
    given: object = Word(value).parts() if isinstance(value, str) else value
    parts = list(given) if isinstance(given, list | tuple) else [given]
    try:
        dims: list[Any] = [int(part) if isinstance(part, str) else part for part in parts]
    except ValueError:
        dims = []
    if not dims or not all(isinstance(d, int) and not isinstance(d, bool) for d in dims):
        raise InputError(
            f"latent-dim must be an integer, or one for each latent as 40,40, got {shown(value)}"
        )
    return dims[0] if len(dims) == 1 else tuple(dims)


@dataclass(frozen=True)
class ModelConfig:
    """Networks, latents and their heads; each may be the user's own, package.module:attribute."""

    net: str = option(
        "mlp",
        "Networks: mlp, conv, or ladder for a hierarchy; of an installed package by their name, "
        "or package.module:attribute of your own, as --prior and --posterior.",
        metavar="NAME",
    )
    latent_dim: int | tuple[int, ...] = option(
        20,
        "Length of z; D1,D2,... of a hierarchy, from the data up, with --net ladder.",
        metavar="D",
        read=_dims,
    )
    hidden: int | None = option(None, "Width of hidden layers (mlp: 400, conv: 256).", most=MOST)
    depth: int | None = option(None, "Hidden layers (mlp: 1) or stridings (conv: 2).", most=1000)
    dropout: float | None = option(None, "Rate after hidden layers [0].")
    prior: str = option(
        "standard-normal",
        "p(z): standard-normal, diagonal-normal, mixture:K, vamp:K (of the posteriors of K "
        "pseudo-inputs) or flow:STEPS; p(z|c) with --condition: diagonal, full, ... as "
        "--posterior; of several latents one for each, NAME,NAME.",
        metavar="NAME",
    )
    posterior: str = option(
        "diagonal",
        "q(z|x): diagonal or full normal, iaf:STEPS or coupling:STEPS; of several latents all "
        "alike, or NAME,NAME.",
        metavar="NAME",
    )
    device: str = option("auto", "cpu, cuda, mps, or auto: the fastest.")
