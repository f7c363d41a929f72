"""Whether the networks that a recipe asks for fit into memory, before any are made."""

from __future__ import annotations

import math

import torch

from pyro_vae import networks
from pyro_vae.data.stored import memory
from pyro_vae.errors import InputError

__all__ = ["check_memory"]


def check_memory(net: networks.Networks, data_shape: tuple[int, ...], latent_dim: int) -> None:
    """Make sure that memory holds the weights of stock networks; none are made.

    Args:
        net: Makes the networks.
        data_shape: (C, H, W) or (D,).
        latent_dim: Length of z.

    Raises:
        InputError: If they exceed it, or suit no data of this shape.
    """
    least = networks.Sizes(data_shape, 2 * latent_dim, latent_dim, math.prod(data_shape), 0)
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
