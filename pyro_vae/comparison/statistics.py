"""Means over seeds and what they may be off by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

__all__ = ["Estimate", "estimate", "student_quantile"]


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
    error = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
    half = student_quantile(n - 1) * error
    return Estimate(n, mean, error, mean - half, mean + half)


@cache
def student_quantile(degrees: int, inside: float = 0.95) -> float:
    """The t that Student's distribution exceeds in absolute value with probability 1 − inside.

    Args:
        degrees: Degrees of freedom, a positive integer.
        inside: The probability of (−t, t).

    Example:
        >>> round(student_quantile(2), 4)
        4.3027
    """
    low, high = 0.0, 1.0
    while _inside(high, degrees) < inside:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle, degrees) < inside else (low, middle)
    return high


def _inside(t: float, degrees: int) -> float:
    """P(|T| < t) as a finite sum (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4)."""
    angle = math.atan2(t, math.sqrt(degrees))
    odd = degrees % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for k in range(2 + odd, degrees + 1, 2):
        total += term
        term *= math.cos(angle) ** 2 * (k - 1) / k
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total
