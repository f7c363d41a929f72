"""Properties that every stock observation has, over the table of named cases."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pyro.distributions.testing.gof import auto_goodness_of_fit
from scipy import integrate, special
from torch import Tensor
from torch.distributions import constraints

from pyro_vae import Head
from pyro_vae.data import levels
from pyro_vae.heads import BuiltHead

from .zoo import CASES, NAMES

# Below a concentration of 0.6 a Beta has mass closer to 1 than float64 has numbers there.
RAWS = [-0.5, 0.0, 1.5, 4.0]
FAILURE_RATE = 1e-4  # of the goodness-of-fit tests, each at seed 0


def own_x(head: Head) -> bool:
    """Whether a scale is computed from the very x that is scored: no density."""
    return head.kind_on(torch.tensor([0.3])) == "loss"


LIKELIHOODS = [name for name in NAMES if not own_x(CASES[name]())]


def built(name: str, shape: tuple[int, ...] = (1,)) -> BuiltHead:
    head = CASES[name]().build(shape)
    with torch.no_grad():
        for buffer in head.buffers():
            buffer.fill_(0.3 if buffer.dtype.is_floating_point and buffer.dim() else buffer.item())
    return head


def at(name: str, raw: float) -> Any:
    """The distribution of one site at the same raw number everywhere."""
    head = built(name).double()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.fill_(raw)
        return head(torch.full((head.numbers,), raw, dtype=torch.float64))


def test_there_are_likelihoods_and_losses() -> None:
    assert len(LIKELIHOODS) >= 10
    assert len(LIKELIHOODS) < len(NAMES)


def _total(p: Any, f: Callable[[float], float]) -> float:
    """E[f(x)] by quadrature or summation, in float64."""

    def weighted(x: float) -> float:
        return float(p.log_prob(torch.tensor([x], dtype=torch.float64)).exp()) * f(x)

    support = p.support.base_constraint
    if support.is_discrete:
        return sum(weighted(float(x)) for x in (0, 1))
    if support in (constraints.unit_interval,):
        # x = sigmoid(t) smooths what a density may do at the ends.
        def smooth(t: float) -> float:
            x = float(special.expit(t))
            return weighted(x) * x * float(special.expit(-t))

        return float(integrate.quad(smooth, -36, 36, limit=400, points=[-8, 0, 8])[0])
    middle, width = float(p.base_dist.loc), float(p.base_dist.scale)
    edges = [middle + s * width * 10.0**e for e in (8, 4, 2, 1) for s in (-1, 1)] + [middle]
    edges.sort()
    return sum(
        float(integrate.quad(weighted, a, b, limit=400)[0]) for a, b in itertools.pairwise(edges)
    )


@pytest.mark.parametrize("raw", RAWS)
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_densities_integrate_and_masses_sum_to_one(name: str, raw: float) -> None:
    p = at(name, raw)
    if "binary" in name:
        total = sum(float(p.log_prob(torch.tensor([x])).exp()) for x in (0.0, 1.0))
    else:
        total = _total(p, lambda x: 1.0)
    assert total == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("raw", RAWS)
# The tails of a t with 2.7 degrees of freedom are too heavy for the quadrature of its moments.
@pytest.mark.parametrize(
    "name", [n for n in LIKELIHOODS if n not in ("bernoulli-binary", "student-t")]
)
def test_mean_and_variance_by_quadrature(name: str, raw: float) -> None:
    p = at(name, raw)
    mean = float(p.mean)
    assert _total(p, lambda x: x) == pytest.approx(mean, rel=1e-5, abs=1e-6)
    variance = _total(p, lambda x: (x - mean) ** 2)
    assert variance == pytest.approx(float(p.variance), rel=1e-4)


@pytest.mark.parametrize("name", [n for n in LIKELIHOODS if "binary" not in n])
def test_samples_follow_the_density(name: str) -> None:
    torch.manual_seed(0)
    p = at(name, 0.7).base_dist
    samples = p.sample((20_000,)).squeeze(-1)
    probs = p.log_prob(samples[:, None]).exp().squeeze(-1)
    assert auto_goodness_of_fit(samples, probs) > FAILURE_RATE


@pytest.mark.parametrize("name", NAMES)
def test_log_prob_and_its_gradient_are_finite_in_float32(name: str) -> None:
    head = built(name, (3,))
    choice = levels.get(head.head.levels)
    k = torch.tensor([0, 1, 128, 254, 255], dtype=torch.uint8)[:, None].expand(5, 3)
    grid = torch.tensor([-100.0, -30.0, -5.0, 0.0, 5.0, 30.0, 100.0])
    raws = torch.cartesian_prod(*[grid] * len(head.head.parameters)).reshape(-1, 1)
    raw = raws.expand(-1, head.numbers).clone().requires_grad_(True)
    mixed = grid[torch.randint(len(grid), (500, head.numbers))].requires_grad_(True)
    for noise in (0.0, 0.5, 0.99999994):
        x = choice.observe(k, torch.full((5, 3), noise), (0.0, 1.0))
        for point in (raw, mixed):
            log_prob = head(point[:, None], x).log_prob(x)
            assert torch.isfinite(log_prob).all()
            leaves = [point, *head.parameters()]
            gradients = torch.autograd.grad(log_prob.sum(), leaves, allow_unused=True)
            assert all(torch.isfinite(g).all() for g in gradients if g is not None)


@pytest.mark.parametrize("raw", [-100.0, -10.0, 10.0, 100.0])
@pytest.mark.parametrize("name", NAMES)
def test_learned_numbers_are_finite_at_the_extremes(name: str, raw: float) -> None:
    head = built(name, (3,))
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.fill_(raw)
    x = levels.get(head.head.levels).observe(
        torch.tensor([[0, 128, 255]], dtype=torch.uint8), torch.full((1, 3), 0.5), (0.0, 1.0)
    )
    log_prob = head(torch.zeros(1, head.numbers), x).log_prob(x)
    assert torch.isfinite(log_prob).all()
    learned = [p for p in head.parameters() if p.requires_grad]
    if learned:
        gradients = torch.autograd.grad(log_prob.sum(), learned)
        assert all(torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("name", NAMES)
def test_expand_mask_and_infer_shapes(name: str) -> None:
    p = built(name, (2,))
    d = p(torch.zeros(3, p.numbers))
    x = levels.get(p.head.levels).observe(
        torch.full((3, 2), 7, dtype=torch.uint8), torch.full((3, 2), 0.5), (0.0, 1.0)
    )
    assert torch.allclose(d.expand((4, 3)).log_prob(x), d.log_prob(x).expand(4, 3))
    assert torch.equal(d.mask(False).log_prob(x), torch.zeros(3))
    base = d.base_dist
    shapes = {key: getattr(base, key).shape for key, _ in p.head.parameters}
    batch, event = type(base).infer_shapes(**shapes)
    assert (tuple(batch), tuple(event)) == ((3, 2), ())


@pytest.mark.parametrize("name", NAMES)
def test_log_prob_is_traced_whole(name: str) -> None:
    head = built(name, (4,))
    x = levels.get(head.head.levels).observe(
        torch.arange(12, dtype=torch.uint8).reshape(3, 4), torch.full((3, 4), 0.5), (0.0, 1.0)
    )
    other = copy.deepcopy(head)

    def log_prob(raw: Tensor) -> Tensor:
        value: Tensor = other(raw, x).log_prob(x)
        return value

    raw = torch.randn(3, head.numbers)
    with torch.no_grad():
        expected = head(raw, x).log_prob(x)
        torch.distributions.Distribution.set_default_validate_args(False)
        try:
            compiled = torch.compile(log_prob, backend="eager")(raw)
        finally:
            torch.distributions.Distribution.set_default_validate_args(True)
    assert np.allclose(compiled, expected, rtol=1e-5)
