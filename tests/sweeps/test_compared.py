"""The table of a comparison: its marks, by scores and by diagnoses, and what it is printed as."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from pyro_vae_cli.compared import FORMATS, Table, table_of, text_of

import pyro_vae as pv
from pyro_vae.diagnostics.kept import DIAGNOSIS, keep_diagnosis, kept_verdict
from pyro_vae.sweeps.statistics import estimate

Cli = Callable[..., Result]
SPEC: dict[str, Any] = {
    "title": "two cells",
    "scores": ["kl", "elbo"],
    "seeds": [0, 1, 2],
    "base": {"images": 64, "epochs": 1, "hidden": 4, "latent-dim": 2},
    "grid": {"beta": [1, 4]},
}
FINE = {"elbo": 2.0, "collapsed": 1.0, "active_units": 2.0, "kl": 3.0}
DEAD = {**FINE, "active_units": 0.0}
WORSE = {**FINE, "elbo": 0.5}


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> pv.sweeps.Comparison:
    return pv.compare(SPEC, tmp_path_factory.mktemp("sweep"))


def _diagnosed(folder: Path, verdict: str) -> None:
    keep_diagnosis(pv.load(folder), {"verdict": verdict, "summary": "", "causes": []}, folder)


CELLS: dict[str, tuple[list[dict[str, float]], list[str | None], str]] = {
    "healthy by all that is known": ([FINE] * 3, [None] * 3, ""),
    "healthy by a diagnosis": ([FINE] * 3, ["healthy"] * 3, ""),
    "without active units": ([DEAD, FINE, DEAD], [None] * 3, "2 of 3 collapsed"),
    "no matter which, worse comes first": (
        [DEAD, WORSE, FINE], [None] * 3, "1 of 3 worse than a constant, 1 of 3 collapsed",
    ),
    "a diagnosis is what counts": (
        [FINE, DEAD, FINE], ["underfitted", "partly-collapsed", None],
        "1 of 3 underfitted, 1 of 3 partly-collapsed",
    ),
    "what is worse than a constant is so, whatever it was called": (
        [WORSE, FINE, FINE], ["healthy", "overfitted", "overfitted"],
        "1 of 3 worse than a constant, 2 of 3 overfitted",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CELLS)
def test_marks_of_a_cell(compared: pv.sweeps.Comparison, case: str) -> None:
    scores, verdicts, mark = CELLS[case]
    own = [row for row in compared.rows if row.cell == "beta=4"]
    assert len(own) == 3
    rows = []
    for row, each, verdict in zip(own, scores, verdicts, strict=True):
        (row.folder / DIAGNOSIS).unlink(missing_ok=True)
        if verdict is not None:
            _diagnosed(row.folder, verdict)
        rows.append(replace(row, scores=each))
    others = [replace(row, scores=FINE) for row in compared.rows if row.cell == "beta=1"]
    table = table_of(replace(compared, rows=(*others, *rows)))
    assert table.marks == ("", mark)
    assert max(map(len, text_of(table))) <= 80


def test_a_verdict_is_of_its_weights(compared: pv.sweeps.Comparison) -> None:
    folder = compared.rows[0].folder
    assert kept_verdict(folder) is None
    _diagnosed(folder, "overfitted")
    assert kept_verdict(folder) == "overfitted"
    vae = pv.load(folder)
    with torch.no_grad():
        next(vae.parameters()).add_(1)
    keep_diagnosis(vae, {"verdict": "healthy", "summary": "", "causes": []}, folder)
    assert kept_verdict(folder) is None
    _diagnosed(folder, "overfitted")
    weights = folder / "model.safetensors"
    held = weights.read_bytes()
    weights.write_bytes(held[:100])
    assert kept_verdict(folder) is None
    weights.unlink()
    assert kept_verdict(folder) is None
    weights.write_bytes(held)
    assert kept_verdict(folder) == "overfitted"
    (folder / DIAGNOSIS).unlink()


TABLE = Table(
    "a test: mean ± standard error over 2 seeds",
    ("kl", "iwae.pareto_shape", "own"),
    ("nats per image", "k̂; weights say little above .7", ""),
    ("net=a|b_c", "β=5%, σ=~2"),
    (
        (estimate([1.0, 2.0]), estimate([-1.5e9, -1.5e9]), None),
        (None, estimate([0.25]), estimate([1e-7])),
    ),
    (2, 1),
    ("1 of 2 collapsed", ""),
)
"""Of 1 and 2 the mean is 1.5 ± √(½/2)."""


def test_text() -> None:
    assert text_of(TABLE) == [
        "a test: mean ± standard error over 2 seeds",
        "  cell               kl  iwae.pareto_shape    own",
        "  net=a|b_c   1.5 ± 0.5       -1.5e+09 ± 0      -  1 of 2 collapsed",
        "  β=5%, σ=~2          -               0.25  1e-07",
    ]


def test_csv_has_all_digits_and_units() -> None:
    head, first, second = csv.reader(io.StringIO(FORMATS["csv"](TABLE)))
    assert head == [
        "cell", "runs", "kl (nats per image)", "kl standard error",
        "iwae.pareto_shape (k̂; weights say little above .7)", "iwae.pareto_shape standard error",
        "own", "own standard error", "mark",
    ]  # fmt: skip
    assert first == ["net=a|b_c", "2", "1.5", "0.5", "-1500000000.0", "0.0", "", "",
                     "1 of 2 collapsed"]  # fmt: skip
    assert second == ["β=5%, σ=~2", "1", "", "", "0.25", "", "1e-07", "", ""]


def test_markdown() -> None:
    assert FORMATS["markdown"](TABLE).splitlines() == [
        "| cell | kl (nats per image) | iwae.pareto_shape (k̂; weights say little above .7) | own "
        "| mark |",
        "| --- | ---: | ---: | ---: | --- |",
        "| net=a\\|b_c | 1.5 ± 0.5 | -1.5e+09 ± 0 |  | 1 of 2 collapsed |",
        "| β=5%, σ=~2 |  | 0.25 | 1e-07 |  |",
    ]


def test_latex_escapes_what_it_would_take_for_commands() -> None:
    assert FORMATS["latex"](TABLE).splitlines() == [
        r"\begin{tabular}{lrrrl}",
        r"\hline",
        r"cell & kl (nats per image) & iwae.pareto\_shape ($\hat k$; weights say little above .7)"
        r" & own & mark \\",
        r"\hline",
        r"net=a$|$b\_c & $1.5 \pm 0.5$ & $-1.5 \times 10^{9} \pm 0$ &  & 1 of 2 collapsed \\",
        r"$\beta$=5\%, $\sigma$=\textasciitilde{}2 &  & $0.25$ & $1 \times 10^{-7}$ &  \\",
        r"\hline",
        r"\end{tabular}",
    ]


def test_compare_prints_the_table_alone(cli: Cli, tmp_path: Path) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(
        'scores = ["kl"]\n[base]\nimages = 64\nepochs = 1\nhidden = 4\n[grid]\nbeta = [1]\n'
        '[[claims]]\nstatement = "it costs something"\nscore = "kl"\nof = { beta = 1 }\n'
        'is = ">"\nthan = 0\n'
    )
    result = cli("compare", spec, "--out", "out", "--table", "csv")
    assert result.exit_code == 0, result.output
    head, row = csv.reader(io.StringIO(result.stdout))
    assert head == ["cell", "runs", "kl (nats per image)", "kl standard error", "mark"]
    said = json.loads(cli("compare", spec, "--out", "out", "--json").stdout)
    assert said["runs"][0]["verdict"] is None
    assert row[:4] == ["beta=1", "1", repr(said["runs"][0]["scores.kl"]), ""]
    diagnosed = cli("diagnose", Path("out/beta=1/seed-0"), "--json")
    verdict = json.loads(diagnosed.stdout)["verdict"]
    said = json.loads(cli("compare", spec, "--out", "out", "--json").stdout)
    assert said["runs"][0]["verdict"] == verdict
    for other in ("--json", "--dry-run"):
        refused = cli("compare", spec, "--table", "latex", other)
        assert refused.exit_code == 2
        assert f"--table and {other} exclude each other" in refused.stderr
