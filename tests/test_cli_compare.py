"""``pyro-vae compare`` as users run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]
SPEC = """
title = "a test"
seeds = [0, 1]
scores = ["kl", "mse"]

[base]
hidden = 16
images = 64
epochs = 1
batch-size = 32
latent-dim = 2

[grid]
obs = ["normal", "bernoulli"]

[[claims]]
statement = "cross-entropy keeps more"
score = "kl"
of = { obs = "bernoulli" }
is = ">"
than = { obs = "normal" }

[settings.small]
[settings.large]
base.epochs = 2
"""


@pytest.fixture
def spec(tmp_path: Path, cli: Run) -> Path:
    path = tmp_path / "spec.toml"
    path.write_text(SPEC)
    return path


def test_a_comparison_prints_its_table_and_its_claims(cli: Run, spec: Path) -> None:
    result = cli("compare", spec, "--out", "out")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "a test: mean ± standard error over 2 seeds"
    assert lines[1].split() == ["cell", "kl", "mse"]
    assert [line.split()[0] for line in lines[2:4]] == ["obs=normal", "obs=bernoulli"]
    (claim,) = json.loads(Path("out/claims.json").read_text())
    assert f"{claim['verdict']}:" in result.stdout
    assert "cross-entropy keeps more" in result.stdout
    assert "4/4 obs=bernoulli seed 1" in result.stderr
    again = cli("compare", spec, "--out", "out", "--json")
    assert "4/4" not in again.stderr
    said = json.loads(again.stdout)
    assert [run["cell"] for run in said["runs"]] == ["obs=normal", "obs=bernoulli"] * 2
    assert said["claims"] == [claim]


def test_a_dry_run_trains_nothing(cli: Run, spec: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    result = cli("compare", spec, "--dry-run")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "a test: 2 cells × 2 seeds, 4 runs"
    assert "obs=normal" in lines[1]
    assert "units active: βσ² = " in lines[1]
    assert "units active: β = 1 " in lines[2]
    rows = json.loads(cli("compare", spec, "--dry-run", "--json").stdout)["cells"]
    assert rows[0]["forecast"]["latent_dim"] == 2
    assert sorted(tmp_path.rglob("*")) == before


def test_limits_give_a_result_without_verdicts(cli: Run, spec: Path) -> None:
    limits = ("--max-cells", 1, "--max-steps", 1, "--seeds", 1)
    result = cli("compare", spec, "--setting", "large", *limits)
    assert result.exit_code == 0, result.output
    assert "no verdicts" in result.stdout
    assert len(list(Path("comparisons/spec-large").glob("*/seed-*/result.json"))) == 1


def test_a_dry_run_counts_in_the_singular(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text("[base]\nimages = 64\n[grid]\nbeta = [1]\n")
    said = cli("compare", tmp_path / "one.toml", "--dry-run").stdout.splitlines()
    assert said[0] == "one: 1 cell × 1 seed, 1 run"


def test_a_dry_run_says_where_there_is_no_forecast(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text(
        '[base]\nimages = 64\n[[cells]]\nprior = "vamp:3"\n[[cells]]\ntarget-kl = 3\n'
    )
    said = cli("compare", tmp_path / "two.toml", "--dry-run").stdout.splitlines()
    assert len(said) == 3
    assert all(line.endswith("β or the prior is found during training") for line in said[1:])


@pytest.mark.parametrize("words", [("--dry-run",), ("--out", "out")], ids=["dry", "sweep"])
def test_what_cannot_be_compiled_is_refused_before_the_sweep(
    mistake: Callable[..., str], tmp_path: Path, words: tuple[str, ...]
) -> None:
    text = '[base]\ncompile = "on"\n[grid]\nprecision = ["float32", "float16"]\n'
    (tmp_path / "spec.toml").write_text(text)
    said = mistake("compare", tmp_path / "spec.toml", *words)
    assert "precision=float16: compile on does not go with float16" in said
    assert not (tmp_path / "out").exists()


MISTAKES: dict[str, tuple[str, tuple[object, ...], tuple[str, ...]]] = {
    "no such file": ("", ("nothing.toml",), ("there is no spec nothing.toml",)),
    "no TOML": ("[base", ("spec.toml",), ("spec.toml is not TOML",)),
    "no cells": ("", ("spec.toml",), ("no cells",)),
    "an unknown key": ("sedes = [1]", ("spec.toml",), ("did you mean 'seeds'",)),
    "an unknown option": (
        "[grid]\nlatent-dims = [1]",
        ("spec.toml",),
        ("did you mean 'latent_dim'",),
    ),
    "a wrong type": ("[grid]\nepochs = ['x']", ("spec.toml",), ("epochs must be an integer",)),
    "an empty grid": ("[grid]\nbeta = []", ("spec.toml",), ("grid.beta is empty",)),
    "two cells of one name": (
        "[[cells]]\nname = 'a'\n[[cells]]\nname = 'a'",
        ("spec.toml",),
        ("two cells have the name 'a'",),
    ),
    "a thousand cells": (
        f"[grid]\nbeta = {list(range(40))}\nlatent-dim = {list(range(1, 31))}",
        ("spec.toml",),
        ("1,200 cells", "--yes"),
    ),
    "no such setting": (SPEC, ("spec.toml", "--setting", "smal"), ("did you mean 'small'",)),
    "no workers": (SPEC, ("spec.toml", "--workers", 0), ("--workers", "0 is not in the range")),
    "an integer that Python does not read": (
        f"[base]\nimages = {'9' * 5000}\n",
        ("spec.toml",),
        ("is not TOML",),
    ),
    "too many threads": (SPEC, ("spec.toml", "--threads", 10**6), ("--threads",)),
    "no cells left": (
        SPEC,
        ("spec.toml", "--max-cells", 0),
        ("--max-cells", "0 is not in the range"),
    ),
    "data not at hand": (
        "[grid]\ndata = ['mnist']\n[base]\ndata-root = '.'",
        ("spec.toml",),
        ("mnist is not at hand",),
    ),
    "out is a file": (SPEC, ("spec.toml", "--out", "spec.toml"), ("is a file",)),
}


@pytest.mark.parametrize("case", list(MISTAKES))
def test_mistakes(mistake: Callable[..., str], tmp_path: Path, case: str) -> None:
    text, words, expected = MISTAKES[case]
    (tmp_path / "spec.toml").write_text(text)
    said = mistake("compare", *words)
    assert all(part in said for part in expected), said
