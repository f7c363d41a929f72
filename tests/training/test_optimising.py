"""Optimisers, learning-rate schedules, clipping, decay and averages by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyro
import pytest
import torch
from torch import Tensor, optim
from torch.utils._python_dispatch import TorchDispatchMode

from pyro_vae import VAE, elbo, evaluate, fit
from pyro_vae.config import FitConfig
from pyro_vae.training.train_state import TrainState

from .models import small

LR = 1e-2


class Weights:
    """Notes the weights after each step."""

    def __init__(self, vae: VAE) -> None:
        self.vae, self.after = vae, [flat(vae)]

    def start(self, *words: Any) -> None: ...
    def epoch(self, *records: Any) -> None: ...
    def warn(self, message: str) -> None: ...
    def step(self, step: int) -> None:
        self.after.append(flat(self.vae))


def flat(vae: VAE) -> Tensor:
    return torch.cat([p.detach().flatten() for p in vae.parameters()])


def trained(few: Tensor, **options: Any) -> tuple[Weights, list[dict[str, Any]]]:
    """The same start, batches and noise whatever the options."""
    torch.manual_seed(0)
    vae = small()
    weights = Weights(vae)
    history = fit(vae, few, **{"epochs": 1, "lr": LR, "progress": weights, **options})
    return weights, history.steps


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("adam", optim.Adam, {}),
        ("adamw", optim.AdamW, {}),
        ("rmsprop", optim.RMSprop, {}),
        ("sgd", optim.SGD, {"momentum": 0.9}),
    ],
)
def test_optimisers_by_name(name: str, kind: type, options: dict[str, Any]) -> None:
    settings = FitConfig.of(optimizer=name, lr=0.3, weight_decay=0.25)
    state = TrainState(small(), settings, 100)
    assert type(state.optimiser) is kind
    (group,) = state.optimiser.param_groups
    assert {**group, **{"lr": 0.3, "weight_decay": 0.25}, **options} == group


@pytest.mark.parametrize("clip", [None, 0.5, 1e9])
def test_clipping(few: Tensor, clip: float | None) -> None:
    """The first step of gradient descent is as long as the gradient, times the learning rate."""
    own = {"init_from_data": False}  # a start with larger gradients than the limit
    weights, steps = trained(few, optimizer="sgd", lr=1e-4, clip=clip, **own)
    length = (weights.after[1] - weights.after[0]).norm().item() / 1e-4
    norm = steps[0]["gradient_norm"]  # before clipping
    assert norm > 5
    assert length == pytest.approx(0.5 if clip == 0.5 else norm, rel=1e-2)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_weight_decay(few: Tensor, optimizer: str) -> None:
    """One step from the same weights differs by lr × decay × weights."""
    options = {"optimizer": optimizer, "batch_size": 300}
    (plain, _), (decayed, _) = (trained(few, weight_decay=decay, **options) for decay in (0.0, 0.5))
    assert torch.equal(plain.after[0], decayed.after[0])
    torch.testing.assert_close(
        plain.after[1] - decayed.after[1], LR * 0.5 * plain.after[0], atol=1e-6, rtol=1e-3
    )


T = 24
RATES: dict[str, tuple[dict[str, Any], Callable[[int], float]]] = {
    "constant": ({}, lambda t: 1),
    "cosine": ({"lr_schedule": "cosine"}, lambda t: 0.5 * (1 + math.cos(math.pi * t / T))),
    "step": ({"lr_schedule": "step"}, lambda t: 0.1 ** (t // 8)),
    "warm-up": ({"lr_warm_up": 4}, lambda t: min(1, 0.25 + 0.75 * t / 4)),
    "warm-up and cosine": (
        {"lr_warm_up": 4, "lr_schedule": "cosine"},
        lambda t: min(1, 0.25 + 0.75 * t / 4) * 0.5 * (1 + math.cos(math.pi * t / T)),
    ),
}


@pytest.mark.parametrize("case", list(RATES))
def test_learning_rates(few: Tensor, case: str) -> None:
    options, expected = RATES[case]
    _, steps = trained(few[:80], epochs=3, batch_size=10, **options)
    found = [record["learning_rate"] for record in steps]
    assert found == pytest.approx([LR * expected(t) for t in range(T)], rel=1e-5)


def test_the_average_of_the_weights(few: Tensor) -> None:
    """An exponential moving average from the first step's weights on, kept and scored."""
    torch.manual_seed(0)
    vae, held_out = small(), few[:50]
    weights = Weights(vae)
    history = fit(vae, few, held_out, epochs=2, lr=LR, average=0.8, progress=weights)
    average = weights.after[1]
    for later in weights.after[2:]:
        average = 0.8 * average + 0.2 * later
    assert len(weights.after) == 7
    torch.testing.assert_close(flat(vae), average)
    assert (flat(vae) - weights.after[-1]).abs().max() > 1e-3
    last = history.epochs("held-out")[-1]["elbo"]
    assert evaluate(vae, held_out)["elbo"] == pytest.approx(last, rel=1e-5)


def test_starting_at_the_best_constant_prediction(few: Tensor) -> None:
    """Its score is the baseline's; a fresh model's is far below."""
    scores = []
    for start in (False, True):
        history = fit(small(), few, few, epochs=1, lr=1e-30, init_from_data=start)
        record = history.epochs("held-out")[0]
        scores.append(record["reconstruction"] - history.baselines["best constant prediction"])
    assert scores[0] < -50
    # The decoder's own output at random weights is still added.
    assert scores[0] / 10 < scores[1] < 1


class Waits(TorchDispatchMode):
    """Counts what makes the host wait for a figure: item(), float(), bool()."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += "_local_scalar_dense" in str(func)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "options",
    [
        {"clip": 1.0, "lr_schedule": "cosine", "lr_warm_up": 3},
        {"elbo": "mean-field", "target_kl": 5.0},
        {"elbo": "iwae:3", "target_reconstruction": -5.0},
        {"elbo": "dreg:3", "beta": "linear:0,1,steps=5", "optimizer": "sgd"},
        {"elbo": "renyi:0.5", "optimizer": "rmsprop"},
        {"elbo": "free-bits:0.5", "optimizer": "adamw"},
        {"elbo": "capacity:5"},
    ],
    ids=str,
)
def test_a_step_waits_for_one_figure_whether_it_is_finite(
    few: Tensor, options: dict[str, Any]
) -> None:
    state = TrainState(small("normal-learned-sigma"), FitConfig.of(**options), len(few))
    with pyro.validation_enabled(False), elbo.local_params():
        state.advance(few)
        with Waits() as waits:
            row = state.advance(few)
            assert waits.count == 1
            row.sum().item()  # which is seen
    assert waits.count == 2


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_a_batch_worked_through_in_parts_gives_the_same_step(few: Tensor, parts: int) -> None:
    """With a posterior that draws its mean, so that parts draw the same."""
    images = few[:20].float() / 255
    rows, weights = [], []
    for accumulate in (1, parts):
        torch.manual_seed(1)
        vae = small("normal")
        with torch.no_grad():  # softplus of −100: σ is its floor
            vae.encoder[-1].bias[3:] = -100.0
        options = {"optimizer": "sgd", "lr": 1e-3, "accumulate": accumulate}
        state = TrainState(vae, FitConfig.of(**options), len(images))
        with pyro.validation_enabled(False), elbo.local_params():
            rows.append(state.advance(images))
        weights.append(torch.cat([p.detach().flatten() for p in vae.parameters()]))
    torch.testing.assert_close(rows[1], rows[0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-4, atol=1e-4)
