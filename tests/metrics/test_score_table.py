"""Every score has its unit, wherever it is shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result

import pyro_vae as pv
from pyro_vae.metrics.score_table import SCORES, Score, score_of, units_of
from pyro_vae.reports.scores import COLUMNS
from pyro_vae.sweeps.objectives import read_objective

NO_SCORES = {"few", "frozen", "no_bits", "beats_collapsed"}
"""Remarks and answers."""


def names(scores: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in scores.items():
        if isinstance(value, Mapping):
            yield from names(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + key


def test_every_number_of_an_evaluation_has_a_unit() -> None:
    data = pv.data.load("mnist-5k")
    torch.manual_seed(0)
    vae = pv.VAE((1, 28, 28), 2, "normal", pv.networks.MLP(hidden=8))
    scores = pv.evaluate(vae, data.test[:64], train=data.train[:64], iwae=2)
    found = [name for name in names(scores) if name not in NO_SCORES]
    assert len(found) > 50
    assert [name for name in found if score_of(name) is None] == []
    assert {*found} <= {*dict(units_of(scores))}


def test_the_command_says_units(cli: Callable[..., Result], tmp_path: Path) -> None:
    pv.RunConfig.of(images=64, hidden=8, latent_dim=2, epochs=1).run(tmp_path / "run")
    said = json.loads(cli("evaluate", tmp_path / "run", "--json").stdout)
    assert said["units"]["elbo"] == "nats per image"
    assert said["units"]["ppca.bits_per_dim"] == "bits per dimension"
    assert {name for name, unit in said["units"].items() if not unit} == set()


@pytest.mark.parametrize("name", SCORES)
def test_a_baseline_is_a_score_of_the_same_unit(name: str) -> None:
    score = SCORES[name]
    assert score.unit
    for other in score.baselines:
        beside = score_of(other)
        # What a classifier finds in real images is a part of that score itself.
        if beside is not None:
            assert beside.unit == score.unit


@pytest.mark.parametrize("name", [n for n, score in SCORES.items() if score.better])
def test_a_search_goes_the_way_that_is_better(name: str) -> None:
    found = read_objective(name)
    assert found.maximise == (SCORES[name].better == "max")
    assert found.unit == SCORES[name].unit


def test_a_new_score_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCORES, "blur", Score("pixels", "min", 1))
    assert read_objective("blur").better == "lower is better"
    assert dict(units_of({"reconstructions": {"mean": {"blur": 2.0}}})) == {
        "reconstructions.mean.blur": "pixels"
    }
    assert SCORES["blur"].figure(2.04) == "2.0 pixels"


def test_headings_of_the_report_have_units() -> None:
    headings = dict(COLUMNS)
    assert headings["elbo"] == "ELBO, nats per image"
    assert headings["bits"] == "Bits per dimension"
    assert headings["mse"] == "Squared error per pixel"
