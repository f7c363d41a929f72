"""The specs of experiments/specs: what they ask for exists, they run, and their page."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

import pyro_vae as pv
from experiments import page, results
from pyro_vae.metrics import classifier
from pyro_vae.sweeps import read_spec
from pyro_vae.sweeps.claims import Crossing

SPECS = sorted(page.SPECS.glob("*.toml"))
each = pytest.mark.parametrize("path", SPECS, ids=[path.stem for path in SPECS])

TINY = """
title = "A small question"
seeds = [0, 1, 2]
scores = ["kl", "mse"]

[grid]
obs = ["normal", "bernoulli"]

[[cells]]
name = "fails"
lr = 1e30
optimizer = "sgd"

[[claims]]
statement = "every loss is finite"
expected = "holds"
score = "failed"
of = {}
over = "max"
is = "<="
than = 0

[[claims]]
statement = "squared errors are positive"
expected = "holds"
score = "mse"
of = { obs = ["normal", "bernoulli"] }
over = "min"
is = ">"
than = 0

[settings.small]
base = { images = 64, batch-size = 16, epochs = 1, hidden = 8, latent-dim = 2 }
[settings.large]
"""


def test_there_is_a_spec_for_each_question() -> None:
    assert len(SPECS) >= 12


@each
def test_a_spec_is_short_and_has_its_settings(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") < 80
    settings = list(tomllib.loads(text)["settings"])
    assert settings[0] == "small"
    assert {"fashion", "large"} <= set(settings)
    for setting in settings:
        spec = read_spec(path, setting)
        assert len(spec.claims) >= 3
        assert len({claim.statement for claim in spec.claims}) == len(spec.claims)
    small = read_spec(path)
    assert len(small.seeds) == 3
    assert len(small.cells) * len(small.seeds) <= 24


@pytest.fixture(scope="module")
def known_scores(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of all scores that runs of a density and of a loss have, and of samples."""
    spec: dict[str, Any] = {
        "base": {"images": 200, "epochs": 1, "hidden": 8, "latent-dim": 2},
        "grid": {"obs": ["normal", "continuous-bernoulli", "bernoulli"]},
        "evaluation": {"samples": True, "iwae": 2},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "CACHE", tmp_path_factory.mktemp("classifiers"))
        found = pv.compare(spec, tmp_path_factory.mktemp("scores"))
    assert all(row.fault is None for row in found.rows)
    return {name for row in found.rows for name in row.scores}


@each
def test_claims_and_columns_ask_for_scores_that_there_are(
    path: Path, known_scores: set[str]
) -> None:
    settings = tomllib.loads(path.read_text(encoding="utf-8"))["settings"]
    assert settings
    for setting in settings:
        spec = read_spec(path, setting)
        checks = [check for claim in spec.claims for check in claim.checks]
        named = {c.score.at if isinstance(c.score, Crossing) else c.score for c in checks}
        named |= {c.than_score for c in checks if c.than_score is not None}
        named |= set(spec.scores)
        assert named <= known_scores
        assert spec.evaluation.samples == any(name.startswith("samples.") for name in named)


def test_an_error_of_the_program_is_no_refusal(tmp_path: Path) -> None:
    spec: dict[str, Any] = {"base": {"images": 64, "batch-size": 16, "epochs": 1, "hidden": 8}}
    found = pv.compare({**spec, "grid": {"lr": [1e30], "optimizer": ["sgd"]}}, tmp_path)
    assert results._program_errors(found) == []
    failed = tmp_path / found.rows[0].cell / "seed-0" / "failed.json"
    failed.write_text(json.dumps({**json.loads(failed.read_text()), "traceback": "..."}))
    assert len(results._program_errors(found)) == 1


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("specs")
    (folder / "question.toml").write_text(TINY)
    (folder / "another.toml").write_text(TINY)
    return folder


@pytest.fixture(scope="module")
def out(
    specs: Path,
    tmp_path_factory: pytest.TempPathFactory,
    drawing: Callable[[], AbstractContextManager[None]],
) -> Path:
    out = tmp_path_factory.mktemp("out")
    with drawing():
        results.run("question", "small", out, 1, specs)
    return out


def test_a_little_of_a_spec_runs(specs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of experiments/specs are run by CI, each."""
    assert results.tiny(["question"], specs) == 0
    (line,) = capsys.readouterr().out.splitlines()
    record = json.loads(line)
    assert (record["spec"], record["runs"]) == ("question", 3)
    assert record["refused"] == 1  # whose steps are too large


def test_the_page_tells_verdicts_figures_and_machine(
    specs: Path, out: Path, tmp_path: Path
) -> None:
    notes = tmp_path / "notes.toml"
    notes.write_text('[question-small]\n"every loss is finite" = "Its steps are too large."\n')
    written = tmp_path / "docs" / "results.md"
    page.write_page(written, out, specs, notes)
    text = written.read_text()
    assert "| every loss is finite | holds | **does not hold**, disagrees |" in text
    assert "| squared errors are positive | holds | **holds** |" in text
    assert text.count("**disagrees**") == 1
    assert "1 ± 0, difference 1 [1, 1], 3 seeds" in text
    assert "Its steps are too large." in text
    assert "- another: not run." in text
    assert "Failed: `fails`: " in text
    lines = (out / "question-small" / "results.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    own = [row["scores.kl"] for row in rows if row["cell"] == "obs=normal"]
    assert f"| `obs=normal` | {pv.sweeps.estimate(own)} |" in text
    assert "9 runs, " in text
    assert " minutes in all with 1 at a time, on " in text
    pictures = sorted((written.parent / "pictures" / "results").iterdir())
    assert {path.name for path in pictures} == {
        "question-small-rate-distortion.png",
        "question-small-reconstructions.png",
    }
    for path in pictures:
        assert f"(pictures/results/{path.name})" in text
        assert path.stat().st_size < (out / "question-small" / path.name[15:]).stat().st_size


def test_runs_that_are_there_are_found_and_not_repeated(
    specs: Path, out: Path, tmp_path: Path
) -> None:
    machine = (out / "question-small" / page.MACHINE).read_text()
    results.run("question", "small", out, 1, specs)
    assert (out / "question-small" / page.MACHINE).read_text() == machine
    cut = tmp_path / "question-small"
    for path in (out / "question-small").glob("obs=normal/seed-*/result.json"):
        there = cut / path.relative_to(out / "question-small")
        there.parent.mkdir(parents=True)
        there.write_bytes(path.read_bytes())
    page.write_page(tmp_path / "page.md", tmp_path, specs)
    assert "- question: 3 of 9 runs are there." in (tmp_path / "page.md").read_text()


def test_notes_are_of_claims_that_there_are() -> None:
    notes = tomllib.loads(page.NOTES.read_text(encoding="utf-8"))
    assert notes
    for name, own in notes.items():
        spec, _, setting = name.rpartition("-")
        path = page.SPECS / f"{spec}.toml"
        statements = {claim.statement for claim in read_spec(path, setting).claims}
        assert set(own) <= statements
