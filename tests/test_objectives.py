"""Objectives against closed forms on linear-Gaussian models written in plain Pyro."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from scipy.special import logsumexp  # type: ignore[import-untyped]
from scipy.stats import multivariate_normal, norm  # type: ignore[import-untyped]
from torch import Tensor

from pyro_vae import objectives
from pyro_vae.objectives import Objective

pytestmark = pytest.mark.usefixtures("float64")

# Statistical tests accept 4 standard errors: each comparison fails for 6 seeds in 100,000.
ERRORS = 4.0


class Linear:
    """x = W z + b + σ ε with z of 2 and x of 3 dims; β float or tensor, 0 by a mask."""

    W = torch.tensor([[1.0, 0.5], [-0.3, 0.8], [0.2, -1.1]], dtype=torch.float64)
    SIGMA = 0.6

    def __init__(self, n: int = 4, beta: float | Tensor = 1.0) -> None:
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(n, 3, generator=generator)
        self.loc = (0.3 * torch.randn(n, 2, generator=generator)).requires_grad_()
        self.log_scale = torch.full((n, 2), -0.5).requires_grad_()
        self.bias = torch.zeros(n, 3).requires_grad_()
        self.beta = beta

    @property
    def parameters(self) -> list[Tensor]:
        return [self.loc, self.log_scale, self.bias]

    def scaled(self) -> Any:
        if isinstance(self.beta, float) and self.beta == 0:
            return poutine.mask(mask=False)
        return poutine.scale(scale=self.beta)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            with self.scaled():
                z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(1))
            likelihood = dist.Normal(z @ self.W.T + self.bias, self.SIGMA)
            pyro.sample("x", likelihood.to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)), self.scaled():
            pyro.sample("z", dist.Normal(self.loc, self.log_scale.exp()).to_event(1))

    def exact(self, x: Tensor) -> None:
        """The guide that is the posterior."""
        precision = torch.eye(2) + self.W.T @ self.W / self.SIGMA**2
        loc = torch.linalg.solve(precision, self.W.T @ (x - self.bias).T / self.SIGMA**2).T
        with pyro.plate("data", len(x)), self.scaled():
            q = dist.MultivariateNormal(loc, precision_matrix=precision.expand(len(x), 2, 2))
            pyro.sample("z", q)

    def evidence(self) -> np.ndarray:
        """log p(x) of each row."""
        W = self.W.numpy()
        covariance = W @ W.T + self.SIGMA**2 * np.eye(3)
        return np.asarray(multivariate_normal(np.zeros(3), covariance).logpdf(self.x.numpy()))

    def kl(self) -> np.ndarray:
        """KL of each row and unit, by the textbook formula."""
        mu, log_scale = self.loc.detach().numpy(), self.log_scale.detach().numpy()
        return np.asarray(0.5 * (mu**2 + np.exp(2 * log_scale) - 1) - log_scale)

    def expected_reconstruction(self) -> np.ndarray:
        """E_q[log p(x|z)] of each row."""
        W, mu = self.W.numpy(), self.loc.detach().numpy()
        variance = np.exp(2 * self.log_scale.detach().numpy())
        error = ((self.x.numpy() - mu @ W.T) ** 2).sum(1) + variance @ (W**2).sum(0)
        constant = 1.5 * math.log(2 * math.pi * self.SIGMA**2)
        return np.asarray(-0.5 * error / self.SIGMA**2 - constant)

    def log_densities(self, z: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """log p(x|z), log p(z) and log q(z|x) for z (..., n, 2), by scipy."""
        values, W = z.detach().numpy(), self.W.numpy()
        mu, scale = self.loc.detach().numpy(), np.exp(self.log_scale.detach().numpy())
        likelihood = norm(values @ W.T, self.SIGMA).logpdf(self.x.numpy()).sum(-1)
        return likelihood, norm().logpdf(values).sum(-1), norm(mu, scale).logpdf(values).sum(-1)


def value(elbo: Objective | Any, program: Linear) -> float:
    """The loss with seed 0."""
    torch.manual_seed(0)
    return elbo.differentiable_loss(program.model, program.guide, program.x).item()


def gradients(elbo: Objective | Any, program: Linear) -> list[Tensor]:
    torch.manual_seed(0)
    loss = elbo.differentiable_loss(program.model, program.guide, program.x)
    return list(torch.autograd.grad(loss, program.parameters))


# The bounds


@pytest.mark.parametrize("spec", ["trace", "iwae:7", "dreg:7", "renyi:0.5", "renyi:-2"])
@pytest.mark.parametrize("seed", range(5))
def test_exact_posterior_gives_the_evidence_for_every_draw(spec: str, seed: int) -> None:
    program = Linear(6)
    torch.manual_seed(seed)
    elbo = objectives.parse(spec)
    assert elbo.loss(program.model, program.exact, program.x) == pytest.approx(
        -program.evidence().sum(), abs=1e-8
    )


@pytest.mark.parametrize("beta", [1.0, 2.5, 0.0], ids="beta={}".format)
@pytest.mark.parametrize(
    ("spec", "bound"),
    [
        ("trace", lambda w: w.mean(0)),
        ("trace:K=5", lambda w: w.mean(0)),
        ("iwae:5", lambda w: logsumexp(w, 0) - math.log(5)),
        ("dreg:5", lambda w: logsumexp(w, 0) - math.log(5)),
        ("renyi:0.5", lambda w: 2 * (logsumexp(0.5 * w, 0) - math.log(5))),
        ("renyi:-1,K=2", lambda w: 0.5 * (logsumexp(2 * w, 0) - math.log(2))),
    ],
)
def test_value_by_hand(spec: str, bound: Callable[[np.ndarray], np.ndarray], beta: float) -> None:
    program, elbo = Linear(beta=beta), objectives.parse(spec)
    traces = elbo.traces(program.model, program.guide, program.x)
    z = traces[1].nodes["z"]["value"].reshape(-1, 4, 2)
    assert len(z) == elbo.num_particles
    likelihood, prior, posterior = program.log_densities(z)
    expected = -bound(likelihood + beta * (prior - posterior)).sum()
    assert elbo.surrogate(*traces).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("beta", [1.0, 4.0], ids="beta={}".format)
@pytest.mark.parametrize("particles", [1, 4])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("trace", Trace_ELBO), ("mean-field", TraceMeanField_ELBO)],
    ids=["trace", "mean-field"],
)
def test_same_as_pyro_on_the_same_noise(
    ours: str, theirs: type[Trace_ELBO], particles: int, beta: float
) -> None:
    program = Linear(beta=beta)
    elbo = objectives.parse(f"{ours}:K={particles}")
    other = theirs(num_particles=particles, vectorize_particles=True, max_plate_nesting=1)
    assert value(elbo, program) == pytest.approx(value(other, program), rel=1e-12)
    torch.testing.assert_close(gradients(elbo, program), gradients(other, program))


@pytest.mark.parametrize("spec", ["trace", "trace:K=5", "mean-field", "mean-field:K=5", "iwae:1"])
def test_expected_elbo(spec: str) -> None:
    program = Linear()
    expected = program.kl().sum() - program.expected_reconstruction().sum()
    elbo = objectives.parse(spec)
    losses = [elbo.loss(program.model, program.guide, program.x) for _ in range(400)]
    error = np.std(losses, ddof=1) / 400**0.5
    assert abs(np.mean(losses) - expected) < ERRORS * error


def test_importance_weighted_bound_rises_to_the_evidence() -> None:
    n = 3000
    program = Linear(n)
    with torch.no_grad():  # one image, the same wrong posterior, n times
        program.x[:], program.loc[:], program.log_scale[:] = program.x[0], program.loc[0], -0.5
    evidence, previous = program.evidence()[0], None
    for particles in (1, 2, 5, 20, 200):
        elbo = objectives.ImportanceWeightedELBO(particles)
        traces = elbo.traces(program.model, program.guide, program.x)
        log_p, log_q, _ = objectives.log_weights(*traces)
        bounds = ((log_p - log_q).logsumexp(0) - math.log(particles)).detach().numpy()
        mean, error = bounds.mean(), bounds.std() / n**0.5
        assert mean < evidence + ERRORS * error
        if previous is None:
            elbo_1 = (program.expected_reconstruction() - program.kl().sum(1))[0]
            assert abs(mean - elbo_1) < ERRORS * error
        else:
            assert mean > previous + ERRORS * error  # it rises by far more than the noise
        previous = mean
    assert evidence - mean < 0.02


def test_renyi_limits() -> None:
    program = Linear()
    importance = objectives.ImportanceWeightedELBO(6)
    elbo = objectives.TraceELBO(6)
    assert value(objectives.RenyiELBO(0, 6), program) == pytest.approx(value(importance, program))
    near = value(objectives.RenyiELBO(1 - 1e-6, 6), program)
    assert near == pytest.approx(value(elbo, program), rel=1e-5)
    orders = [value(objectives.RenyiELBO(alpha, 6), program) for alpha in (-3, 0, 0.5, 2, 5)]
    assert orders == sorted(orders)


# The doubly reparameterised gradient


class Chain:
    """z1 → z2 → x with a guide whose z2 depends on its z1; one row of parameters per estimate."""

    def __init__(self, n: int, beta: float, split: bool = False) -> None:
        self.x = torch.full((n,), 1.3)
        start = {"loc1": 0.1, "log1": -0.3, "slope": 0.4, "loc2": 0.2, "log2": -0.4, "bias": 0.1}
        self.p = {name: torch.full((n,), v).requires_grad_() for name, v in start.items()}
        self.betas = (beta, 1.0 if split else beta)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            with poutine.scale(scale=self.betas[0]):
                z1 = pyro.sample("z1", dist.Normal(0.0, 1.0))
            with poutine.scale(scale=self.betas[1]):
                z2 = pyro.sample("z2", dist.Normal(z1, 0.7))
            pyro.sample("x", dist.Normal(z2 + self.p["bias"], 0.5), obs=x)

    def guide(self, x: Tensor) -> None:
        p = self.p
        with pyro.plate("data", len(x)):
            with poutine.scale(scale=self.betas[0]):
                z1 = pyro.sample("z1", dist.Normal(p["loc1"], p["log1"].exp()))
            with poutine.scale(scale=self.betas[1]):
                q = dist.Normal(p["loc2"] + p["slope"] * z1, (p["log2"] + 0.2 * z1).exp())
                pyro.sample("z2", q)

    def gradients(self, spec: str) -> dict[str, np.ndarray]:
        loss = objectives.parse(spec).differentiable_loss(self.model, self.guide, self.x)
        found = torch.autograd.grad(loss, list(self.p.values()))
        return {name: gradient.numpy() for name, gradient in zip(self.p, found, strict=True)}


@pytest.mark.parametrize(
    ("beta", "split"), [(1.0, False), (0.5, False), (2.0, False), (2.0, True)], ids=str
)
def test_dreg_gradient_is_iwae_gradient_in_expectation(beta: float, split: bool) -> None:
    n = 40_000
    program = Chain(n, beta, split)
    iwae, dreg = program.gradients("iwae:8"), program.gradients("dreg:8")
    assert len(dreg) == 6
    for name in dreg:
        error = math.sqrt((iwae[name].var() + dreg[name].var()) / n)
        assert abs(iwae[name].mean() - dreg[name].mean()) < ERRORS * error, name
        if beta == 1 and name != "bias":
            assert dreg[name].var() < 0.7 * iwae[name].var(), name
    if beta == 1:  # the model's parameters have the same estimator
        assert dreg["bias"].var() == pytest.approx(iwae["bias"].var(), rel=0.1)


@pytest.mark.parametrize("particles", [1, 5])
def test_dreg_gradient_vanishes_at_the_exact_posterior(particles: int) -> None:
    x = torch.randn(50)
    loc, log_scale = (
        (x / 2).requires_grad_(),
        torch.full((50,), 0.5 * math.log(0.5)).requires_grad_(),
    )

    def model() -> None:
        with pyro.plate("data", 50):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide() -> None:
        with pyro.plate("data", 50):
            pyro.sample("z", dist.Normal(loc, log_scale.exp()))

    loss = objectives.DoublyReparameterizedELBO(particles).differentiable_loss(model, guide)
    for gradient in torch.autograd.grad(loss, [loc, log_scale]):
        torch.testing.assert_close(gradient, torch.zeros(50), atol=1e-12, rtol=0)


# KL, free bits, capacity


@pytest.mark.parametrize("beta", [1.0, 4.0, 0.0], ids="beta={}".format)
def test_analytic_kl(beta: float) -> None:
    program, elbo = Linear(beta=beta), objectives.MeanFieldELBO()
    model_trace, guide_trace = elbo.traces(program.model, program.guide, program.x)
    likelihood, *_ = program.log_densities(guide_trace.nodes["z"]["value"])
    expected = beta * program.kl().sum() - likelihood.sum()
    assert elbo.surrogate(model_trace, guide_trace).item() == pytest.approx(expected)


@pytest.mark.parametrize("particles", [1, 3])
@pytest.mark.parametrize("beta", [1.0, 8.0, 0.0], ids="beta={}".format)
def test_free_bits(beta: float, particles: int) -> None:
    program = Linear(beta=beta)
    with torch.no_grad():
        program.loc[:, 0], program.log_scale[:, 0] = 0.1, 0.0  # KL 0.005: below the floor
        program.loc[:, 1] = torch.tensor([0.1, 0.2, 1.0, 2.0])
    kl = program.kl().mean(0)
    assert kl[0] < 0.25 < kl[1]
    elbo = objectives.FreeBitsELBO(0.25, particles)
    traces = elbo.traces(program.model, program.guide, program.x)
    likelihood, *_ = program.log_densities(traces[1].nodes["z"]["value"])
    expected = 4 * beta * (0.25 + kl[1]) - likelihood.sum() / particles
    assert elbo.surrogate(*traces).item() == pytest.approx(expected)


def test_free_bits_leave_a_unit_below_the_floor_alone() -> None:
    program = Linear()
    with torch.no_grad():
        program.loc[:, 0], program.log_scale[:, 0], program.loc[:, 1] = 0.1, 0.0, 2.0
    without_kl = Linear(beta=0.0)
    without_kl.loc, without_kl.log_scale = program.loc, program.log_scale
    elbo = objectives.FreeBitsELBO(0.25)
    difference = gradients(elbo, program)[0] - gradients(elbo, without_kl)[0]
    expected = program.loc.detach().clone()  # ∂KL/∂μ = μ
    expected[:, 0] = 0
    torch.testing.assert_close(difference, expected)


def test_free_bits_weigh_masked_images() -> None:
    program = Linear()
    kept = torch.tensor([True, False, True, False])
    program.scaled = lambda: poutine.mask(mask=kept)  # type: ignore[method-assign]
    elbo = objectives.FreeBitsELBO(0.6)
    traces = elbo.traces(program.model, program.guide, program.x)
    likelihood, *_ = program.log_densities(traces[1].nodes["z"]["value"])
    kl = program.kl()[kept.numpy()].mean(0)
    expected = 2 * np.maximum(kl, 0.6).sum() - likelihood.sum()
    assert elbo.surrogate(*traces).item() == pytest.approx(expected)


@pytest.mark.parametrize("particles", [1, 3])
@pytest.mark.parametrize("capacity", [0.0, 0.5, 25.0])
@pytest.mark.parametrize("beta", [1.0, 2.0, 0.0], ids="beta={}".format)
def test_capacity(beta: float, capacity: float, particles: int) -> None:
    program = Linear(beta=beta)
    elbo = objectives.CapacityELBO(1.0, gamma=10, num_particles=particles)
    elbo.capacity = torch.tensor(capacity)
    traces = elbo.traces(program.model, program.guide, program.x)
    likelihood, *_ = program.log_densities(traces[1].nodes["z"]["value"])
    distance = abs(program.kl().sum(1).mean() - capacity)
    expected = 4 * 10 * beta * distance - likelihood.sum() / particles
    assert elbo.surrogate(*traces).item() == pytest.approx(expected)


def test_kl_that_is_not_registered_is_sampled() -> None:
    x = torch.zeros(3)

    def model() -> None:
        with pyro.plate("data", 3):
            z = pyro.sample("z", dist.StudentT(4.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide() -> None:
        with pyro.plate("data", 3):
            pyro.sample("z", dist.Normal(0.2, 0.9))

    losses = []
    for elbo in (objectives.TraceELBO(), objectives.MeanFieldELBO()):
        torch.manual_seed(0)
        losses.append(elbo.loss(model, guide))
    assert losses[0] == pytest.approx(losses[1])
    # One unit: nothing is free at λ = 0, all of it at a λ above the KL.
    torch.manual_seed(0)
    assert objectives.FreeBitsELBO(0.0).loss(model, guide) >= losses[0] - 1e-5
    torch.manual_seed(0)
    reconstruction = -sum(dist.Normal(0.2 + 0.9 * torch.randn(3), 1.0).log_prob(x))
    torch.manual_seed(0)
    free = objectives.FreeBitsELBO(50.0).loss(model, guide)
    assert free == pytest.approx(float(reconstruction) + 3 * 50.0, rel=1e-5)
