"""Tables that scikit-learn ships: standardised by default, scored in their own units, by hand."""

from __future__ import annotations

import csv
import json
import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from scipy.stats import norm

import pyro_vae as pv
from pyro_vae.metrics.particles import run
from pyro_vae.noise import fixed_noise, noise

datasets = pytest.importorskip("sklearn.datasets")

TINY = {"hidden": 8, "latent_dim": 2, "epochs": 2}


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, Path]:
    """Its 13 columns of very different units as real ones, and a run of them."""
    there, found = tmp_path_factory.mktemp("wine"), datasets.load_wine()
    with (there / "wine.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(found.feature_names)
        rows.writerows([repr(float(value)) for value in row] for row in found.data)
    columns = [f"{name}=real" for name in found.feature_names]
    options = {"data": str(there / "wine.csv"), "column": columns, **TINY}
    pv.training.RunConfig.of(**options).run(there / "run")
    return found.data, there


def held_out_rows(there: Path) -> tuple[pv.data.Data, list[int]]:
    """The data, and which rows of the file (from 0) are held out, as their names say."""
    data = pv.data.load(str(there / "wine.csv"))
    names = data.names["test"]
    assert all(name.startswith("row ") for name in names)
    return data, [int(name.removeprefix("row ")) - 2 for name in names]


def test_networks_work_in_standard_deviations_of_each_column(
    wine: tuple[np.ndarray, Path],
) -> None:
    values, there = wine
    assert values.max(0).max() / values.max(0).min() > 1000
    data, _ = held_out_rows(there)
    from pyro_vae.training.tables import of_table

    names = [column.name for column in data.table.columns]
    heads = of_table(data.table, [f"{name}=real" for name in names]).heads
    for place, name in enumerate(names):
        built = heads[name].build((1,))
        p = built(torch.tensor([[0.0] * built.numbers, [1.0] * built.numbers]))
        mean, deviation = values[:, place].mean(), values[:, place].std()
        assert p.base_dist.loc.detach()[:, 0].tolist() == pytest.approx(
            [mean, mean + deviation], rel=1e-5
        )
        start = math.log(2.0) * deviation  # softplus of 0
        assert float(p.base_dist.scale.detach()[0, 0]) == pytest.approx(start, rel=0.02)


def test_scores_are_those_of_the_columns_own_units(wine: tuple[np.ndarray, Path]) -> None:
    values, there = wine
    data, index = held_out_rows(there)
    x = values[index]
    vae = pv.load(there / "run")
    scores = pv.evaluate(vae, data.test, train=data.train)
    with torch.no_grad(), fixed_noise(noise("programs", 0, 0), torch.device("cpu")):
        vae.eval()
        traces = run(vae.model, vae.guide, (data.test,), (data.test,))
    (traced,) = (trace for trace in traces if "obs.alcohol" in trace.nodes)
    rest = [i for i in range(len(values)) if i not in index]
    total = 0.0
    for place, column in enumerate(data.table.columns):
        node: Any = traced.nodes[f"obs.{column.name}"]
        base = node["fn"].base_dist
        loc, scale = (
            part.expand(len(x), 1)[:, 0].double().numpy() for part in (base.loc, base.scale)
        )
        own = norm.logpdf(x[:, place], loc, scale).mean()
        # The same in standard deviations, and by the change of variables back.
        mean, deviation = values[:, place].mean(), values[:, place].std()
        standard = norm.logpdf(
            (x[:, place] - mean) / deviation, (loc - mean) / deviation, scale / deviation
        ) - math.log(deviation)
        site = scores["sites"][f"obs.{column.name}"]
        assert site["reconstruction"] == pytest.approx(own, abs=1e-3)
        assert site["reconstruction"] == pytest.approx(standard.mean(), abs=1e-3)
        # The best constant prediction of a Normal: the training rows' mean and deviation.
        known = values[rest, place]
        constant = norm.logpdf(x[:, place], known.mean(), known.std()).mean()
        assert site["collapsed"] == pytest.approx(constant, abs=0.02)
        total += own
    assert scores["reconstruction"] == pytest.approx(total, abs=0.01)


@pytest.mark.parametrize(
    "words", [("data",), ("fit", "--epochs", 1, "--hidden", 4, "--data")], ids=["data", "fit"]
)
def test_standardising_is_said(
    words: tuple[object, ...], cli: Callable[..., Result], wine: tuple[np.ndarray, Path]
) -> None:
    done = cli(*words, wine[1] / "wine.csv")
    assert done.exit_code == 0, done.stderr
    text = " ".join((done.stdout + done.stderr).split())
    assert "12 real columns standardised, scores in their own unit" in text


def test_the_commands_of_a_new_user(
    cli: Callable[..., Result], tmp_path: Path, no_pictures: None
) -> None:
    found = datasets.load_diabetes(scaled=False)
    rng = np.random.default_rng(0)
    hidden = rng.random((442, 11)) < 0.1
    with (tmp_path / "patients.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["patient", *found.feature_names, "progression"])
        for i, (row, target) in enumerate(zip(found.data, found.target, strict=True)):
            cells = [f"{value:.4g}" for value in (*row, target)]
            cells[1] = ("", "woman", "man")[int(row[1])]
            rows.writerow(
                [f"P{i:03}", *("" if h else c for c, h in zip(cells, hidden[i], strict=True))]
            )
    shown = cli("data", "patients.csv")
    assert shown.exit_code == 0, shown.stderr
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "patient           left out: it has over 256 categories" in shown.stdout
    said = json.loads(cli("data", "patients.csv", "--json").stdout)
    kinds = {row["name"]: row["is"] for row in said["columns"]}
    assert kinds["sex"] == "binary"
    assert kinds["patient"] == "skip"
    assert kinds["bmi"] == "real"
    missing = {row["name"]: row["missing"] for row in said["columns"]}
    assert missing["bmi"] == pytest.approx(hidden[:, 2].mean())
    words = shlex.split(said["fit"])
    assert words[:4] == ["pyro-vae", "fit", "--data", "patients.csv"]
    fitted = cli(*words[1:], "--out", "run", "--epochs", 2, "--hidden", 8, "--latent-dim", 2)
    assert fitted.exit_code == 0, fitted.stderr
    scored = cli("evaluate", "run")
    assert scored.exit_code == 0, scored.stderr
    assert "nats per row" in scored.stdout
    lines = scored.stdout.splitlines()
    (sex,) = (line for line in lines if line.startswith("  sex"))
    assert sex.endswith(" rmse")
    (lowest,) = (line for line in lines if line.startswith("  lowest"))
    assert lowest.split()[1] == "row"
