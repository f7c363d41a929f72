"""Cdf, mean and variance of our distributions by mpmath, in closed form or by sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp

from tests.peers.adapters import ADAPTERS


def _step(x: Any, logit: Any) -> Any:
    return mp.expm1(logit * x) / mp.expm1(logit) if logit else x


def _truncated(x: Any, loc: Any, scale: Any) -> Any:
    low, high, at = -loc / scale, (1 - loc) / scale, (x - loc) / scale
    if low > 0:  # from the far side, where nothing is 1
        return (mp.ncdf(-low) - mp.ncdf(-at)) / (mp.ncdf(-low) - mp.ncdf(-high))
    return (mp.ncdf(at) - mp.ncdf(low)) / (mp.ncdf(high) - mp.ncdf(low))


def _logit_normal(x: Any, loc: Any, scale: Any) -> Any:
    return mp.ncdf((mp.log(x / (1 - x)) - loc) / scale)


def _kumaraswamy(x: Any, a: Any, b: Any) -> Any:
    return 1 - (1 - x**a) ** b


CDFS: dict[str, Callable[..., Any]] = {
    "ContinuousBernoulli": _step,
    "TruncatedNormal": _truncated,
    "LogitNormal": _logit_normal,
    "Kumaraswamy": _kumaraswamy,
}


def _continuous_bernoulli(logit: Any) -> tuple[Any, Any]:
    if abs(logit) < 1e-20:  # the closed form cancels
        return mp.mpf(1) / 2 + logit / 12, mp.mpf(1) / 12
    mean = -1 / mp.expm1(-logit) - 1 / logit
    return mean, 1 / logit**2 - mp.exp(logit) / mp.expm1(logit) ** 2


def _truncated_moments(loc: Any, scale: Any) -> tuple[Any, Any]:
    low, high = -loc / scale, (1 - loc) / scale
    mass = mp.ncdf(-low) - mp.ncdf(-high) if low > 0 else mp.ncdf(high) - mp.ncdf(low)
    at_low, at_high = mp.npdf(low) / mass, mp.npdf(high) / mass
    shift = at_low - at_high
    spread = 1 + low * at_low - high * at_high - shift**2
    return loc + scale * shift, scale**2 * spread


def _logit_normal_moments(loc: Any, scale: Any) -> tuple[Any, Any]:
    """The trapezoid rule in z at so small a step that it converges for wide scales as well."""
    with mp.workdps(30):
        step = mp.mpf(1) / (8 * max(1, int(scale) + 1))
        z = [step * i for i in range(-int(12 / step), int(12 / step) + 1)]
        weights = [mp.npdf(each) * step for each in z]
        values = [1 / (1 + mp.exp(-loc - scale * each)) for each in z]
        mean = mp.fsum(w * v for w, v in zip(weights, values, strict=True))
        squares = (w * (v - mean) ** 2 for w, v in zip(weights, values, strict=True))
        return mean, mp.fsum(squares)


def _kumaraswamy_moments(a: Any, b: Any) -> tuple[Any, Any]:
    mean, square = (b * mp.beta(1 + i / a, b) for i in (1, 2))
    return mean, square - mean**2


def _bernoulli(logit: Any) -> tuple[Any, Any]:
    return 1 / (1 + mp.exp(-logit)), 1 / (1 + mp.exp(-logit)) / (1 + mp.exp(logit))


def _negative_binomial(r: Any, logit: Any) -> tuple[Any, Any]:
    return r * mp.exp(logit), r * mp.exp(logit) * (1 + mp.exp(logit))


def _beta_binomial(a: Any, b: Any) -> tuple[Any, Any]:
    total = a + b
    return 255 * a / total, 255 * a * b * (total + 255) / (total**2 * (total + 1))


def _binomial(logit: Any) -> tuple[Any, Any]:
    return 255 * _bernoulli(logit)[0], 255 * _bernoulli(logit)[1]


def _summed(name: str, top: int) -> Callable[..., tuple[Any, Any]]:
    def moments(*values: Any) -> tuple[Any, Any]:
        masses = [mp.exp(ADAPTERS[name].exact(mp.mpf(k), *values)) for k in range(top + 1)]
        mean = mp.fsum(k * mass for k, mass in enumerate(masses))
        return mean, mp.fsum((k - mean) ** 2 * mass for k, mass in enumerate(masses))

    return moments


MOMENTS: dict[str, Callable[..., tuple[Any, Any]]] = {
    "ContinuousBernoulli": _continuous_bernoulli,
    "TruncatedNormal": _truncated_moments,
    "LogitNormal": _logit_normal_moments,
    "Kumaraswamy": _kumaraswamy_moments,
    "BernoulliCrossEntropy": _bernoulli,
    "Poisson": lambda rate: (rate, rate),
    "NegativeBinomial": _negative_binomial,
    "BetaBinomial": _beta_binomial,
    "LevelBinomial": _binomial,
    "LevelCategorical": _summed("LevelCategorical", 2),
    "Discretized": _summed("Discretized", 255),
    "ZeroOneInflated": _summed("ZeroOneInflated", 255),
}
