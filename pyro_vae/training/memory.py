"""Whether the networks that a recipe asks for fit into memory, before any are made."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from pyro_vae import networks
from pyro_vae.data.stored import memory
from pyro_vae.errors import InputError

__all__: list[str] = []


def check_memory(
    net: networks.Networks, data_shape: tuple[int, ...], latent_dims: Sequence[int]
) -> None:
    """Make sure that memory holds the weights of stock networks; none are made.

    Args:
        net: Makes the networks.
        data_shape: (C, H, W) or (D,).
        latent_dims: Length of each latent, from the data up.

    Raises:
        InputError: If they exceed it, or suit no data of this shape.
    """
    if type(net) not in networks.NETWORKS.values():
        return  # others may not work with sizes like these, or without memory
    *lower, top = latent_dims
    levels = tuple(networks.Level(dim, 2 * dim, 2 * dim) for dim in lower)
    pixels = math.prod(data_shape)
    least = networks.Sizes(data_shape, 2 * top, top, pixels, 0, levels=levels)
    state = torch.get_rng_state()
    try:
        with torch.device("meta"):
            size = sum(part.nbytes for end in net(least) for part in end.parameters())
    except (RuntimeError, OverflowError):  # more numbers than can be counted
        size = 2**63
    finally:
        torch.set_rng_state(state)
    if size > memory():
        raise InputError(
            f"the networks' weights take {size / 2**30:,.0f} GiB, more than the memory's "
            f"{memory() / 2**30:,.0f} GiB: give a smaller hidden, depth or latent-dim"
        )
