"""Rows that a linear network can encode, and their observation."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_vae import Head, Param

SIGMA, DIMS = 0.5, 6
HEAD = Head.of(
    dist.Normal, loc=Param(link="identity"), scale=SIGMA, levels="real", display=lambda p: p.mean
)


def rows(count: int) -> Tensor:
    """Two clusters in a plane of six dimensions, so that priors have something to learn."""
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(count, 2, generator=generator) * 0.5
    z[:, 0] += 3.0 * (torch.rand(count, generator=generator) < 0.5) - 1.5
    weight = torch.randn(2, DIMS, generator=generator)
    return z @ weight + SIGMA * torch.randn(count, DIMS, generator=generator)
