"""Imputation of tables of mixed columns, against column means and a round of regressions.

    python -m experiments.tables

hides a fifth of all entries of three tables that come with scikit-learn, trains on what is left as
``pyro-vae fit --data T.csv`` does, fills the gaps as ``pyro-vae impute`` does, and prints how far
that is from what was hidden. Numbers: root mean squared error in units of the column's standard
deviation, averaged over columns. Categories: the share that is wrong. Beside it the columns' means
and commonest categories, and scikit-learn's IterativeImputer (Bayesian ridge regressions of each
column on all others, van Buuren and Groothuis-Oudshoorn 2011) with categories in one-hot form.
Means over seeds, each with its own gaps, ± half of a 95% interval.

    python -m experiments.tables --settings

prints what the settings of the first command were chosen by: the best held-out ELBO of other seeds,
in nats per row; no hidden entry is looked at. ``--tiny`` makes either short.
"""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
import torch
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning

from pyro_vae.data.tables import batch_of
from pyro_vae.inference import impute_parts
from pyro_vae.training import RunConfig

__all__ = ["SETTINGS", "TABLES", "Table", "error", "hidden", "iterative", "means", "vae"]

Array = NDArray[Any]

SETTINGS: dict[str, Any] = {
    "latent_dim": 8,
    "hidden": 128,
    "batch_size": 64,
    "epochs": 300,
    "lr": 3e-3,
    "patience": 20,
    "keep_best": True,
}
"""Of the first command."""
ALTERNATIVES: dict[str, dict[str, Any]] = {
    "as chosen": {},
    "latent-dim 4": {"latent_dim": 4},
    "hidden 32": {"hidden": 32},
    "hidden 400": {"hidden": 400},
    "dropout 0.2": {"dropout": 0.2},
    "lr 1e-3": {"lr": 1e-3},
}
"""What was tried beside them."""


class Table(NamedTuple):
    """A table without gaps.

    Attributes:
        names: Of its columns, numbers first.
        numbers: (N, D).
        texts: Its other columns, (N, C).
    """

    names: list[str]
    numbers: Array
    texts: Array


def diabetes() -> Table:
    """442 patients; the course of the disease in three classes (Efron et al. 2004)."""
    found = datasets.load_diabetes(scaled=False)
    third = np.searchsorted(np.quantile(found.target, [1 / 3, 2 / 3]), found.target)
    sex = np.array(["women", "men"])[found.data[:, 1].astype(int) - 1]
    course = np.array(["light", "middling", "grave"])[third]
    names = [name for name in found.feature_names if name != "sex"]
    return Table([*names, "sex", "course"], np.delete(found.data, 1, 1), np.stack([sex, course], 1))


def wine() -> Table:
    """178 wines of three growers (Aeberhard and Forina 1991)."""
    return _classed(datasets.load_wine(), "grower", 13)


def cancer() -> Table:
    """569 cell samples, ten means of each, and the diagnosis (Wolberg et al. 1995)."""
    return _classed(datasets.load_breast_cancer(), "diagnosis", 10)


def _classed(found: Any, name: str, columns: int) -> Table:
    names = [str(name).replace(" ", "_") for name in found.feature_names[:columns]]
    return Table([*names, name], found.data[:, :columns], found.target_names[found.target][:, None])


TABLES: dict[str, Callable[[], Table]] = {"diabetes": diabetes, "wine": wine, "cancer": cancer}


def hidden(table: Table, seed: int, share: float = 0.2) -> Array:
    """Which entries are hidden, True there, (N, D + C)."""
    shape = (len(table.numbers), len(table.names))
    return np.random.default_rng(seed).random(shape) < share


def means(table: Table, gaps: Array, seed: int) -> tuple[Array, Array]:
    """Each column's mean, and its commonest category."""
    numbers, texts = table.numbers.copy(), table.texts.copy()
    for i in range(numbers.shape[1]):
        numbers[gaps[:, i], i] = numbers[~gaps[:, i], i].mean()
    for i in range(texts.shape[1]):
        there = ~gaps[:, numbers.shape[1] + i]
        values, counts = np.unique(texts[there, i], return_counts=True)
        texts[~there, i] = values[counts.argmax()]
    return numbers, texts


def iterative(table: Table, gaps: Array, seed: int) -> tuple[Array, Array]:
    """scikit-learn's IterativeImputer, ten rounds of it; of categories the largest number."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    width = table.numbers.shape[1]
    seen = np.where(gaps[:, :width], np.nan, table.numbers)
    mean, deviation = np.nanmean(seen, 0), np.nanstd(seen, 0)
    parts, values = [(seen - mean) / deviation], []
    for i in range(table.texts.shape[1]):
        there = ~gaps[:, width + i]
        values.append(np.unique(table.texts[there, i]))
        # All but the last: a regression of one on all the others would learn that they sum to 1.
        hot = (table.texts[:, i, None] == values[-1][:-1]).astype(float)
        parts.append(np.where(there[:, None], hot, np.nan))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        filled = IterativeImputer(max_iter=10, random_state=seed).fit_transform(np.hstack(parts))
    texts, start = table.texts.copy(), width
    for i, known in enumerate(values):
        some = filled[:, start : start + len(known) - 1]
        likeliest = known[np.column_stack([some, 1 - some.sum(1)]).argmax(1)]
        texts[:, i] = np.where(gaps[:, width + i], likeliest, texts[:, i])
        start += len(known) - 1
    return filled[:, :width] * deviation + mean, texts


def write(table: Table, gaps: Array, path: Path) -> None:
    """A table with gaps as a .csv file."""
    rows = np.hstack([np.char.mod("%.6g", table.numbers), table.texts])
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(table.names)
        writer.writerows(np.where(gaps, "", rows))


def trained(table: Table, gaps: Array, seed: int, **options: Any) -> Any:
    """What ``pyro-vae fit --data`` trains on a table with gaps."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        write(table, gaps, path)
        return RunConfig.of(data=str(path), seed=seed, device="cpu", **options).run()


def vae(table: Table, gaps: Array, seed: int, **options: Any) -> tuple[Array, Array]:
    """A VAE of the table, and what ``pyro-vae impute`` fills in."""
    found = trained(table, gaps, seed, **options)
    columns = found.data.table.columns
    values = impute_parts(found.vae, batch_of(found.data.table), seed=seed)
    width = table.numbers.shape[1]
    numbers = np.hstack([values[column.name].numpy() for column in columns[:width]])
    texts = [
        np.array(column.categories)[values[column.name][:, 0].round().long().numpy()]
        for column in columns[width:]
    ]
    return numbers, np.stack(texts, 1)


def error(table: Table, gaps: Array, filled: tuple[Array, Array]) -> tuple[float, float]:
    """Root mean squared error of numbers in standard deviations, and the share of wrong texts."""
    width = table.numbers.shape[1]
    numbers, texts = filled
    squared = np.square((numbers - table.numbers) / table.numbers.std(0))
    each = [squared[gaps[:, i], i].mean() ** 0.5 for i in range(width)]
    return float(np.mean(each)), float((texts != table.texts)[gaps[:, width:]].mean())


def _said(values: Sequence[float]) -> str:
    """Mean ± half of a 95% interval by Student's t."""
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return f"{mean:.3f}"
    half = float(np.std(values, ddof=1)) / math.sqrt(n) * scipy.stats.t.ppf(0.975, n - 1)
    return f"{mean:.3f} ± {half:.3f}"


def compare(names: Sequence[str], seeds: Sequence[int], options: dict[str, Any]) -> None:
    """The first command's table."""
    print("| table | filled by | numbers, rmse / sd | categories wrong | seconds |")
    print("|---|---|---|---|---|")
    for name in names:
        table, errors = TABLES[name](), {}
        fillings: dict[str, Callable[..., tuple[Array, Array]]] = {
            "column means": means,
            "IterativeImputer": iterative,
            "pyro-vae impute": lambda *given: vae(*given, **options),
        }
        for what, fill in fillings.items():
            began = time.perf_counter()
            found = []
            for seed in seeds:
                gaps = hidden(table, seed)
                found.append(error(table, gaps, fill(table, gaps, seed)))
            took = (time.perf_counter() - began) / len(seeds)
            errors[what] = np.array(found)
            numbers, wrong = (_said(column) for column in errors[what].T)
            print(f"| {name} | {what} | {numbers} | {wrong} | {took:.1f} |", flush=True)
        won = (errors["pyro-vae impute"] < errors["IterativeImputer"]).sum(0)
        print(f"| {name} | the VAE before the regressions | {won[0]} of {len(seeds)} seeds | "
              f"{won[1]} of {len(seeds)} seeds | |", flush=True)  # fmt: skip


def settings(names: Sequence[str], seeds: Sequence[int], options: dict[str, Any]) -> None:
    """The second command's table."""
    print("| settings | " + " | ".join(names) + " | mean |")
    print("|---" * (len(names) + 2) + "|")
    for what, other in ALTERNATIVES.items():
        scores = []
        for name in names:
            table = TABLES[name]()
            each = []
            for seed in seeds:
                run = trained(table, hidden(table, seed), seed, **{**options, **other})
                each.append(max(r["elbo"] for r in run.history.epochs("held-out")))
            scores.append(float(np.mean(each)))
        cells = " | ".join(f"{score:.2f}" for score in (*scores, float(np.mean(scores))))
        print(f"| {what} | {cells} |", flush=True)


def main(given: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", action="store_true", help="what they were chosen by")
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tiny", action="store_true", help="one seed of two epochs")
    asked = parser.parse_args(given)
    torch.set_num_threads(1)
    options, count = dict(SETTINGS), asked.seeds
    if asked.tiny:
        options |= {"epochs": 2}
        count = 1
    if asked.settings:
        settings(asked.only, range(100, 100 + count), options)
    else:
        compare(asked.only, range(count), options)


if __name__ == "__main__":
    main()
