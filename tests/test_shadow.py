"""The shadow mode finds a wrong loss, is content with right ones, and leaves tests alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

TESTS = """
import pyro, pyro.distributions as dist, pytest, torch
from pyro_vae.objectives import CapturedELBO, TraceELBO, parse

def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)

def guide(x):
    scale = pyro.param("scale", torch.tensor(0.5), dist.constraints.positive)
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x / 2, scale))


@pytest.mark.parametrize("spec", ["trace", "mean-field:K=2", "renyi:0.5", "capacity:1"])
def test_right(spec):
    torch.manual_seed(0)
    svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), parse(spec))
    losses = [svi.step(torch.ones(3)) for _ in range(3)]
    print("SAID", spec, *losses, pyro.param("scale").item(), torch.rand(()).item())

def test_right_captured():
    elbo = CapturedELBO(backend="aten")
    losses = [elbo.loss_and_grads(model, guide, torch.ones(3)) for _ in range(3)]
    print("SAID captured", *losses, float(torch.rand(())))

def test_stale():  # what a captured objective with a graph of other data would say
    elbo = CapturedELBO(backend="aten")
    elbo._found = lambda call: None
    elbo._first = lambda call, eager: torch.tensor(3.0)
    elbo.loss(model, guide, torch.ones(3))
    elbo.loss_and_grads(model, guide, torch.ones(3))

def test_wrong(monkeypatch):
    right = TraceELBO.surrogate
    monkeypatch.setattr(TraceELBO, "surrogate", lambda *args: 1.000001 * right(*args))
    TraceELBO().loss(model, guide, torch.ones(3))
"""


def run(folder: Path, *options: str) -> tuple[int, str]:
    """Pytest on those tests, in a process of its own: its status and what it says."""
    (folder / "test_some.py").write_text(TESTS, encoding="utf-8")
    (folder / "conftest.py").write_text(
        "from tests.shadowing.plugin import add_option as pytest_addoption\n"
        "from tests.shadowing.plugin import configure as pytest_configure\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "test_some.py"]
    env = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""}
    done = subprocess.run(
        [*command, *options], cwd=folder, capture_output=True, text=True, env=env, check=False
    )
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def shadowed(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str]:
    return run(tmp_path_factory.mktemp("shadowed"), "--shadow")


def lines_of(said: str) -> list[str]:
    return [line.partition("SAID")[2] for line in said.splitlines() if "SAID" in line]


def test_wrong_losses_are_found_and_no_others(shadowed: tuple[int, str]) -> None:
    status, said = shadowed
    assert status == 1, said
    assert "failed" not in said
    found = [line for line in said.splitlines() if "DIFFERENT" in line]
    assert {line.partition("::")[2].partition(":")[0] for line in found} == {
        "test_wrong", "test_stale",
    }  # fmt: skip
    assert "shadow: 18 losses, 18 compared in double" in said
    assert "shadow: by Pyro: 15" in said
    assert "3 CapacityELBO" in said
    assert "14 aten" in said


@pytest.mark.slow
def test_tests_are_as_without(tmp_path: Path, shadowed: tuple[int, str]) -> None:
    status, said = run(tmp_path)
    assert status == 0, said
    assert "shadow" not in said
    assert len(lines_of(said)) == 5
    assert lines_of(said) == lines_of(shadowed[1])
