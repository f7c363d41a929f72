"""Sweeps: run folders, results, failures, repetition and worker processes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import pyro_vae as pv
from pyro_vae.sweeps import forecast_cells, read_spec

SPEC: dict[str, Any] = {
    "title": "a test",
    "seeds": [0, 1],
    "base": {"hidden": 16, "images": 64, "epochs": 1, "batch-size": 16, "latent-dim": 2},
    "grid": {"obs": ["normal", "bernoulli"], "beta": [1, 4]},
    "cells": [{"name": "fails", "lr": 1e30, "optimizer": "sgd"}],
    "claims": [
        {"statement": "it fails", "score": "failed", "of": {"cell": "fails"}, "is": ">=", "than": 1}
    ],
}
NAMES = ["obs=normal,beta=1", "obs=normal,beta=4", "obs=bernoulli,beta=1", "obs=bernoulli,beta=4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("comparison") / "out"


@pytest.fixture(scope="module")
def swept(folder: Path) -> pv.Comparison:
    return pv.compare(SPEC, folder)


def _weights(folder: Path) -> dict[str, bytes]:
    files = folder.glob("*/seed-*/model.safetensors")
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in files if "fails" not in str(p)
    }


def _marks(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob("*/seed-*/metrics.jsonl")}


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_is_a_run_folder(swept: pv.Comparison, folder: Path, name: str) -> None:
    for seed in (0, 1):
        run = folder / name / f"seed-{seed}"
        assert pv.load(run).obs.title in name
        config = pv.training.read_config(run)
        assert config["fit"]["seed"] == seed
        assert config["data"] == {"name": "mnist-5k", "root": None, "images": 64}
        scores = json.loads((run / "evaluation.json").read_text())
        again = pv.evaluate(pv.load(run), pv.data.load("mnist-5k").test[:64], parts=())
        assert scores["kl"] == pytest.approx(again["kl"], rel=1e-5)


def test_a_cell_is_what_fit_makes_of_the_same_options(swept: pv.Comparison, folder: Path) -> None:
    run = folder / NAMES[2] / "seed-1"
    options = {"hidden": 16, "images": 64, "epochs": 1, "batch_size": 16, "latent_dim": 2}
    vae = pv.training.RunConfig.of(**options, obs="bernoulli", seed=1).run().vae
    kept = pv.load(run).state_dict()
    # A cell is computed by one thread, this by as many as the tests have.
    torch.testing.assert_close(dict(vae.state_dict()), kept)


def test_tables_have_a_record_per_run(swept: pv.Comparison, folder: Path) -> None:
    with (folder / "results.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert len(table) == len(lines) == len(swept.rows) == 10
    assert {row["cell"] for row in table} == {*NAMES, "fails"}
    for row, line in zip(table, lines, strict=True):
        if line["cell"] == "fails":
            continue
        assert float(row["scores.kl"]) == line["scores.kl"]
        assert row["options.beta"] == line["options.beta"] == str(line["axis.beta"])
        run = json.loads((Path(line["folder"]) / "evaluation.json").read_text())
        assert line["scores.reconstructions.mean.mse"] == run["reconstructions"]["mean"]["mse"]
    with (folder / "summary.csv").open(newline="") as stream:
        means = {(r["cell"], r["score"]): float(r["mean"]) for r in csv.DictReader(stream)}
    own = [line["scores.kl"] for line in lines if line["cell"] == NAMES[0]]
    assert means[NAMES[0], "kl"] == pytest.approx(sum(own) / 2)
    with (folder / "rate_distortion.csv").open(newline="") as stream:
        points = {row["cell"]: float(row["rate"]) for row in csv.DictReader(stream)}
    assert points[NAMES[0]] == means[NAMES[0], "kl"]


@pytest.mark.parametrize("name", ["by-beta.png", "rate-distortion.png", "reconstructions.png"])
def test_pictures_are_drawn(swept: pv.Comparison, folder: Path, name: str) -> None:
    assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_a_failure_is_recorded_and_stops_nothing(swept: pv.Comparison, folder: Path) -> None:
    failed = json.loads((folder / "fails" / "seed-0" / "failed.json").read_text())
    assert "not finite" in failed["fault"]
    assert "\n" not in failed["fault"]
    faults = [row for row in swept.rows if row.fault is not None]
    assert [row.cell for row in faults] == ["fails", "fails"]
    assert [verdict.verdict for verdict in swept.verdicts] == ["holds"]


def test_what_is_over_is_not_repeated(swept: pv.Comparison, folder: Path) -> None:
    before = _marks(folder)
    told: list[str | None] = []
    renamed = {**SPEC, "grid": [{"beta": [1, 4], "obs": ["normal", "bernoulli"]}]}
    again = pv.compare(renamed, folder, progress=lambda tally, message: told.append(message))
    assert told == []
    assert _marks(folder) == before
    assert not (folder / "beta=1,obs=normal").exists()  # found under its former name
    assert {row.scores.get("kl") for row in again.rows} == {
        row.scores.get("kl") for row in swept.rows
    }


def test_other_scores_need_no_other_training(swept: pv.Comparison, tmp_path: Path) -> None:
    base = {**SPEC, "grid": {"beta": [1]}, "cells": [], "seeds": [0], "claims": []}
    first = pv.compare(base, tmp_path)
    before = _marks(tmp_path)
    again = pv.compare({**base, "evaluation": {"iwae": 2}}, tmp_path)
    assert _marks(tmp_path) == before
    assert "iwae.bound" not in first.rows[0].scores
    assert again.rows[0].scores["iwae.bound"] >= again.rows[0].scores["elbo"]
    assert again.rows[0].scores["steps"] == 4


def test_a_folder_of_other_options_is_refused(swept: pv.Comparison, folder: Path) -> None:
    other = {**SPEC, "base": {**SPEC["base"], "hidden": 8}}
    before = _weights(folder)
    with pytest.raises(pv.InputError, match=r"hidden 16, now 8.*--overwrite"):
        pv.compare(other, folder)
    assert _weights(folder) == before


def test_failures_are_tried_again_where_asked(tmp_path: Path) -> None:
    spec = {**SPEC, "grid": [], "seeds": [0]}
    marks = []
    for retry in (False, False, True):
        pv.compare(spec, tmp_path, retry=retry)
        marks.append((tmp_path / "fails" / "seed-0" / "failed.json").stat().st_mtime_ns)
    assert marks[0] == marks[1] < marks[2]


def test_the_callers_generators_are_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    pv.compare({**SPEC, "grid": {"beta": [1]}, "cells": [], "claims": [], "seeds": [0]}, tmp_path)
    assert torch.equal(torch.rand(3), wanted)


def test_a_limited_comparison_gives_no_verdicts(tmp_path: Path) -> None:
    spec = read_spec(SPEC).limit(max_cells=1, max_steps=1, seeds=1)
    found = pv.compare(spec, tmp_path)
    assert found.verdicts == ()
    assert [row.scores["steps"] for row in found.rows] == [1]


def test_forecasts_of_cells() -> None:
    spec = read_spec({"base": {"obs": "normal"}, "grid": {"beta": [1, 16]}})
    assert [found and found.active_units for _, found in forecast_cells(spec)] == [
        pv.forecast(pv.data.load("mnist-5k").train, "normal", beta=beta).active_units
        for beta in (1, 16)
    ]
    adapted = read_spec({"grid": {"target-kl": [10]}})
    assert forecast_cells(adapted)[0][1] is None


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_killed_and_started_again_with_two_workers(swept: pv.Comparison, tmp_path: Path) -> None:
    """What two processes make is bit for bit what one does, through a kill on the way."""
    out, spec = tmp_path / "out", tmp_path / "spec.json"
    spec.write_text(json.dumps({**SPEC, "cells": [], "claims": []}))
    code = (
        "import json, sys, pyro_vae as pv\n"
        "if __name__ == '__main__':\n"
        "    spec = json.load(open(sys.argv[1]))\n"
        "    pv.compare(spec, sys.argv[2], workers=2)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    words = [sys.executable, str(script), str(spec), str(out)]
    process = subprocess.Popen(words, start_new_session=True)
    while not list(out.glob("*/seed-*/result.json")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _wait_for_the_end_of(process.pid)
    finished = {path.parent / "metrics.jsonl" for path in out.glob("*/seed-*/result.json")}
    before = {path: mark for path, mark in _marks(out).items() if path in finished}
    assert 1 <= len(before) < 8
    pv.compare(json.loads(spec.read_text()), out, workers=2)
    after = _marks(out)
    assert len(after) == 8
    assert {path: after[path] for path in before} == before
    assert _weights(out) == _weights(swept.files[0].parent)


def _wait_for_the_end_of(group: int) -> None:
    """Workers end by themselves when the process that started them is gone."""
    for _ in range(3000):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    raise AssertionError("worker processes went on after their parent was killed")
