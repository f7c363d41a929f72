"""Controllers on simulated plants and on a small linear VAE in plain Pyro."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import Tensor

from pyro_vae.controllers import Controller, TargetKL, TargetReconstruction


class Plant:
    """KL = a β^(−b), reached with a lag and seen with noise; reconstruction moves by β d KL.

    Drift lets a grow or fall by that factor over 1,000 steps, as a learned σ makes it.
    """

    def __init__(self, a: float, b: float, lag: float, drift: float = 1.0, seed: int = 0) -> None:
        self.a, self.b, self.lag, self.drift = a, b, lag, drift ** (1 / 1000)
        self.kl = 0.5
        self.generator = torch.Generator().manual_seed(seed)

    def step(self, beta: float) -> tuple[Tensor, Tensor]:
        self.a *= self.drift
        self.kl += (self.a * beta**-self.b - self.kl) / self.lag
        noise = 1 + 0.05 * torch.randn((), generator=self.generator)
        kl = torch.tensor(self.kl) * noise
        # ∫ β dKL along the frontier KL = a β^(−b)
        reconstruction = -200 + self.a ** (1 / self.b) * self.kl ** (1 - 1 / self.b) / (
            1 - 1 / self.b
        )
        return kl, torch.tensor(reconstruction) + 5 * (noise - 1)


PLANTS = {
    "weak": lambda: Plant(30, 0.3, lag=30),
    "steep": lambda: Plant(30, 0.9, lag=30),
    "small": lambda: Plant(3, 0.5, lag=30),
    "large": lambda: Plant(120, 0.6, lag=30),
    "slow": lambda: Plant(30, 0.6, lag=80),
    "fast": lambda: Plant(30, 0.6, lag=5),
    "drifting": lambda: Plant(30, 0.6, lag=30, drift=2.0),
}


@pytest.mark.parametrize("target", [5.0, 10.0, 25.0])
@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
def test_target_kl_on_a_plant(plant: Callable[[], Plant], target: float) -> None:
    controller, process = TargetKL(target), plant()
    seen = []
    for _ in range(3000):
        kl, reconstruction = process.step(controller.beta.item())
        controller.update(kl=kl, reconstruction=reconstruction)
        seen.append(kl.item())
    # Noise of 5% leaves 0.3% in a mean of 300.
    assert sum(seen[-300:]) / 300 == pytest.approx(target, rel=0.04)
    assert max(abs(kl / target - 1) for kl in seen[-300:]) < 0.35  # it has settled


@pytest.mark.parametrize("aim", [5.0, 25.0], ids="KL={}".format)
@pytest.mark.parametrize("name", ["weak", "steep", "large", "slow", "fast"])
def test_target_reconstruction_on_a_plant(name: str, aim: float) -> None:
    process = PLANTS[name]()
    b = process.b
    target = -200 + process.a ** (1 / b) * aim ** (1 - 1 / b) / (1 - 1 / b)
    controller, seen = TargetReconstruction(target), []
    for _ in range(4000):
        kl, reconstruction = process.step(controller.beta.item())
        controller.update(kl=kl, reconstruction=reconstruction)
        seen.append(kl.item())
    assert sum(seen[-500:]) / 500 == pytest.approx(aim, rel=0.05)


@pytest.mark.parametrize("make", [lambda: TargetKL(5.0), lambda: TargetReconstruction(-50.0)])
def test_the_integral_does_not_wind_up(make: Callable[[], Controller]) -> None:
    """After a target out of reach for long, β leaves its bound within a few steps."""
    controller = make()
    for _ in range(5000):
        controller.update(kl=torch.tensor(1.0), reconstruction=torch.tensor(-60.0))
    assert controller.beta.item() == pytest.approx(1e-3)
    for _ in range(60):
        controller.update(kl=torch.tensor(50.0), reconstruction=torch.tensor(0.0))
    assert controller.beta.item() > 2e-3


def test_direction_and_device_of_beta() -> None:
    controller = TargetKL(10.0)
    assert controller.beta.shape == ()
    assert controller.beta.item() == 1
    high = controller.update(kl=torch.tensor(12.0), reconstruction=torch.tensor(0.0))
    assert isinstance(high, Tensor)
    assert high > 1
    # log β = (k_I + k_P) e with e = 0.2
    assert high.item() == pytest.approx(math.exp(0.33 * 0.2))
    assert controller.to("meta").beta.device.type == "meta"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_figure_does_no_lasting_harm(bad: float) -> None:
    controller = TargetKL(10.0)
    before = controller.update(kl=torch.tensor(10.0), reconstruction=torch.tensor(0.0))
    controller.update(kl=torch.tensor(bad), reconstruction=torch.tensor(bad))
    after = controller.update(kl=torch.tensor(10.0), reconstruction=torch.tensor(0.0))
    assert after.item() == pytest.approx(before.item(), rel=0.04)


@pytest.mark.parametrize("make", [lambda: TargetKL(5.0), lambda: TargetReconstruction(-50.0)])
def test_state(make: Callable[[], Controller]) -> None:
    one, other = make(), make()
    figures = [(3.0, -70.0), (9.0, -40.0), (6.0, -44.0)]
    for kl, reconstruction in figures:
        one.update(kl=torch.tensor(kl), reconstruction=torch.tensor(reconstruction))
    state = one.state_dict()
    assert all(type(value) is float for value in state.values())
    other.load_state_dict(state)
    assert other.beta == one.beta
    for kl, reconstruction in figures:
        now = {"kl": torch.tensor(kl), "reconstruction": torch.tensor(reconstruction)}
        assert torch.equal(one.update(**now), other.update(**now))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TargetKL(0.0), "target KL must be positive and finite, got 0"),
        (lambda: TargetKL(-3.0), "target KL must be positive and finite, got -3"),
        (lambda: TargetKL(math.nan), "target KL must be positive and finite, got nan"),
        (lambda: TargetKL(math.inf), "target KL must be positive and finite, got inf"),
        (lambda: TargetReconstruction(math.nan), "target reconstruction must be finite, got nan"),
        (lambda: TargetReconstruction(-math.inf), "target reconstruction must be finite"),
        (lambda: TargetKL(1.0, beta=0.0), "beta must be positive"),
        (lambda: TargetKL(1.0, integral=0.0), "gains must be positive"),
        (lambda: TargetReconstruction(1.0, average=1.0), "average must be at least 0"),
    ],
)
def test_bad_settings(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "make", [lambda: TargetKL(4.0), lambda: TargetReconstruction(-13.0)], ids=["kl", "geco"]
)
def test_linear_vae(make: Callable[[], Controller]) -> None:
    """x = W z + noise in 10 dims from 3 factors: the controlled figure ends at its target."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(3, 10, generator=generator)
    data = torch.randn(1000, 3, generator=generator) @ mixing
    data = data + 0.3 * torch.randn(1000, 10, generator=generator)
    encoder, decoder = torch.nn.Linear(10, 6), torch.nn.Linear(3, 10)

    def model(x: Tensor, beta: Tensor) -> None:
        with pyro.plate("data", len(x)):
            with poutine.scale(scale=beta):
                z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 3), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(decoder(z), 0.7).to_event(1), obs=x)

    def guide(x: Tensor, beta: Tensor) -> None:
        loc, raw = encoder(x).chunk(2, -1)
        with pyro.plate("data", len(x)), poutine.scale(scale=beta):
            pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))

    def figures(x: Tensor) -> tuple[Tensor, Tensor]:
        loc, raw = encoder(x).chunk(2, -1)
        kl = (0.5 * (loc**2 + (2 * raw).exp() - 1) - raw).sum(-1).mean()
        z = loc + raw.exp() * torch.randn_like(loc)
        return kl, dist.Normal(decoder(z), 0.7).log_prob(x).sum(-1).mean()

    controller = make()
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimiser = torch.optim.Adam(parameters, 0.01)
    recent = []
    for _ in range(900):
        x = data[torch.randint(1000, (100,))]
        optimiser.zero_grad()
        Trace_ELBO().differentiable_loss(model, guide, x, controller.beta).div(100).backward()
        optimiser.step()
        with torch.no_grad():
            kl, reconstruction = figures(x)
        controller.update(kl=kl, reconstruction=reconstruction)
        recent.append(kl if isinstance(controller, TargetKL) else reconstruction)
    assert torch.stack(recent[-300:]).mean().item() == pytest.approx(controller.target, rel=0.03)
