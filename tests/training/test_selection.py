"""When training stops, which weights it keeps, and what it warns of."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from pyro_vae import InputError, evaluate, fit
from pyro_vae.config import FitConfig
from pyro_vae.training import History
from pyro_vae.training.train_state import TrainState

from .models import small


class Listener:
    def __init__(self) -> None:
        self.said: list[str] = []

    def start(self, *words: Any) -> None: ...
    def step(self, step: int) -> None: ...
    def epoch(self, *records: Any) -> None: ...
    def warn(self, message: str) -> None:
        self.said.append(message)


@pytest.mark.parametrize(
    ("beta", "warning"),
    [
        ("linear:0,1,steps=10", "linear:0,1,steps=10 is longer than the 3 steps of training, "
         "which ends at β = 0.2"),
        ("linear:0,2,epochs=2", "linear:0,2,steps=6 is longer than the 3 steps of training, "
         "which ends at β = 0.6667"),
        ("linear:0,1,steps=2", None),
        ("0", None),
    ],
)  # fmt: skip
def test_a_schedule_longer_than_training_warns_with_the_last_beta(
    few: Tensor, beta: str, warning: str | None
) -> None:
    listener = Listener()
    history = fit(small(), few, epochs=1, batch_size=100, beta=beta, progress=listener)
    assert listener.said == history.warnings == ([] if warning is None else [warning])
    assert len(history.steps) == 3
    if warning is not None:
        assert history.steps[-1]["beta"] == pytest.approx(float(warning.split("= ")[1]), rel=1e-3)


# With a learning rate that moves no weight the score stands still.
STILL = {"epochs": 30, "batch_size": 100, "lr": 1e-30}


@pytest.mark.parametrize(
    ("options", "epochs"),
    [
        ({"patience": 2}, 3),
        ({"patience": 5}, 6),
        # β reaches 1 in epoch 4: epochs 5 and 6 are no better.
        ({"patience": 2, "beta": "linear:0,1,epochs=3"}, 6),
        # β is 1 at the end of every other epoch.
        ({"patience": 2, "beta": "cyclical:0,1,period=2epochs,ratio=0.5"}, 6),
        ({"patience": 2, "target_kl": 5.0}, 3),
        ({}, 30),
    ],
    ids=str,
)
def test_early_stopping(few: Tensor, options: dict[str, Any], epochs: int) -> None:
    history = fit(small(), few, few[:20], **{**STILL, **options})
    assert len(history.epochs()) == len(history.epochs("held-out")) == epochs


def test_the_best_held_out_weights_are_kept(few: Tensor) -> None:
    vae = small("normal-learned-sigma", hidden=64)
    held_out = few[200:]
    history = fit(vae, few[:40], held_out, epochs=40, batch_size=20, lr=1e-2, keep_best=True)
    scores = [record["elbo"] for record in history.epochs("held-out")]
    assert len(scores) == 40
    assert max(scores) > scores[-1] + 1
    assert evaluate(vae, held_out)["elbo"] == pytest.approx(max(scores), rel=1e-5)


def test_weights_of_another_objective_are_not_kept() -> None:
    """The better score of a step whose β was not yet final does not count."""
    vae = small()
    state = TrainState(vae, FitConfig.of(keep_best=True, beta="linear:0,1,steps=10"), 100)
    for step, score in ((10, 9.0), (11, 5.0), (12, 6.0), (13, 4.0)):
        state.step = step
        with torch.no_grad():
            for parameter in vae.parameters():
                parameter.fill_(step)
        assert not state.end_epoch({"elbo": score, "epoch": step}, History())
    state.finish()
    assert {p.unique().item() for p in vae.parameters()} == {12.0}


@pytest.mark.parametrize("obs", ["normal", "bernoulli"])
def test_plateau_lowers_the_learning_rate_where_the_score_stands_still(obs: str) -> None:
    """Negative scores too: a threshold relative to them would take a standstill for a gain."""
    settings = FitConfig.of(lr=1e-2, lr_schedule="plateau", beta="linear:0,1,steps=9")
    state = TrainState(small(obs), settings, 100)
    history = History(kind="loss" if obs == "bernoulli" else "density")
    rates = []
    for step in (5, *[10] * 13):
        state.step = step
        state.end_epoch({history.objective: -100.0, "epoch": 1}, history)
        rates.append(state.optimiser.param_groups[0]["lr"])
    # One epoch before β settled, the best one, ten of patience.
    assert rates == pytest.approx([1e-2] * 12 + [1e-3] * 2)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"patience": 3}, "patience"),
        ({"keep_best": True}, "keep-best"),
        ({"lr_schedule": "plateau"}, "lr-schedule plateau"),
    ],
    ids=str,
)
def test_what_looks_at_held_out_images_needs_them(
    few: Tensor, options: dict[str, Any], name: str
) -> None:
    with pytest.raises(InputError, match=f"{name} looks at held-out images and there are none"):
        fit(small(), few, epochs=1, **options)


@pytest.mark.parametrize("obs", ["normal-learned-sigma", "bernoulli"])
def test_overfitting_is_told_once(few: Tensor, obs: str) -> None:
    listener = Listener()
    vae = small(obs, hidden=200, latent_dim=10)
    options: dict[str, Any] = {"epochs": 60, "batch_size": 10, "lr": 1e-2}
    history = fit(vae, few[:30], few[200:], **options, progress=listener)
    name = "objective" if obs == "bernoulli" else "elbo"
    assert history.warnings == listener.said
    assert len(listener.said) == 1
    assert listener.said[0].startswith(f"overfitting: the held-out {name} was best at epoch ")
    scores = [record[name] for record in history.epochs("held-out")]
    (epoch,) = map(int, re.findall(r"best at epoch (\d+) ", listener.said[0]))
    assert scores[epoch - 1] == max(scores[: epoch + 5])
    assert f"epoch {epoch} ({scores[epoch - 1]:.1f})" in listener.said[0]
