"""The curves of an observation and their picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath
import pyro.distributions as dist
import pytest
import torch
from click.testing import Result
from scipy import integrate

from pyro_vae import Head, InputError, Param, observations
from pyro_vae.distributions import ContinuousBernoulli, Kumaraswamy, TruncatedNormal
from pyro_vae.distributions.normalizers import log_normalizer
from pyro_vae.plots import curves_of
from pyro_vae.plots.observations import draw_observation

from .zoo import CASES, NAMES

pytestmark = pytest.mark.usefixtures("pictures")

PNG = b"\x89PNG"
Kernel = Callable[[float], float]


def f(value: float) -> Any:
    return torch.tensor(value, dtype=torch.float64)


# a distribution, its kernel written out, and where it lives
KERNELS: dict[str, tuple[Any, Kernel, tuple[float, float]]] = {
    "normal": (
        dist.Normal(f(0.3), f(0.2)),
        lambda x: math.exp(-((x - 0.3) ** 2) / 0.08),
        (-math.inf, math.inf),
    ),
    "truncated-normal": (
        TruncatedNormal(f(1.3), f(0.4)),
        lambda x: math.exp(-((x - 1.3) ** 2) / 0.32),
        (0, 1),
    ),
    "laplace": (
        dist.Laplace(f(0.0), f(0.7)),
        lambda x: math.exp(-abs(x) / 0.7),
        (-math.inf, math.inf),
    ),
    "cauchy": (
        dist.Cauchy(f(0.1), f(0.2)),
        lambda x: 1 / (1 + ((x - 0.1) / 0.2) ** 2),
        (-math.inf, math.inf),
    ),
    "student-t": (
        dist.StudentT(f(3.5), f(0.1), f(0.2)),
        lambda x: (1 + ((x - 0.1) / 0.2) ** 2 / 3.5) ** -2.25,
        (-math.inf, math.inf),
    ),
    "beta": (dist.Beta(f(2.5), f(1.5)), lambda x: x**1.5 * (1 - x) ** 0.5, (0, 1)),
    "kumaraswamy": (
        Kumaraswamy(f(2.5), f(1.5)),
        lambda x: x**1.5 * (1 - x**2.5) ** 0.5,
        (0, 1),
    ),
    "continuous-bernoulli": (
        ContinuousBernoulli(probs=f(0.9)),
        lambda x: 0.9**x * 0.1 ** (1 - x),
        (0, 1),
    ),
}


@pytest.mark.parametrize("name", KERNELS)
def test_log_normalizer_makes_the_kernel_a_density(name: str) -> None:
    distribution, kernel, ends = KERNELS[name]
    total = integrate.quad(kernel, *ends, limit=200)[0]
    found = log_normalizer(distribution)
    assert found is not None
    assert float(found) == pytest.approx(-math.log(total), abs=1e-7)


def test_a_family_without_a_kernel_has_no_log_normalizer() -> None:
    assert log_normalizer(dist.Poisson(torch.tensor(3.0))) is None


def test_the_continuous_bernoulli_against_high_precision() -> None:
    curves = curves_of(observations.get("continuous-bernoulli"), points=5)
    logits = [-12, -6, 0, 6, 12]
    assert curves.name == "probs"
    assert curves.parameter.tolist() == pytest.approx(
        [float(1 / (1 + mpmath.exp(-logit))) for logit in logits], rel=1e-5
    )
    mean = dict(curves.pictures)["mean"]
    true = [
        1 / (1 - mpmath.exp(-logit)) - mpmath.mpf(1) / logit if logit else 0.5 for logit in logits
    ]
    assert mean.tolist() == pytest.approx([float(value) for value in true], abs=1e-6)
    assert curves.log_prob[0][0] == "x = 0.00195"
    x = 0.5 / 256
    log_prob = [
        float(logit * x + (mpmath.log(logit / mpmath.expm1(logit)) if logit else 0))
        for logit in logits
    ]
    assert curves.log_prob[0][1].tolist() == pytest.approx(log_prob, abs=1e-5)
    assert curves.reach is not None
    assert float(curves.reach.min()) == pytest.approx(1 / 1000, rel=1e-4)


@pytest.mark.parametrize(("scope", "floor"), [("batch", 0.001), ("image", 0.001), ("pixel", 0.01)])
def test_the_logarithmic_loss_and_its_gradient(scope: str, floor: float) -> None:
    errors = curves_of(observations.get("normal-optimal-sigma", scale=scope)).errors
    assert errors is not None
    size = errors.error.abs()
    above = size > floor
    assert int(above.sum()) > 300
    log_loss = size.log() + 0.5 + 0.5 * math.log(2 * math.pi)
    assert torch.allclose(errors.loss[above], log_loss[above], atol=1e-4)
    assert torch.allclose(errors.gradient[above], 1 / errors.error[above], rtol=1e-3)
    assert torch.equal(errors.error.sign(), errors.gradient.sign())


@pytest.mark.parametrize("name", NAMES)
def test_every_observation_has_curves(name: str) -> None:
    head = CASES[name]()
    curves = curves_of(head, points=101)
    assert curves.kind == head.kind_on(torch.tensor([[7]], dtype=torch.uint8))
    assert len(curves.log_prob) >= 2
    for _, value in curves.log_prob:
        assert value.shape == (101,)
        assert bool(torch.isfinite(value).all())
    spans = [float(value.max() - value.min()) for _, value in curves.log_prob]
    assert max(spans) > 0.01  # the parameter does something
    residual = any(param.origin == "residual" for _, param in head.parameters)
    assert (curves.errors is not None) is residual


@pytest.mark.parametrize("name", NAMES[:3] + NAMES[-3:])
def test_every_observation_can_be_drawn(name: str, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    draw_observation(curves_of(CASES[name](), points=101), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(PNG)
    assert torch.equal(state, torch.get_rng_state())


def test_a_head_of_fixed_numbers_has_no_curve() -> None:
    head = Head.of(dist.Normal, loc=Param(0.5), scale=Param(0.1))
    with pytest.raises(InputError, match="nothing of Normal comes from the decoder"):
        curves_of(head)


def test_the_command_draws_and_describes_a_changed_observation(
    cli: Callable[..., Result], tmp_path: Path
) -> None:
    words = ("--sigma-per", "pixel", "--range", "0,255", "--plot", "curves.png")
    result = cli("obs", "normal-optimal-sigma", *words)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "curves.png").read_bytes().startswith(PNG)
    assert "normal-optimal-sigma  (loss" in result.stdout
    assert "scale per pixel from the error" in result.stdout
    assert "curves.png" in result.stderr
