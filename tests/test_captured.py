"""Captured objectives: on the same noise what Pyro's own pass gives, for any program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI
from torch import Tensor, nn
from torch.distributions import constraints

from pyro_vae import VAE, networks, objectives, observations, schedules
from pyro_vae.elbo import local_params
from pyro_vae.objectives import CapturedELBO
from pyro_vae.objectives.capture import Graph, NotCapturedError, leaves_of

from .test_elbo import Linear, linear
from .zoo import CASES

__all__ = ["linear"]

OBJECTIVES = (
    "trace",
    "trace:K=3",
    "mean-field",
    "iwae:3",
    "dreg:3",
    "renyi:0.5,K=3",
    "free-bits:0.25",
    "capacity:5,gamma=10",
)
SCHEDULES = (
    "constant:4",
    "linear:0,1,steps=4",
    "cosine:0,1,steps=4",
    "sigmoid:0,1,steps=4",
    "cyclical:0,1,period=4,ratio=0.5",
)


def both(
    vae: VAE, x: Tensor, spec: str, beta: Tensor, backend: str = "aten"
) -> tuple[list[Tensor], list[Tensor]]:
    """Loss and gradients of a pass, Pyro's own and the graph's, on the same noise."""
    objective, parameters = objectives.parse(spec, max_plate_nesting=1), list(vae.parameters())

    def loss(x: Tensor, beta: Tensor) -> tuple[Tensor]:
        return (objective.differentiable_loss(vae.model, vae.guide, x, beta=beta),)

    with pyro.validation_enabled(False), local_params():
        torch.manual_seed(3)
        eager = loss(x, beta)[0]
        wanted = torch.autograd.grad(eager, parameters, allow_unused=True)
        graph = Graph(loss, (x, beta), parameters, backend)
        torch.manual_seed(3)
        (found,), gradients = graph(x, beta)
    used = [(p, g) for p, g in zip(parameters, wanted, strict=True) if g is not None]
    assert [id(p) for p, _ in used] == [id(p) for p in graph.leaves]
    assert used
    return [eager.detach(), *(g for _, g in used)], [found, *gradients]


def shown(vae: VAE, n: int = 6) -> Tensor:
    """Some data that an observation takes."""
    levels = torch.randint(0, 256, (n, *vae.data_shape), dtype=torch.uint8)
    as_given = not (vae.levels.eight_bit or vae.levels.noisy)
    data = levels if not as_given else (levels.float() / 64).round()
    if "data" in vae.likelihood.origins():
        vae.estimate(data)
    return vae.observe(data)


def agree(found: list[Tensor], wanted: list[Tensor], loss: float, gradient: float) -> None:
    """Within these relative errors, a gradient's against its largest entry."""
    assert float(abs(found[0] - wanted[0]) / abs(wanted[0])) <= loss
    for ours, theirs in zip(found[1:], wanted[1:], strict=True):
        assert float((ours - theirs).abs().max()) <= gradient * float(theirs.abs().max())


@pytest.mark.parametrize("name", CASES)
def test_every_observation_is_captured(name: str) -> None:
    vae = VAE((1, 8, 8), 3, CASES[name](), networks.MLP(hidden=8))
    vae.train()
    wanted, found = both(vae, shown(vae), "trace", torch.tensor(0.7))
    agree(found, wanted, 1e-5, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bernoulli", "normal-optimal-sigma"])
def test_compiled_observations_agree(name: str) -> None:
    """All of them, by ``python -m benchmarks.captured``."""
    vae = VAE((1, 8, 8), 3, name, networks.MLP(hidden=8))
    vae.train()
    wanted, found = both(vae, shown(vae), "trace", torch.tensor(0.7), "inductor")
    agree(found, wanted, 1e-4, 1e-3)


@pytest.mark.parametrize("spec", OBJECTIVES)
def test_every_objective_is_captured(spec: str) -> None:
    vae = VAE((1, 8, 8), 3, "normal", networks.MLP(hidden=8))
    wanted, found = both(vae, shown(vae), spec, torch.tensor(2.0))
    agree(found, wanted, 1e-5, 1e-4)


@pytest.mark.parametrize("text", SCHEDULES)
def test_a_schedule_needs_one_graph(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """β is an input: the graph of the first step gives every other step's loss."""
    vae, schedule = VAE((1, 8, 8), 3, "normal", networks.MLP(hidden=8)), schedules.parse(text)
    x, eager, captured = shown(vae), objectives.TraceELBO(), CapturedELBO(backend="aten")
    seen = set()
    for step in range(8):
        beta, losses = torch.tensor(schedule(step)), []
        for elbo in (eager, captured):
            torch.manual_seed(step)
            with pyro.validation_enabled(False):
                losses.append(elbo.differentiable_loss(vae.model, vae.guide, x, beta=beta))
        torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=0)
        seen.add(float(beta))
    assert captured.reason is None
    assert len(captured._programs) == 1
    assert len(seen) > 1 or text == "constant:4"


def test_under_the_exact_posterior_every_draw_is_the_evidence(linear: Linear) -> None:
    elbo = CapturedELBO(backend="aten")
    for seed in range(20):
        torch.manual_seed(seed)
        loss = elbo.differentiable_loss(linear.vae.model, linear.vae.guide, linear.x)
        torch.testing.assert_close(loss, -linear.log_evidence.sum(), rtol=1e-8, atol=0)
    assert elbo.reason is None


def test_the_captured_loss_grows_by_the_kl(linear: Linear) -> None:
    """(loss(β = 4) − loss(β = 1)) / 3 against the closed form, with the analytic KL."""
    vae, x = linear.vae, linear.x
    elbo = CapturedELBO(objectives.MeanFieldELBO(), backend="aten")
    losses = {}
    for beta in (1.0, 4.0, 1.0, 4.0):
        torch.manual_seed(0)
        scale = torch.tensor(beta)
        losses[beta] = elbo.differentiable_loss(vae.model, vae.guide, x, beta=scale)
    q = vae.encode(x).base_dist
    kl = 0.5 * (q.loc**2 + q.scale**2 - 1) - q.scale.log()
    torch.testing.assert_close((losses[4.0] - losses[1.0]) / 3, kl.sum(), rtol=1e-12, atol=0)
    assert elbo.reason is None


def regression(x: Tensor, y: Tensor) -> None:
    """A program without a VAE: global and local latents, constrained parameters, a module."""
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    noise = pyro.param("noise", torch.tensor(1.0), constraint=constraints.positive)
    with pyro.plate("data", len(x)):
        local = pyro.sample("local", dist.Gamma(2.0, 1.0))
        pyro.sample("y", dist.Normal(slope * x * local, noise), obs=y)


def guide_of(layer: nn.Module) -> Callable[[Tensor, Tensor], None]:
    def guide(x: Tensor, y: Tensor) -> None:
        pyro.module("layer", layer)
        loc = pyro.param("loc", torch.tensor(0.3))
        pyro.sample("slope", dist.Normal(loc, 0.1))
        with pyro.plate("data", len(x)):
            raw = layer(torch.stack([x, y], -1))
            rate = nn.functional.softplus(raw[:, 1]) + 0.1
            pyro.sample("local", dist.Gamma(nn.functional.softplus(raw[:, 0]) + 0.1, rate))

    return guide


def test_svi_trains_any_program_as_before() -> None:
    """Pyro's own SVI and optimiser, 12 steps in two shapes of data: the same parameters."""
    x = torch.linspace(-1, 1, 9)
    results: list[dict[str, Tensor]] = []
    for elbo in (objectives.TraceELBO(), CapturedELBO(backend="aten")):
        pyro.clear_param_store()
        torch.manual_seed(0)
        guide = guide_of(nn.Linear(2, 2))
        svi = SVI(regression, guide, pyro.optim.ClippedAdam({"lr": 0.05}), elbo)
        with pyro.validation_enabled(False):
            for step in range(12):
                part = x if step % 3 else x[:5]
                svi.step(part, 2 * part)
        store = pyro.get_param_store()
        results.append({name: store[name].detach().clone() for name in sorted(store)})
    assert len(results[0]) == 4
    torch.testing.assert_close(results[1], results[0], rtol=1e-5, atol=1e-6)
    assert elbo.reason is None
    assert all(float(v.std() if v.dim() else v) != 0 for v in results[1].values())


def test_a_cleared_parameter_store_starts_anew() -> None:
    elbo, x = CapturedELBO(backend="aten"), torch.linspace(-1, 1, 9)
    guide = guide_of(nn.Linear(2, 2))
    for value in (1.0, 7.0):
        pyro.clear_param_store()
        pyro.param("loc", torch.tensor(value))
        for _ in range(3):
            torch.manual_seed(0)
            loss = elbo.differentiable_loss(regression, guide, x, 2 * x)
        torch.manual_seed(0)
        wanted = objectives.TraceELBO().differentiable_loss(regression, guide, x, 2 * x)
        torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=0)


def test_batch_normalisation_keeps_its_averages() -> None:
    def make(sizes: networks.Sizes) -> tuple[nn.Module, nn.Module]:
        encoder, decoder = networks.MLP(hidden=8, dropout=0.3)(sizes)
        return nn.Sequential(nn.BatchNorm2d(1), encoder), decoder

    averages = []
    for elbo in (objectives.TraceELBO(), CapturedELBO(backend="aten")):
        torch.manual_seed(0)
        vae = VAE((1, 8, 8), 3, "normal", make)
        vae.train()
        x = torch.rand(6, 1, 8, 8)
        for _ in range(4):
            loss = elbo.differentiable_loss(vae.model, vae.guide, x)
        norm = vae.encoder[0]
        averages.append([norm.running_mean, norm.running_var, norm.num_batches_tracked, loss])
    torch.testing.assert_close(averages[1], averages[0], rtol=1e-5, atol=1e-7)
    assert int(averages[1][2]) == 4


def test_a_program_that_looks_at_values_runs_as_ever_and_says_why() -> None:
    def model(x: Tensor) -> None:
        scale = 2.0 if float(x.sum()) > 0 else 1.0
        pyro.sample("z", dist.Normal(0.0, scale))

    def guide(x: Tensor) -> None:
        pyro.sample("z", dist.Normal(pyro.param("loc", torch.tensor(0.5)), 1.0))

    elbo = CapturedELBO(backend="aten")
    for value in (1.0, -1.0, 1.0):
        losses = []
        for found in (elbo, objectives.TraceELBO()):
            torch.manual_seed(0)
            losses.append(found.loss_and_grads(model, guide, torch.tensor([value])))
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert elbo.reason is not None
    assert elbo.reason.count("\n") == 0
    with pytest.raises(NotCapturedError):
        Graph(lambda x: (x.sum() * float(x.sum()),), (torch.ones(2),), [], "aten")


def test_numbers_among_the_arguments_are_soon_too_many() -> None:
    vae, elbo = VAE((4,), 2, "real-normal"), CapturedELBO(backend="aten")
    x = torch.randn(3, 4)
    for step in range(12):
        elbo.differentiable_loss(vae.model, vae.guide, x, beta=1.0 + step)
    assert elbo.reason is not None
    assert "make tensors" in elbo.reason


def test_leaves_are_what_a_loss_depends_on() -> None:
    a, b, c = (torch.ones(2, requires_grad=True) for _ in range(3))
    loss = (a * b.exp()).sum() + (a.detach() * c.detach()).sum()
    assert {id(leaf) for leaf in leaves_of(loss)} == {id(a), id(b)}
    assert leaves_of(torch.ones(())) == []


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="inductor, aten"):
        CapturedELBO(backend="xla")


def test_the_table_names_every_stock_observation() -> None:
    built: set[Any] = {head().title for head in CASES.values()}
    assert {observations.get(name).title for name in observations.TABLE} <= built
