"""How many checkpoints are kept, on which nothing that is trained depends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from torch import Tensor

from pyro_vae import InputError, fit
from pyro_vae.config import FitConfig
from pyro_vae.training import RunConfig, Stopped, read_config
from pyro_vae.training.checkpoints import FOLDER

from .models import small
from .stopping import StopAt

pytestmark = pytest.mark.usefixtures("no_pictures")

SETTINGS: dict[str, Any] = {"epochs": 3, "batch_size": 16, "checkpoint": "1"}


def steps(run: Path) -> list[int]:
    return sorted(int(path.name[5:13]) for path in (run / FOLDER).iterdir())


def stopped(few: Tensor, out: Path, step: int, **options: Any) -> None:
    torch.manual_seed(5)
    with pytest.raises(Stopped):
        fit(small(hidden=8), few[:64], out=out, progress=StopAt(step), **SETTINGS, **options)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, [5, 6]),
        ({"keep_checkpoints": 1}, [6]),
        ({"keep_checkpoints": 4}, [3, 4, 5, 6]),
        ({"keep_checkpoints": 50}, [0, 1, 2, 3, 4, 5, 6]),
    ],
    ids=["default", "one", "four", "all"],
)
def test_the_last_ones_are_kept(
    few: Tensor, tmp_path: Path, options: dict[str, Any], kept: list[int]
) -> None:
    stopped(few, tmp_path, 6, **options)
    assert steps(tmp_path) == kept


def test_a_run_goes_on_with_another_number(few: Tensor, tmp_path: Path) -> None:
    again = small(hidden=8)
    torch.manual_seed(5)
    whole = small(hidden=8)
    fit(whole, few[:64], **SETTINGS)
    stopped(few, tmp_path, 5, keep_checkpoints=4)
    with pytest.raises(Stopped):
        fit(
            again,
            few[:64],
            out=tmp_path,
            resume=True,
            progress=StopAt(7),
            keep_checkpoints=2,
            **SETTINGS,
        )
    assert steps(tmp_path) == [6, 7]
    fit(again, few[:64], out=tmp_path, resume=True, keep_checkpoints=1, workers=1, **SETTINGS)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("keep_checkpoints", value) for value in (0, -1, 1.5, "2", None)),
        *(("workers", value) for value in (-1, 1.5, "2", None)),
    ],
)
def test_numbers_are_checked(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{name.replace('_', '-')} must be"):
        FitConfig.of(**{name: value})


def test_a_recipe_is_the_same_with_any_number() -> None:
    assert RunConfig.of(keep_checkpoints=7, workers=3).fingerprint == RunConfig.of().fingerprint


def test_on_the_command_line(cli: Callable[..., Result], tmp_path: Path) -> None:
    size = ("--images", 64, "--hidden", 8, "--latent-dim", 2, "--epochs", 2)
    result = cli("fit", *size, "--keep-checkpoints", 3, "--workers", 1, "--out", "run")
    assert result.exit_code == 0, result.output
    assert read_config(tmp_path / "run")["fit"]["keep_checkpoints"] == 3


@pytest.mark.parametrize("name", ["keep-checkpoints", "workers"])
def test_mistakes_on_the_command_line(name: str, mistake: Callable[..., str]) -> None:
    said = mistake("fit", f"--{name}", -1, "--out", "other")
    assert said.startswith(f"Error: {name} must be ")


def test_a_resumed_run_on_the_command_line(
    cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyro_vae_cli.progress import Watcher

    ahead = Watcher.step

    def stop(self: Watcher, step: int) -> None:
        ahead(self, step)
        if step in (4, 6):
            raise Stopped(143)

    monkeypatch.setattr(Watcher, "step", stop)
    size = ("--images", 64, "--hidden", 8, "--latent-dim", 2, "--batch-size", 16)
    first = cli("fit", *size, "--keep-checkpoints", 4, "--checkpoint", 1, "--out", "run")
    assert first.exit_code == 143, first.output
    assert steps(tmp_path / "run") == [1, 2, 3, 4]
    again = cli("fit", "--resume", "run", "--keep-checkpoints", 1)
    assert again.exit_code == 143, again.output
    assert steps(tmp_path / "run") == [6]
