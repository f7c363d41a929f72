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
    assert result.exit_code == 3
    assert "effective beta  1,024 x KL per image" in result.stdout
    assert "pixels-averaged" in result.stdout
    assert "def loss_function(x, x_hat, mean, log_var, beta=1):" in result.stdout
    assert "importing" not in result.stdout


def test_json_is_alone_on_stdout(good: Path) -> None:
    result = run(f"{good}:loss", "--data-shape", "64", "--latent-dim", 3, "--sample-fn", "sample",
                 "--json")  # fmt: skip
    assert result.exit_code == 3
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


CLASSES = """
import argparse
import torch
from torch import nn

options = argparse.ArgumentParser()
options.add_argument("--lr", type=float, default=1e-3)
args = options.parse_args()


class VAELoss(nn.Module):
    def __init__(self, beta=0.5):
        super().__init__()
        self.beta = beta

    def forward(self, recon_x, x, mu, logvar):
        kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        return torch.sum((recon_x - x) ** 2) + self.beta * kl


class VAE(nn.Module):
    def __init__(self, hidden):
        super().__init__()

    def loss_function(self, recon_x, x, mu, logvar):
        return VAELoss(beta=args.lr * 1000)(recon_x, x, mu, logvar)
"""


@pytest.mark.parametrize(("name", "beta"), [("VAELoss", 0.5), ("VAE.loss_function", 1.0)])
def test_a_class_a_method_and_a_script_that_reads_a_command_line(
    tmp_path: Path, name: str, beta: float
) -> None:
    path = tmp_path / "train.py"
    path.write_text(CLASSES)
    result = run(f"{path}:{name}", "--data-shape", "1,8,8", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["effective_beta"] == pytest.approx(beta)


def test_a_script_whose_command_line_has_to_be_given(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text(CLASSES.replace("default=1e-3", "required=True"))
    result = run(f"{path}:VAELoss")
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "train.py, line 8" in result.stderr
    assert "__main__" in result.stderr


def test_a_file_of_a_package_with_relative_imports(tmp_path: Path) -> None:
    inner = tmp_path / "project_of_mine" / "losses"
    inner.mkdir(parents=True)
    for folder in (inner.parent, inner):
        (folder / "__init__.py").write_text("")
    (inner.parent / "terms.py").write_text(
        "def kl(m, s):\n    return (0.5 * (m**2 + s.exp() - 1 - s)).sum(1).mean()\n"
    )
    (inner / "vae.py").write_text(
        "from ..terms import kl\n\n\ndef loss(x_hat, x, mu, logvar):\n"
        "    return ((x_hat - x) ** 2).flatten(1).sum(1).mean() + 3 * kl(mu, logvar)\n"
    )
    result = run(f"{inner / 'vae.py'}:loss", "--data-shape", "1,8,8", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["effective_beta"] == pytest.approx(3)


def test_what_cannot_be_called_gets_the_wrapper_to_write(tmp_path: Path) -> None:
    path = tmp_path / "losses.py"
    path.write_text("def loss(recon_x, x, mu, logvar, discriminator):\n    pass\n")
    result = run(f"{path}:loss")
    assert result.exit_code == 2
    assert (
        "def four(x, x_hat, mean, log_var): return loss(x=x, recon_x=x_hat, mu=mean, "
        "logvar=log_var, discriminator=...)" in result.stderr
    )


def test_help_says_that_code_is_run_with_ones_own_rights() -> None:
    assert "with your rights" in " ".join(run("--help").stdout.split())
