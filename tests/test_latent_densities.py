"""Densities of posteriors: of flows by their Jacobian, of full normals against torch's."""

from __future__ import annotations

import itertools

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from pyro_vae import posteriors
from pyro_vae.distributions.flow import Flow
from pyro_vae.distributions.full_normal import FullNormal


@pytest.mark.parametrize("posterior", ["iaf:3", "coupling:3"])
def test_the_density_of_a_flow_is_the_draws_own(posterior: str) -> None:
    """By its inverse, and by the Jacobian of the map from the base that autograd gives."""
    torch.set_default_dtype(torch.float64)
    try:
        module = posteriors.make(posterior, 3)
        q = module(torch.randn(4, module.numbers))
        z = q.rsample((2,))
        cached = q.log_prob(z)
        torch.testing.assert_close(q.log_prob(z.clone()), cached)
        # z = f(z0): log q(z) = log N(z0) − log |det ∂f|, from a fresh pass for one image.
        one = module(torch.randn(1, module.numbers))
        start = one.base.rsample()

        def push(z0: Tensor) -> Tensor:
            z = z0[None]
            for transform in one.transforms:
                z = transform(z)
            return z[0]

        jacobian = torch.autograd.functional.jacobian(push, start[0])
        wanted = one.base.log_prob(start)[0] - torch.linalg.slogdet(jacobian)[1]
        torch.testing.assert_close(one.log_prob(push(start[0])[None])[0], wanted)
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_flows_density_broadcasts_over_images() -> None:
    module = posteriors.make("iaf", 3)
    q, z = module(torch.randn(4, module.numbers)), torch.randn(5, 1, 3)
    together = q.log_prob(z)
    assert together.shape == (5, 4)
    for i, j in itertools.product(range(5), range(4)):
        alone = q.log_prob(z[i].expand(4, 3))[j]
        torch.testing.assert_close(together[i, j], alone, atol=1e-5, rtol=1e-5)


def test_kl_of_a_full_normal_is_torchs_of_two_full_ones() -> None:
    factor = torch.tril(torch.randn(7, 3, 3), -1) + torch.diag_embed(torch.rand(7, 3) + 0.5)
    q = FullNormal(torch.randn(7, 3), scale_tril=factor)
    loc, scale = torch.randn(3), torch.rand(3) + 0.5
    p = Independent(Normal(loc, scale), 1)
    wanted = kl_divergence(
        MultivariateNormal(q.loc, scale_tril=q.scale_tril),
        MultivariateNormal(loc, torch.diag(scale**2)),
    )
    torch.testing.assert_close(kl_divergence(q, p), wanted)


@pytest.mark.parametrize("size", [0.0, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("name", ["diagonal", "full", "iaf", "coupling"])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_every_draw_of_a_posterior_has_a_density(name: str, sign: float, size: float) -> None:
    module = posteriors.make(name, 8)
    either = torch.where(torch.rand(100, module.numbers) < 0.5, size, -size)
    for raw in (torch.full((100, module.numbers), sign * size), either):
        raw.requires_grad_()
        for drawn in ("sample", "rsample"):
            q = module(raw)
            with torch.set_grad_enabled(drawn == "rsample"):
                log_prob = q.log_prob(getattr(q, drawn)())
            assert log_prob.isfinite().all()
        (gradient,) = torch.autograd.grad(log_prob.sum(), raw)
        assert gradient.isfinite().all()


def _full_normal(numbers: Tensor) -> tuple[FullNormal, Tensor, Tensor]:
    loc, factor = numbers[:3], numbers[3:].reshape(3, 3).tril(-1) + 2 * torch.eye(3).to(numbers)
    return FullNormal(loc, scale_tril=factor), loc, factor


def test_a_full_normals_own_draw_has_the_density_and_gradients_of_torchs() -> None:
    numbers = torch.randn(12, dtype=torch.float64, requires_grad=True)
    q, loc, factor = _full_normal(numbers)
    torchs = MultivariateNormal(loc, scale_tril=factor)
    z = q.rsample((5,))
    for point in (z, z.detach(), z.detach().requires_grad_()):
        ours, theirs = q.log_prob(point), torchs.log_prob(point)
        torch.testing.assert_close(ours, theirs)
        grads = [
            torch.autograd.grad(p.sum(), numbers, retain_graph=True)[0] for p in (ours, theirs)
        ]
        torch.testing.assert_close(*grads)
    constant = q.sample()  # under no_grad it is made as z is, but stays where it is
    grads = [
        torch.autograd.grad(p.log_prob(constant), numbers, retain_graph=True)[0]
        for p in (q, torchs)
    ]
    torch.testing.assert_close(*grads)
    start = q.sample().requires_grad_()
    grads = [torch.autograd.grad(p.log_prob(start), start)[0] for p in (q, torchs)]
    torch.testing.assert_close(*grads)


def test_a_flow_has_a_centre_and_no_mean() -> None:
    base = dist.Normal(torch.ones(3), 1.0).to_event(1)
    q = Flow(base, [dist.transforms.AffineTransform(1.0, 2.0)])
    torch.testing.assert_close(posteriors.code_of(q), torch.full((3,), 3.0))
    with pytest.raises(NotImplementedError):
        q.mean  # noqa: B018
    assert q.expand((4,)).rsample().shape == (4, 3)
