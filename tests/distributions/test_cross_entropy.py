"""Cross-entropy on grey pixels: a Bernoulli on zeros and ones, a loss in between."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import mpmath
import pyro.distributions as dist
import pytest
import scipy.special
import scipy.stats
import torch
from mpmath import mpf
from torch import Tensor
from torch.distributions import kl_divergence
from torch.fx.experimental.proxy_tensor import make_fx

from pyro_vae.distributions import BernoulliCrossEntropy

# Statistical tests: seed 0 (conftest), expected to fail once in FAILURE_RATE of all seeds.
FAILURE_RATE = 1e-4

LOGITS = [-100.0, -30.0, -16.0, -3.0, -1e-3, 0.0, 0.5, 7.0, 16.0, 30.0, 100.0]


def true_log_prob(logit: float, x: float) -> float:
    with mpmath.workdps(80):
        return float(mpf(logit) * mpf(x) - mpmath.log1p(mpmath.exp(mpf(logit))))


@pytest.mark.parametrize("given", ["probs", "logits"])
def test_equals_bernoulli_on_zeros_and_ones(given: str) -> None:
    parameter = torch.linspace(0.01, 0.99, 99) if given == "probs" else torch.linspace(-15, 15, 99)
    x = torch.tensor([[0.0], [1.0]])
    arguments: dict[str, Any] = {given: parameter}
    ours, torchs = BernoulliCrossEntropy(**arguments), dist.Bernoulli(**arguments)
    torch.testing.assert_close(ours.log_prob(x), torchs.log_prob(x))
    torch.testing.assert_close(ours.log_prob(x).exp().sum(0), torch.ones(99))
    torch.testing.assert_close(ours.mean, torchs.mean)
    torch.testing.assert_close(ours.variance, torchs.variance)
    torch.testing.assert_close(ours.entropy(), torchs.entropy())


def test_is_the_weighted_mean_of_the_two_log_masses() -> None:
    d, x = BernoulliCrossEntropy(logits=torch.tensor(LOGITS)), torch.rand(50, 1)
    black, white = dist.Bernoulli(logits=d.logits).log_prob(torch.tensor([[0.0], [1.0]]))
    torch.testing.assert_close(d.log_prob(x), x * white + (1 - x) * black)


@pytest.mark.parametrize("logit", [-10.0, -1.0, 0.0, 1.0, 10.0])
def test_is_no_density(logit: float) -> None:
    x = torch.linspace(0, 1, 10_001, dtype=torch.float64)
    density = BernoulliCrossEntropy(logits=logit).log_prob(x).exp()
    mass = torch.trapezoid(density, x).item()
    exact = 0.5 if logit == 0 else math.tanh(logit / 2) / logit
    assert mass == pytest.approx(exact, abs=1e-6)
    assert mass <= 0.5


@pytest.mark.parametrize("value", [0.05, 0.3, 0.5, 0.9])
def test_least_loss_is_the_entropy_of_the_data(value: float) -> None:
    probs = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    x = torch.tensor(value, dtype=torch.float64)
    loss = -BernoulliCrossEntropy(probs=probs).log_prob(x)
    assert probs[loss.argmin()].item() == pytest.approx(value)
    entropy = scipy.special.entr(value) + scipy.special.entr(1 - value)
    assert loss.min().item() == pytest.approx(entropy, abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.25, 0.7, 1.0])
def test_raw_logits_from_minus_to_plus_100(value: float) -> None:
    logits = torch.tensor(LOGITS, requires_grad=True)
    log_prob = BernoulliCrossEntropy(logits=logits).log_prob(torch.tensor(value))
    (grad,) = torch.autograd.grad(log_prob.sum(), logits)
    true = torch.tensor([true_log_prob(logit, value) for logit in LOGITS])
    torch.testing.assert_close(log_prob.detach(), true, rtol=1e-6, atol=1e-6)
    true_grad = torch.tensor([value - float(scipy.special.expit(logit)) for logit in LOGITS])
    torch.testing.assert_close(grad, true_grad, rtol=1e-6, atol=1e-7)


def test_nothing_is_clamped() -> None:
    probs = torch.tensor([1e-30, 1e-12])
    d = BernoulliCrossEntropy(probs=probs)
    torch.testing.assert_close(d.log_prob(torch.tensor(1.0)), probs.log())
    torch.testing.assert_close(d.logits, probs.log())
    assert dist.Bernoulli(probs=probs).log_prob(torch.tensor(1.0))[0] > -16
    logits = torch.tensor([-90.0, 90.0])
    assert BernoulliCrossEntropy(logits=logits).mean[0].item() == pytest.approx(8.194e-40, rel=1e-3)


def test_probs_of_zero_and_one() -> None:
    d = BernoulliCrossEntropy(probs=torch.tensor([0.0, 1.0]))
    inf = math.inf
    expected = torch.tensor([[0.0, -inf], [-inf, -inf], [-inf, 0.0]])
    assert torch.equal(d.log_prob(torch.tensor([[0.0], [0.5], [1.0]])), expected)
    assert d.mean.tolist() == d.mode.tolist() == d.sample().tolist() == [0, 1]
    assert d.variance.tolist() == d.entropy().tolist() == [0, 0]
    fair = BernoulliCrossEntropy(probs=torch.tensor([0.0, 0.5]))
    assert kl_divergence(fair, d).tolist() == [0, inf]
    assert kl_divergence(d, fair).tolist() == pytest.approx([0, math.log(2)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_entropy_and_kl(dtype: torch.dtype) -> None:
    p, q = torch.tensor(LOGITS, dtype=dtype), torch.tensor(LOGITS, dtype=dtype)[:, None]
    with mpmath.workdps(80):

        def mass(logit: float) -> tuple[mpf, mpf]:
            return 1 / (1 + mpmath.exp(-mpf(logit))), 1 / (1 + mpmath.exp(mpf(logit)))

        entropy = [float(-sum(m * mpmath.log(m) for m in mass(logit))) for logit in p.tolist()]
        kl = [
            [
                float(sum(a * mpmath.log(a / b) for a, b in zip(mass(i), mass(j), strict=True)))
                for i in p.tolist()
            ]
            for j in p.tolist()
        ]
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    d = BernoulliCrossEntropy(logits=p)
    torch.testing.assert_close(
        d.entropy(), torch.tensor(entropy, dtype=dtype), rtol=tolerance, atol=tolerance
    )
    torch.testing.assert_close(
        kl_divergence(d, BernoulliCrossEntropy(logits=q)),
        torch.tensor(kl, dtype=dtype),
        rtol=tolerance,
        atol=tolerance,
    )


def test_samples_are_zeros_and_ones() -> None:
    n, p = 20_000, 0.3
    x = BernoulliCrossEntropy(probs=torch.tensor(p)).sample((n,))
    assert set(x.unique().tolist()) == {0, 1}
    assert scipy.stats.binomtest(int(x.sum()), n, p).pvalue > FAILURE_RATE


def test_mode() -> None:
    assert BernoulliCrossEntropy(logits=torch.tensor([-1.0, 0.0, 1.0])).mode.tolist() == [0, 0, 1]
    assert BernoulliCrossEntropy(probs=torch.tensor([0.4, 0.5, 0.6])).mode.tolist() == [0, 0, 1]


def test_members_of_a_distribution() -> None:
    d = BernoulliCrossEntropy(logits=torch.zeros(3, 1))
    assert not d.has_rsample
    assert not d.has_enumerate_support
    assert d.support is dist.constraints.unit_interval
    assert d.batch_shape == d.param_shape == (3, 1)
    assert BernoulliCrossEntropy.infer_shapes(probs=(3, 1)) == ((3, 1), ())


@pytest.mark.parametrize("given", ["probs", "logits"])
def test_expand_mask_to_event_and_copies(given: str) -> None:
    arguments: dict[str, Any] = {given: torch.tensor([[0.2], [0.9]])}
    d = BernoulliCrossEntropy(**arguments)
    _ = d.logits, d.probs
    x = torch.rand(4, 2, 3)
    wide = d.expand((4, 2, 3))
    assert type(wide) is BernoulliCrossEntropy
    assert wide.sample((5,)).shape == (5, 4, 2, 3)
    torch.testing.assert_close(wide.log_prob(x), d.log_prob(x))
    mask = torch.rand(4, 2, 3) < 0.5
    torch.testing.assert_close(wide.mask(mask).log_prob(x), wide.log_prob(x) * mask)
    torch.testing.assert_close(wide.to_event(2).log_prob(x), wide.log_prob(x).sum((-1, -2)))
    ways: list[Callable[[object], object]] = [
        copy.deepcopy,
        lambda o: pickle.loads(pickle.dumps(o)),
    ]
    for way in ways:
        other = way(wide)
        assert isinstance(other, BernoulliCrossEntropy)
        assert torch.equal(other.log_prob(x), wide.log_prob(x))


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="support"):
        BernoulliCrossEntropy(logits=0.0).log_prob(torch.tensor(255.0))
    with pytest.raises(ValueError, match="BernoulliCrossEntropy takes either probs or logits"):
        BernoulliCrossEntropy()
    with pytest.raises(ValueError, match="probs"):
        BernoulliCrossEntropy(probs=torch.tensor(-0.1))


def test_log_prob_compiles_and_traces() -> None:
    def step(logits: Tensor, x: Tensor) -> Tensor:
        log_prob = BernoulliCrossEntropy(logits=logits, validate_args=False).log_prob(x)
        return torch.autograd.grad(log_prob.sum(), logits)[0]

    def log_prob(logits: Tensor, x: Tensor) -> Tensor:
        return BernoulliCrossEntropy(logits=logits, validate_args=False).log_prob(x)

    logits, x = torch.randn(3, requires_grad=True), torch.rand(4, 3)
    compiled = torch.compile(log_prob, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(logits, x), log_prob(logits, x))
    new = torch.tensor([-99.0, 0.0, 99.0], requires_grad=True)
    torch.testing.assert_close(make_fx(step)(logits, x)(new, x), step(new, x))
