"""Verdicts: what the figures say of the claims."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

from pyro_vae.sweeps.claims import Check, Claim, Crossing, Group
from pyro_vae.sweeps.results import Row
from pyro_vae.sweeps.statistics import Estimate, estimate

__all__: list[str] = []

Scores = Mapping[tuple[str, int], Mapping[str, float]]


@dataclass(frozen=True)
class Judged:
    """A check with its figures.

    Attributes:
        text: The check.
        verdict: ``"holds"``, ``"does not hold"`` or ``"undecided"``.
        left: Mean over seeds of the left side; None where no seed has it.
        right: Of the right side; None also where that is a number, which the text has.
        difference: Of the paired differences, left − right.
        why: Why nothing can be said, or None.
    """

    text: str
    verdict: str
    left: Estimate | None
    right: Estimate | None
    difference: Estimate | None
    why: str | None = None

    def __str__(self) -> str:
        if self.difference is None:
            return f"{self.text}: {self.why}"
        found = self.difference
        seeds = f"{found.n} seed{'s' * (found.n > 1)}"
        interval = "" if found.low is None else f" [{found.low:.4g}, {found.high:.4g}]"
        sides = f"{self.left}" if self.right is None else f"{self.left} against {self.right}"
        return f"{self.text}: {sides}, difference {found.mean:.4g}{interval}, {seeds}"


@dataclass(frozen=True)
class Verdict:
    """A claim with its verdict.

    Attributes:
        statement: The claim's.
        verdict: As for ``Judged``, over all checks.
        expected: What the spec expects, or None.
        checks: Its checks.
    """

    statement: str
    verdict: str
    expected: str | None
    checks: tuple[Judged, ...]

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        return asdict(self)


def judge(claim: Claim, rows: Sequence[Row]) -> Verdict:
    """The verdict on a claim: it holds if all checks do, and does not if one does not.

    Args:
        claim: The claim.
        rows: Of all runs.
    """
    scores = {(row.cell, row.seed): row.scores for row in rows}
    seeds = list(dict.fromkeys(row.seed for row in rows))
    checks = tuple(_judged(check, scores, seeds) for check in claim.checks)
    found = {check.verdict for check in checks}
    verdict = "holds" if found == {"holds"} else "undecided"
    if "does not hold" in found:
        verdict = "does not hold"
    return Verdict(claim.statement, verdict, claim.expected, checks)


def _judged(check: Check, scores: Scores, seeds: Sequence[int]) -> Judged:
    pairs = []
    for seed in seeds:
        left = _value(check.of, check.score, check.over, scores, seed)
        right: float | Group | None = check.than
        if isinstance(right, Group):
            right = _value(right, check.than_score or check.score, check.over, scores, seed)
        if left is not None and right is not None:
            pairs.append((left, check.factor * right))
    difference = estimate([left - right for left, right in pairs])
    if difference is None:
        return Judged(str(check), "undecided", None, None, None, _why(check))
    return Judged(
        str(check),
        decide(check.relation, difference, check.tolerance),
        estimate([left for left, _ in pairs]),
        estimate([right for _, right in pairs]) if isinstance(check.than, Group) else None,
        difference,
    )


def _why(check: Check) -> str:
    if isinstance(check.score, Crossing):
        return f"{check.score.at} does not cross {check.score.equals:g} for any seed"
    return f"no seed has {check.score} in all of these cells"


def decide(relation: str, difference: Estimate, tolerance: float | None = None) -> str:
    """The verdict that the 95% interval of left − right allows.

    Args:
        relation: One of ``<``, ``<=``, ``>``, ``>=`` and ``~``.
        difference: Left − right.
        tolerance: For ``~``.

    Example:
        >>> decide("<", estimate([-1.0, -1.1, -0.9])), decide("<", estimate([-1.0, 1.0]))
        ('holds', 'undecided')
    """
    low, high = difference.low, difference.high
    if low is None or high is None:
        return "undecided"
    if relation.startswith(">"):
        low, high = -high, -low
    if relation == "~":
        margin = 0.0 if tolerance is None else tolerance
        holds, fails = -margin <= low and high <= margin, low > margin or high < -margin
    elif relation.endswith("="):
        holds, fails = high <= 0, low > 0
    else:
        holds, fails = high < 0, low >= 0
    return "holds" if holds else "does not hold" if fails else "undecided"


def _value(
    group: Group, score: str | Crossing, over: str, scores: Scores, seed: int
) -> float | None:
    """A group's value at a seed; None if a cell has none."""
    if isinstance(score, Crossing):
        return _crossing(group, score, scores, seed)
    values = [scores.get((cell, seed), {}).get(score) for cell in group.cells]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    if over == "mean":
        return math.fsum(known) / len(known)
    return min(known) if over == "min" else max(known)


def _crossing(group: Group, crossing: Crossing, scores: Scores, seed: int) -> float | None:
    """Where a group's curve first crosses a number, None if it does not."""
    points = []
    for cell, options in zip(group.cells, group.options, strict=True):
        value = scores.get((cell, seed), {}).get(crossing.at)
        if value is not None:
            points.append((math.log(float(options[crossing.option])), value))
    for (a, low), (b, high) in pairwise(sorted(points)):
        if min(low, high) <= crossing.equals <= max(low, high):
            part = 0.0 if low == high else (crossing.equals - low) / (high - low)
            return math.exp(a + part * (b - a))
    return None
