"""The evidence against plain numpy, and against what can be counted by hand."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pyro_vae as pv
from pyro_vae.diagnostics.evidence import Evidence, evidence_of

from .runs import SHAPE

COUNT = 60


def _pair(seed: int = 0) -> tuple[nn.Sequential, nn.Linear]:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 6)), nn.Linear(3, 784)


def _evidence(vae: pv.VAE, images: Tensor, history: pv.History | None = None) -> Evidence:
    return evidence_of(vae, images, history, {})


def _array(tensor: Tensor) -> Any:
    return tensor.detach().double().numpy()


def test_pictures_and_latents_against_numpy(few: Tensor) -> None:
    encoder, decoder = _pair()
    layer = encoder[1]
    assert isinstance(layer, nn.Linear)
    with torch.no_grad():
        layer.weight *= 8
        decoder.weight *= 4
    vae = pv.VAE(SHAPE, 3, pv.observations.get("normal", scale=0.3), (encoder, decoder))
    images = few[:COUNT]
    k = images.flatten(1).double().numpy()
    raw = (k + 0.5) / 256 @ _array(layer.weight).T + _array(layer.bias)
    mean, deviation = raw[:, :3], np.log1p(np.exp(raw[:, 3:])) + 1e-4
    kl = (0.5 * (deviation**2 + mean**2 - 1) - np.log(deviation)).mean(0)

    def picture(z: Any) -> Any:
        return 1 / (1 + np.exp(-(z @ _array(decoder.weight).T + _array(decoder.bias))))

    target, shown = k / 255, picture(mean)
    own = ((shown - target) ** 2).mean()
    other = ((picture(np.roll(mean, 1, 0)) - target) ** 2).mean()
    found = _evidence(vae, images)
    assert found.images == COUNT
    assert found.active_units == (mean.var(0) > 0.01).sum()
    assert found.kl_per_latent == pytest.approx(sorted(kl, reverse=True), rel=1e-3)
    assert found.error == pytest.approx(own / target.var(0).mean(), rel=1e-4)
    spread = (shown.var(0).mean() / target.var(0).mean()) ** 0.5
    assert found.spread == pytest.approx(spread, rel=1e-4)
    assert found.shuffled == pytest.approx(other / own, rel=1e-4)
    assert found.shuffled is not None
    assert found.shuffled > 1.001
    ends = (shown.min(), shown.max())
    assert (found.shown_low, found.shown_high) == pytest.approx(ends, rel=1e-4)
    assert found.sigma == pytest.approx(0.3)
    # x is dequantised: its noise is uniform within a level.
    assert found.rmse == pytest.approx(own**0.5, rel=0.01)


def test_sigma_is_in_units_of_the_range(few: Tensor) -> None:
    obs = pv.observations.get("normal", scale=51, interval=(0.0, 255.0))
    found = _evidence(pv.VAE(SHAPE, 3, obs, _pair()), few[:COUNT])
    assert found.sigma == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0, 255.0), abs=0.05)
    same = _evidence(pv.VAE(SHAPE, 3, "normal", _pair()), few[:COUNT])
    assert found.rmse == pytest.approx(same.rmse, rel=0.01)


def test_pressure_is_sigma_squared_over_the_largest_eigenvalue(few: Tensor) -> None:
    x = few.flatten(1).double().numpy() / 256
    largest = np.linalg.eigvalsh(np.cov(x.T, ddof=0))[-1]
    vae = pv.VAE(SHAPE, 3, pv.observations.get("normal", scale=0.5), _pair())
    found = evidence_of(vae, few, None, {"beta": "4"})
    assert (found.beta, found.beta_wanted) == (4.0, 4.0)
    assert found.pressure == pytest.approx(4 * 0.25 / largest, rel=0.01)
    assert found.pressure_at_1 == pytest.approx(0.25 / largest, rel=0.01)


class Own(nn.Threshold):
    """An activation of one's own."""


@pytest.mark.parametrize("relu", [nn.ReLU(), nn.ReLU(inplace=True), nn.Hardswish(), Own(0, 0)])
def test_dead_units_by_hand(relu: nn.Module, few: Tensor) -> None:
    """One module serves two layers; 5 of 8 and 1 of 4 units never fire."""
    first, second = nn.Linear(784, 8), nn.Linear(8, 4)
    with torch.no_grad():
        for layer, dead in ((first, 5), (second, 1)):
            layer.weight.zero_()
            layer.bias.fill_(1.0)
            layer.bias[:dead] = -4.0
    encoder = nn.Sequential(nn.Flatten(), first, relu, second, relu, nn.Linear(4, 6))
    vae = pv.VAE(SHAPE, 3, "normal", (encoder, nn.Linear(3, 784)))
    assert _evidence(vae, few[:COUNT]).dead_units == pytest.approx(6 / 12)
    assert not encoder[2]._forward_hooks


def test_saturated_locations_by_hand(few: Tensor) -> None:
    decoder = nn.Linear(3, 784)
    with torch.no_grad():
        decoder.weight.zero_()
        decoder.bias.zero_()
        decoder.bias[:98] = 20.0
        decoder.bias[98:196] = -20.0
    vae = pv.VAE(SHAPE, 3, "normal", (_pair()[0], decoder))
    found = _evidence(vae, few[:COUNT])
    assert found.saturated == pytest.approx(196 / 784)
    assert found.spread == pytest.approx(0.0, abs=1e-6)
    assert found.prior_spread == pytest.approx(0.0, abs=1e-6)
    assert found.shuffled == pytest.approx(1.0)


def _record(kind: str, split: str, step: int, **values: Any) -> dict[str, Any]:
    return {
        "record": kind, "split": split, "step": step, "epoch": step, "beta": 1.0, "elbo": 0.0,
        "loss": 0.0, "kl": 1.0, "gradient_norm": 1.0, **values,
    }  # fmt: skip


def test_the_course_by_hand(few: Tensor) -> None:
    history = pv.History()
    for i in range(100):
        # From −100 by 1 a step; a jump of 11 before the last ten.
        elbo = -100.0 + i + (11 if i >= 90 else 0)
        kl = 5000.0 if i == 60 else 40.0 + i
        norm = float(i)
        history.records.append(
            _record("step", "training", i + 1, loss=-elbo, kl=kl, gradient_norm=norm)
        )
    for epoch, (training, held_out) in enumerate([(-90, -95), (-50, -45), (-10, -57)], 1):
        history.records.append(_record("epoch", "training", epoch, elbo=training, beta=0.5))
        history.records.append(_record("epoch", "held-out", epoch, elbo=held_out))
    vae = pv.VAE(SHAPE, 3, "normal", _pair())
    found = evidence_of(vae, few[:COUNT], history, {"beta": "linear:0,2,steps=10"})
    assert found.steps == 100
    assert found.kl_peak == 40.0 + 49
    first, before, last = -95.5, -15.5, 5.5
    assert found.rising == pytest.approx((last - before) / (last - first))
    assert found.gradient_norm == 95.0
    assert found.gap == pytest.approx(-10 + 57)
    assert found.fallen == pytest.approx((57 - 45) / (95 - 45))
    assert (found.beta, found.beta_wanted) == (0.5, 2.0)
    assert found.steps_per_epoch == 1
    assert found.finite
    # The weights of the second epoch were kept.
    kept = evidence_of(vae, few[:COUNT], history, {"keep_best": True})
    assert (kept.gap, kept.fallen) == (-5.0, 0.0)
    history.records = [record for record in history.records if record["split"] == "training"]
    alone = evidence_of(vae, few[:COUNT], history, {})
    assert (alone.gap, alone.fallen) == (None, None)


def test_steps_are_compared_at_the_last_beta(few: Tensor) -> None:
    """The reconstruction rises by 1 a step at a KL of 7; β's rise makes the loss rise instead."""
    history = pv.History()
    for i in range(100):
        beta = i / 5
        loss = beta * 7.0 - i
        history.records.append(_record("step", "training", i, loss=loss, kl=7.0, beta=beta))
    vae = pv.VAE(SHAPE, 3, "normal", _pair())
    found = evidence_of(vae, few[:COUNT], history, {})
    assert found.rising == pytest.approx(10 / 90)
    for record in history.records:
        record["loss"] = 1.0
        record["beta"] = 1.0
    assert evidence_of(vae, few[:COUNT], history, {}).rising is None  # nothing was gained


def test_training_images_are_held_to_their_own_mean_image(few: Tensor) -> None:
    vae = pv.VAE(SHAPE, 3, "normal", _pair())
    found = evidence_of(vae, few[:COUNT], None, {}, few[100:150])
    assert found.training_error == pytest.approx(_evidence(vae, few[100:150]).error)
    assert _evidence(vae, few[:COUNT]).training_error is None


def test_covered_variance_against_numpy(few: Tensor) -> None:
    x = few.flatten(1).double().numpy() / 256
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T, ddof=0))[::-1]
    vae = pv.VAE(SHAPE, 3, pv.observations.get("normal", scale=0.7), _pair())
    found = _evidence(vae, few)
    active = eigenvalues[eigenvalues > 0.49]
    assert 3 < len(active) < 64
    assert found.predicted_more == len(active)
    assert found.covered == pytest.approx(active[:3].sum() / active.sum(), rel=0.01)


def test_a_loss_that_is_not_finite_is_seen(few: Tensor) -> None:
    history = pv.History([_record("step", "training", 1, loss=float("nan"))])
    vae = pv.VAE(SHAPE, 3, "normal", _pair())
    assert not evidence_of(vae, few[:COUNT], history, {}).finite


@pytest.mark.parametrize(
    "name", ["bernoulli", "categorical", "cauchy", "logistic-mixture", "student-t"]
)
def test_any_observation(few: Tensor, name: str) -> None:
    vae = pv.VAE(SHAPE, 2, name, pv.networks.MLP(hidden=8))
    found = _evidence(vae, few[:20])
    assert found.finite
    assert found.error > 0
    if name == "cauchy":
        assert found.sigma is None  # it has no variance


def test_one_image(few: Tensor) -> None:
    vae = pv.VAE(SHAPE, 2, "normal", pv.networks.MLP(hidden=8))
    found = _evidence(vae, few[:1])
    assert found.shuffled is None
    assert math.isnan(found.spread)  # of images that do not differ there is none


def test_it_leaves_the_model_and_the_generators_alone(few: Tensor) -> None:
    vae = pv.VAE(SHAPE, 3, "normal-learned-sigma", pv.networks.MLP(hidden=8, dropout=0.5))
    vae.train()
    before = torch.get_rng_state()
    found = _evidence(vae, few[:COUNT])
    assert torch.equal(torch.get_rng_state(), before)
    assert vae.training
    assert vae.encoder.training
    assert asdict(_evidence(vae, few[:COUNT])) == asdict(found)
