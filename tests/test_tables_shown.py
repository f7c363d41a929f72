"""What commands print of a table with many columns of long names, at 80 columns."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from pyro_vae_cli.main import main

pytestmark = pytest.mark.usefixtures("pictures")

NAMES = [f"measurement_of_the_patient_number_{i}_after_a_year" for i in range(11)]


def cli(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    # A diagnosis of so short a training finds something.
    assert result.exit_code in (0, 3 * (arguments[0] == "diagnose")), result.output
    return result


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    with (folder / "table.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*NAMES, "city"])
        for row in rng.normal(size=(110, 11)).round(4):
            cells = [*row.tolist(), "Rome" if row[0] > 0 else "Paris"]
            writer.writerow(["" if rng.random() < 0.1 else cell for cell in cells])
    options = ("--epochs", 1, "--hidden", 8, "--latent-dim", 2)
    result = cli("fit", "--data", folder / "table.csv", "--out", folder / "run", *options)
    assert "nats per row, β = 1" in result.stderr
    assert "image" not in result.stderr
    return folder / "run"


@pytest.mark.parametrize("command", ["evaluate", "diagnose", "obs"])
def test_no_line_is_wider_than_a_terminal(run: Path, command: str) -> None:
    given = ("obs", "--data", run.parent / "table.csv") if command == "obs" else (command, run)
    lines = [line for line in cli(*given).stdout.splitlines() if str(run.parent) not in line]
    of_columns = [line for line in lines if "measurement_" in line]
    assert len(of_columns) == 11
    assert max(map(len, lines)) <= 80
    # Cut or not, no name may be taken for another.
    names = {line.split()[0] for line in of_columns}
    assert len(names) == 11


def test_a_report_has_each_column_beside_its_constant(run: Path) -> None:
    page = run.parent / "page.html"
    cli("report", run, "--out", page)
    text = page.read_text()
    assert "nats per row" in text
    assert "nats per image" not in text
    for name in (*NAMES, "city"):
        assert name in text.replace("<wbr>", ""), name
    assert text.count("rmse") == 12  # of each column, one of them of 0 and 1
    assert "Squared error per pixel" not in text
