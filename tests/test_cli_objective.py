"""Mistakes in the objective's options: one line, status 2, nothing on disk touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

MISTAKES: dict[str, tuple[tuple[object, ...], tuple[str, ...]]] = {
    "a schedule that does not parse": (
        ("--beta", "linear:0,x,steps=10"),
        ("beta: schedule 'linear:0,x,steps=10', at character 10: expected a number, got 'x'",),
    ),
    "an unknown schedule": (("--beta", "linaer:0,1,steps=9"), ("character 1", "'linear'")),
    "a schedule without length": (("--beta", "linear:0,1"), ("character 11", "steps=")),
    "a negative period": (
        ("--beta", "cyclical:0,1,period=-500,ratio=0.5"),
        ("character 21", "positive", "-500"),
    ),
    "a ratio of 2": (("--beta", "cyclical:0,1,period=5,ratio=2"), ("character 29", "ratio")),
    "steps that are not whole": (("--beta", "cosine:0,1,steps=1.5"), ("character 18", "1.5")),
    "a negative end": (("--beta", "sigmoid:0,-1,steps=5"), ("character 11", "negative")),
    "beta nan": (("--beta", "nan"), ("character 1", "finite", "nan")),
    "target KL 0": (("--target-kl", 0), ("target-kl", "positive and finite, got 0")),
    "target KL -3": (("--target-kl", -3), ("target-kl", "positive and finite, got -3")),
    "target KL nan": (("--target-kl", "nan"), ("target-kl", "positive and finite, got nan")),
    "target KL inf": (("--target-kl", "inf"), ("target-kl", "positive and finite, got inf")),
    "a word for a target": (("--target-kl", "low"), ("--target-kl", "'low'")),
    "target reconstruction inf": (
        ("--target-reconstruction", "inf"),
        ("target-reconstruction", "finite, got inf"),
    ),
    "two targets": (
        ("--target-kl", 25, "--target-reconstruction", -90),
        ("--target-kl and --target-reconstruction exclude each other",),
    ),
    "a target and a beta": (("--target-kl", 25, "--beta", 4), ("--beta", "--target-kl", "got 4")),
    "an unknown optimiser": (("--optimizer", "adamm"), ("did you mean 'adam'", "rmsprop, sgd")),
    "an unknown lr schedule": (("--lr-schedule", "cosin"), ("lr-schedule", "mean 'cosine'")),
    "an unknown elbo": (("--elbo", "iwea:5"), ("elbo", "did you mean 'iwae'", "dreg:K")),
    "no particles": (("--elbo", "iwae:0"), ("elbo", "K must be a positive integer")),
    "alpha 1": (("--elbo", "renyi:1"), ("elbo", "alpha", "got 1")),
    "negative free bits": (("--elbo", "free-bits:-1"), ("elbo", "not negative, got -1")),
    "an unknown augmentation": (("--augment", "flop"), ("augmentation", "did you mean 'flip'")),
    "clip 0": (("--clip", 0), ("clip must be positive and finite, got 0",)),
    "clip nan": (("--clip", "nan"), ("clip must be positive and finite, got nan",)),
    "average 0": (("--average", 0), ("average must be in (0, 1), got 0",)),
    "average 1": (("--average", 1), ("average must be in (0, 1), got 1",)),
    "patience 0": (("--patience", 0), ("patience must be a positive integer, got 0",)),
    "patience -2": (("--patience", -2), ("patience must be a positive integer, got -2",)),
    "a negative warm-up": (("--lr-warm-up", -1), ("lr-warm-up", "at least 0, got -1")),
    "weight decay -1": (("--weight-decay", -1), ("weight-decay must be not negative, got -1",)),
    "lr inf": (("--lr", "inf"), ("lr must be positive and finite, got inf",)),
    "a seed beyond all": (("--seed", 10**30), ("seed", "2**32")),
    "a negative seed": (("--seed", -1), ("seed must be an integer from 0", "got -1")),
}


@pytest.mark.parametrize("case", list(MISTAKES))
def test_mistakes(mistake: Callable[..., str], tmp_path: Path, case: str) -> None:
    words, expected = MISTAKES[case]
    said = mistake("fit", *words, "--out", tmp_path / "run")
    assert all(part in said for part in expected), said
    assert not (tmp_path / "run").exists()


def test_all_options_together(cli: Callable[..., Result], tmp_path: Path) -> None:
    words = [
        *("--epochs", 2, "--batch-size", 900, "--hidden", 8, "--latent-dim", 3),
        *("--beta", "cyclical:0,1,period=1epochs", "--elbo", "dreg:2", "--optimizer", "adamw"),
        *("--weight-decay", 0.01, "--lr-schedule", "plateau", "--lr-warm-up", 3, "--clip", 5),
        *("--average", 0.5, "--patience", 1, "--keep-best", "--init-from-data"),
    ]
    result = cli("fit", *words, "--out", tmp_path / "run", "--json")
    assert result.exit_code == 0, result.output
    settings = json.loads((tmp_path / "run" / "config.json").read_text())["fit"]
    assert settings["elbo"] == "dreg:2"
    assert settings["beta"] == "cyclical:0,1,period=1epochs"
    betas = [
        json.loads(line)["beta"]
        for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
        if json.loads(line)["record"] == "step"
    ]
    assert betas == pytest.approx([0, 0.4, 0.8, 1, 1] * 2)


def test_a_schedule_that_training_does_not_finish_is_told(
    cli: Callable[..., Result], tmp_path: Path
) -> None:
    words = ("--epochs", 1, "--batch-size", 900, "--hidden", 8, "--latent-dim", 3)
    result = cli("fit", *words, "--beta", "linear:0,1,epochs=2", "--out", tmp_path / "run")
    assert result.exit_code == 0
    assert (
        "warning: linear:0,1,steps=10 is longer than the 5 steps of training, "
        "which ends at β = 0.4" in result.stderr
    )
