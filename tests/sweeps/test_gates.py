"""``compare`` as a gate: exit statuses, and marks of cells that are of no use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

Cli = Callable[..., Result]

SPEC = """
title = "a gate"
scores = {scores}
seeds = [0, 1]
[base]
images = 100
epochs = 1
hidden = 8
latent-dim = 2
[grid]
beta = [1, 5000]
[[claims]]
statement = "a large beta has the smaller KL"
score = "kl"
of = {{ beta = {smaller} }}
is = "<"
than = {{ beta = {larger} }}
{expected}
"""


def _spec(folder: Path, right: bool = True, scores: str = '["elbo"]', expected: str = "") -> Path:
    path = folder / "spec.toml"
    smaller, larger = (5000, 1) if right else (1, 5000)
    path.write_text(SPEC.format(smaller=smaller, larger=larger, scores=scores, expected=expected))
    return path


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("right", [True, False])
def test_a_claim_that_does_not_hold_fails_a_gate_and_nothing_else(
    cli: Cli, tmp_path: Path, right: bool, asked: bool
) -> None:
    spec = _spec(tmp_path, right)
    words = ["compare", spec, "--out", tmp_path / "out", *(["--check"] if asked else [])]
    result = cli(*words)
    holds = "  holds:" in result.stdout
    assert not (holds and not right)
    assert result.exit_code == (3 if asked and not holds else 0), result.output


def test_cells_that_are_worse_than_a_constant_are_marked_and_lines_are_short(
    cli: Cli, tmp_path: Path
) -> None:
    result = cli("compare", _spec(tmp_path), "--out", tmp_path / "out")
    rows = [line for line in result.stdout.splitlines() if line.startswith("  beta=")]
    assert len(rows) == 2
    # After a step they are not at the best constant yet.
    assert all(row.endswith("2 of 2 worse than a constant") for row in rows)
    scores = '["elbo", "kl", "reconstruction", "mse", "active_units", "bits_per_dim"]'
    result = cli("compare", _spec(tmp_path, scores=scores), "--out", tmp_path / "out")
    lines = result.stdout.splitlines()
    assert max(map(len, lines[: lines.index("")])) <= 80
    assert sum(line.startswith("    bits_per_dim ") for line in lines) == 2


def test_a_spec_of_a_folder_whose_name_is_not_utf8(cli: Cli, tmp_path: Path) -> None:
    """A name of Latin-1 bytes, as older disks have them, in the spec's place and the results'."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/Stra\xdfe"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this disk takes no such name")
    images = np.random.default_rng(0).integers(0, 256, (60, 1, 8, 8), np.uint8)
    np.save(folder / "here.npy", images)
    text = SPEC.format(scores='["elbo"]', smaller=5000, larger=1, expected="")
    spec = _spec(folder)
    spec.write_text(text.replace("images = 100\n", 'data = "here.npy"\n'))
    result = cli("compare", spec, "--out", folder / "out")
    assert result.exit_code == 0, (result.output, result.exception)
    assert (folder / "out" / "results.csv").is_file()
