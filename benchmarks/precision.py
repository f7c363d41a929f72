"""Worst errors of every distribution's functions and first gradients, searched by hypothesis.

    python -m benchmarks.precision [examples per class and dtype]

Parameters are searched within the ranges of :data:`RANGES`, values within those of :data:`POINTS`,
towards the largest error of each kind (``hypothesis.target``), always in the same way; exact values
are mpmath's. Errors of log-densities and gradients are relative to at least one nat or unit; those
of cdf, mean and variance to the exact value; a quantile's is what its own rounding does not
explain: the probability missed over the density there, relative to the quantile. What is below
1e-30 is left out. The search is no proof of a maximum. The exit status is 1 where a log-density or
a gradient is beyond :data:`LIMITS`.

Moments of :data:`SUMMED` are sums over nodes or levels, right absolutely: theirs are
relative to at least 1. So are the quantiles of :data:`FROM_BOTH_ENDS`, whose interval may be any.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import mpmath as mp
import torch
from hypothesis import HealthCheck, Phase, given, settings, target
from hypothesis import strategies as st

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
LEVELS, UNIT = st.integers(0, 255), st.floats(-14, 14).map(lambda y: 1 / (1 + math.exp(-y)))
POINTS: dict[str, st.SearchStrategy[float]] = {
    **dict.fromkeys(RANGES, LEVELS),
    **dict.fromkeys(("ContinuousBernoulli", "TruncatedNormal", "LogitNormal", "Kumaraswamy"), UNIT),
    "BernoulliCrossEntropy": st.floats(0, 1),
    "Poisson": st.integers(0, 10**6),
    "NegativeBinomial": st.integers(0, 10**6),
    "LevelCategorical": st.integers(0, 2),
}
SUMMED = ("LogitNormal", "Kumaraswamy", "Discretized", "ZeroOneInflated")
FROM_BOTH_ENDS = ("TruncatedNormal",)
KINDS = ("log_prob", "gradients", "cdf", "icdf", "mean", "variance")
LIMITS = {
    torch.float32: {"log_prob": 2e-6, "gradients": 1e-4},
    torch.float64: {"log_prob": 1e-13, "gradients": 1e-4},
}


def within(low: float, high: float) -> st.SearchStrategy[float]:
    """On a logarithmic scale where all is positive."""
    if low <= 0:
        return st.floats(low, high)
    ends = math.log(low), math.log(high)
    return st.floats(*ends).map(lambda y: min(high, max(low, math.exp(y))))


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
            missed = abs(CDFS[name](quantile, *at) - exact_x) / density
            found["icdf"] = float(missed / (1 if name in FROM_BOTH_ENDS else quantile))
    return found


def search(name: str, dtype: torch.dtype, examples: int) -> dict[str, Any]:
    """The worst of each kind, with where it is."""
    worst: dict[str, Any] = {}

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.target),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.tuples(*(within(*ends) for ends in RANGES[name])), POINTS[name])
    def measure(values: tuple[float, ...], point: float) -> None:
        for kind, error in errors(name, list(values), float(point), dtype).items():
            if kind not in worst or not error <= worst[kind][0]:
                worst[kind] = (error, values, point)
            target(math.log10(min(max(error, 1e-30), 1e30)) if error == error else 30.0, label=kind)

    with mp.workdps(120):  # a logistic's cdf is 1 to ninety digits a hundred scales from its middle
        measure()
    return worst


def main(examples: int) -> int:
    beyond = 0
    for name in RANGES:
        for dtype in (torch.float32, torch.float64):
            worst = search(name, dtype, examples)
            said = ", ".join(f"{kind} {worst[kind][0]:.1e}" for kind in KINDS if kind in worst)
            print(f"{name:22} {str(dtype)[6:]:8} {said}", flush=True)
            for kind, limit in LIMITS[dtype].items():
                error, values, point = worst[kind]
                where = ", ".join(f"{v:.6g}" for v in values)
                print(f"{'':31} {kind} at ({where}; {point:.6g})", flush=True)
                beyond += not error <= limit
    print(f"{beyond} beyond their limits")
    return int(beyond > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 400))
