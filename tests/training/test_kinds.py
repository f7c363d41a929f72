"""Models told classes, of several latents and of tables: compiled, resumed, by two processes."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pyro_vae import VAE, data, load, networks, objectives
from pyro_vae.data import Batch
from pyro_vae.training import RunConfig, Stopped
from pyro_vae.training.compiling import Compiled
from pyro_vae.training.train_step import TrainStep

from .stopping import StopAt, told

pytestmark = pytest.mark.usefixtures("no_pictures")

CITIES = ("Bergen", "Oslo")
LADDER = {"latent_dim": (6, 3), "net": "ladder"}
KINDS: dict[str, dict[str, Any]] = {
    "told classes": {"condition": "labels", "images": 200},
    "several latents in bfloat16": {**LADDER, "images": 300, "precision": "bfloat16"},
    "several latents, told": {**LADDER, "images": 200, "condition": "labels"},
    "a table": {"data": "table.csv", "batch_size": 30},
    "a table, told a column": {"data": "table.csv", "batch_size": 30, "condition": "city"},
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real column, a count and a category of 100 rows, an eighth of the cells empty."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("table") / "table.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("height", "visits", "city"))
        for z in rng.normal(size=100):
            row = (f"{2 * z:.3f}", rng.poisson(np.exp(1 + z / 2)), CITIES[rng.integers(2)])
            rows.writerow([cell if rng.random() < 7 / 8 else "" for cell in row[:2]] + [row[2]])
    return path


def options_of(kind: str, table: Path) -> dict[str, Any]:
    found = {"hidden": 16, "latent_dim": 2, "epochs": 2, **KINDS[kind]}
    return {**found, "data": str(table)} if "data" in found else found


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_where_it_stopped(kind: str, table: Path, tmp_path: Path) -> None:
    """In two parts as in one, to the last bit on this machine."""
    recipe = RunConfig.of(**options_of(kind, table), checkpoint="1")
    whole = recipe.run(tmp_path / "whole")
    with pytest.raises(Stopped):
        recipe.run(tmp_path / "parts", progress=StopAt(3))
    parts = recipe.run(tmp_path / "parts", resume=True)
    assert len(whole.history.steps) > 3
    assert told(parts.history) == told(whole.history)
    wanted, found = whole.vae.state_dict(), parts.vae.state_dict()
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[key], found[key]) for key in wanted)


def told_with_gaps(table: Path) -> tuple[VAE, Any]:
    vae = VAE((5,), 2, "real-normal", networks.MLP(hidden=8), covariates=3)
    return vae, Batch(torch.randn(7, 5), torch.randn(7, 3), torch.rand(7, 5) < 0.7)


def several_latents(table: Path) -> tuple[VAE, Any]:
    vae = VAE((1, 28, 28), (6, 3), "normal", networks.Ladder(hidden=16))
    return vae, data.load("mnist-5k").train[:7]


def mixed_columns(table: Path) -> tuple[VAE, Any]:
    recipe = RunConfig.of(**{**options_of("a table", table), "epochs": 1})
    return recipe.run().vae, data.load(str(table)).train[:9]


@pytest.mark.parametrize("made", [told_with_gaps, several_latents, mixed_columns])
def test_a_compiled_step_is_the_step(made: Callable[[Path], tuple[VAE, Any]], table: Path) -> None:
    vae, batch = made(table)
    vae.train()
    parameters = list(vae.parameters())
    program = TrainStep(vae, objectives.TraceELBO(), "float32")
    beta, share = torch.tensor(0.7), torch.tensor(1 / len(batch))
    graph = Compiled(program, parameters, "aten")
    torch.manual_seed(5)
    sums, _ = graph.add_gradients(batch, beta, share)
    found = [p.grad.clone() for p in parameters if p.grad is not None]
    vae.zero_grad()
    torch.manual_seed(5)
    loss, wanted = program(vae.observe(batch), beta)
    (loss * share).backward()
    torch.testing.assert_close(sums, wanted, rtol=1e-4, atol=1e-4)
    gradients = [p.grad for p in parameters if p.grad is not None]
    assert len(found) == len(parameters) >= 4
    torch.testing.assert_close(found, gradients, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["several latents, told", "a table, told a column"])
def test_torchrun_starts_the_command(kind: str, table: Path, tmp_path: Path) -> None:
    words = ["--nproc-per-node", "2", "-m", "pyro_vae_cli", "fit", "--out", str(tmp_path / "run")]
    for name, value in {**options_of(kind, table), "epochs": 1}.items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words += [f"--{name.replace('_', '-')}", text]
    result = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("run folder:") == 1
    assert result.stderr.count("best constant prediction: ") == 1
    vae = load(tmp_path / "run")
    assert vae.covariates == (10 if "latents" in kind else 1)  # of two cities, one number
    assert vae.latent_dims == ((6, 3) if "latents" in kind else (2,))
