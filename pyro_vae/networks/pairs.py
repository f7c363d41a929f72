"""Pairs of networks: an encoder and a decoder of one latent site."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pyro_vae.errors import InputError, positive
from pyro_vae.networks.sizes import Sizes

__all__ = ["MLP", "Conv"]


def _one_latent(sizes: Sizes) -> None:
    if sizes.levels:
        raise InputError(
            "an encoder and a decoder are of one latent; several (latent-dim 40,40) want net ladder"
        )


def dropout(rate: float) -> list[nn.Module]:
    """A layer of dropout, or none where the rate is 0.

    Raises:
        InputError: If the rate is not in [0, 1).
    """
    if not 0 <= rate < 1:
        raise InputError(f"dropout must be in [0, 1), got {rate:g}")
    return [nn.Dropout(rate)] if rate else []


@dataclass(frozen=True)
class MLP:
    """Fully connected networks with ReLU, 784-400-20-400-784 by default on 28×28 images.

    Args:
        hidden: Width of every hidden layer.
        depth: Hidden layers in each network.
        dropout: Rate after every hidden layer.

    Example:
        >>> encoder, decoder = MLP(hidden=32)(Sizes((1, 8, 8), 4, 2, 64, 1))
        >>> encoder(torch.zeros(3, 1, 8, 8)).shape, decoder(torch.zeros(3, 2)).shape
        (torch.Size([3, 4]), torch.Size([3, 65]))
    """

    hidden: int = 400
    depth: int = 1
    dropout: float = 0.0

    def __call__(self, sizes: Sizes) -> tuple[nn.Module, nn.Module]:
        """The encoder and the decoder.

        Raises:
            InputError: If there are several latents, a size is not positive or the dropout rate not
                in [0, 1).
        """
        _one_latent(sizes)
        positive(hidden=self.hidden, depth=self.depth)
        data = math.prod(sizes.data_shape)
        numbers = sizes.grid_numbers + sizes.image_numbers
        c = sizes.covariates
        encoder = [nn.Flatten(), *self._layers(data + c, sizes.posterior_numbers)]
        decoder = [*self._layers(sizes.latent_dim + c, numbers)]
        if c:
            port = self._layers(c, sizes.prior_numbers) if sizes.prior_numbers else ()
            return _Informed(encoder), _Informed(decoder, port=port)
        return nn.Sequential(*encoder), nn.Sequential(*decoder)

    def _layers(self, width: int, out: int) -> Iterable[nn.Module]:
        for _ in range(self.depth):
            yield from (nn.Linear(width, self.hidden), nn.ReLU(), *dropout(self.dropout))
            width = self.hidden
        yield nn.Linear(width, out)


@dataclass(frozen=True)
class Conv:
    """Strided convolutions down and transposed ones up, for any C×H×W with H, W ≥ 8.

    Args:
        hidden: Width of the fully connected layer between convolutions and latents.
        depth: Stridings by 2; channels are 32, 64, 64, ...
        dropout: Rate after every hidden layer.

    Example:
        >>> encoder, decoder = Conv()(Sizes((3, 13, 9), 8, 4, 3 * 13 * 9, 1))
        >>> encoder(torch.zeros(2, 3, 13, 9)).shape, decoder(torch.zeros(2, 4)).shape
        (torch.Size([2, 8]), torch.Size([2, 352]))
    """

    hidden: int = 256
    depth: int = 2
    dropout: float = 0.0

    def __call__(self, sizes: Sizes) -> tuple[nn.Module, nn.Module]:
        """The encoder and the decoder.

        Raises:
            InputError: If there are several latents, the data are no images of at least 8×8, or an
                observation has an event inside a site (which would be taken for image height).
        """
        _one_latent(sizes)
        positive(hidden=self.hidden, depth=self.depth)
        if len(sizes.data_shape) != 3 or min(sizes.data_shape[1:]) < 8:
            raise InputError(
                "the convolutional network takes images (C, H, W) with H, W of at least 8, "
                f"got data of shape {sizes.data_shape}; net='mlp' takes any shape"
            )
        if sizes.site_event:
            raise InputError(
                "the convolutional network cannot make an observation with an event of shape "
                f"{sizes.site_event} inside a site; use net='mlp' or networks of your own"
            )
        c, h, w = sizes.data_shape
        steps = [(h, w)]
        for _ in range(self.depth):
            steps.append(tuple((side + 1) // 2 for side in steps[-1]))  # type: ignore[arg-type]
        channels = [c] + [min(32 * 2**i, 64) for i in range(self.depth)]
        features = channels[-1] * math.prod(steps[-1])
        encoder = self._encoder(
            [c + sizes.covariates, *channels[1:]], features, sizes.posterior_numbers
        )
        port = self._port(sizes) if sizes.prior_numbers else []
        decoder = _ConvDecoder(self, sizes, channels, steps, features, port)
        if sizes.covariates:
            return _Informed(encoder, flat=False), decoder
        return nn.Sequential(*encoder), decoder

    def _port(self, sizes: Sizes) -> list[nn.Module]:
        """From covariates to what p(z|c) is made of."""
        hidden = [nn.Linear(sizes.covariates, self.hidden), nn.ReLU(), *dropout(self.dropout)]
        return [*hidden, nn.Linear(self.hidden, sizes.prior_numbers)]

    def _encoder(self, channels: list[int], features: int, out: int) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for width, wider in itertools.pairwise(channels):
            layers += [nn.Conv2d(width, wider, 3, stride=2, padding=1), nn.ReLU()]
        layers += [nn.Flatten(), nn.Linear(features, self.hidden), nn.ReLU()]
        return [*layers, *dropout(self.dropout), nn.Linear(self.hidden, out)]


class _Told(nn.Module):
    """A network with a port for p(z|c) beside what it is for."""

    def __init__(self, port: Iterable[nn.Module]) -> None:
        super().__init__()
        self.port = nn.Sequential(*port)

    def prior(self, level: int, context: Tensor) -> Tensor:
        """Raw numbers of p(z|c), (..., numbers), from c, (..., C)."""
        raw: Tensor = self.port(context)
        return raw


class _Informed(_Told):
    """Layers that are given covariates beside a flat input, or as constant channels of images."""

    def __init__(
        self, layers: Iterable[nn.Module], flat: bool = True, port: Iterable[nn.Module] = ()
    ) -> None:
        super().__init__(port)
        self.layers, self.flat = nn.Sequential(*layers), flat

    def forward(self, x: Tensor, covariates: Tensor) -> Tensor:
        if self.flat:
            x = x.flatten(1)
        planes = covariates.reshape(*covariates.shape, *[1] * (x.dim() - 2))
        found: Tensor = self.layers(torch.cat([x, planes.expand(-1, -1, *x.shape[2:])], 1))
        return found


class _ConvDecoder(_Told):
    """z → each parameter's grid by transposed convolutions, then the per-image numbers."""

    def __init__(
        self,
        net: Conv,
        sizes: Sizes,
        channels: list[int],
        steps: list[tuple[int, int]],
        features: int,
        port: Iterable[nn.Module],
    ) -> None:
        super().__init__(port)
        height, width = steps[0]
        self.dense = nn.Sequential(
            nn.Linear(sizes.latent_dim + sizes.covariates, net.hidden),
            nn.ReLU(),
            *dropout(net.dropout),
            nn.Linear(net.hidden, features),
            nn.ReLU(),
            nn.Unflatten(1, (channels[-1], *steps[-1])),
        )
        up: list[nn.Module] = []
        for i in range(net.depth, 1, -1):
            up += [_transposed(channels[i], channels[i - 1], steps[i - 1]), nn.ReLU()]
        self.up = nn.Sequential(*up)
        grid_channels = sizes.grid_numbers // (height * width)
        self.grid = _transposed(channels[1], grid_channels, steps[0]) if grid_channels else None
        self.image = nn.Linear(channels[1], sizes.image_numbers) if sizes.image_numbers else None

    def forward(self, z: Tensor, covariates: Tensor | None = None) -> Tensor:
        z = z if covariates is None else torch.cat([z, covariates], 1)
        features = self.up(self.dense(z))
        parts = []
        if self.grid is not None:
            parts.append(self.grid(features).flatten(1))
        if self.image is not None:
            parts.append(self.image(features.mean((-2, -1))))
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]


def _transposed(channels: int, out: int, target: tuple[int, int]) -> nn.Module:
    # A stride of 2 gives 2n - 1 + padding pixels: odd sides need none, even ones 1.
    padding = tuple(1 - side % 2 for side in target)
    return nn.ConvTranspose2d(channels, out, 3, stride=2, padding=1, output_padding=padding)  # type: ignore[arg-type]
