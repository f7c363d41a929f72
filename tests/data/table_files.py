"""A table with a column of each kind."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

ROWS = 300


def made() -> dict[str, list[Any]]:
    """A column of each kind, drawn from what it should have."""
    rng = np.random.default_rng(0)
    return {
        "height": list(rng.normal(170, 9, ROWS).round(1)),
        "income": list(np.exp(rng.normal(10, 1, ROWS)).round(2)),
        "visits": list(rng.negative_binomial(2, 0.2, ROWS)),
        "smoker": list(rng.choice(["yes", "no"], ROWS)),
        "flag": list(rng.integers(0, 2, ROWS)),
        "city": list(rng.choice(["Paris, FR", "Rome", 'The "Hague"'], ROWS)),
        "grade": list(rng.choice([1, 2, 3], ROWS)),
        "year": list(rng.integers(1950, 2020, ROWS)),
        "floor": list(rng.choice([-2, -1, 0, 1], ROWS)),
    }


KINDS = {
    **{"height": "real", "income": "positive", "visits": "count", "smoker": "binary"},
    **{"flag": "binary", "city": "category", "grade": "category", "year": "real"},
    "floor": "category",
}


def write_mixed(path: Path) -> Path:
    """A table of these columns, in each of which an entry is missing."""
    columns = made()
    for i, name in enumerate(columns):
        columns[name][i + 3] = ["", "NA", "nan", "?", "null", " "][i % 6]
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path
