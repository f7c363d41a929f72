"""A search of 20 trials against a sweep: which βσ² is best on mnist-5k, and how many runs it takes.

    python -m experiments.search

trains a grid of σ and β, then searches the same two ranges, both after the held-out ELBO, and
prints a JSON line: the best of each, their βσ² and its ratio, and the same of the search's
random beginning, its first ten trials.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

import pyro_vae as pv
from pyro_vae.sweeps import search
from pyro_vae.sweeps.search import Trial

SIGMAS = [0.03, 0.05, 0.085, 0.12, 0.17, 0.25, 0.5, 1.0]
BETAS = [0.25, 1, 4]
RANGES = {
    "sigma": {"low": 0.02, "high": 1.0, "log": True},
    "beta": {"low": 0.1, "high": 10.0, "log": True},
}
OBJECTIVE = "elbo"


def spec(grid: dict[str, Any], epochs: int, seed: int) -> dict[str, Any]:
    """The comparison, but for its grid."""
    base = {"obs": "normal", "epochs": epochs, "init-from-data": True}
    return {"title": "βσ²", "base": base, "grid": grid, "seeds": [seed], "scores": ["elbo", "mse"]}


def swept(out: Path, workers: int, epochs: int, seed: int) -> dict[str, Any]:
    """The best cell of the grid."""
    grid = {"sigma": SIGMAS, "beta": BETAS}
    found = pv.compare(spec(grid, epochs, seed), out, workers=workers)
    best = max((row for row in found.rows if not row.fault), key=lambda r: r.scores[OBJECTIVE])
    return _told(best.labels, best.scores[OBJECTIVE]) | {"runs": len(found.rows)}


def _told(point: dict[str, Any], value: float | None) -> dict[str, Any]:
    product = float(point["beta"]) * float(point["sigma"]) ** 2
    return {**point, "product": round(product, 5), OBJECTIVE: round(value or 0.0, 1)}


def _best(trials: tuple[Trial, ...]) -> dict[str, Any]:
    there = [trial for trial in trials if trial.value is not None]
    best = max(there, key=lambda trial: trial.value or 0.0)
    return _told(best.point, best.value)


@click.command()
@click.option("--trials", default=20, show_default=True)
@click.option("--epochs", default=10, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--workers", default=1, show_default=True)
@click.option("--out", default=Path("comparisons/search"), type=click.Path(path_type=Path))
def main(trials: int, epochs: int, seed: int, workers: int, out: Path) -> None:
    """Run both and print the line."""
    best = swept(out / "sweep", workers, epochs, seed)
    searched = search(
        spec(RANGES, epochs, seed), out / "search", trials, OBJECTIVE, workers=workers
    )
    found, random = _best(searched.trials), _best(searched.trials[:10])
    line = {
        "sweep": best,
        "search": found | {"trials": len(searched.trials)},
        "random_beginning": random,
        "ratio": round(found["product"] / best["product"], 2),
        "ratio_of_random_beginning": round(random["product"] / best["product"], 2),
    }
    print(json.dumps(line, ensure_ascii=False))


if __name__ == "__main__":
    main()
