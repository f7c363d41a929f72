"""Distances of feature vectors against independent implementations and known truths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from torch import Tensor

from pyro_vae.metrics.fid import (
    BLOCKS,
    frechet_distance,
    frechet_distance_infinite,
    inception_score,
    kernel_distance,
)

FAILURE_RATE = 1e-3
"""Of each statistical test here, had its seed been another."""


def _frechet(a: Tensor, b: Tensor) -> float:
    """Heusel et al.'s formula with scipy's matrix square root."""
    first, second = a.numpy(), b.numpy()
    step = first.mean(0) - second.mean(0)
    s, t = np.cov(first.T), np.cov(second.T)
    return float(step @ step + np.trace(s + t - 2 * scipy.linalg.sqrtm(s @ t).real))


def _frechet_by_svd(a: Tensor, b: Tensor) -> float:
    """tr((ΣT)^½) is the nuclear norm of the product of the centred data's triangular factors."""
    parts = [(x.numpy() - x.numpy().mean(0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    r, s = (np.linalg.qr(part)[1] for part in parts)
    step = a.numpy().mean(0) - b.numpy().mean(0)
    nuclear = np.linalg.svd(r @ s.T, compute_uv=False).sum()
    return float(step @ step + (r**2).sum() + (s**2).sum() - 2 * nuclear)


@pytest.mark.parametrize("oracle", [_frechet, _frechet_by_svd])
@pytest.mark.parametrize("case", ["halves", "sizes", "scaled", "float32"])
def test_frechet_distance_is_the_formula(case: str, oracle: object, features: Tensor) -> None:
    a, b = {
        "halves": (features[:1500], features[1500:]),
        "sizes": (features[:100], features[100:900]),
        "scaled": (features[:500], 3 * features[500:1000] - 2),
        "float32": (features[:500].float(), features[500:1000].float()),
    }[case]
    assert callable(oracle)
    expected = oracle(a.double(), b.double())
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-6)
    assert frechet_distance(b, a) == pytest.approx(expected, abs=1e-6)


def test_frechet_distance_of_known_normals() -> None:
    # Whitened samples have exactly these moments: |μ|² + Σ(σ − τ)².
    draws = torch.randn(2, 300, 5, dtype=torch.float64)
    white = [(x - x.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(x.T.cov())).T for x in draws]
    s, t = torch.tensor([1.0, 2, 3, 4, 5]).double(), torch.tensor([2.0, 2, 1, 6, 0.5]).double()
    expected = 5 * 0.7**2 + float((s - t).square().sum())
    assert frechet_distance(white[0] * s + 0.7, white[1] * t) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n", [65, 500, 3000])
def test_identical_sets_have_no_distance(features: Tensor, n: int) -> None:
    assert abs(frechet_distance(features[:n], features[:n].clone())) < 1e-6


def test_extrapolation_takes_the_bias_away() -> None:
    # Two samples of one normal: the truth is 0; at n = 400 the bias alone is above 4.
    a, b = torch.randn(2, 400, 64, dtype=torch.float64).unbind()
    raw, infinite = frechet_distance(a, b), frechet_distance_infinite(a, b)
    assert raw > 3
    assert abs(infinite) < raw / 4
    # Apart by a known distance.
    apart = frechet_distance_infinite(a, b + 1)
    assert abs(apart - 64) < abs(frechet_distance(a, b + 1) - 64)
    assert infinite == frechet_distance_infinite(a, b)


def _kernel(u: Any, v: Any) -> float:
    return float((np.dot(u, v) / len(u) + 1) ** 3)


def _mmd(x: Any, y: Any) -> float:
    """The unbiased squared MMD, a double loop over pairs written out."""
    n = len(x)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    same = sum(_kernel(x[i], x[j]) + _kernel(y[i], y[j]) for i, j in pairs) / (n * (n - 1))
    return same - 2 * sum(_kernel(u, v) for u in x for v in y) / n**2


def test_kernel_distance_is_the_formula_and_its_error_the_jackknife(features: Tensor) -> None:
    a, b = features[:30], 1.5 * features[200:240]
    x, y = a.numpy(), b[:30].numpy()
    value, error = kernel_distance(a, b)
    assert value == pytest.approx(_mmd(x, y), abs=1e-9)
    without = [_mmd(np.delete(x, i, 0), np.delete(y, i, 0)) for i in range(30)]
    assert error == pytest.approx(np.std(without) * math.sqrt(29), abs=1e-9)


def test_kernel_distance_of_many_is_the_mean_of_disjoint_blocks(features: Tensor) -> None:
    a, b = features[:1050], features[1050:2100] + 0.1
    blocks = [kernel_distance(a[half], b[half]) for half in (slice(525), slice(525, None))]
    value, error = kernel_distance(a, b)
    assert value == pytest.approx(np.mean([block[0] for block in blocks]), abs=1e-9)
    assert error == pytest.approx(math.hypot(*(block[1] for block in blocks)) / 2, abs=1e-9)


def test_kernel_distance_of_two_halves_covers_zero(features: Tensor) -> None:
    value, error = kernel_distance(features[:1500], features[1500:])
    assert abs(value) < scipy.stats.norm.ppf(1 - FAILURE_RATE / 2) * error


@pytest.mark.parametrize("half", [100, 300])
def test_intervals_of_kernel_distance_cover_zero_as_often_as_they_say(
    half: int, features: Tensor
) -> None:
    generator = torch.Generator().manual_seed(0)
    covered, trials = 0, 200
    for _ in range(trials):
        chosen = features[torch.randperm(len(features), generator=generator)[: 2 * half]]
        value, error = kernel_distance(chosen[:half], chosen[half:])
        covered += abs(value) < 1.96 * error
    assert covered > scipy.stats.binom.ppf(FAILURE_RATE, trials, 0.95)


def test_intervals_of_kernel_distance_cover_a_distance(features: Tensor) -> None:
    # Where the sets differ the error is that of a mean, and the interval no wider than it says.
    generator = torch.Generator().manual_seed(0)
    truth = kernel_distance(features[:1000], 1.2 * features[1000:2000])[0]
    scores = []
    for _ in range(200):
        x, y = features[torch.randperm(len(features), generator=generator)[:200]].split(100)
        value, error = kernel_distance(x, 1.2 * y)
        scores.append((value - truth) / error)
    assert 0.75 < np.std(scores) < 1.25


def test_kernel_distance_sees_a_shift(features: Tensor) -> None:
    value, error = kernel_distance(features[:1500], features[1500:] + 0.3)
    assert value > 5 * error


def test_inception_score_is_the_formula() -> None:
    logits = 3 * torch.randn(400, 7, dtype=torch.float64)
    p = scipy.special.softmax(logits.numpy(), 1)
    kl = scipy.stats.entropy(p, p.mean(0)[None], axis=1)
    value, error = inception_score(logits)
    assert value == pytest.approx(np.exp(kl.mean()), rel=1e-9)
    # The delta method's error; that of ten splits has 9 degrees of freedom.
    delta = np.exp(kl.mean()) * kl.std() / 20
    low, high = scipy.stats.chi2.ppf([FAILURE_RATE / 2, 1 - FAILURE_RATE / 2], BLOCKS - 1)
    assert low < (BLOCKS - 1) * (error / delta) ** 2 < high


@pytest.mark.parametrize(("logits", "expected"), [(torch.zeros(60, 5), 1), (40 * torch.eye(6), 6)])
def test_inception_score_between_one_and_the_classes(logits: Tensor, expected: float) -> None:
    assert inception_score(logits.repeat(10, 1))[0] == pytest.approx(expected, rel=1e-9)


def test_inception_score_leaves_the_generator_alone() -> None:
    state = torch.get_rng_state()
    inception_score(torch.randn(50, 3, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(torch.get_rng_state(), state)
