"""Searches: what they try, that they learn, repeat nothing and record what fails."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import pyro_vae as pv
from pyro_vae.plots import runs as pictures
from pyro_vae.sweeps import comparing, engines, read_spec, search, work
from pyro_vae.sweeps.cells import Range
from pyro_vae.sweeps.objectives import read_objective
from pyro_vae.sweeps.runs import FAILED, RESULT, Run, write_json
from pyro_vae.training.run_data import load_data

pytest.importorskip("optuna", reason="Optuna, of the extra `search`, is not installed")

BASE = {"hidden": 8, "images": 64, "epochs": 1, "batch-size": 64, "latent-dim": 2}
SPEC: dict[str, Any] = {
    "base": {"obs": "normal"},
    "grid": {
        "sigma": {"low": 0.05, "high": 2.0, "log": True},
        "latent-dim": {"low": 1, "high": 40},
        "net": ["mlp", "conv"],
    },
    "seeds": [3, 4],
}
TRIALS = 20


def formula(options: dict[str, Any], seed: int) -> float:
    """Highest at σ = 0.3, 12 latents, conv; seeds do not agree."""
    distance = math.log(float(options["sigma"] or 1) / 0.3) ** 2
    distance += math.log(options["latent_dim"] / 12) ** 2
    return float(options["net"] == "conv") - distance + 0.01 * seed


class Calculated:
    """Instead of training; keeps what was asked for."""

    def __init__(self) -> None:
        self.asked: list[Path] = []

    def __call__(self, run: Run, fingerprint: str, trained: bool) -> Path:
        self.asked.append(run.folder)
        options = run.config.options
        own = {"fingerprint": fingerprint, "evaluation": run.evaluation.to_dict()}
        if options["lr"] > 1:
            return write_json(run.folder / FAILED, {**own, "fault": "the loss is not finite"})
        name = "objective" if options["obs"] == "bernoulli" else "elbo"
        value = formula(options, run.seed)
        # Who would choose by the test part would choose the worst.
        scores = {name: -value, f"validation.{name}": value, "kl": 1.0, "mse": 1.0}
        return write_json(
            run.folder / RESULT, {**own, "scores": scores, "seconds": 1.0, "steps": 1}
        )


@pytest.fixture
def calculated(monkeypatch: pytest.MonkeyPatch) -> Calculated:
    """Scores by a formula, no models, no pictures."""
    found = Calculated()
    monkeypatch.setattr(engines, "carry_out", found)
    monkeypatch.setattr(comparing, "draw_comparison", lambda rows, spec, out: [])
    return found


def test_every_trial_is_a_cell_within_the_ranges(calculated: Calculated, tmp_path: Path) -> None:
    found = search(SPEC, tmp_path, TRIALS, "elbo")
    assert [trial.number for trial in found.trials] == list(range(TRIALS))
    for trial in found.trials:
        assert 0.05 <= trial.point["sigma"] <= 2.0
        assert trial.point["latent_dim"] in range(1, 41)
        assert trial.point["net"] in ("mlp", "conv")
        assert trial.value == pytest.approx(formula(trial.point, 0) + 0.035)
        assert trial.fault is None
    cells = {trial.cell for trial in found.trials}
    assert len(cells) > 10
    folders = {tmp_path / cell / f"seed-{seed}" for cell in cells for seed in (3, 4)}
    assert set(calculated.asked) == folders
    assert len(calculated.asked) == len(folders)


def test_the_best_is_the_highest(calculated: Calculated, tmp_path: Path) -> None:
    found = search(SPEC, tmp_path, TRIALS, "elbo")
    values = [formula(trial.point, 0) for trial in found.trials]
    assert found.best is not None
    assert found.best.number == values.index(max(values))
    kept = json.loads((tmp_path / "search.json").read_text())
    assert kept == found.to_dict()
    assert kept["best"] == found.best.number
    assert found.comparison.spec.reference == found.best.cell
    assert len(found.comparison.rows) == 2 * len({trial.cell for trial in found.trials})
    lowest = search(SPEC, tmp_path, TRIALS, "min:elbo").best
    assert lowest is not None
    assert formula(lowest.point, 0) < min(values[:10]) + 1e-9


def test_it_learns(calculated: Calculated, tmp_path: Path) -> None:
    # Of six seeds, all but one should do better than their random beginnings.
    better = 0
    for seed in range(6):
        found = search({**SPEC, "seeds": [seed]}, tmp_path / str(seed), 40, "elbo")
        values = [trial.value or -1e9 for trial in found.trials]
        better += sum(values[20:]) / 20 > sum(values[:10]) / 10
    assert better >= 5


def test_more_trials_go_on_from_those_there_are(calculated: Calculated, tmp_path: Path) -> None:
    few = search(SPEC, tmp_path, 13, "elbo")
    before = list(calculated.asked)
    more = search(SPEC, tmp_path, TRIALS, "elbo")
    assert more.trials[:13] == few.trials
    assert len(calculated.asked) > len(before)
    assert len(set(calculated.asked)) == len(calculated.asked)
    again = list(calculated.asked)
    assert search(SPEC, tmp_path, TRIALS, "elbo").trials == more.trials
    assert calculated.asked == again


class Backwards:
    """An engine of three workers, of whom the one that began last ends first."""

    def __init__(self, workers: int, threads: int) -> None:
        self.jobs: list[engines.Job] = []

    def __enter__(self) -> Backwards:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def has_room(self, job: engines.Job) -> bool:
        return len(self.jobs) < 3

    def start(self, job: engines.Job) -> None:
        self.jobs.append(job)

    def over(self) -> list[tuple[engines.Job, Path | None]]:
        job = self.jobs.pop()
        return [(job, job.carry_out())]


def test_trials_do_not_depend_on_who_ends_first(
    calculated: Calculated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = search(SPEC, tmp_path / "one", TRIALS, "elbo")
    order = [path.relative_to(tmp_path / "one") for path in calculated.asked]
    calculated.asked.clear()
    monkeypatch.setattr(work, "Processes", Backwards)
    second = search(SPEC, tmp_path / "two", TRIALS, "elbo", workers=3)
    assert [path.relative_to(tmp_path / "two") for path in calculated.asked] != order
    assert second.trials == first.trials


def test_another_seed_gives_other_trials(calculated: Calculated, tmp_path: Path) -> None:
    found = [search({**SPEC, "seeds": [n]}, tmp_path / str(n), 3, "elbo") for n in (0, 1)]
    assert [t.point for t in found[0].trials] != [t.point for t in found[1].trials]


def test_failures_are_recorded_and_stop_nothing(calculated: Calculated, tmp_path: Path) -> None:
    kinds = {"good": {"sigma": 1}, "bad": {"lr": 1e30}, "loss": {"obs": "bernoulli"}}
    found = search({"base": {"obs": "normal"}, "grid": {"kind": kinds}}, tmp_path, 12, "elbo")
    by_kind = {trial.point["kind"]: trial for trial in found.trials}
    assert set(by_kind) == set(kinds)
    assert "not finite" in (by_kind["bad"].fault or "")
    assert by_kind["loss"].fault == "it has no elbo"
    assert found.best is not None
    assert found.best.point["kind"] == "good"
    assert len(found.trials) == 12
    assert len(calculated.asked) == 3  # points that come up again are not trained again


def test_a_search_without_success_has_no_best(calculated: Calculated, tmp_path: Path) -> None:
    found = search({"grid": {"lr": [1e30, 1e31]}}, tmp_path, 2, "elbo")
    assert found.best is None
    assert json.loads((tmp_path / "search.json").read_text())["best"] is None


def test_a_score_that_no_run_has_ends_the_search(calculated: Calculated, tmp_path: Path) -> None:
    with pytest.raises(pv.InputError, match="unknown score in --objective 'psnr'"):
        search(SPEC, tmp_path, 2, "psnr")


def test_a_search_finds_the_scale_that_a_sweep_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "draw_run", lambda *arguments, **options: None)
    monkeypatch.setattr(comparing, "draw_comparison", lambda rows, spec, out: [])
    base = {**BASE, "obs": "normal", "images": 250, "epochs": 4, "init-from-data": True}
    spec = {"base": base, "evaluation": {"parts": []}}
    sigmas = [0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1.0]
    swept = pv.compare({**spec, "grid": {"sigma": sigmas}}, tmp_path / "sweep")
    best = max(swept.rows, key=lambda row: row.scores["elbo"]).labels["sigma"]
    assert sigmas[0] < best < sigmas[-1]
    ranges = {"sigma": {"low": 0.02, "high": 2.0, "log": True}}
    found = search({**spec, "grid": ranges}, tmp_path / "search", 20, "elbo").best
    assert found is not None
    assert 1 / 2 < found.point["sigma"] ** 2 / best**2 < 2


@pytest.mark.parametrize("value", [0.1, 0.100049999, 0.9999, 1.00004])
def test_values_are_rounded_within_their_range(value: float) -> None:
    axis = Range.of("sigma", {"low": 0.10004, "high": 1.00004, "log": True})
    _, label, options = axis.point(max(value, axis.low))
    assert axis.low <= label <= axis.high
    assert label == pytest.approx(value, rel=1e-3)
    assert options == {"sigma": label}


DIRECTIONS = {
    "elbo": (True, "nats per image"),
    "iwae.bound": (True, "nats per image"),
    "bits_per_dim": (False, "bits per dimension"),
    "reconstructions.mean.ssim": (True, "of 1"),
    "samples.classifier_fid": (False, "squared, between features"),
    "min:kl": (False, "nats per image"),
    "max:active_units": (True, "units"),
    "min:elbo": (False, "nats per image"),
}


@pytest.mark.parametrize("text", list(DIRECTIONS))
def test_objectives_have_a_direction_and_a_unit(text: str) -> None:
    aim = read_objective(text)
    assert (aim.maximise, aim.unit) == DIRECTIONS[text]
    assert aim.score == text.rpartition(":")[2]


TOML = """
title = "a search"
scores = ["elbo", "mse"]
[base]
obs = "normal"
hidden = 8
images = 64
epochs = 1
latent-dim = 2
[grid]
sigma = { low = 0.05, high = 1, log = true }
"""


def test_the_command_prints_the_best(cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(TOML)
    words = ("compare", "spec.toml", "--out", "out", "--search", 3, "--objective", "bits_per_dim")
    result = cli(*words)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    said = json.loads(Path("out/search.json").read_text())
    best = said["trials"][said["best"]]
    assert best["value"] == min(trial["value"] for trial in said["trials"])
    lines = lines[:-2]  # without the page that explains it
    assert lines[-3] == f"best of 3 trials: {best['cell']}"
    assert lines[-2].split()[:2] == ["bits_per_dim", f"{best['value']:.6g}"]
    assert lines[-2].endswith("bits per dimension, lower is better; of the validation part")
    assert lines[-1] == f"  bits_per_dim {best['test']:.6g} bits per dimension of the test part"
    assert "Trial" not in result.stderr
    again = json.loads(cli(*words, "--json").stdout)
    assert again["search"] == said
    assert len(again["runs"]) == 3


SEARCH = ("--search", 2, "--objective", "elbo")
MISTAKES: dict[str, tuple[str, tuple[object, ...], tuple[str, ...]]] = {
    "a range without a search": (TOML, (), ("grid.sigma is a range", "--search N")),
    "no grid": ("[base]\nhidden = 8", SEARCH, ("one [grid]",)),
    "two grids": ("[[grid]]\nbeta = [1]\n[[grid]]\nbeta = [2]", SEARCH, ("one [grid]",)),
    "listed cells": ("[grid]\nbeta = [1]\n[[cells]]\nbeta = 2", SEARCH, ("no [[cells]]",)),
    "low above high": (
        "[grid]\nbeta = { low = 2, high = 1 }",
        SEARCH,
        ("grid.beta must have low < high",),
    ),
    "the logarithm of 0": (
        "[grid]\nbeta = { low = 0, high = 1, log = true }",
        SEARCH,
        ("grid.beta must have 0 < low < high",),
    ),
    "no range": ("[grid]\nbeta = { low = 1 }", SEARCH, ("grid.beta must be a list", "range")),
    "a range of texts": ("[grid]\nnet = { low = 1, high = 2 }", SEARCH, ("net must be text",)),
    "a fraction of an integer": (
        "[grid]\nlatent-dim = { low = 0.5, high = 2 }",
        SEARCH,
        ("latent-dim must be an integer", "0.5"),
    ),
    "an end out of range": (
        "[grid]\nlatent-dim = { low = 0, high = 3 }",
        SEARCH,
        ("latent-dim must be a positive integer, got 0",),
    ),
    "no trials": (TOML, ("--search", 0, "--objective", "elbo"), ("--search", "range")),
    "no objective": (TOML, ("--search", 2), ("--objective KEY",)),
    "an objective alone": (TOML, ("--objective", "elbo"), ("--search N",)),
    "no such objective": (
        TOML,
        ("--search", 2, "--objective", "elbow"),
        ("did you mean 'elbo'", "min:elbow"),
    ),
    "no such way": (TOML, ("--search", 2, "--objective", "up:kl"), ("min:KEY or max:KEY",)),
    "a dry run": (TOML, (*SEARCH, "--dry-run"), ("--dry-run",)),
    "cells": (TOML, (*SEARCH, "--max-cells", 1), ("--max-cells is for a sweep",)),
}


@pytest.mark.parametrize("case", list(MISTAKES))
def test_mistakes(mistake: Callable[..., str], tmp_path: Path, case: str) -> None:
    text, words, expected = MISTAKES[case]
    (tmp_path / "spec.toml").write_text(text)
    said = mistake("compare", "spec.toml", *words)
    assert all(part in said for part in expected), said


def test_without_optuna_its_extra_is_named(
    mistake: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    (tmp_path / "spec.toml").write_text(TOML)
    assert "pip install 'pyro_vae[search]'" in mistake("compare", "spec.toml", *SEARCH)


def test_a_spec_for_a_search_is_none_for_a_sweep(tmp_path: Path) -> None:
    with pytest.raises(pv.InputError, match="is one for a search"):
        pv.compare(read_spec(SPEC, search=True), tmp_path)


@pytest.mark.parametrize("validation", [None, "last:50"])
def test_it_chooses_by_the_validation_part_and_reports_the_test_part(
    validation: str | None, tmp_path: Path
) -> None:
    own = {} if validation is None else {"validation": validation}
    grid = {"sigma": {"low": 0.05, "high": 1.0, "log": True}}
    spec = {"base": {**BASE, "obs": "normal", **own}, "grid": grid}
    found = search(spec, tmp_path / "out", 3, "elbo")
    for trial, row in zip(found.trials, found.comparison.rows, strict=True):
        assert trial.cell == row.cell
        vae = pv.load(row.folder)
        whole = pv.data.load("mnist-5k")
        config = pv.training.read_config(row.folder)
        assert config["data"]["validation"] == (validation or "0.1")
        parts, _ = load_data(None, None, False, config)
        if validation is not None:
            assert torch.equal(parts.validation, whole.train[-50:])
        assert torch.equal(parts.test, whole.test[:64])
        of_validation, of_test = (
            pv.evaluate(vae, part, parts=())["elbo"] for part in (parts.validation, parts.test)
        )
        assert trial.value == row.scores["validation.elbo"] == of_validation != of_test
        assert trial.test == row.scores["elbo"] == of_test
    assert found.best is not None
    assert found.best.value == max(trial.value or -math.inf for trial in found.trials)


def test_a_search_needs_a_validation_part(tmp_path: Path) -> None:
    spec = {"base": {**BASE, "validation": "none"}, "grid": {"lr": {"low": 0.001, "high": 0.01}}}
    with pytest.raises(pv.InputError, match="a search chooses by the validation part"):
        search(spec, tmp_path / "out", 1, "elbo")
