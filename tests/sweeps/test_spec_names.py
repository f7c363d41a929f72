"""Paths of a spec lie beside it, and scores that no cell will have are refused at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from torch import Tensor

import pyro_vae as pv
from pyro_vae.sweeps import check_scores, read_spec, search

BASE = {"epochs": 1, "hidden": 8, "latent-dim": 2, "images": 32}
TEXT = "epochs = 1\nhidden = 8\nlatent-dim = 2\n"
FORMS = {
    "base": f"[base]\n{TEXT}data = 'own.npy'\n[grid]\nbeta = [1]\n",
    "grid": f"[base]\n{TEXT}[grid]\ndata = ['own.npy', 'sub/other.npy']\n",
    "variants": f"[base]\n{TEXT}[grid.of]\na = {{ data = './own.npy' }}\n",
    "cells": f"[base]\n{TEXT}[[cells]]\nname = 'a'\ndata = 'sub/../own.npy'\n",
    "setting": f"[base]\n{TEXT}[grid]\nbeta = [1]\n[settings.one]\nbase.data = 'own.npy'\n",
    "claims": f"[base]\n{TEXT}[grid]\ndata = ['own.npy', 'sub/other.npy']\n[[claims]]\n"
    "statement = 's'\nscore = 'kl'\nof = { data = 'own.npy' }\nis = '<'\n"
    "than = { data = 'sub/other.npy' }\n",
}


@pytest.fixture
def specs(few: Tensor, tmp_path: Path) -> Path:
    folder = tmp_path / "specs"
    (folder / "sub").mkdir(parents=True)
    np.save(folder / "own.npy", few[:60].numpy())
    np.save(folder / "sub" / "other.npy", few[60:120].numpy())
    # Of the same name where the command is run.
    np.save(tmp_path / "own.npy", few[:60, :, :14, :14].numpy())
    return folder


@pytest.mark.parametrize("form", FORMS)
def test_paths_are_relative_to_the_spec(
    form: str, specs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (specs / "spec.toml").write_text(FORMS[form])
    known = []
    for place, path in ((specs, "spec.toml"), (tmp_path, "specs/spec.toml")):
        monkeypatch.chdir(place)
        known.append(read_spec(path))
    for here, there in zip(known[0].cells, known[1].cells, strict=True):
        assert here.name == there.name
        assert str(tmp_path) not in here.name
        assert here.config.fingerprint == there.config.fingerprint
        assert there.config.load().train.shape[1:] == (1, 28, 28)
    if known[0].claims:
        (check,) = known[0].claims[0].checks
        assert check.of.cells == ("data=own.npy",)


def test_a_comparison_goes_on_from_another_folder(
    specs: Path, tmp_path: Path, cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    (specs / "spec.toml").write_text(FORMS["base"])
    assert cli("compare", "specs/spec.toml", "--out", tmp_path / "out").exit_code == 0
    result = tmp_path / "out" / "beta=1" / "seed-0" / "result.json"
    before = result.stat().st_mtime_ns
    monkeypatch.chdir(specs)
    again = cli("compare", specs / "spec.toml", "--out", tmp_path / "out")
    assert again.exit_code == 0, again.output
    assert result.stat().st_mtime_ns == before


def test_a_data_set_is_no_path(specs: Path) -> None:
    (specs / "spec.toml").write_text(f"[base]\n{TEXT}[grid]\nbeta = [1]\n")
    (cell,) = read_spec(specs / "spec.toml").cells
    assert cell.config.data == "mnist-5k"
    (specs / "spec.toml").write_text(f"[base]\n{TEXT}data = 'mnist-5'\n[grid]\nbeta = [1]\n")
    (cell,) = read_spec(specs / "spec.toml").cells
    with pytest.raises(pv.InputError, match="mnist-5k"):
        cell.config.load()


def _claim(**changes: Any) -> dict[str, Any]:
    usual = {"score": "kl", "of": {"beta": 1}, "is": "<", "than": {"beta": 2}}
    return {"claims": [{"statement": "so it is", **usual, **changes}]}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a column": ({"scores": ["kl", "active_unit"]}, "'active_unit': did you mean 'active_units'"),
    "a nested one": (
        {"scores": ["reconstructions.mean.mze"]},
        "did you mean 'reconstructions.mean.mse'",
    ),
    "a claim": (_claim(score="klm"), "claim 'so it is' 'klm': did you mean 'kl'"),
    "its other side": (_claim(than_score="mze"), "did you mean 'mse'"),
    "a crossing": (
        _claim(score={"option": "beta", "at": "kll", "equals": 3}, of={}, than=2),
        "did you mean 'kl'",
    ),
    "not asked for": ({"scores": ["iwae.bound"]}, r"not scored: \[evaluation\] does not ask"),
    "a part not asked for": ({"scores": ["ppca.bits_per_dim"]}, "not scored"),
    "misspelt within": (
        {"scores": ["iwae.bounds"], "evaluation": {"iwae": 5}},
        "did you mean 'iwae.bound'",
    ),
    "of training": ({"scores": ["training.elbos"]}, "did you mean 'training.elbo'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_misspelt_score_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    changes, said = WRONG[name]
    spec = {"base": BASE, "grid": {"beta": [1, 2]}, **changes}
    with pytest.raises(pv.InputError, match=said):
        pv.compare(spec, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_objective_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    spec = {"base": BASE, "grid": {"beta": [1, 2]}}
    with pytest.raises(pv.InputError, match="--objective 'active_unit': did you mean"):
        search(spec, tmp_path / "out", 3, "max:active_unit")
    assert list(tmp_path.iterdir()) == []


def test_every_score_of_a_run_may_be_named(tmp_path: Path) -> None:
    """What the rows of a comparison have is what its spec may name; None counts, too."""
    spec: dict[str, Any] = {
        "base": BASE,
        "grid": {"obs": ["normal-learned-sigma", "bernoulli"]},
        "evaluation": {
            "iwae": 2,
            "parts": ["ppca", "latents", "reconstructions", "calibration"],
        },
    }
    rows = pv.compare(spec, tmp_path / "out").rows
    names = sorted({name for row in rows for name in row.scores})
    assert len(names) > 60
    check_scores(read_spec({**spec, "scores": names}))
    for name in ("kl", "reconstructions.mode.ssim", "training.beta"):
        assert name in names
        with pytest.raises(pv.InputError, match="unknown score in scores"):
            check_scores(read_spec({**spec, "scores": [f"{name}s"]}))
