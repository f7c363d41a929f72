"""What the observations claim about training, at a small setting; experiments/observations.py has
the full one."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

from pyro_vae import VAE, Head, Param, elbo, evaluate, fit, networks, observations
from pyro_vae.data import Data

pytestmark = pytest.mark.slow

WIDE = (0.0, 255.0)
FAST: dict[str, Any] = {"lr": 3e-3, "batch_size": 64}


def trained(head: Head, images: Tensor, epochs: int, **options: Any) -> tuple[VAE, Any]:
    torch.manual_seed(0)
    vae = VAE((1, 28, 28), 20, head, networks.MLP(hidden=100))
    return vae, fit(vae, images, epochs=epochs, **FAST, **options)


def test_black_pixels_are_black_with_the_continuous_bernoulli(digits: Data) -> None:
    # A class whose probabilities are clamped shows them at 0.06.
    always = (torch.cat([digits.train, digits.test]) == 0).all(0)
    assert int(always.sum()) == 121
    vae, _ = trained(observations.get("continuous-bernoulli"), digits.train[:2000], epochs=10)
    assert float(vae.reconstruct(digits.test)[:, always].mean()) <= 0.004


def test_a_wider_range_multiplies_the_kl_under_a_fixed_sigma(digits: Data) -> None:
    kl = {}
    for interval in ((0.0, 1.0), WIDE):
        head = observations.get("normal", interval=interval)
        _, history = trained(head, digits.train[:1000], epochs=5)
        kl[interval] = history.epochs()[-1]["kl"]
    assert kl[WIDE] >= 10 * kl[0.0, 1.0] > 0


def gradients(head: Head, images: Tensor) -> list[Tensor]:
    """Of the whole loss in every weight, with the same weights and noise each time."""
    torch.manual_seed(0)
    vae = VAE((1, 28, 28), 5, head, networks.MLP(hidden=30))
    torch.manual_seed(1)
    loss = Trace_ELBO().differentiable_loss(vae.model, vae.guide, vae.observe(images))
    return list(torch.autograd.grad(loss, list(vae.parameters())))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("scope", ["batch", "image", "pixel"])
def test_the_gradient_under_an_optimal_sigma_knows_no_range(scope: str, few: Tensor) -> None:
    # above the floor, which is far below every error here
    head = observations.get("normal-optimal-sigma", scale=Param(scope, floor=1e-12))
    narrow = gradients(head, few[:20])
    wide = gradients(head.replace(interval=WIDE), few[:20])
    assert len(narrow) > 4
    for one, other in zip(narrow, wide, strict=True):
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-9)


@pytest.mark.usefixtures("float64")
def test_the_gradient_under_a_fixed_sigma_grows_with_the_range_squared(few: Tensor) -> None:
    head = observations.get("normal")
    narrow, wide = gradients(head, few[:20]), gradients(head.replace(interval=WIDE), few[:20])
    last = -1  # the decoder's last bias sees the reconstruction only
    assert torch.allclose(255**2 * narrow[last], wide[last], rtol=1e-6)


@pytest.mark.parametrize(
    "parameters",
    [
        {"scale": "dataset", "scaled": True},
        # On a logarithmic scale σ goes as far in a step on either range; under a softplus a σ of 70
        # needs 255 times the steps.
        {"scale": Param("dataset", link="exp")},
    ],
    ids=["in units of the range", "on a logarithmic scale"],
)
def test_bits_per_dimension_of_a_learned_sigma_know_no_range(
    parameters: dict[str, Any], digits: Data
) -> None:
    bits, errors = [], []
    for interval in ((0.0, 1.0), WIDE):
        head = observations.get("normal-learned-sigma", interval=interval, **parameters)
        vae, _ = trained(head, digits.train[:1000], epochs=6, init_from_data=True)
        bits.append(evaluate(vae, digits.test)["bits_per_dim"])
        terms = elbo.held_out_terms(vae, digits.test)
        per_image = (terms.reconstruction - terms.kl) / (784 * math.log(2))
        errors.append(float(per_image.std()) / math.sqrt(len(per_image)))
    assert bits[0] < 7.9  # it has learned: the best constant prediction needs 8.1
    assert abs(bits[0] - bits[1]) < 2 * math.hypot(*errors)


def test_an_optimal_sigma_per_pixel_is_told_to_diverge(digits: Data) -> None:
    warnings = {}
    for scope in ("pixel", "image"):
        head = observations.get("normal-optimal-sigma", scale=scope)
        vae, history = trained(head, digits.train[:1000], epochs=5)
        warnings[scope] = [w for w in history.warnings if w.startswith("diverging")]
        rising = [record["objective"] for record in history.epochs()]
        assert rising[-1] > rising[0]
        assert any("no likelihood" in note for note in history.notes)
        if scope == "pixel":
            assert any("commonest value" in note for note in history.notes)
            scores = evaluate(vae, digits.test)
            assert scores["mse"] > scores["mse_mean_image"]
    assert len(warnings["pixel"]) == 1
    assert "--sigma-per image or batch" in warnings["pixel"][0]
    assert warnings["image"] == []
