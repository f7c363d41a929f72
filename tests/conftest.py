"""Every test starts from the same random state, an empty parameter store and full validation.

PYRO_VAE_TEST_SEED=7 has all start from another one, OMP_NUM_THREADS=2 compute with two threads: no
test may depend on either, nor on how a processor rounds.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from click.testing import CliRunner, Result
from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae import data

from .shadowing import plugin as shadowing

SEED = int(os.environ.get("PYRO_VAE_TEST_SEED", "0"))
THREADS = int(os.environ.get("OMP_NUM_THREADS", "1"))


def pytest_addoption(parser: pytest.Parser) -> None:
    shadowing.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    shadowing.configure(config)


@pytest.fixture(autouse=True)
def _fresh_state() -> Iterator[None]:
    torch.set_num_threads(THREADS)
    dtype = torch.get_default_dtype()
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    pyro.clear_param_store()
    pyro.enable_validation(True)
    yield
    torch.set_default_dtype(dtype)
    pyro.clear_param_store()
    pyro.enable_validation(True)


@pytest.fixture(scope="session", autouse=True)
def drawing() -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Figures are made and their files written, but empty: drawing takes longer than training.

    Within the context that this gives they are drawn.
    """
    draw, whole = Figure.savefig, list[bool]()

    def savefig(self: Figure, *words: Any, **options: Any) -> None:
        draw(self if whole else Figure((0.1, 0.1)), *words, **options)

    @contextmanager
    def drawn() -> Iterator[None]:
        whole.append(True)
        yield
        whole.pop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", savefig)
        yield drawn


@pytest.fixture(scope="module")
def pictures(drawing: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """Figures are drawn in this module."""
    with drawing():
        yield


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs have none: their figures are not even made."""
    monkeypatch.setattr("pyro_vae.plots.runs.draw_run", lambda *args: None)


@pytest.fixture
def float64() -> Iterator[None]:
    """Modules and constants are made in double precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def digits() -> data.Data:
    """The embedded digits, uint8."""
    return data.load("mnist-5k")


@pytest.fixture(scope="session")
def few(digits: data.Data) -> Tensor:
    """A few training digits, uint8 (300, 1, 28, 28)."""
    return digits.train[:300]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the installed command in an empty folder: ``cli("fit", "--epochs", 1)``."""
    (point,) = entry_points(group="console_scripts", name="pyro-vae")
    command: Any = point.load()
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Result:
        return CliRunner().invoke(command, [str(word) for word in words])

    return run


@pytest.fixture
def run_cli(cli: Callable[..., Result]) -> Callable[..., str]:
    """Run a command that must succeed, and give what it prints; ``diagnose`` may find something."""

    def run(*words: object) -> str:
        result = cli(*words)
        fine = (0, 3 * (words[0] == "diagnose"))
        assert result.exit_code in fine, (words, result.output, result.exception)
        return result.stdout

    return run


@pytest.fixture
def mistake(cli: Callable[..., Result], tmp_path: Path) -> Callable[..., str]:
    """Run a command that must be refused: one line on stderr, status 2, nothing on disk touched."""

    def run(*words: object) -> str:
        before = _files(tmp_path)
        result = cli(*words)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1
        assert _files(tmp_path) == before
        return result.stderr

    return run


def _files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
