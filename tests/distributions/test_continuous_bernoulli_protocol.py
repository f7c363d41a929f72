"""The continuous Bernoulli as one of torch's distributions: parameters, shapes, copies, graphs."""

import copy
import math
import pickle
from typing import Any

import mpmath
import pyro.distributions as dist
import pytest
import torch
from mpmath import mpf
from torch import Tensor
from torch.distributions import kl_divergence
from torch.fx.experimental.proxy_tensor import make_fx

from pyro_vae.distributions import ContinuousBernoulli

mpmath.mp.dps = 60

dtypes = pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64], ids=["float32", "float64"]
)


def test_probs_are_not_clamped() -> None:
    probs = torch.tensor([1e-30, 1e-10, 0.3, 0.5])
    true = [mpmath.log(mpf(p) / (1 - mpf(p))) for p in probs.tolist()]
    torch.testing.assert_close(
        ContinuousBernoulli(probs=probs).logits, torch.tensor([float(t) for t in true])
    )


def test_probs_of_zero_and_one_are_point_masses() -> None:
    d = ContinuousBernoulli(probs=torch.tensor([0.0, 1.0]))
    inf = math.inf
    x = torch.tensor([[0.0], [0.5], [1.0]])
    expected = torch.tensor([[inf, -inf], [-inf, -inf], [-inf, inf]])
    assert torch.equal(d.log_prob(x), expected)
    assert torch.equal(d.mean, torch.tensor([0.0, 1.0]))
    assert torch.equal(d.variance, torch.zeros(2))
    assert torch.equal(d.entropy(), torch.full((2,), -inf))
    assert torch.equal(d.cdf(torch.tensor(0.5)), torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(d.sample((5,)), torch.tensor([0.0, 1.0]).expand(5, 2))
    other = ContinuousBernoulli(probs=torch.tensor([0.0, 0.5]))
    assert kl_divergence(d, other).tolist() == [0, inf]
    assert kl_divergence(other, d).tolist() == [0, inf]


def test_mode() -> None:
    d = ContinuousBernoulli(logits=torch.tensor([-3.0, 0.0, 3.0]))
    assert d.mode.tolist() == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either probs or logits, got neither"),
        ({"probs": 0.5, "logits": 0.0}, "either probs or logits, got both"),
        ({"probs": torch.tensor(1.5)}, "probs"),
        ({"logits": torch.tensor(math.nan)}, "logits"),
    ],
    ids=["neither", "both", "probs", "logits"],
)
def test_bad_parameters(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ContinuousBernoulli(**arguments)


@pytest.mark.parametrize("member", ["log_prob", "cdf"])
def test_values_outside_the_support(member: str) -> None:
    outside = torch.tensor([-0.1, 1.1])
    with pytest.raises(ValueError, match="support"):
        getattr(ContinuousBernoulli(logits=1.0), member)(outside)
    unchecked = ContinuousBernoulli(logits=1.0, validate_args=False)
    assert unchecked.cdf(outside).tolist() == [0, 1]


def test_members_of_a_distribution() -> None:
    d = ContinuousBernoulli(logits=torch.zeros(3, 1))
    assert d.has_rsample
    assert not d.has_enumerate_support
    assert d.support is dist.constraints.unit_interval
    assert d.batch_shape == d.param_shape == (3, 1)
    assert d.event_shape == ()
    assert ContinuousBernoulli(logits=0.5).batch_shape == ()
    assert ContinuousBernoulli.infer_shapes(logits=(3, 1)) == ((3, 1), ())
    torch.testing.assert_close(d.probs, torch.full((3, 1), 0.5))


@pytest.mark.parametrize("given", ["probs", "logits"])
def test_expand(given: str) -> None:
    parameter: dict[str, Any] = {given: torch.tensor([[0.2], [0.9]])}
    d = ContinuousBernoulli(**parameter)
    _ = d.logits, d.probs
    wide = d.expand((4, 2, 3))
    assert type(wide) is ContinuousBernoulli
    assert wide.batch_shape == wide.sample().shape == wide.mean.shape == (4, 2, 3)
    x = torch.rand(4, 2, 3)
    torch.testing.assert_close(wide.log_prob(x), d.log_prob(x))
    torch.testing.assert_close(wide.expand((5, 4, 2, 3)).mean, d.mean.expand(5, 4, 2, 3))


def test_leading_dimensions_broadcast() -> None:
    logits, x = torch.randn(7, 1, 2, 3), torch.rand(5, 2, 3)
    log_prob = ContinuousBernoulli(logits=logits).log_prob(x)
    assert log_prob.shape == (7, 5, 2, 3)
    one = ContinuousBernoulli(logits=logits[4, 0]).log_prob(x[2])
    torch.testing.assert_close(log_prob[4, 2], one)
    assert ContinuousBernoulli(logits=logits).sample((6,)).shape == (6, 7, 1, 2, 3)


def test_mask_and_to_event() -> None:
    logits, x = torch.randn(4, 3), torch.rand(4, 3)
    d = ContinuousBernoulli(logits=logits)
    mask = torch.tensor([True, False, True])
    assert torch.equal(d.mask(mask).log_prob(x), d.log_prob(x) * mask)
    event = d.to_event(1)
    assert (event.batch_shape, event.event_shape) == ((4,), (3,))
    torch.testing.assert_close(event.log_prob(x), d.log_prob(x).sum(-1))
    other = ContinuousBernoulli(logits=torch.zeros(4, 3))
    torch.testing.assert_close(
        kl_divergence(event, other.to_event(1)), kl_divergence(d, other).sum(-1)
    )


@pytest.mark.parametrize("given", ["probs", "logits"])
@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_copies(given: str, way: str) -> None:
    parameter: dict[str, Any] = {given: torch.tensor([0.2, 0.9])}
    d = ContinuousBernoulli(**parameter)
    other = copy.deepcopy(d) if way == "deepcopy" else pickle.loads(pickle.dumps(d))
    x = torch.tensor([0.1, 0.7])
    assert torch.equal(other.log_prob(x), d.log_prob(x))
    assert other.batch_shape == (2,)


def log_prob(logits: Tensor, x: Tensor) -> Tensor:
    return ContinuousBernoulli(logits=logits, validate_args=False).log_prob(x)


def test_log_prob_compiles_as_one_graph() -> None:
    compiled = torch.compile(log_prob, fullgraph=True, backend="aot_eager")
    logits, x = torch.tensor([-20.0, 0.0, 0.3], requires_grad=True), torch.rand(4, 3)
    (grad,) = torch.autograd.grad(compiled(logits, x).sum(), logits)
    torch.testing.assert_close(compiled(logits, x), log_prob(logits, x))
    torch.testing.assert_close(grad, torch.autograd.grad(log_prob(logits, x).sum(), logits)[0])


def test_gradient_can_be_traced() -> None:
    def step(logits: Tensor, x: Tensor) -> Tensor:
        return torch.autograd.grad(log_prob(logits, x).sum(), logits)[0]

    logits, x = torch.randn(3, requires_grad=True), torch.rand(4, 3)
    traced = make_fx(step)(logits, x)
    new = torch.tensor([-700.0, 0.0, 0.01], requires_grad=True)
    torch.testing.assert_close(traced(new, x), step(new, x))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")
def test_gradients_per_example() -> None:
    logits, x = torch.randn(5), torch.rand(5)
    grads = torch.func.vmap(torch.func.grad(log_prob))(logits, x)
    torch.testing.assert_close(grads, x - ContinuousBernoulli(logits=logits).mean)
