"""Worst relative errors of every distribution's log-density and its gradients, by random search.

    python -m benchmarks.precision [seconds per class]

Points are drawn about the worst so far, half of them anew, within the ranges of
:data:`RANGES`; exact values are mpmath's. Errors are relative to at least one nat.
"""

from __future__ import annotations

import random
import sys
import time
from typing import Any

import mpmath as mp
import torch

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
}


def drawn(low: float, high: float, about: float | None) -> float:
    """On a logarithmic scale where all is positive; about a point, within a tenth of the range."""
    if low <= 0:
        middle = random.uniform(low, high) if about is None else about
        return min(high, max(low, middle + random.gauss(0, 0.02) * (high - low)))
    middle = random.uniform(mp.log(low), mp.log(high)) if about is None else float(mp.log(about))
    return min(high, max(low, float(mp.exp(middle + random.gauss(0, 0.1)))))


def errors(name: str, values: list[float], point: float, dtype: torch.dtype) -> tuple[float, float]:
    """Of the log-density, and the largest of its gradients'."""
    adapter = ADAPTERS[name]
    given = [torch.tensor([v], dtype=dtype, requires_grad=True) for v in values]
    x = torch.tensor(point, dtype=dtype)
    found = adapter.make(*given).log_prob(x)
    gradients = torch.autograd.grad(found.sum(), given)
    at = [mp.mpf(float(v.detach())) for v in given]
    exact = adapter.exact(mp.mpf(float(x)), *at)
    worst = 0.0
    for i, gradient in enumerate(gradients):
        right = mp.diff(
            lambda v, i=i: adapter.exact(mp.mpf(float(x)), *at[:i], v, *at[i + 1 :]), at[i]
        )
        worst = max(worst, float(abs(float(gradient) - right) / max(1, abs(right))))
    return float(abs(float(found.detach()) - exact) / max(1, abs(exact))), worst


def search(name: str, dtype: torch.dtype, seconds: float) -> tuple[list[Any], list[Any]]:
    """The worst of both kinds, each with where it is."""
    worst: list[list[Any]] = [[0.0, None, None], [0.0, None, None]]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        _, values, point = random.choice(worst) if random.random() < 0.5 else (0.0, None, None)
        ranges = RANGES[name]
        values = [drawn(*r, None if values is None else values[i]) for i, r in enumerate(ranges)]
        point = random.choice(ADAPTERS[name].points) if point is None else point
        for kind, error in enumerate(errors(name, values, point, dtype)):
            if not error <= worst[kind][0]:
                worst[kind] = [error, values, point]
    return worst[0], worst[1]


def main(seconds: float) -> None:
    mp.mp.dps = 60
    for name in RANGES:
        for dtype in (torch.float32, torch.float64):
            random.seed(0)
            value, gradient = search(name, dtype, seconds)
            where = ", ".join(f"{v:.4g}" for v in value[1] or ())
            print(
                f"{name:22} {str(dtype)[6:]:8} log_prob {value[0]:.1e} at ({where}; {value[2]}), "
                f"gradients {gradient[0]:.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)
