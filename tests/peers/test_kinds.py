"""Where derivatives, sums and settings went wrong without a word."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Beta

from pyro_vae import VAE, networks
from pyro_vae.distributions import (
    BernoulliCrossEntropy,
    BetaBinomial,
    ContinuousBernoulli,
    Discretized,
    TruncatedNormal,
    log_interval_mass,
)

SWITCHES = (0.0, 1e-3, 0.05, 0.2, 0.6, 1.0)


def compare(f: Any, at: float, dtype: torch.dtype) -> None:
    """A derivative against differences in double precision, apart from rounding."""
    x = torch.tensor(at, dtype=dtype, requires_grad=True)
    (found,) = torch.autograd.grad(f(x), x)
    wide, step = x.detach().double(), 1e-4
    wanted = (f(wide + step) - f(wide - step)) / (2 * step)
    assert float(found) == pytest.approx(float(wanted), rel=2e-3, abs=2e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("at", [sign * switch for switch in SWITCHES for sign in (1, -1)])
@pytest.mark.parametrize("what", ["mean", "variance", "cdf", "icdf", "entropy", "log_prob"])
def test_no_derivative_is_lost_at_a_switch(what: str, at: float, dtype: torch.dtype) -> None:
    def value(logits: Tensor) -> Tensor:
        p = ContinuousBernoulli(logits=logits)
        found = getattr(p, what)
        if what in ("cdf", "icdf", "log_prob"):
            found = found(torch.tensor(0.3, dtype=logits.dtype))
        return found() if callable(found) else found  # type: ignore[no-any-return]

    compare(value, at, dtype)


@pytest.mark.parametrize("what", ["mean", "variance"])
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("loc", [0.0, 0.5, 1.0])
def test_no_derivative_is_lost_at_an_end(loc: float, scale: float, what: str) -> None:
    def value(loc: Tensor) -> Tensor:
        found: Tensor = getattr(TruncatedNormal(loc, torch.tensor(scale, dtype=loc.dtype)), what)
        return found

    compare(value, loc, torch.float32)


def test_second_derivatives_at_zero() -> None:
    """−1/12 of the log-density, −1/120 of the variance, by their series."""
    logits = torch.zeros((), dtype=torch.float64, requires_grad=True)
    for value, wanted in (
        (ContinuousBernoulli(logits=logits).log_prob(torch.tensor(0.3).double()), -1 / 12),
        (ContinuousBernoulli(logits=logits).variance, -1 / 120),
    ):
        (first,) = torch.autograd.grad(value, logits, create_graph=True)
        (second,) = torch.autograd.grad(first, logits)
        assert float(second) == pytest.approx(wanted, rel=1e-6)


def test_a_saturated_probability_has_a_gradient() -> None:
    probs = torch.tensor([0.0, 1.0, 0.25], requires_grad=True)
    loss = BernoulliCrossEntropy(probs=probs).log_prob(torch.tensor([0.0, 1.0, 0.5])).sum()
    (found,) = torch.autograd.grad(loss, probs)
    torch.testing.assert_close(found, torch.tensor([-1.0, 1.0, 0.5 / 0.25 - 0.5 / 0.75]))


@pytest.mark.parametrize("levels", [2, 3, 5, 17, 63, 64, 256])
@pytest.mark.parametrize("shapes", [(0.01, 0.02), (0.5, 0.5), (2.0, 3.0), (1e3, 900.0)])
def test_masses_of_a_beta_sum_to_one(levels: int, shapes: tuple[float, float]) -> None:
    a, b = (torch.tensor(shape) for shape in shapes)
    p = Discretized(Beta(a, b), levels=levels)
    each = p.log_prob(torch.arange(float(levels)))
    assert float(each.double().logsumexp(0)) == pytest.approx(0, abs=2e-6)
    assert float(p._log_masses().double().logsumexp(0)) == pytest.approx(0, abs=2e-6)


@pytest.mark.parametrize("ends", [(0.1, 0.9), (0.0, 0.5), (0.2, 0.4), (0.6, 0.95), (0.001, 0.999)])
@pytest.mark.parametrize("shapes", [(0.5, 0.5), (2.0, 3.0), (30.0, 50.0), (300.0, 20.0)])
def test_wide_masses_of_a_beta(ends: tuple[float, float], shapes: tuple[float, float]) -> None:
    import mpmath as mp

    a, b, lo, hi = (torch.tensor(value, dtype=torch.float64) for value in (*shapes, *ends))
    wanted = mp.log(mp.betainc(*map(float, (a, b, lo, hi)), regularized=True))
    found = float(log_interval_mass(Beta(a, b), lo, hi))
    assert found == pytest.approx(float(wanted), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.int64])
def test_edges_of_levels_are_in_the_parameters_precision(dtype: torch.dtype) -> None:
    """1/256 of levels 5 and 6 of [0, 0.7], from whole numbers and from float32 ones."""
    loc = torch.tensor(0.01, dtype=torch.float64)
    p = Discretized(torch.distributions.Normal(loc, 1e-3 + 0 * loc), levels=200, high=0.7)
    wanted = p.log_prob(torch.tensor([5.0, 6.0], dtype=torch.float64))
    assert torch.equal(p.log_prob(torch.tensor([5, 6]).to(dtype)), wanted)


@pytest.mark.slow
def test_a_flow_prior_leaves_validation_on() -> None:
    code = (
        "import torch; from pyro_vae import VAE, networks\n"
        "VAE((4,), 2, 'real-normal', networks.MLP(hidden=4), prior='flow')\n"
        "assert torch.distributions.Distribution._validate_args is True\n"
        "try: torch.distributions.Normal(0.0, -1.0)\n"
        "except ValueError: print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"


def _small(observation: str) -> VAE:
    torch.manual_seed(0)
    return VAE((1, 4, 4), 2, observation, networks.MLP(hidden=4))


@pytest.mark.parametrize(
    "observation",
    [
        "normal",
        "normal-learned-sigma",
        "normal-optimal-sigma",
        "bernoulli",
        "discretized-logistic",
        "discretized-truncated-normal",
    ],
)
def test_loading_into_uninitialised_memory_leaves_nothing_unset(observation: str) -> None:
    vae, x = _small(observation), torch.full((3, 1, 4, 4), 128, dtype=torch.uint8)
    with torch.device("meta"):
        bare = _small(observation)
    bare = bare.to_empty(device="cpu")
    with torch.no_grad():
        for buffer in bare.buffers():
            buffer.fill_(7)
    assert bare.load_state_dict(vae.state_dict()).missing_keys == []
    scored = []
    for one in (vae, bare):
        torch.manual_seed(1)
        from pyro_vae.objectives import TraceELBO

        scored.append(TraceELBO().differentiable_loss(one.model, one.guide, one.observe(x)))
    assert torch.equal(*scored)
    assert isinstance(bare, nn.Module)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("observation", ["normal", "bernoulli", "discretized-logistic"])
def test_another_precision_takes_eight_bit_pictures(observation: str, dtype: torch.dtype) -> None:
    from pyro_vae.objectives import TraceELBO

    vae, x = _small(observation), torch.randint(0, 256, (3, 1, 4, 4), dtype=torch.uint8)
    losses = []
    for one in (vae, vae.to(dtype)):
        torch.manual_seed(1)
        seen = one.observe(x)
        losses.append(TraceELBO().loss(one.model, one.guide, seen))
    assert losses[1] == losses[1]
    assert losses[1] > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_point_mass_has_a_step_and_one_quantile(dtype: torch.dtype) -> None:
    p = ContinuousBernoulli(probs=torch.tensor([0.0, 1.0], dtype=dtype))
    x = torch.tensor([0.0, 0.3, 1.0], dtype=dtype)[:, None]
    assert p.cdf(x).tolist() == [[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
    quantiles = p.icdf(torch.tensor([[0.2], [0.7]], dtype=dtype))
    wanted = torch.tensor([[0.0, 1.0]] * 2, dtype=dtype)
    torch.testing.assert_close(quantiles, wanted, rtol=0, atol=1e-37)


@pytest.mark.parametrize("shape", [1.0, 4.0, 8.0])
def test_second_derivatives_at_equal_shapes(shape: float) -> None:
    """Against differences of the first: of equal numbers a minimum takes half of each."""

    def first(value: float) -> Tensor:
        a = torch.tensor(value, dtype=torch.float64, requires_grad=True)
        b = torch.tensor(shape, dtype=torch.float64)
        p = BetaBinomial(a, b, total_count=255)
        score = p.log_prob(torch.tensor(3.0, dtype=torch.float64))
        (found,) = torch.autograd.grad(score, a, create_graph=True)
        second: Tensor = torch.autograd.grad(found, a)[0]
        return torch.stack([found.detach(), second])

    wanted = (first(shape + 1e-5)[0] - first(shape - 1e-5)[0]) / 2e-5
    assert float(first(shape)[1]) == pytest.approx(float(wanted), rel=1e-5)
