"""What ``fit`` warns of while it runs, once each, in the words of the diagnosis."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import pyro_vae as pv
from pyro_vae import warning_signs
from pyro_vae.training.progress import Silent

from .runs import SHAPE, ignoring

IGNORED = "a decoder that uses z, another --seed, or --beta linear:0,1,epochs=10"


class Listener(Silent):
    """Takes note of each warning, and of the epoch after which it came."""

    def __init__(self) -> None:
        self.epochs, self.said = 0, list[tuple[int, str]]()

    def epoch(self, training: dict[str, Any], held_out: dict[str, Any] | None) -> None:
        self.epochs += 1

    def warn(self, message: str) -> None:
        self.said.append((self.epochs, message))


def _fit(images: Tensor, net: Any = None, latent_dim: int = 5, **options: Any) -> Any:
    vae = pv.VAE(SHAPE, latent_dim, "normal", net or pv.networks.MLP(hidden=32))
    listener = Listener()
    history = pv.fit(vae, images, progress=listener, **{"batch_size": 10, **options})
    assert [message for _, message in listener.said] == history.warnings
    return vae, history, listener


def test_a_learning_rate_that_is_too_high_is_told_after_the_first_epoch(few: Tensor) -> None:
    # 14 epochs: the collapse that follows from it is not told as well.
    vae, history, listener = _fit(few, lr=1.0, epochs=14)
    ((epoch, message),) = listener.said
    assert epoch == 1
    assert message.startswith("learning-rate-too-high: the KL reached ")
    assert message.endswith(": start anew with --lr 0.001")
    first = pv.diagnose(vae, few, history, {"lr": 1.0}).causes[0]
    assert first.code == "learning-rate-too-high"
    peak = max(record["kl"] for record in history.steps[: warning_signs.FIRST])
    assert f"the KL reached {peak:.3g} nats in its first steps" in message
    assert f"the KL reached {peak:.3g} nats in its first steps" in first.sentence


def test_collapse_that_was_not_forecast_is_told_once(few: Tensor) -> None:
    _, history, listener = _fit(few, net=ignoring, lr=1e-2, epochs=14)
    ((epoch, message),) = listener.said
    assert epoch == 10  # 300 steps
    assert message.startswith("collapsed: 0 of 5 units are active, the largest KL of one is ")
    assert message.endswith(IGNORED)
    assert [record["active_units"] for record in history.epochs()[-3:]] == [0, 0, 0]


def test_collapse_waits_for_beta(few: Tensor) -> None:
    _, _, listener = _fit(few, net=ignoring, lr=1e-2, epochs=14, beta="linear:0,1,epochs=11")
    assert [epoch for epoch, _ in listener.said] == [14]


def test_forecast_collapse_is_told_before_the_first_step_only(few: Tensor) -> None:
    _, _, listener = _fit(few, beta=100, epochs=11)
    ((epoch, message),) = listener.said
    assert epoch == 0
    assert message.startswith("this will collapse")


def test_a_healthy_run_is_not_warned(digits: pv.data.Data) -> None:
    vae = pv.VAE(SHAPE, 20, "normal-learned-sigma", pv.networks.MLP(hidden=64))
    history = pv.fit(vae, digits.train[:2000], digits.test, epochs=20)
    assert len(history.steps) == 320
    assert history.warnings == []


def _normal(**parameters: Any) -> pv.Head:
    return pv.observations.get("normal-optimal-sigma", **parameters)


TOLD: dict[str, tuple[str, str, Any, dict[str, Any]]] = {
    "all latents collapse": (
        "this will collapse: the KL costs more",
        "or σ below",
        "normal",
        {"beta": 100},
    ),
    "all latents collapse, to second order": (
        "this will probably collapse: the KL costs more",
        "lower β below",
        "bernoulli",
        {"beta": 200},
    ),
    "images without a difference": (
        "this will collapse: all images are the same",
        "",
        "normal",
        {"same": True},
    ),
    "a warm-up longer than training": (
        "linear:0,1,steps=90 is longer than the 30 steps",
        "which ends at β = 0.3222",
        "normal",
        {"beta": "linear:0,1,steps=90"},
    ),
    "an end inside a ramp": (
        "cyclical:0,1,period=20,ratio=0.9 is inside a ramp at the end of the 30 steps",
        "which ends at β = 0.5",
        "normal",
        {"beta": "cyclical:0,1,period=20,ratio=0.9"},
    ),
    "a learning rate of 1": (
        "learning-rate-too-high: the KL reached ",
        "start anew with --lr 0.001",
        "normal",
        {"lr": 1.0},
    ),
    "a decoder that ignores z": (
        "collapsed: 0 of 5 units are active, the largest KL of one is ",
        IGNORED,
        "normal",
        {"net": ignoring, "lr": 1e-2, "epochs": 14},
    ),
    "σ per image, few images, for long": (
        "overfitting: the held-out elbo was best at epoch ",
        "has risen: share σ more widely (--sigma-per dataset), add --dropout, or stop earlier",
        "normal-learned-sigma",
        {"count": 40, "epochs": 60, "lr": 1e-2},
    ),
    "no σ, few images, for long": (
        "overfitting: the held-out objective was best at epoch ",
        "has risen: add --dropout, or stop earlier (--patience)",
        "bernoulli",
        {"count": 30, "epochs": 80, "lr": 2e-2},
    ),
    "σ that is each pixel's error": (
        "diverging: the loss falls while the squared error of its mean",
        "share σ more widely (--sigma-per image or batch)",
        _normal(scale="pixel"),
        {"lr": 1e-2, "epochs": 8},
    ),
}


@pytest.mark.parametrize("case", list(TOLD))
def test_every_warning_is_made_by_a_run(digits: pv.data.Data, case: str) -> None:
    begins, holds, obs, options = TOLD[case]
    settings = {"epochs": 1, "batch_size": 10, **options}
    count, net = settings.pop("count", 300), settings.pop("net", pv.networks.MLP(hidden=32))
    train = digits.train[:count]
    if settings.pop("same", False):
        train = train[:1].repeat(count, 1, 1, 1)
    vae = pv.VAE(SHAPE, 5, obs, net)
    history = pv.fit(vae, train, digits.test[:100], **settings)
    (message,) = history.warnings
    assert message.startswith(begins)
    assert holds in message
    assert "\n" not in message


def _held_out(scores: list[float]) -> list[dict[str, Any]]:
    return [{"epoch": i, "elbo": score} for i, score in enumerate(scores, 1)]


@pytest.mark.parametrize(
    ("fallen", "told"), [(0.085, False), (0.103, False), (0.149, False), (0.151, True)]
)
def test_overfitting_is_a_fall_by_15_percent_of_the_gain(fallen: float, told: bool) -> None:
    """A healthy default run falls by 8.5%, at one epoch by just over 10%."""
    vae = pv.VAE(SHAPE, 2, "normal-learned-sigma", pv.networks.MLP(hidden=8))
    rising = [100.0 * i for i in range(11)]
    held_out = _held_out([*rising, *[1000.0 - 1000 * fallen] * 5])
    training = _held_out([100.0 * i for i in range(16)])
    message = warning_signs.overfitting(vae, training, held_out, "elbo")
    assert (message is not None) == told
    if message is not None:
        assert "was best at epoch 11 (1000.0) and has lost 15% of what it had gained" in message
    assert warning_signs.FALLEN == 0.15


def test_words() -> None:
    assert warning_signs.fallen_words(0.2) == "has lost 20% of what it had gained"
    assert warning_signs.fallen_words(7.0) == "has lost more than it had gained"
    assert warning_signs.collapsed_words(0, 5, None) == "0 of 5 units are active"
    assert warning_signs.exploded_words(None, None, False) == "weights or losses are not finite"
    assert [warning_signs.lower_rate(lr) for lr in (1.0, 0.05, 1e-3)] == [1e-3, 1e-3, 1e-4]


def test_a_kl_peak_that_heals_is_not_told(few: Tensor) -> None:
    vae = pv.VAE(SHAPE, 5, "normal", pv.networks.MLP(hidden=32))
    steps = [{"kl": 5e4}, {"kl": 50.0}]
    assert warning_signs.dead_units(vae, few) is not None
    assert warning_signs.exploded(vae, few, steps, active_units=5, lr=0.01) is None
    assert warning_signs.exploded(vae, few, steps, active_units=0, lr=0.01) is not None
    assert warning_signs.exploded(vae, few, [{"kl": 999.0}], active_units=0, lr=0.01) is None
    with torch.no_grad():
        for parameter in vae.encoder.parameters():
            parameter.fill_(-1.0)
    message = warning_signs.exploded(vae, few, steps, active_units=5, lr=0.01)
    assert message is not None
    assert "100% of the encoder's units are 0" in message
