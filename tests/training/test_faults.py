"""Steps that are not finite, and folders that cannot be written."""

from __future__ import annotations

import copy
import errno
import json
import math
import os
from pathlib import Path
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from pyro_vae import VAE, Head, TrainingError, fit, load, networks
from pyro_vae.config import FitConfig
from pyro_vae.training import FaultError, History
from pyro_vae.training.checkpoints import FOLDER, Checkpoints
from pyro_vae.training.progress import Silent
from pyro_vae.training.run_writer import RunWriter
from pyro_vae.training.train_state import TrainState
from pyro_vae.training.trainer import Trainer

from .models import small

pytestmark = pytest.mark.usefixtures("no_pictures")

SETTINGS = FitConfig.of(epochs=8, batch_size=16, on_nan="rollback")


class Kept(Silent):
    """Keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        """Keep it."""
        self.warnings.append(message)


class Failing(nn.Module):
    """A layer that fails in one pass, forwards or backwards."""

    def __init__(self, at: int, backwards: bool) -> None:
        super().__init__()
        self.at, self.backwards, self.passes = at, backwards, 0

    def forward(self, x: Tensor) -> Tensor:
        """X, or NaN, or x with an infinite gradient."""
        self.passes += self.training
        if not self.training or self.passes < self.at:
            return x
        if not self.backwards:
            return x * math.nan
        zero = (x - x.detach()).abs()  # its square root has slope ∞ there
        return x + zero.sqrt()


def failing(at: int = 6, backwards: bool = False) -> VAE:
    def make(sizes: networks.Sizes) -> tuple[nn.Module, nn.Module]:
        encoder, decoder = networks.MLP(hidden=8)(sizes)
        return nn.Sequential(encoder, Failing(at, backwards)), decoder

    return VAE((1, 28, 28), 3, "normal", make)


def nan_family(loc: Tensor) -> Any:
    return dist.Normal(loc, (loc.mean() - loc.mean()).log() * 0 + 1, validate_args=False)


FAULTS: dict[str, tuple[Any, str]] = {
    "a layer": (failing, r"the output of encoder\.1 \(Failing\) is not finite"),
    "a gradient": (lambda: failing(backwards=True), r"the gradient of encoder\.\S+ is not finite"),
    "a head": (
        lambda: small(Head.of(nan_family, loc=_param(), kind="density")),
        r"scale of the site obs \(.*\) is not finite",
    ),
}


def _param() -> Any:
    from pyro_vae import Param

    return Param(link="sigmoid")


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_names_its_place_and_leaves_a_run_that_loads(
    case: str, few: Tensor, tmp_path: Path
) -> None:
    make, words = FAULTS[case]
    vae = make()
    with pytest.raises(FaultError, match=words) as caught:
        fit(vae, few[:64], epochs=2, batch_size=16, out=tmp_path)
    fault = json.loads((tmp_path / "fault.json").read_text())
    step = 1 if case == "a head" else 6
    assert f"step {step}:" in str(caught.value)
    assert fault["step"] == step
    assert len(set(fault["images"])) == 16
    assert max(fault["images"]) < 64
    assert fault["beta"] == 1
    assert fault["learning_rate"] == 1e-3
    low, high = fault["parameters"]["loc"]
    if case == "a layer":  # whose NaN has reached everything behind it
        assert math.isnan(low)
        assert math.isnan(high)
    else:
        assert 0 < low < high < 1
    assert all(bool(torch.isfinite(p).all()) for p in vae.parameters())
    found = Checkpoints(tmp_path).latest()
    assert found is not None
    if case == "a head":  # which no folder can name
        again = load(tmp_path, obs=vae.obs)
    else:
        again = load(tmp_path, net=lambda sizes: (vae.encoder, vae.decoder))
    assert again.latent_dim == 3


def test_a_fault_names_the_image_whose_data_are_not_finite(few: Tensor) -> None:
    images = few[:64].float() / 255

    class Spoiling(Silent):
        def step(self, step: int) -> None:
            if step == 2:
                spoilt[7] = math.nan

    vae, spoilt = small(), images.clone()
    with pytest.raises(FaultError, match="the data of image 7 are not finite") as caught:
        fit(vae, spoilt, epochs=2, batch_size=16, progress=Spoiling())
    assert 7 in caught.value.explanation.images


def test_skip_leaves_the_batch_out(few: Tensor) -> None:
    vae = failing(at=6)
    with pytest.raises(TrainingError, match="no batch of epoch 3 gave a finite gradient"):
        fit(vae, few[:64], epochs=4, batch_size=16, on_nan="skip")

    class Once(Failing):
        def forward(self, x: Tensor) -> Tensor:
            # The pass that is looked into is the next one.
            return super().forward(x) if self.passes < 7 else x

    def make(sizes: networks.Sizes) -> tuple[nn.Module, nn.Module]:
        encoder, decoder = networks.MLP(hidden=8)(sizes)
        return nn.Sequential(encoder, Once(6, False)), decoder

    history = fit(
        VAE((1, 28, 28), 3, "normal", make), few[:64], epochs=3, batch_size=16, on_nan="skip"
    )
    assert len(history.steps) == 11
    assert [record["step"] for record in history.steps] == list(range(1, 12))
    (warning,) = [said for said in history.warnings if said.startswith("batches are left out")]
    assert "step 6: the output of encoder.1 (Once) is not finite" in warning


def test_rollback_halves_the_learning_rate(few: Tensor, tmp_path: Path) -> None:
    class Steep(nn.Module):
        """Fails at learning rates above 1e-3, from the sixth step on."""

        passes = 0

        def forward(self, x: Tensor) -> Tensor:
            self.passes += self.training
            bad = self.training and self.passes >= 6 and rate[0] > 1.1e-3
            return x * math.nan if bad else x

    rate = [4e-3]

    def make(sizes: networks.Sizes) -> tuple[nn.Module, nn.Module]:
        encoder, decoder = networks.MLP(hidden=8)(sizes)
        return nn.Sequential(encoder, Steep()), decoder

    class Watching(Kept):
        def warn(self, message: str) -> None:
            super().warn(message)
            rate[0] /= 2

    vae, watcher = VAE((1, 28, 28), 3, "normal", make), Watching()
    options: dict[str, Any] = {"epochs": 3, "batch_size": 16, "lr": 4e-3, "on_nan": "rollback"}
    history = fit(vae, few[:64], out=tmp_path, progress=watcher, checkpoint="4", **options)
    assert history.steps[-1]["learning_rate"] == pytest.approx(1e-3)
    assert [record["step"] for record in history.steps] == list(range(1, 13))
    assert [r["learning_rate"] for r in history.steps[:4]] == pytest.approx([4e-3] * 4)
    assert len(History.read(tmp_path / "metrics.jsonl").steps) == 12
    assert sum("rolled back" in message for message in history.warnings) >= 1


def test_each_rollback_goes_back_to_the_same_state(few: Tensor) -> None:
    """An optimiser that trains on must not change the checkpoint that it was given."""
    course = Trainer(
        TrainState(VAE((1, 28, 28), 3), SETTINGS, len(few[:64])), History(kind="density")
    )
    keeper = RunWriter(None, {}, 64, (None, None), remember=True)
    course.run_epoch(few[:64], lambda: None)
    keeper.save(course)
    saved = copy.deepcopy(course.state_dict()["state"])
    for rollback in (1, 2):
        course.run_epoch(few[:64], lambda: None)
        assert keeper.roll_back(course)
        state = course.state_dict()["state"]
        torch.testing.assert_close(state["vae"], saved["vae"], rtol=0, atol=0)
        moments, wanted = (s["optimiser"]["state"] for s in (state, saved))
        torch.testing.assert_close(moments, wanted, rtol=0, atol=0)
        assert course.state.optimiser.param_groups[0]["lr"] == pytest.approx(1e-3 / 2**rollback)


def test_a_checkpoint_after_a_rollback_keeps_the_lowered_rate(few: Tensor) -> None:
    """Half, then, from a checkpoint of that, a quarter: not an eighth."""
    course = Trainer(
        TrainState(VAE((1, 28, 28), 3), SETTINGS, len(few[:64])), History(kind="density")
    )
    keeper = RunWriter(None, {}, 64, (None, None), remember=True)
    for left in (1.0, 0.5, 0.25):
        assert course.state.optimiser.param_groups[0]["lr"] == pytest.approx(1e-3 * left)
        course.run_epoch(few[:64], lambda: None)
        keeper.save(course)
        assert keeper.roll_back(course)


def test_rollback_gives_up(few: Tensor) -> None:
    with pytest.raises(FaultError):
        fit(failing(at=6), few[:64], epochs=3, batch_size=16, on_nan="rollback")


@pytest.mark.parametrize("moment", ["first", "later"])
def test_a_full_disk_is_told_and_the_last_checkpoint_stays(
    few: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The system call that gives room fails as on a full disk."""
    real, calls = os.fsync, [0]

    def full(handle: int) -> None:
        calls[0] += 1
        if moment == "first" or calls[0] > 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "the folder")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match="No space left on device"):
        fit(small(), few[:64], epochs=3, batch_size=16, out=tmp_path, checkpoint="2")
    assert load(tmp_path).latent_dim == 3
    assert [path.name for path in tmp_path.rglob(".*")] == [".lock"]
    if moment == "later":
        found = Checkpoints(tmp_path).latest()
        assert found is not None
        assert found[0] == 2
        assert (tmp_path / FOLDER).is_dir()
