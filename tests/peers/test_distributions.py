"""Every distribution of ours: exact values, shapes, copies, transforms of torch's, and ends."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import mpmath as mp
import pytest
import torch
from torch import Tensor

from pyro_vae import distributions as ours

from .adapters import ADAPTERS, Adapter

DTYPES = {torch.float32: 2e-6, torch.float64: 1e-13}


def made(adapter: Adapter, dtype: torch.dtype = torch.float64) -> tuple[list[Tensor], Any]:
    parameters = [torch.tensor(values, dtype=dtype) for values in adapter.parameters]
    return parameters, adapter.make(*parameters)


def points(adapter: Adapter, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor(adapter.points, dtype=dtype)[:, None]


def test_every_class_has_an_adapter() -> None:
    classes = {name for name in ours.__all__ if isinstance(getattr(ours, name), type)}
    assert classes == set(ADAPTERS)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ADAPTERS)
def test_log_prob_is_exact(name: str, dtype: torch.dtype) -> None:
    adapter = ADAPTERS[name]
    parameters, p = made(adapter, dtype)
    found = p.log_prob(points(adapter, dtype))
    assert found.dtype is dtype
    mp.mp.dps = 40
    for i, point in enumerate(points(adapter, dtype)):
        for k in range(2):
            exact = adapter.exact(mp.mpf(float(point)), *(mp.mpf(float(v[k])) for v in parameters))
            error = abs(mp.mpf(float(found[i, k])) - exact) / max(1, abs(exact))
            assert error <= DTYPES[dtype], (float(point), k, float(exact))


@pytest.mark.parametrize("name", ADAPTERS)
def test_gradients_are_differences(name: str) -> None:
    adapter = ADAPTERS[name]
    parameters, _ = made(adapter)
    for i, parameter in enumerate(parameters):
        inputs = [value.clone().requires_grad_(i == k) for k, value in enumerate(parameters)]
        total = adapter.make(*inputs).log_prob(points(adapter)).sum(0)
        (found,) = torch.autograd.grad(total.sum(), inputs[i])
        step = 1e-5 * parameter.abs().clamp(min=1.0)
        ends = []
        for sign in (1, -1):
            moved = [v + sign * step if i == k else v for k, v in enumerate(parameters)]
            ends.append(adapter.make(*moved).log_prob(points(adapter)).sum(0))
        wanted = (ends[0] - ends[1]) / (2 * step)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ADAPTERS)
def test_shapes_and_copies(name: str) -> None:
    adapter = ADAPTERS[name]
    _, p = made(adapter)
    wanted = p.log_prob(points(adapter))
    assert wanted.shape == (len(adapter.points), 2)
    larger = p.expand((3, 2))
    assert (larger.batch_shape, larger.event_shape) == ((3, 2), ())
    assert larger.sample((4,)).shape == (4, 3, 2)
    torch.testing.assert_close(larger.log_prob(points(adapter)[0]), wanted[0].expand(3, 2))
    for again in (copy.deepcopy(p), copy.copy(p), pickle.loads(pickle.dumps(p))):
        assert torch.equal(again.log_prob(points(adapter)), wanted)
    assert p.has_rsample == (type(p).rsample is not torch.distributions.Distribution.rsample)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", ADAPTERS)
def test_vmap_and_forward_mode(name: str) -> None:
    adapter = ADAPTERS[name]
    parameters, p = made(adapter)
    x = points(adapter)[1]

    def score(*values: Tensor) -> Tensor:
        scored: Tensor = adapter.make(*values).log_prob(x.squeeze())
        return scored

    validates = torch.distributions.Distribution._validate_args
    torch.distributions.Distribution.set_default_validate_args(False)  # as vmap needs of torch's
    try:
        mapped = torch.func.vmap(score)(*parameters)
        torch.testing.assert_close(mapped, p.log_prob(x))
        ones = tuple(torch.ones_like(value) for value in parameters)
        _, forward = torch.func.jvp(score, tuple(parameters), ones)
        leaves = [value.clone().requires_grad_() for value in parameters]
        backward = torch.autograd.grad(score(*leaves).sum(), leaves)
    finally:
        torch.distributions.Distribution.set_default_validate_args(validates)
    torch.testing.assert_close(forward, sum(backward))


@pytest.mark.parametrize("name", ADAPTERS)
def test_on_no_device_it_has_shapes(name: str) -> None:
    adapter = ADAPTERS[name]
    parameters = [torch.ones(2, device="meta") for _ in adapter.parameters]
    validates = torch.distributions.Distribution._validate_args
    torch.distributions.Distribution.set_default_validate_args(False)
    try:
        p = adapter.make(*parameters)
        scored = p.log_prob(torch.ones(5, 2, device="meta"))
    finally:
        torch.distributions.Distribution.set_default_validate_args(validates)
    assert (scored.shape, scored.device.type) == ((5, 2), "meta")


@pytest.mark.parametrize("name", ["ContinuousBernoulli", "TruncatedNormal", "LogitNormal"])
def test_quantiles_invert_the_cdf(name: str) -> None:
    _, p = made(ADAPTERS[name])
    u = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)[:, None]
    torch.testing.assert_close(p.cdf(p.icdf(u)), u.expand(7, 2), rtol=1e-9, atol=1e-12)
