"""Compiled steps: the same training up to rounding, exact resume, and when they are chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pyro_vae import VAE, InputError, fit
from pyro_vae.config import FitConfig
from pyro_vae.objectives import capture
from pyro_vae.training import Stopped, compiling
from pyro_vae.training.train_step import TrainStep

from .models import small
from .stopping import StopAt, told

pytestmark = pytest.mark.usefixtures("no_pictures")

SETTINGS: dict[str, Any] = {"epochs": 3, "batch_size": 16, "lr": 1e-2, "beta": "linear:0,1,steps=9"}


@pytest.fixture
def without_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs of torch's own operators: tracing is tested here, compiling in one test."""
    monkeypatch.setattr(capture, "_compiled", lambda traced, device: traced)


def made() -> VAE:
    torch.manual_seed(5)
    return small("normal-learned-sigma", hidden=12, dropout=0.2)


@pytest.mark.usefixtures("without_compiler")
@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"accumulate": 3}, marks=pytest.mark.slow),
        pytest.param({"clip": 1.0, "augment": ("shift",)}, marks=pytest.mark.slow),
        pytest.param({"target_kl": 3.0, "beta": "1"}, marks=pytest.mark.slow),
        pytest.param({"precision": "bfloat16"}, marks=pytest.mark.slow),
        pytest.param({"elbo": "dreg:3"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_compiled_steps_are_the_same_steps(few: Tensor, options: dict[str, Any]) -> None:
    """70 images in batches of 16: the last of each epoch has a shape of its own."""
    found = []
    for compile_ in ("off", "on"):
        vae = made()
        history = fit(vae, few[:70], compile=compile_, **{**SETTINGS, **options})
        assert not [said for said in history.warnings if "compiled" in said]
        found.append((vae.state_dict(), [record["loss"] for record in history.steps]))
    assert len(found[0][1]) == 15
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("without_compiler")
@pytest.mark.parametrize("step", [1, 2, 6])
def test_a_compiled_run_resumes_bit_identical(few: Tensor, tmp_path: Path, step: int) -> None:
    settings = {**SETTINGS, "compile": "on"}
    whole, again, fresh = made(), made(), made()
    expected = fit(whole, few[:70], few[70:86], **settings)
    with pytest.raises(Stopped):
        fit(again, few[:70], few[70:86], out=tmp_path, progress=StopAt(step), **settings)
    found = fit(fresh, few[:70], few[70:86], out=tmp_path, resume=True, **settings)
    assert told(found) == told(expected)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[key]), key


@pytest.mark.slow
def test_inductor_trains_and_resumes_bit_identical(few: Tensor, tmp_path: Path) -> None:
    settings = {**SETTINGS, "compile": "on", "epochs": 2}
    eager, whole, again, fresh = made(), made(), made(), made()
    fit(eager, few[:64], **{**settings, "compile": "off"})
    history = fit(whole, few[:64], **settings)
    assert not [said for said in history.warnings if "compiled" in said]
    torch.testing.assert_close(whole.state_dict(), eager.state_dict(), rtol=1e-3, atol=1e-4)
    with pytest.raises(Stopped):
        fit(again, few[:64], out=tmp_path, progress=StopAt(5), **settings)
    fit(fresh, few[:64], out=tmp_path, resume=True, **settings)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[key]), key


def test_a_program_that_cannot_be_captured_trains_and_says_why(
    few: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise capture.NotCapturedError("there is no compiler")

    monkeypatch.setattr(capture, "_compiled", refuse)
    vae, eager = made(), made()
    history = fit(vae, few[:64], compile="on", **SETTINGS)
    fit(eager, few[:64], compile="off", **SETTINGS)
    (said,) = [said for said in history.warnings if "compiled" in said]
    assert said == "steps are not compiled: there is no compiler"
    torch.testing.assert_close(vae.state_dict(), eager.state_dict())


@pytest.mark.parametrize(
    ("options", "steps", "compiles"),
    [
        ({}, 100, False),
        ({}, 100_000, True),
        ({"compile": "on"}, 1, True),
        ({"compile": "off"}, 100_000, False),
        ({"precision": "float16"}, 100_000, False),
    ],
)
def test_what_auto_chooses(options: dict[str, Any], steps: int, compiles: bool) -> None:
    settings = FitConfig.of(**options)
    program = TrainStep(made(), settings.objective(), settings.precision)
    assert (compiling.compiled(program, settings, steps) is not None) == compiles


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(InputError, match="float16"):
        FitConfig.of(compile="on", precision="float16")
    with pytest.raises(InputError, match="compile"):
        FitConfig.of(compile="maybe")
