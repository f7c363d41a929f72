"""Atoms at both ends: what the table of masses does not cover."""

import math
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from pyro_vae.distributions import Discretized, ZeroOneInflated


def test_the_atoms_are_added_to_the_base() -> None:
    gates = torch.tensor([0.2, 0.3, 0.5])
    base = Discretized(dist.Normal(torch.tensor(0.1), 0.2))
    levels = torch.tensor([0.0, 17.0, 255.0])
    expected = 0.5 * base.log_prob(levels).exp() + torch.tensor([0.2, 0.0, 0.3])
    masses = ZeroOneInflated(base, gates.log()).log_prob(levels).exp()
    torch.testing.assert_close(masses, expected)


@pytest.mark.parametrize("low", [-100.0, 100.0])
@pytest.mark.parametrize("inside", [-100.0, 100.0])
def test_every_level_is_finite_with_gradient_at_extreme_gates(low: float, inside: float) -> None:
    gates = torch.tensor([low, 0.0, inside]).repeat(256, 1).requires_grad_()
    loc = torch.full((256,), 5.0, requires_grad=True)
    d = ZeroOneInflated(Discretized(dist.Normal(loc, 1e-3)), gates)
    log_prob = d.log_prob(torch.arange(256.0))
    assert log_prob.isfinite().all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(log_prob.sum(), [gates, loc]))


def test_the_batch_is_that_of_base_and_gates() -> None:
    d = ZeroOneInflated(Discretized(dist.Normal(torch.zeros(4, 1), 1.0)), torch.zeros(3, 3))
    assert d.batch_shape == (4, 3)
    assert d.mean.shape == d.variance.shape == d.sample().shape == (4, 3)


@pytest.mark.parametrize(
    ("base", "gates", "message"),
    [
        (dist.Normal(0.0, 1.0), torch.zeros(3), "base must be a mass over 0 to a number"),
        (dist.Poisson(1.0), torch.zeros(3), "base must be a mass over 0 to a number"),
        (
            dist.Binomial(torch.tensor([3.0, 4.0]), torch.tensor(0.5)),
            torch.zeros(3),
            "base must have one number of levels",
        ),
        (
            dist.Binomial(3, torch.zeros(2)).to_event(1),
            torch.zeros(3),
            r"base must be univariate, got event_shape \(2,\)",
        ),
        (dist.Binomial(255, 0.5), torch.zeros(2), r"must have 3 entries last, got shape \(2,\)"),
        (dist.Binomial(255, 0.5), torch.zeros(()), r"must have 3 entries last, got shape \(\)"),
    ],
    ids=["density", "unbounded", "two-counts", "event", "two-gates", "no-gates"],
)
def test_what_does_not_fit_is_refused(base: Any, gates: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ZeroOneInflated(base, gates)


def test_gates_far_apart_leave_one_atom() -> None:
    d = ZeroOneInflated(dist.Binomial(255, torch.tensor(0.5)), torch.tensor([0.0, -100.0, -100.0]))
    assert (d.mean.item(), d.variance.item()) == pytest.approx((0, 0), abs=1e-30)
    assert d.log_prob(torch.tensor(255.0)).item() == pytest.approx(-100, abs=1e-4)
    assert math.isclose(d.log_prob(torch.tensor(0.0)).item(), 0, abs_tol=1e-6)
