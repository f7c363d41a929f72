"""Data files that are removed or cut short while a run reads them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from torch import Tensor

from pyro_vae import VAE, TrainingError, data, fit, load, networks
from pyro_vae.data import Stored, stored
from pyro_vae.training import runs
from pyro_vae.training.checkpoints import Checkpoints
from pyro_vae.training.progress import Silent

from ..data.pictures import folder, noise
from ..data.test_shards import shards

pytestmark = pytest.mark.filterwarnings(
    "ignore:This DataLoader will create", "ignore:This process .* is multi-threaded"
)


@pytest.fixture(autouse=True)
def _on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "IN_MEMORY", 0)


class At(Silent):
    """Does something after a step."""

    def __init__(self, step: int, act: Callable[[], object]) -> None:
        self.at, self.act = step, act

    def step(self, step: int) -> None:
        """Do it there."""
        if step == self.at:
            self.act()


def made(path: Path, kind: str) -> str:
    """Data of a kind, and their name."""
    if kind == "folder":
        folder(path / "images", 60, 6, 5)
        return str(path / "images")
    if kind == "shards":
        shards(path, 60)
        return str(path / "s-{00..05}.tar")
    np.save(path / "images.npy", noise(0, 60, 1, 6, 5))
    return str(path / "images.npy")


def removed(path: Path) -> None:
    (path / "away").mkdir()
    for pattern in ("images*", "s-*.tar"):
        for found in path.glob(pattern):
            found.rename(path / "away" / found.name)


def restored(path: Path) -> None:
    for found in (path / "away").iterdir():
        found.rename(path / found.name)


def trained(images: data.Data, **options: Any) -> dict[str, Tensor]:
    """Weights after three epochs of 7 steps."""
    torch.manual_seed(0)
    vae = VAE(tuple(images.train.shape[1:]), 2, "normal-learned-sigma", networks.MLP(hidden=8))
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 8, "checkpoint": "2", **options}
    fit(vae, images.train, images.test, **settings)
    return vae.state_dict()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["folder", "shards"])
def test_a_run_whose_images_are_removed_stops_in_a_line_and_goes_on_later(
    tmp_path: Path, kind: str, workers: int
) -> None:
    name, run = made(tmp_path, kind), tmp_path / "run"
    images = data.load(name)
    assert isinstance(images.train, Stored)
    expected = trained(images)
    with pytest.raises(TrainingError, match=r"cannot be read: No such file") as caught:
        trained(images, out=run, workers=workers, progress=At(10, lambda: removed(tmp_path)))
    said = str(caught.value)
    assert "\n" not in said
    assert "can be resumed from its last checkpoint" in said
    assert (f"{tmp_path / 'images'}" if kind == "folder" else ".tar: byte") in said
    found = Checkpoints(run).latest()
    assert found is not None
    assert 10 <= found[0] <= 14
    assert load(run).latent_dim == 2
    restored(tmp_path)
    again = trained(data.load(name), out=run, resume=True)
    assert all(torch.equal(value, again[key]) for key, value in expected.items())
    assert len(expected) > 4


def test_a_model_whose_scale_is_read_off_the_images_is_left_loadable(tmp_path: Path) -> None:
    images = data.load(made(tmp_path, "folder"))
    vae = VAE(tuple(images.train.shape[1:]), 2, "normal-optimal-sigma", networks.MLP(hidden=8))
    with pytest.raises(TrainingError, match="cannot be read"):
        fit(
            vae,
            images.train,
            epochs=2,
            batch_size=8,
            out=tmp_path / "run",
            progress=At(3, lambda: removed(tmp_path)),
        )
    assert load(tmp_path / "run").obs.title == "normal-optimal-sigma"


def test_held_out_images_that_are_lost_are_told_alike(tmp_path: Path) -> None:
    images = data.load(made(tmp_path, "folder"))
    training = images._replace(train=images.train[:])
    with pytest.raises(TrainingError, match="cannot be read"):
        trained(training, out=tmp_path / "run", progress=At(2, lambda: removed(tmp_path)))
    assert load(tmp_path / "run").latent_dim == 2
    assert Checkpoints(tmp_path / "run").latest() is not None


@pytest.mark.skipif(sys.platform == "win32", reason="a mapped file cannot be removed there")
def test_a_mapped_file_that_is_removed_is_read_on(tmp_path: Path) -> None:
    images = data.load(made(tmp_path, "mapped"))
    assert isinstance(images.train, Stored)
    expected = trained(images)
    found = trained(
        images,
        out=tmp_path / "run",
        progress=At(5, lambda: (tmp_path / "images.npy").unlink()),
    )
    assert all(torch.equal(value, found[key]) for key, value in expected.items())


@pytest.mark.skipif(sys.platform == "win32", reason="a mapped file cannot be cut there")
def test_a_mapped_file_that_is_cut_short_does_not_kill_the_process(tmp_path: Path) -> None:
    images = data.load(made(tmp_path, "mapped"))
    file, run = tmp_path / "images.npy", tmp_path / "run"
    shutil.copy(file, tmp_path / "copy.npy")
    expected = trained(images)

    def cut() -> None:
        with file.open("r+b") as stream:
            stream.truncate(500)

    with pytest.raises(TrainingError, match=r"images\.npy cannot be read: it was cut short"):
        trained(images, out=run, progress=At(5, cut))
    assert load(run).latent_dim == 2
    shutil.copy(tmp_path / "copy.npy", file)
    again = trained(data.load(str(file)), out=run, resume=True)
    assert all(torch.equal(value, again[key]) for key, value in expected.items())


@pytest.mark.parametrize("kind", ["folder", "shards"])
def test_the_command_exits_as_after_any_fault(
    cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    from pyro_vae_cli.progress import Watcher

    ahead = Watcher.step

    def step(self: Watcher, step: int) -> None:
        ahead(self, step)
        if step == 9:
            removed(tmp_path)

    monkeypatch.setattr(Watcher, "step", step)
    size = ("--hidden", 8, "--latent-dim", 2, "--batch-size", 8, "--checkpoint", 2, "--epochs", 3)
    result = cli("fit", "--data", made(tmp_path, kind), *size, "--out", "run")
    assert result.exit_code == 1, result.output
    (said,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert "cannot be read" in said
    assert result.stderr.endswith(said + "\n")
    assert runs.load(tmp_path / "run").latent_dim == 2
    monkeypatch.setattr(Watcher, "step", ahead)
    restored(tmp_path)
    again = cli("fit", "--resume", "run")
    assert again.exit_code == 0, again.output
