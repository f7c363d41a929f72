"""Every example runs at small settings, and does what it says."""

from __future__ import annotations

import importlib
import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from pyro.infer import TraceEnum_ELBO
from scipy import stats
from torch import Tensor

import pyro_vae as pv

FOLDER = Path(__file__).parent.parent / "examples"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
LAST = """

if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4g}")
"""
SETTINGS: dict[str, dict[str, Any]] = {
    "conditional_digits": {"epochs": 25, "images": 1000},
    "custom_elbo": {"epochs": 25, "images": 1000},
    "hmc_latent": {"epochs": 5, "images": 500, "samples": 40},
    "lightning_loop": {"epochs": 25, "images": 1000},
    "missing_pixels": {"epochs": 25, "images": 1000},
    "mixed_table": {"epochs": 200},
    "own_networks": {"epochs": 15, "images": 1000},
    "own_observation": {"epochs": 15, "images": 1000},
    "plain_pyro": {"epochs": 25, "images": 1000},
    "semi_supervised": {"epochs": 3, "images": 600},
    "vampprior_iaf": {"epochs": 12, "images": 1000, "particles": 10},
}
"""Arguments of each example's ``main``; it sets its own seed."""

# What Lightning says of any script as short as this, and what it itself does with torch.
quiet = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",
    "ignore:.*LeafSpec.*is deprecated",
)


def example(name: str) -> Any:
    """The example's module; the test is skipped where what it is about is not installed."""
    if name == "lightning_loop":
        pytest.importorskip("lightning", reason="lightning is not installed", exc_type=ImportError)
    return importlib.import_module(f"examples.{name}")


def figures(name: str) -> dict[str, float]:
    """What the example says at small settings: finite numbers with names."""
    found: dict[str, float] = example(name).main(**SETTINGS[name])
    assert found
    assert all(isinstance(value, float) and math.isfinite(value) for value in found.values()), found
    return found


@cache
def constant() -> Tensor:
    """Held-out residuals about the training digits' mean image, (500, 784) on [0, 1]."""
    digits = pv.data.load("mnist-5k")
    mean = digits.train.double().mean(0)
    residuals: Tensor = ((digits.test.double() - mean) / 255).flatten(1)
    return residuals


def constant_normal() -> float:
    """Nats per image of the best normal of one σ about the mean image: no code at all."""
    residuals = constant()
    variance = residuals.square().mean().item()
    return -0.5 * residuals.shape[1] * (math.log(2 * math.pi * variance) + 1)


def test_every_example_is_tested() -> None:
    assert len(NAMES) == 11
    assert set(NAMES) == set(SETTINGS)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_short_and_prints_what_it_found(name: str) -> None:
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    assert text.endswith(LAST)


@pytest.mark.slow
def test_plain_pyro() -> None:
    assert figures("plain_pyro")["held-out ELBO in nats per image"] > constant_normal() + 50


@pytest.mark.slow
def test_own_observation() -> None:
    found = figures("own_observation")
    residuals = constant().numpy()
    # The best scale of a constant Student, on a grid.
    best = max(
        stats.t.logpdf(residuals, 5, scale=scale).sum(1).mean()
        for scale in torch.linspace(0.02, 0.5, 25).tolist()
    )
    bits = {"Student": best, "normal": constant_normal()}
    for name, nats in bits.items():
        baseline = 8 - nats / 784 / math.log(2)
        assert found[f"{name}, held-out bits per dimension"] < baseline - 0.05


@pytest.mark.slow
def test_own_networks() -> None:
    found = figures("own_networks")
    assert found["held-out ELBO in nats per image"] > constant_normal() + 50
    error = constant().square().mean().item()
    assert found["squared error of the mean image"] == pytest.approx(error, rel=0.02)
    assert found["held-out squared error per pixel"] < 0.8 * error


@pytest.mark.slow
def test_semi_supervised() -> None:
    # Ten classes: chance is 0.1.
    assert figures("semi_supervised")["held-out accuracy with 100 labels"] > 0.5


def test_semi_supervised_sums_over_labels(few: Tensor) -> None:
    m2, x = example("semi_supervised").M2().eval(), few[:7]
    torch.manual_seed(3)
    elbo = TraceEnum_ELBO(max_plate_nesting=1)
    loss = elbo.differentiable_loss(m2.model, m2.guide, x).item()
    torch.manual_seed(3)
    noise, total = torch.randn(10, 7, 10), torch.zeros(7)
    log_q = m2.classifier(x / 255).log_softmax(1)
    for c in range(10):
        label = torch.eye(10)[c].expand(7, 10)
        q = m2.vae.encode(x, covariates=label)
        z = q.mean + q.stddev * noise[c]
        log_joint = -math.log(10) + m2.vae.prior().log_prob(z) - q.log_prob(z)
        log_joint = log_joint + m2.vae.decode(z, covariates=label).log_prob(x / 255)
        total = total + log_q[:, c].exp() * (log_joint - log_q[:, c])
    assert loss == pytest.approx(-total.sum().item(), rel=1e-5)


@pytest.mark.slow
def test_conditional_digits() -> None:
    found = figures("conditional_digits")
    told = found["held-out ELBO given the class, in nats per image"]
    assert told > constant_normal() + 50
    assert told > found["the same given a wrong class"] + 5
    share = found["share of drawn digits nearest to the mean image of the class asked for"]
    assert share > 0.4  # chance is 0.1


@pytest.mark.slow
def test_vampprior_iaf() -> None:
    found = figures("vampprior_iaf")
    for name in ("standard normal and diagonal", "VampPrior and flow"):
        elbo = found[f"{name}, held-out ELBO in nats per image"]
        assert elbo > constant_normal() + 50
        assert found[f"{name}, importance-weighted bound of 10"] > elbo


@pytest.mark.slow
def test_mixed_table() -> None:
    found = figures("mixed_table")
    assert found["courses predicted rightly, of 1"] > 0.45  # chance is 1/3, of 100 patients
    # Each column by itself, with the best constant parameters (a normal for the age).
    table = example("mixed_table").table()
    women = table["sex"].mean().item()
    apart = 8 * stats.norm(0, 1).entropy() + stats.norm(0, table["age"].std().item()).entropy()
    apart += stats.entropy([women, 1 - women]) + math.log(3)
    assert found["held-out ELBO in nats per row"] > -apart


@pytest.mark.slow
def test_hmc_latent() -> None:
    """The guide of a model like this is off by some of the posterior's standard deviations."""
    distance, ratio = figures("hmc_latent").values()
    assert 0 < distance < 20
    assert 0.1 < ratio < 10


@pytest.mark.parametrize("steps", [0, 2])
def test_a_chain_that_stands_still_is_no_result(
    steps: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of ten steps it moves in none or two: no figures, one line and status 1."""
    places = torch.arange(11.0).clamp(max=steps)[:, None].expand(-1, 5)
    module = example("hmc_latent")
    monkeypatch.setattr(module, "hmc", lambda *_: places)
    with pytest.raises(SystemExit, match=f"moved in {steps}0?% of its steps") as stopped:
        module.main(epochs=1, images=100, samples=11)
    assert isinstance(stopped.value.code, str)  # Python prints it and ends with status 1
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_hmc_is_the_posterior_by_quadrature(few: Tensor) -> None:
    vae = pv.VAE((1, 28, 28), 2, "normal-learned-sigma", pv.networks.MLP(hidden=16))
    pv.fit(vae, few, epochs=20)
    x = vae.observe(few[:1])
    axis = torch.linspace(-8, 8, 401)
    z = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        log_joint = vae.prior().log_prob(z) + vae.decode(z).log_prob(x)
    weight = log_joint.softmax(0)
    mean = weight @ z
    scale = (weight @ (z - mean).square()).sqrt()
    draws = example("hmc_latent").hmc(vae, x, samples=150)
    assert weight.view(401, 401)[[0, -1]].sum() + weight.view(401, 401)[:, [0, -1]].sum() < 1e-6
    # 150 draws of NUTS are worth 25 independent ones or more here: 4 standard errors.
    assert ((draws.mean(0) - mean).abs() < 4 * scale / math.sqrt(25)).all()
    assert ((draws.std(0) / scale).log().abs() < 0.5).all()


@pytest.mark.slow
def test_missing_pixels() -> None:
    found = figures("missing_pixels")
    by_mean = found["squared error per missing pixel, filled by the mean image"]
    assert by_mean == pytest.approx(constant().square().mean().item(), rel=0.03)
    for how in ("filled by the encoder's code", "filled after refinement"):
        assert found[f"squared error per missing pixel, {how}"] < 0.9 * by_mean


@pytest.mark.slow
def test_custom_elbo() -> None:
    found = figures("custom_elbo")
    assert found["held-out ELBO in nats per image"] > constant_normal() + 50
    # Of the prior from codes that are all 0, L = 5, in closed form.
    zeros = 1 + (1 + 2 / 5) ** -2.5 - 2 * (1 + 1 / 5) ** -2.5
    assert found["discrepancy of codes and prior"] < zeros / 5


def test_custom_discrepancy_in_closed_form() -> None:
    z = torch.randn(1500, 5)
    zeros = 1 + (1 + 2 / 5) ** -2.5 - 2 * (1 + 1 / 5) ** -2.5
    found = example("custom_elbo").discrepancy(torch.zeros(1500, 5), z).item()
    assert found == pytest.approx(zeros, rel=0.1)  # standard deviation over draws: about 3%


@pytest.mark.slow
@quiet
def test_lightning_loop() -> None:
    assert figures("lightning_loop")["held-out ELBO in nats per image"] > constant_normal() + 50


def test_an_observation_of_ones_own_is_a_student() -> None:
    head = example("own_observation").student.build((4,))
    p = head(torch.zeros(1, 4))
    x = torch.tensor([0.1, 0.4, 0.5, 0.9])
    scale = p.base_dist.scale.flatten()[0].item()
    wanted = stats.t.logpdf(x.numpy(), 5, loc=0.5, scale=scale).sum()
    assert p.log_prob(x).item() == pytest.approx(wanted, rel=1e-5)
