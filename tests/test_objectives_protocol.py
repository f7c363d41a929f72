"""Objectives as Pyro ELBO objects: SVI, modules, plates, scales, graph capture, errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI
from pyro.infer.autoguide import AutoMultivariateNormal, AutoNormal
from pyro.infer.elbo import ELBOModule
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.fx.experimental.proxy_tensor import make_fx

from pyro_vae import objectives

pytestmark = pytest.mark.usefixtures("float64")

SAMPLED = ["trace", "trace:K=3", "iwae:3", "dreg:3", "renyi:0.5"]
ANALYTIC = ["mean-field", "mean-field:K=3", "free-bits:0.25", "free-bits:0.25,K=3"]
ANALYTIC += ["capacity:2,gamma=10"]
every_objective = pytest.mark.parametrize("spec", SAMPLED + ANALYTIC)


def model(x: Tensor, beta: float | Tensor = 1.0) -> None:
    shift = pyro.param("shift", torch.tensor(0.1))
    with pyro.plate("data", len(x)):
        with poutine.scale(scale=beta):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z + shift, 0.8).to_event(1), obs=x)


def guide(x: Tensor, beta: float | Tensor = 1.0) -> None:
    slope = pyro.param("slope", torch.tensor(0.2))
    scale = pyro.param("scale", torch.tensor(0.9), constraint=dist.constraints.positive)
    with pyro.plate("data", len(x)), poutine.scale(scale=beta):
        pyro.sample("z", dist.Normal(slope * x, scale).to_event(1))


def x_of(n: int = 5) -> Tensor:
    return torch.linspace(-1, 2, 2 * n).reshape(n, 2)


def loss(spec: str, model: Callable[..., Any], guide: Callable[..., Any], *args: Any) -> float:
    """The loss with seed 0."""
    torch.manual_seed(0)
    return objectives.parse(spec).loss(model, guide, *args)


@every_objective
def test_svi(spec: str) -> None:
    x, elbo = x_of(), objectives.parse(spec)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), loss=elbo)
    torch.manual_seed(0)
    evaluated = svi.evaluate_loss(x)
    before = {name: value.item() for name, value in pyro.get_param_store().items()}
    torch.manual_seed(0)
    assert svi.step(x) == pytest.approx(evaluated)
    after = {name: value.item() for name, value in pyro.get_param_store().items()}
    assert sorted(after) == ["scale", "shift", "slope"]
    moved = {name for name in after if after[name] != before[name]}
    # Below the capacity or the floor the KL has a gradient all the same: all three move.
    assert moved == set(after)


@pytest.mark.parametrize("spec", ["trace", "mean-field", "iwae:5", "dreg:5", "renyi:0.5"])
def test_svi_finds_the_posterior(spec: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 2, generator=generator) * (1 + 0.8**2) ** 0.5
    pyro.param("shift", torch.tensor(0.0)).requires_grad_(False)
    elbo = objectives.parse(spec, max_plate_nesting=1)
    svi = SVI(model, guide, pyro.optim.ClippedAdam({"lr": 0.05, "lrd": 0.99}), loss=elbo)
    for _ in range(300):
        svi.step(x)
    # z | x ~ Normal(x / (1 + σ²), σ² / (1 + σ²)), with the shift near 0.
    assert pyro.param("slope").item() == pytest.approx(1 / 1.64, abs=0.03)
    assert pyro.param("scale").item() == pytest.approx((0.64 / 1.64) ** 0.5, abs=0.03)


@every_objective
def test_module(spec: str) -> None:
    elbo = objectives.parse(spec)
    module = elbo(model, guide)
    assert isinstance(module, ELBOModule)
    torch.manual_seed(0)
    result = module(x_of())
    assert result.shape == ()
    assert result.requires_grad
    assert result.item() == pytest.approx(loss(spec, model, guide, x_of()), rel=1e-6)


@every_objective
def test_traces_and_surrogate_are_the_loss(spec: str) -> None:
    elbo = objectives.parse(spec)
    torch.manual_seed(0)
    result = elbo.surrogate(*elbo.traces(model, guide, x_of()))
    assert result.item() == pytest.approx(loss(spec, model, guide, x_of()), rel=1e-6)


@every_objective
def test_beta_as_number_and_tensor(spec: str) -> None:
    number = loss(spec, model, guide, x_of(), 3.0)
    assert loss(spec, model, guide, x_of(), torch.tensor(3.0)) == pytest.approx(number, rel=1e-12)
    assert number != pytest.approx(loss(spec, model, guide, x_of(), 1.0), rel=1e-3)


@every_objective
def test_batch_sum_grows_with_the_plate(spec: str) -> None:
    """Doubling the data doubles the loss in expectation; half of each batch is the same here."""
    x = x_of(2).repeat(500, 1)
    ratio = loss(spec, model, guide, x.repeat(2, 1)) / loss(spec, model, guide, x)
    assert ratio == pytest.approx(2, rel=0.05)


@every_objective
def test_subsampling_multiplies_the_sum_not_the_weights(spec: str) -> None:
    def plated(size: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
        def model(x: Tensor) -> None:
            with pyro.plate("data", size, subsample=torch.arange(5)):
                z = pyro.sample("z", dist.Normal(torch.zeros(5, 2), 1.0).to_event(1))
                pyro.sample("x", dist.Normal(z, 0.8).to_event(1), obs=x)

        def guide(x: Tensor) -> None:
            with pyro.plate("data", size, subsample=torch.arange(5)):
                pyro.sample("z", dist.Normal(0.2 * x, 0.9).to_event(1))

        return model, guide

    one, ten = loss(spec, *plated(5), x_of()), loss(spec, *plated(50), x_of())
    assert ten == pytest.approx(10 * one)


@every_objective
def test_captured_graph(spec: str) -> None:
    """One graph, traced once, gives loss and gradients for other data, β and noise."""
    pyro.enable_validation(False)
    elbo = objectives.parse(spec, max_plate_nesting=1)

    def step(slope: Tensor, x: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        def guide(x: Tensor, beta: Tensor) -> None:
            with pyro.plate("data", len(x)), poutine.scale(scale=beta):
                pyro.sample("z", dist.Normal(slope * x, 0.9).to_event(1))

        def model(x: Tensor, beta: Tensor) -> None:
            with pyro.plate("data", len(x)):
                with poutine.scale(scale=beta):
                    z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(1))
                pyro.sample("x", dist.Normal(torch.tanh(z * slope), 0.8).to_event(1), obs=x)

        result = elbo.differentiable_loss(model, guide, x, beta)
        return result.detach(), torch.autograd.grad(result, slope)[0]

    slope = torch.tensor(0.2).requires_grad_()
    graph = make_fx(step)(slope, x_of(), torch.tensor(1.0))
    other = torch.tensor(0.7).requires_grad_(), x_of().flip(0), torch.tensor(2.5)
    for seed in (1, 2):
        torch.manual_seed(seed)
        captured = graph(*other)
        torch.manual_seed(seed)
        torch.testing.assert_close(captured, step(*other))


@pytest.mark.parametrize("spec", ["trace:K=3", "iwae:3", "dreg:3"])
def test_finding_the_plates_uses_no_noise(spec: str) -> None:
    elbo = objectives.parse(spec)
    first, second = ((torch.manual_seed(0), elbo.loss(model, guide, x_of()))[1] for _ in range(2))
    assert first == second == pytest.approx(loss(spec, model, guide, x_of()), rel=1e-6)


# Programs of other shapes


def regression(x: Tensor, y: Tensor) -> None:
    """A global slope and a local offset per row."""
    slope = pyro.sample("slope", dist.Normal(0.0, 2.0))
    pyro.deterministic("double", 2 * slope)
    with pyro.plate("data", len(x)):
        offset = pyro.sample("offset", dist.Normal(0.0, 0.5))
        pyro.sample("y", dist.Normal(slope * x + offset, 0.3), obs=y)


def regression_guide(x: Tensor, y: Tensor) -> None:
    pyro.sample("slope", dist.Normal(0.8, 0.4))
    with pyro.plate("data", len(x)):
        pyro.sample("offset", dist.Normal(0.1 * y, 0.4))


def test_global_latents_are_weighed_together() -> None:
    x, y = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.1, 0.9, 2.2])
    elbo = objectives.ImportanceWeightedELBO(4)
    traces = elbo.traces(regression, regression_guide, x, y)
    slope = traces[1].nodes["slope"]["value"].reshape(4, 1)
    offset = traces[1].nodes["offset"]["value"].reshape(4, 3)
    normal = torch.distributions.Normal
    log_w = normal(0.0, 2.0).log_prob(slope) - normal(0.8, 0.4).log_prob(slope)
    local = normal(0.0, 0.5).log_prob(offset) - normal(0.1 * y, 0.4).log_prob(offset)
    local = local + normal(slope * x + offset, 0.3).log_prob(y)
    expected = -((log_w[:, 0] + local.sum(1)).logsumexp(0) - math.log(4))
    torch.testing.assert_close(elbo.surrogate(*traces), expected)


def test_global_and_local_latents() -> None:
    """On average over draws, seed 0: the ELBO in closed form, bounds above it and below log p(y).

    4 standard errors each way, so that a seed in 3,000 fails.
    """
    x, y = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.1, 0.9, 2.2])
    normal, kl = torch.distributions.Normal, torch.distributions.kl_divergence
    divergence = (
        kl(normal(0.8, 0.4), normal(0.0, 2.0)) + kl(normal(0.1 * y, 0.4), normal(0.0, 0.5)).sum()
    )
    variance = 0.4**2 * (x.square() + 1)
    expected = normal(0.8 * x + 0.1 * y, 0.3).log_prob(y) - variance / (2 * 0.3**2)
    elbo = float(expected.sum() - divergence)
    covariance = 4 * torch.outer(x, x) + (0.25 + 0.09) * torch.eye(3)
    evidence = float(MultivariateNormal(torch.zeros(3), covariance).log_prob(y))
    capacity = elbo - 10 * abs(float(divergence) - 2) + float(divergence)
    torch.manual_seed(0)
    for spec in SAMPLED + ANALYTIC:
        loss = objectives.parse(spec).loss
        draws = -torch.tensor([loss(regression, regression_guide, x, y) for _ in range(300)])
        error = 4 * float(draws.std()) / math.sqrt(len(draws))
        mean = float(draws.mean())
        if spec.startswith(("trace", "mean-field")):
            assert abs(mean - elbo) < error, spec
        elif spec.startswith("capacity"):
            assert abs(mean - capacity) < error, spec
        elif spec.startswith("free-bits"):
            assert mean < elbo + error, spec  # a KL below the floor counts as the floor
        else:
            assert elbo + error < mean < evidence + error, spec


@every_objective
def test_nested_plates(spec: str) -> None:
    x = torch.randn(4, 3)

    def model() -> None:
        with pyro.plate("rows", 4, dim=-2):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            assert z.shape[-2:] == (4, 1)
            with pyro.plate("columns", 3, dim=-1):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide() -> None:
        with pyro.plate("rows", 4, dim=-2):
            pyro.sample("z", dist.Normal(x.mean(1, keepdim=True), 0.5))

    assert math.isfinite(loss(spec, model, guide))
    elbo = objectives.ImportanceWeightedELBO(5)
    log_p, _, _ = objectives.log_weights(*elbo.traces(model, guide))
    assert log_p.shape == (5, 4, 1)  # one weight per row: the columns share its latent


@pytest.mark.parametrize("spec", [*SAMPLED, "mean-field", "mean-field:K=3"])
@pytest.mark.parametrize(
    "automatic", [AutoNormal, AutoMultivariateNormal], ids=lambda c: c.__name__
)
def test_autoguides(spec: str, automatic: type[AutoNormal]) -> None:
    x, y = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.1, 0.9, 2.2])
    autoguide = automatic(regression, init_scale=0.3)
    svi = SVI(regression, autoguide, pyro.optim.Adam({"lr": 0.05}), loss=objectives.parse(spec))
    losses = [svi.step(x, y) for _ in range(120)]
    assert sum(losses[-20:]) < sum(losses[:20]) - 20


@every_objective
def test_conditioned_model(spec: str) -> None:
    z = torch.full((5, 2), 0.3)
    conditioned = poutine.condition(model, data={"z": z})
    expected = (
        -dist.Normal(z + 0.1, 0.8).log_prob(x_of()).sum() - dist.Normal(0, 1).log_prob(z).sum()
    )
    assert loss(spec, conditioned, lambda x: None, x_of()) == pytest.approx(expected.item())


# Errors


def test_unlike_programs_are_refused() -> None:
    def discrete(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Poisson(torch.ones(len(x), 2)).to_event(1))

    def renamed(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("w", dist.Normal(0.0, 1.0))

    elbo = objectives.TraceELBO()
    pyro.enable_validation(False)  # Pyro's own warnings
    with pytest.raises(ValueError, match=r"'z' of the guide is not reparameterised \(Poisson"):
        elbo.loss(model, discrete, x_of())
    with pytest.raises(ValueError, match="'z' of the model is not in the guide"):
        elbo.loss(model, lambda x: None, x_of())
    with pytest.raises(ValueError, match="'w' of the guide is not in the model"):
        elbo.loss(model, renamed, x_of())
    with pytest.raises(ValueError, match="'z' is observed in the model but sampled"):
        elbo.loss(poutine.condition(model, data={"z": x_of()}), guide, x_of())
    with pytest.raises(ValueError, match="no sample sites"):
        elbo.loss(lambda: None, lambda: None)


@pytest.mark.parametrize("spec", ANALYTIC)
@pytest.mark.parametrize("beta", [4.0, torch.tensor(4.0)], ids=["number", "tensor"])
def test_scale_on_one_side_is_refused(spec: str, beta: float | Tensor) -> None:
    elbo = objectives.parse(spec)
    with pytest.raises(ValueError, match=r"'z' is scaled by .* in the model and by"):
        elbo.loss(lambda x: model(x, beta), guide, x_of())
    with pytest.raises(ValueError, match="'z' is masked differently"):
        elbo.loss(model, poutine.mask(guide, mask=False), x_of())


@pytest.mark.parametrize("spec", ["free-bits:0.25", "capacity:2"])
def test_auxiliary_sites_are_refused_where_the_kl_must_be_analytic(spec: str) -> None:
    x, y = torch.zeros(3), torch.ones(3)
    with pytest.raises(ValueError, match="auxiliary sites: '_AutoMultivariateNormal_latent'"):
        objectives.parse(spec).loss(regression, AutoMultivariateNormal(regression), x, y)
