"""Networks by name, and how they are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pyro_vae import specs
from pyro_vae.errors import InputError
from pyro_vae.networks.ladder import Ladder
from pyro_vae.networks.pairs import MLP, Conv
from pyro_vae.networks.sizes import Networks, Sizes
from pyro_vae.types import JSON

__all__ = ["NETWORKS", "make", "spec", "through"]

NETWORKS: dict[str, Callable[..., Networks]] = {"mlp": MLP, "conv": Conv, "ladder": Ladder}
"""Stock networks by name; ``name:N`` sets the first of an entry's fields. An installed package adds
to them in the entry-point group ``pyro_vae.networks``."""


def make(
    net: str | Mapping[str, object] | Networks | tuple[nn.Module, nn.Module], sizes: Sizes
) -> tuple[nn.Module, nn.Module]:
    """The pair of networks that ``net`` names, is, or makes.

    Args:
        net: A text of :data:`NETWORKS`, what :func:`spec` gave, a function of the sizes, or a pair
            (encoder, decoder).
        sizes: What they must fit.

    Raises:
        InputError: If the name is unknown, or the pair is no pair of modules.
    """
    found = _named(net)
    pair: tuple[nn.Module, nn.Module] = found(sizes) if callable(found) else tuple(found)
    if len(pair) != 2 or not all(isinstance(part, nn.Module) for part in pair):
        raise InputError("net must be a name, a function of the sizes or a pair of torch modules")
    return pair


def _named(net: Any) -> Any:
    """The networks of a name or a description; others as they are."""
    return specs.read("network", net, NETWORKS) if isinstance(net, str | Mapping) else net


def spec(net: object) -> JSON | None:
    """A stock network, or an installed package's, as plain data; None for the user's own."""
    return specs.described("network", _named(net), NETWORKS)


def through(
    network: nn.Module,
    x: Tensor,
    event_dims: int,
    arithmetic: torch.dtype | None = None,
    covariates: Tensor | None = None,
) -> Tensor:
    """Apply a network that takes one batch dimension to x with any number of them.

    Args:
        network: Takes (N, *event), and (N, C) besides where there are covariates.
        x: (..., *event).
        event_dims: Number of the event's dimensions.
        arithmetic: What it computes in, by ``torch.autocast``; None for its weights' dtype.
        covariates: (..., C), or None; leading dimensions broadcast against x's.

    Returns:
        (..., numbers), in float32 or wider.
    """
    lead, event = x.shape[: x.dim() - event_dims], x.shape[x.dim() - event_dims :]
    further: tuple[Tensor, ...] = ()
    if covariates is not None:
        lead = torch.broadcast_shapes(lead, covariates.shape[:-1])
        x = x.expand(*lead, *event)
        further = (covariates.to(x.dtype).expand(*lead, -1).reshape(-1, covariates.shape[-1]),)
    flat = x.reshape(-1, *event)
    if arithmetic is None:
        raw = _tensor(network(_like(network, flat), *(_like(network, c) for c in further)))
    else:
        with torch.autocast(x.device.type, arithmetic):
            raw = _tensor(network(flat, *further))
        raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
    return raw.reshape(*lead, -1) if flat.shape[0] else raw.reshape(*lead, *raw.shape[1:])


def _like(network: nn.Module, x: Tensor) -> Tensor:
    """Numbers in the dtype of a network's weights: tables are float64, models are made double."""
    weight = next(network.parameters(), x)
    if weight.dtype == x.dtype or not (weight.is_floating_point() and x.is_floating_point()):
        return x
    return x.to(weight.dtype)


def _tensor(raw: object) -> Tensor:
    """What a network gave.

    Raises:
        InputError: If it is no tensor.
    """
    if isinstance(raw, Tensor):
        return raw
    cure = ""
    if isinstance(raw, tuple | list):
        cure = (
            "; end its forward with torch.cat(parts, 1), a scale as its raw number (of a softplus)"
        )
    raise InputError(
        f"a network must give one tensor of raw numbers, (N, numbers); yours gives a "
        f"{type(raw).__name__}{cure}"
    )
