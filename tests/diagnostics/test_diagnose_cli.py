"""``pyro-vae diagnose``: any run folder is read, and nothing of the run in it is touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result

import pyro_vae as pv
from pyro_vae.data import files

Cli = Callable[..., Result]


def _contents(folder: Path) -> dict[Path, bytes]:
    """All files but those that a diagnosis leaves."""
    left = ("diagnosis.json", "manifest.jsonl")
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in left)
    return {path: path.read_bytes() for path in files}


def _run(folder: Path, digits: pv.data.Data, obs: Any = "normal", **fit: Any) -> Path:
    vae = pv.VAE((1, 28, 28), 5, obs, pv.networks.MLP(hidden=16))
    options = {"epochs": 2, "batch_size": 50, "data": {"name": "mnist-5k"}, **fit}
    pv.fit(vae, digits.train[:300], out=folder, **options)
    return folder


def test_words_and_mend(cli: Cli, tmp_path: Path, digits: pv.data.Data) -> None:
    run = _run(tmp_path / "run", digits, pv.observations.get("normal", scale=4), epochs=8)
    before = _contents(run)
    result = cli("diagnose", run, "--full")
    assert result.exit_code == 3, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("collapsed: ")
    assert "1. sigma-too-large" in lines
    assert "   mend: pyro-vae fit ... --sigma-per dataset (or a smaller --sigma)" in lines
    assert "evidence from 500 held-out images" in lines
    assert max(map(len, lines)) <= 80
    labels = [line[2:26].strip() for line in lines[lines.index("") :] if line.startswith("  ")]
    for label in (
        "of training images",
        "active units",
        "spread over inputs",
        "KL at first",
        "encoder's dead units",
    ):
        assert label in labels
    assert _contents(run) == before
    short = cli("diagnose", run).stdout.splitlines()
    figures = short[short.index("evidence from 500 held-out images; all of it with --full") + 1 :]
    rows = [line for line in figures if line.startswith("  ")]
    marked = {line[6:24].strip(): line[2:4] for line in rows if line[6:24].strip()}
    assert marked == {
        "score": "NO", "active units": "NO", "pictures": "NO", "σ against error": "NO",
        "course": "- ",
    }  # fmt: skip


@pytest.mark.slow
def test_json_and_verify(cli: Cli, tmp_path: Path, digits: pv.data.Data) -> None:
    images = tmp_path / "few.npz"
    np.savez(images, train=digits.train[:300].numpy(), test=digits.test[:100].numpy())
    run = _run(tmp_path / "run", digits, beta=200)
    before = _contents(run)
    result = cli("diagnose", run, "--data", images, "--verify", "--json")
    assert result.exit_code == 3, result.output
    found = json.loads(result.stdout, parse_constant=pytest.fail)
    assert (found["verdict"], found["causes"][0]["code"]) == ("collapsed", "beta-too-large")
    assert found["causes"][0]["mend"] == "--beta 1"
    assert found["evidence"]["images"] == 100
    assert found["evidence"]["training_error"] > 0.9
    assert found["evidence"]["beta"] == 200
    verified = found["verification"]
    assert verified["changes"] == {"beta": "1"}
    assert verified["epochs"] == 167  # 1,000 steps of 6 an epoch
    assert verified["mended"] is True
    assert verified["after"]["evidence"]["active_units"] > 0
    assert _contents(run) == before
    said = cli("diagnose", run, "--data", images, "--verify").stdout.splitlines()
    assert "verified by 167 epochs from the start with beta = 1" in said
    row = next(line for line in said if line.startswith("  verdict"))
    assert row.split() == ["verdict", "collapsed", verified["after"]["verdict"]]
    assert said[-1] == "mended"


@pytest.mark.parametrize("left", ["cut short", "empty", "missing"])
def test_metrics_that_are_not_all_there(
    cli: Cli, tmp_path: Path, digits: pv.data.Data, left: str
) -> None:
    run = _run(tmp_path / "run", digits, epochs=1)
    metrics = run / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    assert len(lines) == 7  # six steps and an epoch
    if left == "missing":
        metrics.unlink()
    else:
        metrics.write_text("" if left == "empty" else "".join(lines[:3]) + lines[3][:40])
    result = cli("diagnose", run, "--json")
    assert result.exit_code == 3, result.output
    assert json.loads(result.stdout)["evidence"]["steps"] == (3 if left == "cut short" else None)
    said = "ends after 0 of 1 epochs" if left == "cut short" else "no records in metrics.jsonl"
    assert said in result.stderr


def test_one_epoch_without_held_out_scores(cli: Cli, tmp_path: Path, digits: pv.data.Data) -> None:
    run = _run(tmp_path / "run", digits, epochs=1)
    result = cli("diagnose", run)
    assert result.exit_code == 3, result.output
    assert "1. not-trained-enough" in result.stdout
    assert "pyro-vae fit ... --epochs 334" in result.stdout  # 2,000 steps of 6 an epoch
    assert "held-out score" not in result.stdout


def test_vectors(cli: Cli, tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 2) @ torch.randn(2, 6)
    path = tmp_path / "vectors.npy"
    np.save(path, x.numpy())
    data = files.read(path)
    vae = pv.VAE((6,), 2, "real-normal", pv.networks.MLP(hidden=16))
    described = {"name": str(path)}
    pv.fit(vae, data.train, data.test, epochs=2, out=tmp_path / "run", data=described)
    result = cli("diagnose", tmp_path / "run")
    assert result.exit_code == 3, result.output
    assert "evidence from 20 held-out images" in result.stdout


def test_weights_that_are_not_finite(cli: Cli, tmp_path: Path, digits: pv.data.Data) -> None:
    vae = pv.VAE((1, 28, 28), 5, "normal", pv.networks.MLP(hidden=16))
    with torch.no_grad():
        next(vae.decoder.parameters())[0, 0] = float("nan")
    pv.save(vae, tmp_path / "run", fit={"lr": 0.2}, data={"name": "mnist-5k"})
    result = cli("diagnose", tmp_path / "run", "--json")
    found = json.loads(result.stdout, parse_constant=pytest.fail)
    assert (found["verdict"], found["causes"][0]["mend"]) == ("diverging", "--lr 0.001")
    assert found["evidence"]["error"] is None
    result = cli("diagnose", tmp_path / "run", "--full")
    assert result.exit_code == 3, result.output
    assert "not all finite" in result.stdout


def test_nothing_to_verify(cli: Cli, tmp_path: Path, digits: pv.data.Data) -> None:
    vae = pv.VAE((1, 28, 28), 5, "normal-learned-sigma", pv.networks.MLP(hidden=64))
    options: dict[str, Any] = {"epochs": 60, "lr": 3e-3, "data": {"name": "mnist-5k"}}
    pv.fit(vae, digits.train[:1000], batch_size=50, out=tmp_path / "run", **options)
    result = cli("diagnose", tmp_path / "run", "--verify")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("healthy: ")
    assert "nothing to verify: no cause was found" in result.stderr


def test_mistakes(mistake: Callable[..., str], tmp_path: Path, digits: pv.data.Data) -> None:
    assert "there is no run folder" in mistake("diagnose", tmp_path / "none")
    run = _run(tmp_path / "run", digits, epochs=1)
    assert "nope" in mistake("diagnose", run, "--data", "nope")
    np.save(tmp_path / "small.npy", np.zeros((20, 8, 8), dtype=np.uint8))
    assert "shape" in mistake("diagnose", run, "--data", tmp_path / "small.npy")
    own = tmp_path / "own"
    pair = (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 4)),
            torch.nn.Linear(2, 784))  # fmt: skip
    pv.save(pv.VAE((1, 28, 28), 2, "normal", pair), own, data={"name": "mnist-5k"})
    assert "net of your own" in mistake("diagnose", own)
    assert "name a data set by --data" in mistake("diagnose", _without_data(run))
    (run / "config.json").write_text("{")
    assert "damaged" in mistake("diagnose", run)


def _without_data(run: Path) -> Path:
    config = json.loads((run / "config.json").read_text())
    config["data"] = None
    (run / "config.json").write_text(json.dumps(config))
    return run
