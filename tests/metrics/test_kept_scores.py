"""evaluation.json keeps the scores of earlier calls where they are of the same model and images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from torch import Tensor

import pyro_vae as pv
from pyro_vae.metrics import write_evaluation

Run = Callable[..., Result]


def _vae(seed: int = 0) -> pv.VAE:
    torch.manual_seed(seed)
    return pv.VAE((1, 28, 28), 2, "normal", pv.networks.MLP(hidden=8))


@pytest.fixture
def run(few: Tensor, tmp_path: Path) -> Path:
    labels = np.arange(300) % 10
    arrays = {"train": few[:150], "train_labels": labels[:150]}
    np.savez(tmp_path / "own.npz", **arrays, test=few[150:], test_labels=labels[150:])
    return pv.save(_vae(), tmp_path / "run", data={"name": str(tmp_path / "own.npz")})


def _kept(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "evaluation.json").read_text()))


WORDS = {
    "iwae": ("--iwae", 5),
    "samples": ("--samples", 150, "--cache", "cache", "--kind", "mean"),
}


@pytest.mark.parametrize("order", [("iwae", "samples"), ("samples", "iwae")], ids="-".join)
def test_one_score_does_not_erase_another(order: tuple[str, str], cli: Run, run: Path) -> None:
    printed = {}
    for name in order:
        result = cli("evaluate", run, *WORDS[name], "--json")
        assert result.exit_code == 0, result.output
        printed[name] = json.loads(result.stdout)
    assert cli("evaluate", run).exit_code == 0
    kept = _kept(run)
    assert kept["iwae"] == printed["iwae"]["iwae"]
    assert kept["samples"] == printed["samples"]["samples"]
    # Each says what was asked for.
    assert kept["iwae"]["k"] == 5
    assert (kept["samples"]["n"], kept["samples"]["kind"]) == (150, "mean")
    # A new one of the same name takes the place of the old.
    assert cli("evaluate", run, "--iwae", 2).exit_code == 0
    assert _kept(run)["iwae"]["k"] == 2


def _retrained(run: Path, few: Tensor) -> tuple[Any, ...]:
    described = json.loads((run / "config.json").read_text())["data"]
    pv.save(_vae(seed=1), run, data=described)
    return ()


def _other_data(run: Path, few: Tensor) -> tuple[Any, ...]:
    np.save(run.parent / "other.npy", few[:200].numpy())
    return ("--data", run.parent / "other.npy")


def _other_held_out(run: Path, few: Tensor) -> tuple[Any, ...]:
    """As many images, of which one has another pixel."""
    with np.load(run.parent / "own.npz") as archive:
        arrays = dict(archive)
    arrays["test"][3, 0, 5, 5] ^= 1
    np.savez(run.parent / "own.npz", **arrays)
    return ()


def _earlier_version(run: Path, few: Tensor) -> tuple[Any, ...]:
    """Other weights, and a file that does not say of what it is."""
    kept = _kept(run)
    del kept["of"]
    (run / "evaluation.json").write_text(json.dumps(kept))
    return _retrained(run, few)


def _damaged(run: Path, few: Tensor) -> tuple[Any, ...]:
    (run / "evaluation.json").write_text('{"iwae": 3')
    return ()


def _list(run: Path, few: Tensor) -> tuple[Any, ...]:
    (run / "evaluation.json").write_text("[]")
    return ()


def _words(run: Path, few: Tensor) -> tuple[Any, ...]:
    kept = _kept(run)
    (run / "evaluation.json").write_text(json.dumps({**kept, "kl": "much", "mse": None}))
    return ()


CHANGES = [
    _retrained,
    _other_data,
    _other_held_out,
    _earlier_version,
    _damaged,
    _list,
    _words,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))
def test_a_score_of_something_else_does_not_stay(
    change: Callable[..., tuple[Any, ...]], cli: Run, run: Path, few: Tensor
) -> None:
    assert cli("evaluate", run, "--iwae", 5).exit_code == 0
    words = change(run, few)
    result = cli("evaluate", run, *words)
    assert result.exit_code == 0, result.output
    assert _kept(run)["iwae"] is None


def test_a_file_of_an_earlier_version_keeps_its_scores(cli: Run, run: Path) -> None:
    assert cli("evaluate", run, "--iwae", 5).exit_code == 0
    kept = _kept(run)
    del kept["of"]
    (run / "evaluation.json").write_text(json.dumps(kept))
    assert cli("evaluate", run).exit_code == 0
    assert _kept(run)["iwae"] == kept["iwae"]


def test_parts_that_were_not_asked_for_again_stay(few: Tensor, tmp_path: Path) -> None:
    vae = _vae().eval()
    whole = pv.evaluate(vae, few[:40])
    write_evaluation(vae, few[:40], whole, tmp_path)
    write_evaluation(vae, few[:40], pv.evaluate(vae, few[:40], parts=()), tmp_path)
    assert _kept(tmp_path)["reconstructions"] == whole["reconstructions"]
    write_evaluation(vae, few[:41], pv.evaluate(vae, few[:41], parts=()), tmp_path)
    assert "reconstructions" not in _kept(tmp_path)


def test_a_comparison_scored_anew_keeps_what_it_does_not_ask_for(tmp_path: Path) -> None:
    base = {"epochs": 1, "hidden": 8, "latent-dim": 2, "images": 64}
    spec: dict[str, Any] = {"base": base, "grid": {"beta": [1]}}
    (first,) = pv.compare({**spec, "evaluation": {"iwae": 3}}, tmp_path / "out").rows
    (second,) = pv.compare(spec, tmp_path / "out").rows
    assert _kept(second.folder)["iwae"]["bound"] == first.scores["iwae.bound"]
    assert "iwae.bound" not in second.scores
