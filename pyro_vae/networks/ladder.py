"""Networks of a hierarchy of latents, generated and inferred from the top down."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pyro_vae.errors import InputError, positive
from pyro_vae.networks.pairs import dropout
from pyro_vae.networks.sizes import Sizes

__all__ = ["Ladder"]


@dataclass(frozen=True)
class Ladder:
    r"""Fully connected networks of several latents (after Sønderby et al. 2016).

    .. math:: p(z_L) \prod_l p(z_l|z_{l+1})\, p(x|z_1), \qquad
       q(z_L|x) \prod_l q(z_l|x, z_{l+1})

    Features of x go up, one hidden layer for each latent; what a latent is given above it joins its
    features in q, and makes p. Unlike there, the two are joined by a network and not by their
    precisions. Covariates stand beside x in q, and beside what is above in p.

    Args:
        hidden: Width of every hidden layer.
        depth: Hidden layers next to the data, in each network.
        dropout: Rate after every hidden layer.

    Example:
        >>> from pyro_vae.networks import Level
        >>> sizes = Sizes((1, 8, 8), 4, 2, 64, 1, levels=(Level(3, 6, 6),))
        >>> encoder, decoder = Ladder(hidden=32)(sizes)
        >>> features = encoder(torch.zeros(5, 1, 8, 8))
        >>> above = torch.zeros(5, 2)
        >>> encoder.posterior(0, features, above).shape, decoder.prior(0, above).shape
        (torch.Size([5, 6]), torch.Size([5, 6]))
        >>> decoder(torch.zeros(5, 3)).shape
        torch.Size([5, 65])
    """

    hidden: int = 400
    depth: int = 1
    dropout: float = 0.0

    def __call__(self, sizes: Sizes) -> tuple[nn.Module, nn.Module]:
        """The encoder and the decoder, each with a port for every latent below the topmost.

        Raises:
            InputError: If there is one latent only, a size is not positive or the dropout rate not
                in [0, 1).
        """
        positive(hidden=self.hidden, depth=self.depth)
        if not sizes.levels:
            raise InputError("net ladder wants several latents, as latent-dim 40,40")
        return _Encoder(self, sizes), _Decoder(self, sizes)

    def layers(self, width: int, depth: int) -> Iterator[nn.Module]:
        """Hidden layers on some numbers."""
        for _ in range(depth):
            yield from (nn.Linear(width, self.hidden), nn.ReLU(), *dropout(self.dropout))
            width = self.hidden

    def network(self, width: int, numbers: int, depth: int = 1) -> nn.Module:
        """A network from some numbers to others."""
        return nn.Sequential(*self.layers(width, depth), nn.Linear(self.hidden, numbers))


class _Encoder(nn.Module):
    """x → the features of all levels in a row, then the topmost posterior's raw numbers."""

    def __init__(self, net: Ladder, sizes: Sizes) -> None:
        super().__init__()
        seen = math.prod(sizes.data_shape) + sizes.covariates
        first = nn.Sequential(nn.Flatten(), *net.layers(seen, net.depth))
        rest = (nn.Sequential(*net.layers(net.hidden, 1)) for _ in sizes.levels)
        self.up = nn.ModuleList([first, *rest])
        self.top = nn.Linear(net.hidden, sizes.posterior_numbers)
        above = [level.dim for level in sizes.levels[1:]] + [sizes.latent_dim]
        self.join = nn.ModuleList(
            net.network(net.hidden + dim, level.posterior_numbers)
            for level, dim in zip(sizes.levels, above, strict=True)
        )
        self.hidden = net.hidden

    def forward(self, x: Tensor, *covariates: Tensor) -> Tensor:
        x = torch.cat([x.flatten(1), *covariates], 1)
        features = []
        for layer in self.up:
            x = layer(x)
            features.append(x)
        return torch.cat([*features[:-1], self.top(x)], 1)

    def posterior(self, level: int, features: Tensor, above: Tensor) -> Tensor:
        """Raw numbers of a level's posterior.

        Args:
            level: Its number, from the bottom, at 0.
            features: What :meth:`forward` gave, (..., F).
            above: The latent above, (..., dim); leading dimensions broadcast.
        """
        own = features[..., level * self.hidden : (level + 1) * self.hidden]
        lead = torch.broadcast_shapes(own.shape[:-1], above.shape[:-1])
        seen = torch.cat([own.expand(*lead, -1), above.expand(*lead, -1)], -1)
        raw: Tensor = self.join[level](seen)
        return raw


class _Decoder(nn.Module):
    """The lowest latent → raw numbers of the observation; a latent → those of the one below it."""

    def __init__(self, net: Ladder, sizes: Sizes) -> None:
        super().__init__()
        above = [level.dim for level in sizes.levels[1:]] + [sizes.latent_dim]
        self.down = nn.ModuleList(
            net.network(dim + sizes.covariates, level.prior_numbers)
            for level, dim in zip(sizes.levels, above, strict=True)
        )
        if sizes.prior_numbers:
            self.down.append(net.network(sizes.covariates, sizes.prior_numbers))
        numbers = sizes.grid_numbers + sizes.image_numbers
        width = sizes.levels[0].dim + sizes.covariates
        self.observation = net.network(width, numbers, net.depth)

    def forward(self, z: Tensor, *covariates: Tensor) -> Tensor:
        raw: Tensor = self.observation(torch.cat([z, *covariates], 1))
        return raw

    def prior(self, level: int, context: Tensor) -> Tensor:
        """Raw numbers of a level's prior, from the bottom, at 0.

        Args:
            level: Its number.
            context: The latent above it, and the covariates, (..., numbers).
        """
        raw: Tensor = self.down[level](context)
        return raw
