"""Means over seeds and what they may be off by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import stdev

__all__ = ["Estimate", "estimate"]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        n: How many values.
        mean: Of the values.
        standard_error: Of the mean; None for one value.
        low: Lower end of Student's 95% interval of the mean; None for one value.
        high: Its upper end.
    """

    n: int
    mean: float
    standard_error: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        error = "" if self.standard_error is None else f" ± {self.standard_error:.2g}"
        return f"{self.mean:.4g}{error}"


def estimate(values: Sequence[float]) -> Estimate | None:
    """The mean of values with its standard error and interval; None of no values.

    Example:
        >>> found = estimate([1.0, 2.0, 3.0])
        >>> print(found, round(found.low, 3), round(found.high, 3))
        2 ± 0.58 -0.484 4.484
    """
    n = len(values)
    if n == 0:
        return None
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(1, mean, None, None, None)
    error = stdev(values) / math.sqrt(n)
    half = _quantile(n - 1) * error
    return Estimate(n, mean, error, mean - half, mean + half)


@cache
def _quantile(degrees: int) -> float:
    """The t that Student's distribution exceeds in absolute value with probability 0.05."""
    from scipy.stats import t  # here: it takes half a second to import

    return float(t.ppf(0.975, degrees))
