"""Distances between two sets of feature vectors, and the Inception Score of one set of logits.

Through torchmetrics, in float64, on whatever features are given.
"""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor, nn

from pyro_vae.errors import InputError
from pyro_vae.noise import fixed_noise, noise

__all__: list[str] = []

BLOCKS = 10
"""Disjoint blocks that an Inception Score's standard error is taken over."""

PAIRED = 1000
"""Images of each set that a kernel distance pairs at a time."""

_SIZES, _REPEATS = 5, 4


def least(dims: int) -> int:
    """The fewest images in a set that Fréchet distances of features (N, dims) are taken of.

    Each half of the set must have a covariance of full rank, and each block two images.
    """
    return max(2 * (dims + 1), 2 * BLOCKS)


def frechet_distance(first: Tensor, second: Tensor) -> float:
    r"""The Fréchet distance of two sets' normal approximations (Heusel et al. 2017).

    .. math:: \|\mu_1-\mu_2\|^2
       + \mathrm{tr}\left(\Sigma_1+\Sigma_2-2(\Sigma_1\Sigma_2)^{1/2}\right)

    Its bias falls as 1/N: compare distances of equal N only.

    Args:
        first: Features (N, D).
        second: Features (M, D).

    Raises:
        InputError: If a set has no more images than features.

    Example:
        >>> features = torch.randn(100, 3)
        >>> round(frechet_distance(features, features + 1), 6)
        3.0
    """
    _check(first, second, fewest=first.shape[1] + 1)
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(_Given(first.shape[1]), normalize=True)
    metric.set_dtype(torch.float64)
    metric.update(first.double(), real=True)
    metric.update(second.double(), real=False)
    return float(metric.compute())


def frechet_distance_infinite(first: Tensor, second: Tensor, seed: int = 0) -> float:
    """The Fréchet distance extrapolated to infinitely many images (Chong & Forsyth 2020).

    The intercept of a straight line in 1/n, fitted to distances of random subsets of n images of
    each set. (The paper varies one set's n; here both sets are finite.) Where the sets have the
    same distribution it is 0 but for noise, and may be negative.

    Args:
        first: Features (N, D).
        second: Features (M, D).
        seed: Of the subsets.

    Raises:
        InputError: If a set has fewer images than :func:`least` says.

    Example:
        >>> draw = torch.Generator().manual_seed(0)
        >>> a, b = torch.randn(2, 400, 16, generator=draw).unbind()
        >>> abs(frechet_distance_infinite(a, b)) < frechet_distance(a, b) / 4
        True
    """
    dims = first.shape[1]
    _check(first, second, fewest=least(dims))
    most = min(len(first), len(second))
    fewest = min(most // 2, max(2 * dims, most // 5))
    generator = torch.Generator().manual_seed(noise("distance of subsets", seed))
    inverse, distances = [], []
    for step in torch.linspace(1 / most, 1 / fewest, _SIZES, dtype=torch.float64):
        n = min(round(1 / float(step)), most)
        for _ in range(_REPEATS):
            parts = [
                part[torch.randperm(len(part), generator=generator)[:n].to(part.device)]
                for part in (first, second)
            ]
            inverse.append(1 / n)
            distances.append(frechet_distance(*parts))
    x, y = torch.tensor(inverse).double(), torch.tensor(distances).double()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    return float(y.mean() - slope * x.mean())


def kernel_distance(first: Tensor, second: Tensor) -> tuple[float, float]:
    r"""The unbiased squared MMD under a cubic kernel (KID, Bińkowski et al. 2018).

    .. math:: k(x, y) = (x^\top y / D + 1)^3

    The mean over disjoint blocks of at most ``PAIRED`` images of each set, in random order,
    with the jackknife's standard error, which is on average not below the true one (Efron & Stein
    1981; the spread of subsets that overlap, as usually given, is).

    Args:
        first: Features (N, D).
        second: Features (M, D); the first min(N, M) of both are used.

    Returns:
        The distance and its standard error.

    Raises:
        InputError: If a set has fewer than 20 images.

    Example:
        >>> a, b = torch.randn(2, 1000, 16).unbind()
        >>> value, error = kernel_distance(a, b)
        >>> abs(value) < 4 * error
        True
    """
    _check(first, second, fewest=2 * BLOCKS)
    n = min(len(first), len(second))
    count = -(-n // PAIRED)
    size = n // count
    blocks = (part.double()[: count * size].split(size) for part in (first, second))
    found = [_discrepancy(a, b) for a, b in zip(*blocks, strict=True)]
    values, variances = torch.tensor(found, dtype=torch.float64).unbind(1)
    return float(values.mean()), math.sqrt(float(variances.sum())) / count


def _discrepancy(x: Tensor, y: Tensor) -> tuple[float, float]:
    """The distance of as many images each, and its variance by leaving out a pair at a time."""
    from torchmetrics.image.kid import maximum_mean_discrepancy, poly_kernel

    n = len(x)
    within_x, across, within_y = poly_kernel(x, x), poly_kernel(x, y), poly_kernel(y, y)
    value = maximum_mean_discrepancy(within_x, across, within_y)
    within = within_x + within_y
    within.fill_diagonal_(0)
    crossing = across.sum(0) + across.sum(1) - across.diagonal()
    without = (within.sum() - 2 * within.sum(0)) / ((n - 1) * (n - 2))
    without = without - 2 * (across.sum() - crossing) / (n - 1) ** 2
    return float(value), float((without - without.mean()).square().sum()) * (n - 1) / n


def inception_score(logits: Tensor) -> tuple[float, float]:
    r"""The Inception Score (Salimans et al. 2016): from 1 to the number of classes.

    .. math:: \exp\left(E_x\,\mathrm{KL}(p(y|x)\,\|\,E_x\,p(y|x))\right)

    Of all images in one split; the standard error comes from ten.

    Args:
        logits: Of a classifier, (N, classes).

    Returns:
        The score and its standard error.

    Raises:
        InputError: If there are fewer than 20 images.

    Example:
        >>> certain = 50 * torch.eye(10).repeat(30, 1)
        >>> round(inception_score(certain)[0], 6)
        10.0
    """
    _check(logits, logits, fewest=2 * BLOCKS)
    from torchmetrics.image.inception import InceptionScore

    def score(splits: int) -> tuple[Tensor, Tensor]:
        # It warns that it keeps all logits, and of one split's standard deviation; it draws from
        # the global generator to shuffle.
        with warnings.catch_warnings(), fixed_noise(noise("inception score"), logits.device):
            warnings.simplefilter("ignore", UserWarning)
            metric = InceptionScore(_Given(logits.shape[1]), splits=splits)
            metric.update(logits.double())
            found: tuple[Tensor, Tensor] = metric.compute()
        return found

    return float(score(1)[0]), float(score(BLOCKS)[1]) / math.sqrt(BLOCKS)


class _Given(nn.Module):
    """The feature extractor of features that are there already."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.num_features = dims

    def forward(self, features: Tensor) -> Tensor:
        return features


def _check(first: Tensor, second: Tensor, fewest: int) -> None:
    for part in (first, second):
        if part.dim() != 2 or part.shape[1] != first.shape[1]:
            raise InputError(
                "two sets of features must have shapes (N, D) and (M, D), got "
                f"{tuple(first.shape)} and {tuple(second.shape)}"
            )
        if len(part) < fewest:
            raise InputError(
                f"on {part.shape[1]} features this distance needs at least {fewest} images "
                f"in a set, got {len(part)}"
            )
