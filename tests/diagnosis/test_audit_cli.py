"""`pyro-vae audit` on files, right and wrong."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

GOOD = """
import torch

print("importing")


def loss(x, x_hat, mean, log_var):
    print("called")
    kl = -0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())
    return torch.nn.functional.mse_loss(x_hat, x) + kl


def sample(mean, log_var):
    return mean + torch.exp(log_var) * torch.randn_like(mean)
"""


def command() -> Any:
    (point,) = entry_points(group="console_scripts", name="pyro-vae")
    return point.load().commands["audit"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command(), [str(argument) for argument in arguments])


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "losses.py"
    path.write_text(GOOD)
    return path


def test_the_report_says_what_to_do(good: Path) -> None:
    result = run(f"{good}:loss", "--data-shape", "1,8,8", "--batch-size", 16)
    assert result.exit_code == 0
    assert "effective beta  1,024 x KL per image" in result.stdout
    assert "pixels-averaged" in result.stdout
    assert "def loss_function(x, x_hat, mean, log_var, beta=1):" in result.stdout
    assert "importing" not in result.stdout


def test_json_is_alone_on_stdout(good: Path) -> None:
    result = run(f"{good}:loss", "--data-shape", "64", "--latent-dim", 3, "--sample-fn", "sample",
                 "--json")  # fmt: skip
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["effective_beta"] == pytest.approx(64 * 128)
    assert found["reductions"]["kl"] == {"batch": "sum", "latents": "sum"}
    assert "sample-exp-log-var-as-std" in [finding["code"] for finding in found["findings"]]
    assert {"implied_sigma", "reconstruction", "kl", "notes", "corrected"} <= set(found)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import torch\n\nx = 1 / 0\n", ["broken.py, line 3", "ZeroDivisionError"]),
        ("def loss(:\n    pass\n", ["broken.py, line 1", "SyntaxError"]),
        ("import no_such_module_at_all\n", ["broken.py, line 1", "no_such_module_at_all"]),
        ("raise SystemExit(0)\n", ["broken.py, line 1", "SystemExit"]),
        ("def other(x):\n    pass\n", ["'loss' is no function of the file", "other"]),
        ("def loss(x, x_hat, mean, log_var):\n    return x.foo\n", ["AttributeError", "tried"]),
        ("def loss(x, x_hat, mean, log_var, net):\n    pass\n", ["also needs net"]),
    ],
    ids=["error", "syntax", "import", "exit", "name", "crash", "arguments"],
)
def test_a_file_that_does_not_work_gets_one_line_and_status_2(
    tmp_path: Path, source: str, words: Any
) -> None:
    path = tmp_path / "broken.py"
    path.write_text(source)
    result = run(f"{path}:loss")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    assert all(word in result.stderr for word in words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["losses.py"], "FILE.py:FUNCTION"),
        (["nowhere.py:loss"], "no such file"),
        (["{good}:loss", "--data-shape", "1,a"], "--data-shape '1,a'"),
        (["{good}:loss", "--sample-fn", "draw"], "--sample-fn 'draw'"),
        (["{good}:loss", "--latent-dim", "0"], "--latent-dim"),
    ],
)
def test_a_wrong_option_names_itself(good: Path, arguments: Any, words: Any) -> None:
    result = run(*[argument.format(good=good) for argument in arguments])
    assert result.exit_code == 2
    assert words in result.stderr


def test_help_says_that_code_is_run_with_ones_own_rights() -> None:
    assert "with your rights" in " ".join(run("--help").stdout.split())
