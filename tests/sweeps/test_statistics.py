"""Means over seeds against scipy, and the verdicts that their intervals allow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mpmath
import pytest
from mpmath import mpf
from scipy import stats

from pyro_vae.sweeps.claims import read_claims
from pyro_vae.sweeps.results import Row, differences, summary
from pyro_vae.sweeps.spec import Spec, read_spec
from pyro_vae.sweeps.statistics import estimate
from pyro_vae.sweeps.verdicts import Verdict, decide, judge

LEFT = (3.1, 2.7, 3.6, 2.9, 3.3)
RIGHT = (2.2, 2.0, 2.5, 2.1, 2.3)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 9, 10, 29, 100, 1001])
def test_intervals_hold_95_percent_of_students_distribution(degrees: int) -> None:
    """P(|T| < t) by the regularised incomplete beta function, in 30 digits."""
    found = estimate([(-1.0) ** i for i in range(degrees + 1)])
    assert found is not None
    assert found.standard_error is not None
    assert found.high is not None
    t = mpf(found.high - found.mean) / found.standard_error
    with mpmath.workdps(30):
        x = degrees / (degrees + t**2)
        outside = mpmath.betainc(mpf(degrees) / 2, 0.5, 0, x, regularized=True)
    assert float(1 - outside) == pytest.approx(0.95, rel=1e-10)


def test_estimates_are_scipys() -> None:
    found = estimate(LEFT)
    assert found is not None
    assert found.standard_error == pytest.approx(stats.sem(LEFT))
    interval = stats.ttest_1samp(LEFT, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(interval))


def test_of_few_values_there_is_no_interval() -> None:
    assert estimate([]) is None
    found = estimate([2.0])
    assert found is not None
    assert (found.n, found.mean, found.standard_error, found.low) == (1, 2.0, None, None)


@pytest.fixture
def spec() -> Spec:
    return read_spec({"grid": {"obs": ["normal", "bernoulli"], "beta": [1, 4]}})


def _rows(spec: Spec, scores: Mapping[str, Sequence[float]], key: str = "mse") -> list[Row]:
    """Rows with one score: a tuple over seeds for each cell."""
    return [
        Row(cell.name, seed, Path(), None, cell.labels, {}, {key: value})
        for cell in spec.cells
        for seed, value in enumerate(scores[cell.name])
    ]


def _judged(spec: Spec, rows: list[Row], **check: Any) -> Verdict:
    (claim,) = read_claims([{"statement": "it is so", **check}], spec.cells)
    return judge(claim, rows)


CELLS = {
    "obs=normal,beta=1": LEFT,
    "obs=normal,beta=4": (9.0,) * 5,
    "obs=bernoulli,beta=1": RIGHT,
    "obs=bernoulli,beta=4": (9.0,) * 5,
}
NORMAL, BERNOULLI = {"obs": "normal", "beta": 1}, {"obs": "bernoulli", "beta": 1}


@pytest.mark.parametrize(
    ("relation", "verdict"), [(">", "holds"), (">=", "holds"), ("<", "does not hold")]
)
def test_a_claim_rests_on_the_paired_interval(spec: Spec, relation: str, verdict: str) -> None:
    rows = _rows(spec, CELLS)
    interval = tuple(stats.ttest_rel(LEFT, RIGHT).confidence_interval(0.95))
    found = _judged(spec, rows, score="mse", of=NORMAL, **{"is": relation}, than=BERNOULLI)
    difference = found.checks[0].difference
    assert difference is not None
    assert (difference.low, difference.high) == pytest.approx(interval)
    assert found.verdict == verdict, relation


def test_the_reference_is_subtracted_seed_by_seed(spec: Spec) -> None:
    rows = _rows(spec, CELLS)
    found = {row["cell"]: row for row in differences(rows, "obs=bernoulli,beta=1")}
    row = found["obs=normal,beta=1"]
    interval = stats.ttest_rel(LEFT, RIGHT).confidence_interval(0.95)
    assert (row["low"], row["high"]) == pytest.approx(tuple(interval))
    assert row["minus"] == "obs=bernoulli,beta=1"
    assert {row["cell"]: row["mean"] for row in summary(rows)}["obs=normal,beta=1"] == (
        pytest.approx(math.fsum(LEFT) / 5)
    )


NUMBERS = {
    "below": ("<", 4.0, None, "holds"),
    "not below": ("<", 2.0, None, "does not hold"),
    "below or not": ("<", 3.2, None, "undecided"),
    "above": (">", 2.0, None, "holds"),
    "the same": ("~", 3.1, 1.0, "holds"),
    "not the same": ("~", 9.0, 1.0, "does not hold"),
    "the same or not": ("~", 3.1, 0.1, "undecided"),
}


@pytest.mark.parametrize("case", list(NUMBERS))
def test_a_number_may_bound_a_score(spec: Spec, case: str) -> None:
    relation, than, tolerance, verdict = NUMBERS[case]
    extra = {} if tolerance is None else {"tolerance": tolerance}
    check = {"is": relation, "than": than, **extra}
    found = _judged(spec, _rows(spec, CELLS), score="mse", of=NORMAL, **check)
    assert found.verdict == verdict


def test_a_side_that_does_not_vary_is_shown_and_a_number_is_not(spec: Spec) -> None:
    rows = _rows(spec, CELLS)
    fixed = {"obs": "normal", "beta": 4}
    check = {"score": "mse", "of": NORMAL, "is": "<"}
    (against,) = _judged(spec, rows, **check, than=fixed).checks
    assert ": 3.12 ± 0.16 against 9 ± 0, difference -5.88 [" in str(against)
    (number,) = _judged(spec, rows, **check, than=9.0).checks
    assert ": 3.12 ± 0.16, difference -5.88 [" in str(number)


def test_one_seed_decides_nothing(spec: Spec) -> None:
    rows = [row for row in _rows(spec, CELLS) if row.seed == 0]
    found = _judged(spec, rows, score="mse", of=NORMAL, **{"is": "<"}, than=100)
    assert found.verdict == "undecided"


def test_seeds_without_the_score_are_left_out(spec: Spec) -> None:
    rows = [
        Row(row.cell, row.seed, row.folder, "it failed", row.labels, {}, {"failed": 1.0})
        if row.cell == "obs=normal,beta=1" and row.seed == 4
        else row
        for row in _rows(spec, CELLS)
    ]
    found = _judged(spec, rows, score="mse", of=NORMAL, **{"is": ">"}, than=BERNOULLI)
    difference = found.checks[0].difference
    assert difference is not None
    assert difference.n == 4
    missing = _judged(spec, rows, score="bits_per_dim", of=NORMAL, **{"is": ">"}, than=0)
    assert missing.verdict == "undecided"
    assert "no seed has bits_per_dim" in str(missing.checks[0])


@pytest.mark.parametrize(
    ("over", "wanted"), [("mean", sum(LEFT) / 10 + 4.5), ("min", sum(LEFT) / 5), ("max", 9.0)]
)
def test_a_group_counts_by_its_mean_or_its_extremes(spec: Spec, over: str, wanted: float) -> None:
    rows = _rows(spec, CELLS)
    found = _judged(
        spec, rows, score="mse", of={"obs": "normal"}, over=over, **{"is": "<"}, than=100
    )
    left = found.checks[0].left
    assert left is not None
    assert left.mean == pytest.approx(wanted)


@pytest.mark.parametrize(("factor", "verdict"), [(1.05, "holds"), (2.0, "does not hold")])
def test_the_right_side_may_have_a_factor(spec: Spec, factor: float, verdict: str) -> None:
    rows = _rows(spec, CELLS)
    check = {"is": ">", "than": BERNOULLI, "factor": factor}
    assert _judged(spec, rows, score="mse", of=NORMAL, **check).verdict == verdict


def test_a_crossing_is_interpolated_in_the_logarithm() -> None:
    spec = read_spec({"grid": {"obs": ["normal", "bernoulli"], "beta": [1, 4, 16]}})
    # kl = 30 − 10 log₂ β / 2 falls by 10 from each β to the next; bernoulli's lies 10 lower.
    levels = {"normal": (30.0, 20.0, 10.0), "bernoulli": (20.0, 10.0, 0.0)}
    scores = {
        cell.name: (levels[cell.labels["obs"]][(1, 4, 16).index(cell.labels["beta"])],) * 2
        for cell in spec.cells
    }
    rows = _rows(spec, scores, "kl")
    check = {"is": ">", "than": {"obs": "bernoulli"}, "factor": 3}
    at = {"option": "beta", "at": "kl", "equals": 15}
    found = _judged(spec, rows, score=at, of={"obs": "normal"}, **check)
    left, right = found.checks[0].left, found.checks[0].right
    assert left is not None
    assert right is not None
    assert left.mean == pytest.approx(8.0)  # halfway from 4 to 16
    assert right.mean == pytest.approx(3 * 2.0)  # three times halfway from 1 to 4
    assert found.verdict == "holds"
    never = _judged(spec, rows, score={**at, "equals": 99}, of={"obs": "normal"}, **check)
    assert never.verdict == "undecided"
    assert "does not cross 99" in str(never.checks[0])


def test_the_right_side_may_be_another_score(spec: Spec) -> None:
    rows = [
        Row(row.cell, row.seed, row.folder, None, row.labels, {}, {**row.scores, "floor": 2.0})
        for row in _rows(spec, CELLS)
    ]
    found = _judged(
        spec, rows, score="mse", of=NORMAL, **{"is": ">"}, than=NORMAL, than_score="floor"
    )
    difference = found.checks[0].difference
    assert difference is not None
    assert difference.mean == pytest.approx(sum(LEFT) / 5 - 2)
    assert found.verdict == "holds"


HOLDS = {"score": "mse", "of": NORMAL, "is": "<", "than": 4}
FAILS = {"score": "mse", "of": NORMAL, "is": ">", "than": 4}
OPEN = {"score": "mse", "of": NORMAL, "is": "<", "than": 3.2}


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [([HOLDS, HOLDS], "holds"), ([HOLDS, OPEN], "undecided"), ([OPEN, FAILS], "does not hold")],
    ids=["all hold", "one is open", "one fails"],
)
def test_a_claim_of_several_checks_needs_all(
    checks: list[dict[str, Any]], verdict: str, spec: Spec
) -> None:
    assert _judged(spec, _rows(spec, CELLS), checks=checks).verdict == verdict


def test_equal_figures_are_at_most_each_other_and_not_less() -> None:
    same = estimate([0.0, 0.0])
    assert same is not None
    found = [decide(relation, same) for relation in ("<", "<=", ">", ">=")]
    assert found == ["does not hold", "holds", "does not hold", "holds"]
