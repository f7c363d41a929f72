"""Each distribution of ours by one line: parameters, how it is made, its log-density by mpmath."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath as mp
import torch
from pyro.distributions import Logistic
from torch import Tensor

from pyro_vae import distributions as ours


class Adapter(NamedTuple):
    """One class: parameters of a batch of 2, points to score and what mpmath says of each."""

    make: Callable[..., Any]
    parameters: tuple[list[Any], ...]
    points: list[float]
    exact: Callable[..., Any]


def _normal(z: Any) -> Any:
    return -z * z / 2 - mp.log(2 * mp.pi) / 2


def _phi(z: Any) -> Any:
    return mp.ncdf(z)


def _continuous_bernoulli(x: Any, logit: Any) -> Any:
    return logit * x + mp.log(logit / mp.expm1(logit) if logit else mp.mpf(1))


def _truncated(x: Any, loc: Any, scale: Any) -> Any:
    low, high = -loc / scale, (1 - loc) / scale
    mass = _phi(-low) - _phi(-high) if low > 0 else _phi(high) - _phi(low)
    return _normal((x - loc) / scale) - mp.log(scale) - mp.log(mass)


def _logit_normal(x: Any, loc: Any, scale: Any) -> Any:
    z = (mp.log(x / (1 - x)) - loc) / scale
    return _normal(z) - mp.log(scale * x * (1 - x))


def _kumaraswamy(x: Any, a: Any, b: Any) -> Any:
    return mp.log(a * b) + (a - 1) * mp.log(x) + (b - 1) * mp.log(1 - x**a)


def _cross_entropy(x: Any, logit: Any) -> Any:
    return x * logit - mp.log1p(mp.exp(logit))


def _poisson(k: Any, rate: Any) -> Any:
    return k * mp.log(rate) - rate - mp.loggamma(k + 1)


def _negative_binomial(k: Any, r: Any, logit: Any) -> Any:
    choices = mp.loggamma(k + r) - mp.loggamma(k + 1) - mp.loggamma(r)
    return choices - r * mp.log1p(mp.exp(logit)) - k * mp.log1p(mp.exp(-logit))


def _log_choose(n: int, k: Any) -> Any:
    return mp.loggamma(n + 1) - mp.loggamma(k + 1) - mp.loggamma(n - k + 1)


def _log_beta(a: Any, b: Any) -> Any:
    return mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b)


def _beta_binomial(k: Any, a: Any, b: Any) -> Any:
    return _log_choose(255, k) + _log_beta(k + a, 255 - k + b) - _log_beta(a, b)


def _binomial(k: Any, logit: Any) -> Any:
    return _log_choose(255, k) + k * logit - 255 * mp.log1p(mp.exp(logit))


def _categorical(k: Any, *logits: Any) -> Any:
    return logits[int(k)] - mp.log(sum(map(mp.exp, logits)))


def _logistic_level(k: Any, loc: Any, scale: Any) -> Any:
    def cdf(x: Any) -> Any:
        return 1 / (1 + mp.exp(-(x - loc) / scale))

    high = mp.mpf(1) if k == 255 else cdf((k + 1) / mp.mpf(256))
    return mp.log(high - (cdf(k / mp.mpf(256)) if k else 0))


def _inflated(k: Any, low: Any, high: Any, inside: Any, loc: Any, scale: Any) -> Any:
    total = mp.exp(low) + mp.exp(high) + mp.exp(inside)
    mass = mp.exp(inside) * mp.exp(_logistic_level(k, loc, scale))
    mass += mp.exp(low) if k == 0 else mp.exp(high) if k == 255 else 0
    return mp.log(mass / total)


def _discretized(loc: Tensor, scale: Tensor) -> Any:
    return ours.Discretized(Logistic(loc, scale))


def _zero_one(low: Tensor, high: Tensor, inside: Tensor, loc: Tensor, scale: Tensor) -> Any:
    gates = torch.stack([low, high, inside], -1)
    return ours.ZeroOneInflated(ours.Discretized(Logistic(loc, scale)), gates)


def _levels(*logits: Tensor) -> Any:
    return ours.LevelCategorical(torch.stack(logits, -1))


UNIT, LEVELS = [0.1, 0.5, 0.93], [0.0, 3.0, 128.0, 255.0]

ADAPTERS: dict[str, Adapter] = {
    "ContinuousBernoulli": Adapter(
        lambda logits: ours.ContinuousBernoulli(logits=logits),
        ([0.6, -40.0],), UNIT, _continuous_bernoulli,
    ),
    "TruncatedNormal": Adapter(ours.TruncatedNormal, ([0.0, 1.3], [0.2, 0.5]), UNIT, _truncated),
    "LogitNormal": Adapter(ours.LogitNormal, ([0.0, 1.3], [0.2, 2.0]), UNIT, _logit_normal),
    "Kumaraswamy": Adapter(ours.Kumaraswamy, ([0.7, 3.0], [2.0, 9.0]), UNIT, _kumaraswamy),
    "BernoulliCrossEntropy": Adapter(
        lambda logits: ours.BernoulliCrossEntropy(logits=logits),
        ([0.6, -40.0],), UNIT, _cross_entropy,
    ),
    "Poisson": Adapter(
        ours.Poisson, ([3.0, 9e5],), [0.0, 7.0, 8.0, 899_000.0, 900_000.0], _poisson
    ),
    "NegativeBinomial": Adapter(
        lambda r, logits: ours.NegativeBinomial(r, logits=logits),
        ([0.5, 30.0], [1.0, 10.0]), [0.0, 7.0, 1e5, 900_000.0], _negative_binomial,
    ),
    "BetaBinomial": Adapter(
        lambda a, b: ours.BetaBinomial(a, b, total_count=255),
        ([0.7, 900.0], [2.0, 300.0]), LEVELS, _beta_binomial,
    ),
    "LevelBinomial": Adapter(ours.LevelBinomial, ([0.3, -2.0],), LEVELS, _binomial),
    "LevelCategorical": Adapter(
        _levels, ([0.3, -2.0], [1.0, 0.0], [5.0, 9.0]), [0.0, 1.0, 2.0], _categorical
    ),
    "Discretized": Adapter(_discretized, ([0.4, 0.9], [0.1, 0.01]), LEVELS, _logistic_level),
    "ZeroOneInflated": Adapter(
        _zero_one, ([0.0, 1.0], [0.5, -1.0], [2.0, 3.0], [0.4, 0.9], [0.1, 0.03]),
        LEVELS, _inflated,
    ),
}  # fmt: skip
