"""Eigenvalues of the data's covariance, streamed over images of any number and width."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from pyro_vae.noise import noise

__all__: list[str] = []

WIDE = 2000
"""Numbers per image up to which the whole covariance is kept; beyond, it is only applied."""

_OVERSAMPLING = 20
_ITERATIONS = 8

Blocks = Callable[[], Iterator[Tensor]]


class Covariance:
    r"""Covariance of images, from passes over blocks: memory does not grow with their number.

    Up to ``WIDE`` numbers per image its eigenvalues are exact; beyond that they come from a
    randomised subspace iteration (Halko, Martinsson and Tropp 2011), which reads the blocks again
    for each step and never forms the matrix.

    Args:
        blocks: Called once per pass; yields (n, D) of any floating type, the same rows every time.
        dims: D.

    Attributes:
        count: Number of rows.
        low: The smallest value of all.
        high: The largest.
        mean: Of each column, (D,), float64.
        variance: Of each column about it, divided by the number of rows, (D,).
        trace: Sum of the variances, the sum of all eigenvalues.

    Example:
        >>> rows = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [2.0, 4.0]])
        >>> Covariance(lambda: iter(rows.split(3)), 2).top(2)
        tensor([4., 1.], dtype=torch.float64)
    """

    def __init__(self, blocks: Blocks, dims: int) -> None:
        self._blocks, self.dims = blocks, dims
        self.count = 0
        self.low, self.high = math.inf, -math.inf
        total = torch.zeros(dims, dtype=torch.float64)
        for block in self._rows():
            self.count, total = self.count + len(block), total + block.sum(0)
            low, high = torch.aminmax(block)
            self.low, self.high = min(self.low, float(low)), max(self.high, float(high))
        self.mean = total / self.count
        # Of columns of one value each: their mean is a few roundings off.
        off = 32 * torch.finfo(torch.float64).eps * max(abs(self.low), abs(self.high))
        self._noise = dims * off**2
        self._matrix: Tensor | None = None
        if dims <= WIDE:
            self._matrix = self._over_rows(lambda centred: centred.T @ centred)
            self.variance = self._matrix.diagonal()
        else:
            self.variance = self._over_rows(lambda centred: centred.square().sum(0))
        self.trace = float(self.variance.sum())

    def _rows(self) -> Iterator[Tensor]:
        for block in self._blocks():
            yield block.to("cpu", torch.float64)

    def _over_rows(self, term: Callable[[Tensor], Tensor]) -> Tensor:
        """The mean over rows of what is summed over each block of centred rows."""
        terms = (term(block - self.mean) for block in self._rows())
        return sum(terms, torch.zeros((), dtype=torch.float64)) / self.count

    def top(self, number: int, weight: Tensor | None = None) -> Tensor:
        """The largest eigenvalues, descending, of the covariance of weighted columns.

        Args:
            number: How many, at most D are returned.
            weight: Factor of each column, (D,); 1 by default.
        """
        number = min(number, self.dims)
        weight = torch.ones(self.dims, dtype=torch.float64) if weight is None else weight
        least = self._noise * float(weight.square().max())
        if self._matrix is not None:
            matrix = weight[:, None] * self._matrix * weight
            return _largest(matrix, number, least)
        size = min(number + _OVERSAMPLING, self.dims)
        generator = torch.Generator().manual_seed(noise("spectrum"))
        start = torch.randn(self.dims, size, generator=generator, dtype=torch.float64)
        basis = torch.linalg.qr(start).Q
        for _ in range(_ITERATIONS):
            basis = torch.linalg.qr(self._applied(basis, weight)).Q
        ritz = basis.T @ self._applied(basis, weight)
        return _largest((ritz + ritz.T) / 2, number, least)

    def _applied(self, basis: Tensor, weight: Tensor) -> Tensor:
        weighted = weight[:, None] * basis
        return weight[:, None] * self._over_rows(lambda centred: centred.T @ (centred @ weighted))


def _largest(symmetric: Tensor, number: int, noise: float) -> Tensor:
    """The largest eigenvalues, descending; 0 where they are no more than rounding leaves."""
    eigenvalues: Tensor = torch.linalg.eigvalsh(symmetric).flip(0)[:number]
    return eigenvalues.masked_fill(eigenvalues <= noise, 0.0)


def blocks_of(images: Tensor, observe: Callable[[Tensor], Tensor]) -> Blocks:
    """Blocks of a few million numbers of images, flattened, as ``observe`` turns them to floats."""
    dims = math.prod(images.shape[1:])
    size = max(1, 4_000_000 // dims)
    return lambda: (observe(part).flatten(1) for part in images.split(size))


class Spectrum(NamedTuple):
    """Eigenvalues of the data's covariance: those that latents can carry, and the others.

    Attributes:
        top: The largest, descending, (L,), float64.
        rest: The others' sum.
        dims: Number of all of them, D.
        width: Of the data's range, in the unit of the eigenvalues' square roots.
    """

    top: Tensor
    rest: float
    dims: int
    width: float

    @classmethod
    def of(
        cls, covariance: Covariance, number: int, scale: float = 1.0, width: float = 1.0
    ) -> Spectrum:
        """Of data times ``scale``, whose range is then ``width`` wide."""
        top = covariance.top(number)
        rest = max(covariance.trace - float(top.sum()), 0.0)
        return cls(top * scale**2, rest * scale**2, covariance.dims, width)

    def water(self, level: float) -> tuple[float, float]:
        """Reverse water-filling over the directions that latents can carry (Cover & Thomas 2006).

        Args:
            level: The eigenvalue that remains of each, at most.

        Returns:
            Rate, in nats per image, and distortion, mean squared error per pixel on the unit range.
        """
        rate = 0.5 * (self.top / level).log().clamp_min(0).sum()
        distortion = (float(self.top.clamp_max(level).sum()) + self.rest) / self.dims
        return float(rate), distortion / self.width**2

    def curve(self) -> tuple[tuple[float, float], ...]:
        """Rate and distortion, as :meth:`water` gives them, from no rate on.

        The last level is a thousandth of the largest eigenvalue.
        """
        if not float(self.top[0]) > 0:
            return ((0.0, 0.0),)
        levels = torch.logspace(0, -3, 25, dtype=torch.float64) * self.top[0]
        return tuple(self.water(float(level)) for level in levels)

    def own_variance(self, beta: float) -> float:
        """The σ² of pPCA's errors at the threshold βσ²: their sum is piecewise linear in it."""
        for kept in range(len(self.top), -1, -1):
            if self.dims <= beta * kept:
                continue
            below = self.rest + float(self.top[kept:].sum())
            variance = below / (self.dims - beta * kept)
            if kept == 0 or float(self.top[kept - 1]) > beta * variance:
                return variance
        return 0.0
