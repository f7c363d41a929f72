"""Worst errors of every distribution's functions and first gradients, by random search.

    python -m benchmarks.precision [seconds per class]

Points are drawn about the worst so far, half of them anew, within the ranges of
:data:`RANGES`; exact values are mpmath's. Errors of log-densities and gradients are relative to
at least one nat or unit; those of cdf, mean and variance to the exact value; a quantile's is what
its own rounding does not explain: the probability missed over the density there, relative to the
quantile. What is below 1e-30 is left out. The search is a random one, no proof of a maximum.

Moments of :data:`SUMMED` are sums over nodes or levels, right absolutely: theirs are relative to
at least 1.
"""

from __future__ import annotations

import random
import sys
import time
from typing import Any

import mpmath as mp
import torch

from benchmarks.exact import CDFS, MOMENTS
from tests.peers.adapters import ADAPTERS

RANGES: dict[str, tuple[tuple[float, float], ...]] = {
    "ContinuousBernoulli": ((-500, 500),),
    "TruncatedNormal": ((-5, 5), (1e-2, 10)),
    "LogitNormal": ((-10, 10), (1e-2, 10)),
    "Kumaraswamy": ((1e-3, 1e3), (1e-3, 1e3)),
    "BernoulliCrossEntropy": ((-80, 80),),
    "Poisson": ((1e-3, 1e6),),
    "NegativeBinomial": ((1e-2, 1e3), (-14, 14)),
    "BetaBinomial": ((1e-3, 1e3), (1e-3, 1e3)),
    "LevelBinomial": ((-30, 30),),
    "LevelCategorical": ((-50, 50), (-50, 50), (-50, 50)),
    "Discretized": ((-1, 2), (1e-2, 1)),
    "ZeroOneInflated": ((-30, 30), (-30, 30), (-30, 30), (-1, 2), (1e-2, 1)),
}
SUMMED = ("LogitNormal", "Kumaraswamy", "Discretized", "ZeroOneInflated")
KINDS = ("log_prob", "gradients", "cdf", "icdf", "mean", "variance")


def drawn(low: float, high: float, about: float | None) -> float:
    """On a logarithmic scale where all is positive; about a point, within a tenth of the range."""
    if low <= 0:
        middle = random.uniform(low, high) if about is None else about
        return min(high, max(low, middle + random.gauss(0, 0.02) * (high - low)))
    middle = random.uniform(mp.log(low), mp.log(high)) if about is None else float(mp.log(about))
    return min(high, max(low, float(mp.exp(middle + random.gauss(0, 0.1)))))


def apart(found: torch.Tensor, exact: Any, least: float = 1.0) -> float:
    return float(abs(mp.mpf(float(found.detach())) - exact) / max(least, abs(exact)))


def errors(name: str, values: list[float], point: float, dtype: torch.dtype) -> dict[str, float]:
    """Of all that the class has, by :data:`KINDS`."""
    adapter = ADAPTERS[name]
    given = [torch.tensor([v], dtype=dtype, requires_grad=True) for v in values]
    p, x = adapter.make(*given), torch.tensor(point, dtype=dtype)
    score = p.log_prob(x)
    gradients = torch.autograd.grad(score.sum(), given)
    at = [mp.mpf(float(v.detach())) for v in given]
    exact_x = mp.mpf(float(x))
    found = {"log_prob": apart(score, adapter.exact(exact_x, *at)), "gradients": 0.0}
    for i, gradient in enumerate(gradients):
        right = mp.diff(lambda v, i=i: adapter.exact(exact_x, *at[:i], v, *at[i + 1 :]), at[i])
        found["gradients"] = max(found["gradients"], apart(gradient, right))
    for kind, exact in zip(("mean", "variance"), MOMENTS[name](*at), strict=True):
        if exact > 1e-30:
            found[kind] = apart(getattr(p, kind), exact, float(name in SUMMED))
    if name in CDFS and (below := CDFS[name](exact_x, *at)) > 1e-30:
        found["cdf"] = apart(p.cdf(x), below, 0.0)
    if name in CDFS:
        quantile = mp.mpf(float(p.icdf(x).detach()))
        if (
            torch.finfo(dtype).tiny < quantile < 1
            and (density := mp.exp(adapter.exact(quantile, *at))) > 1e-30
        ):
            missed = abs(CDFS[name](quantile, *at) - exact_x) / density / quantile
            found["icdf"] = float(missed)
    return found


def search(name: str, dtype: torch.dtype, seconds: float) -> dict[str, Any]:
    """The worst of each kind, with where it is."""
    worst: dict[str, Any] = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        about, point = None, random.choice(ADAPTERS[name].points)
        if worst and random.random() < 0.5:
            _, about, point = random.choice(list(worst.values()))
        ranges = enumerate(RANGES[name])
        values = [drawn(*r, None if about is None else about[i]) for i, r in ranges]
        for kind, error in errors(name, values, point, dtype).items():
            if kind not in worst or not error <= worst[kind][0]:
                worst[kind] = (error, values, point)
    return worst


def main(seconds: float) -> None:
    mp.mp.dps = 120  # a logistic's cdf is 1 to ninety digits a hundred scales from its middle
    for name in RANGES:
        for dtype in (torch.float32, torch.float64):
            random.seed(0)
            worst = search(name, dtype, seconds)
            said = ", ".join(f"{kind} {worst[kind][0]:.1e}" for kind in KINDS if kind in worst)
            where = ", ".join(f"{v:.4g}" for v in worst["log_prob"][1])
            print(
                f"{name:22} {str(dtype)[6:]:8} {said}; the first at ({where}; "
                f"{worst['log_prob'][2]})",
                flush=True,
            )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)
