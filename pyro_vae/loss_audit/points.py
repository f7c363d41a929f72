"""Where a loss is probed, and what is read there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__: list[str] = []

Pairs = tuple[tuple[float, float], ...]

#: (x, x_hat) inside the unit interval, where every likelihood is defined.
GREY: Pairs = tuple((x, x_hat) for x in (0.2, 0.5, 0.9) for x_hat in (0.1, 0.35, 0.6, 0.8))
#: The same for a likelihood that insists on 0 and 1.
BINARY: Pairs = tuple((x, x_hat) for x in (0.0, 1.0) for x_hat in (0.1, 0.35, 0.6, 0.8, 0.95))
#: Errors on both sides of where a Huber loss or a clamp turns.
FAR: Pairs = tuple(
    (x, x + sign * error)
    for x in (0.25, 0.75)
    for error in (0.02, 0.1, 0.3, 0.7, 1.5, 4.0, 12.0)
    for sign in (-1, 1)
)
#: (mean, scale argument).
LATENTS: Pairs = (
    (0.5, -1.0), (-1.0, 0.5), (2.0, -0.5), (-0.7, 0.8), (1.5, 0.3),
    (-2.5, -1.5), (0.3, 1.2), (-0.4, -0.3), (3.0, 0.6), (1.0, -0.8),
)  # fmt: skip

#: The same for a standard deviation or a variance.
POSITIVE: Pairs = tuple((mean, 0.2 + 0.15 * number) for number, (mean, _) in enumerate(LATENTS))


@dataclass(frozen=True)
class Sizes:
    """Sizes of a batch: images, shape of one, shape of its code."""

    batch: int
    data: tuple[int, ...]
    codes: tuple[int, ...]

    @property
    def latents(self) -> int:
        """Dimensions of the code."""
        return math.prod(self.codes)


@dataclass(frozen=True)
class Point:
    """Inputs of a loss: a few pairs, repeated over all pixels and all latents."""

    sizes: Sizes
    pixels: Pairs = GREY
    latents: Pairs = LATENTS

    def scaled(self, errors: float = 1.0, means: float = 1.0, scales: float = 1.0) -> Point:
        """The same point with errors, means and scale arguments multiplied."""
        pixels = tuple((x, x + errors * (x_hat - x)) for x, x_hat in self.pixels)
        latents = tuple((m * means, s * scales) for m, s in self.latents)
        return replace(self, pixels=pixels, latents=latents)


@dataclass(frozen=True)
class Reading:
    """Gradients of a loss at a point, averaged over all places that hold the same pair.

    ``x_hat`` follows the point's pixel pairs, ``mean`` and ``scale`` its latent pairs. ``images``
    holds each image's share in the gradient of x_hat and ``positions`` each position's, 1 where all
    count alike. ``coupled`` is the share of the latents' gradient that is not the latent's own.
    """

    value: float
    x_hat: Tensor
    mean: Tensor
    scale: Tensor
    images: Tensor
    positions: Tensor
    coupled: float = 0.0

    def turned_back(self, pixels: int, latents: int) -> Reading:
        """Undo a rotation of the pairs."""
        if not pixels and not latents:
            return self
        x_hat = self.x_hat.roll(pixels)
        return replace(
            self, x_hat=x_hat, mean=self.mean.roll(latents), scale=self.scale.roll(latents)
        )


def fit(observed: Tensor, reference: Tensor) -> tuple[float, float]:
    """Least-squares factor between two vectors, and the relative size of what is left over."""
    finite = observed.isfinite() & reference.isfinite()
    observed, reference = observed[finite], reference[finite]
    size = float(observed.norm())
    if len(observed) < 2 or size == 0 or float(reference.norm()) == 0:
        return 0.0, math.inf if size or len(observed) < 2 else 0.0
    factor = float(observed @ reference / (reference @ reference))
    return factor, float((observed - factor * reference).norm()) / size


def places(pairs: int, batch: int, size: int) -> Tensor:
    """Which pair each of an image's values holds, (batch, size)."""
    return (torch.arange(batch)[:, None] + torch.arange(size)[None]) % pairs


@dataclass(frozen=True)
class Pool:
    """A gradient as pairs x images x positions, and what is left over of it."""

    pairs: Tensor
    images: Tensor
    positions: Tensor
    rest: float


def pool(gradient: Tensor, pairs: int) -> Pool:
    """Average a gradient over equal pairs; what each image and each position weighs in it.

    Positions that no image has a gradient at (masked ones) are left out of the average.
    """
    flat = gradient.to(torch.float64).flatten(1)
    index = places(pairs, *flat.shape)
    valid = (flat != 0).any(0)
    if not bool(valid.any()):
        valid = torch.ones_like(valid)
    counted = valid.expand_as(flat).to(torch.float64)
    even = torch.ones(len(flat), dtype=torch.float64)
    mean = _by_pair(flat, counted, index, pairs)
    simple = Pool(mean, even, counted[0], _rest(flat, counted * mean[index]))
    if simple.rest < 1e-4 or not simple.rest < math.inf:
        return simple
    product = _product(flat, index, pairs, simple)
    if product.rest < 1e-4 and flat.numel() > 2 * (sum(flat.shape) + pairs):
        return product
    expected = simple.positions * mean[index]
    images = (flat * expected).sum(1) / expected.square().sum(1).clamp(min=1e-300)
    return replace(simple, images=images)


def _by_pair(flat: Tensor, weights: Tensor, index: Tensor, pairs: int) -> Tensor:
    """Least squares of flat = weights * mean[index]; not a number where a pair is nowhere."""
    zero = torch.zeros(pairs, dtype=torch.float64)
    above = zero.index_add(0, index.flatten(), (flat * weights).flatten())
    below = zero.index_add(0, index.flatten(), weights.square().flatten())
    return above / below


def _product(flat: Tensor, index: Tensor, pairs: int, start: Pool) -> Pool:
    """Alternating least squares: what a pair gives, times what its image and position weigh."""
    mean, images, positions = start.pairs, start.images, start.positions
    for _ in range(30):
        part = positions * mean[index].nan_to_num()
        images = _ratio((flat * part).sum(1), part.square().sum(1))
        images = images / (float(images.mean()) or 1.0)
        part = images[:, None] * mean[index].nan_to_num()
        positions = _ratio((flat * part).sum(0), part.square().sum(0)) * (start.positions != 0)
        positions = positions / (float(positions[start.positions != 0].mean()) or 1.0)
        mean = _by_pair(flat, images[:, None] * positions, index, pairs)
    rest = _rest(flat, images[:, None] * positions * mean[index])
    return Pool(mean, images, positions, rest)


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    return torch.where(below > 0, above / below.clamp(min=1e-300), torch.zeros_like(above))


def _rest(flat: Tensor, expected: Tensor) -> float:
    seen = flat.isfinite() & expected.isfinite()
    size = float(flat[seen].norm())
    return float((flat - expected)[seen].norm()) / size if size else 0.0


def turns(point: Point) -> Iterator[tuple[Point, int, int]]:
    """Rotations of the pairs by which each pair comes to lie somewhere in a small batch."""
    sizes = point.sizes
    room = sizes.batch + math.prod(sizes.data) - 1, sizes.batch + sizes.latents - 1
    pairs = len(point.pixels), len(point.latents)
    for turn in range(max(math.ceil(n / r) for n, r in zip(pairs, room, strict=True))):
        by = tuple(turn * r % n for n, r in zip(pairs, room, strict=True))
        pixels = (*point.pixels[by[0] :], *point.pixels[: by[0]])
        latents = (*point.latents[by[1] :], *point.latents[: by[1]])
        yield replace(point, pixels=pixels, latents=latents), by[0], by[1]


def average(readings: list[Reading]) -> Reading:
    """Average over seeds and rotations; a pair that a rotation left out has no number in it."""
    if len(readings) == 1:
        return readings[0]

    def over_all(name: str) -> Tensor:
        return torch.stack([getattr(reading, name) for reading in readings]).nanmean(0)

    value = sum(reading.value for reading in readings) / len(readings)
    return Reading(
        value,
        over_all("x_hat"),
        over_all("mean"),
        over_all("scale"),
        over_all("images"),
        over_all("positions"),
        sum(reading.coupled for reading in readings) / len(readings),
    )
