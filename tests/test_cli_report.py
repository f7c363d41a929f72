"""``pyro-vae report`` as users run it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]
TINY = ("--epochs", 2, "--images", 64, "--hidden", 8, "--latent-dim", 2)


def test_a_report_of_a_folder_and_of_two_runs(cli: Run) -> None:
    for obs in ("normal", "bernoulli"):
        assert cli("fit", "--obs", obs, "--out", f"runs/{obs}", *TINY).exit_code == 0
    result = cli("report", "runs")
    assert result.exit_code == 0, result.output
    assert Path(result.stdout.strip()) == Path("runs/report.html")
    assert "looking at normal" in result.stderr
    text = Path("runs/report.html").read_text(encoding="utf-8")
    assert text.count("<article") >= 6
    assert list(Path("runs/report-figures").glob("traversal-*.svg"))
    again = cli("report", "runs")
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
    assert Path("runs/report.html").read_text(encoding="utf-8") == text
    assert cli("report", "runs", "--overwrite").exit_code == 0
    both = cli("report", "runs/normal", "runs/bernoulli", "--out", "both.html")
    assert both.stdout.strip() == "both.html"


MISTAKES = {
    "no run": (("empty",), "empty holds no run"),
    "no folder": (("missing",), "missing does not exist"),
    "no argument": ((), "Missing argument"),
    "other ending": (("run", "--out", "report.txt"), "must end in .html"),
}


@pytest.mark.parametrize("case", list(MISTAKES))
def test_mistakes(mistake: Callable[..., str], tmp_path: Path, case: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    words, said = MISTAKES[case]
    assert said in mistake("report", *words)
