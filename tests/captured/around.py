"""What stands around the loss, and changes it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pyro
import torch
from pyro import poutine
from torch.nn import functional as F

from .making import SITUATIONS, Net, Step, data, late, pair, seen, situation, stepping


def _around(name: str, around: Callable[[int], Any]) -> None:
    def make() -> Step:
        net = Net()
        return stepping(
            net,
            *pair(net),
            around=lambda i: around(i) if late(i) != 1.0 else contextlib.nullcontext(),
        )

    SITUATIONS["around_" + name] = make


@contextlib.contextmanager
def _default_dtype(i: int) -> Any:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def _deterministic(i: int) -> Any:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


class Doubled(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        return found * 2 if func is F.softplus else found


_around("scale", lambda i: poutine.scale(scale=0.1))
_around("mask", lambda i: poutine.mask(mask=torch.tensor(False)))
_around("condition", lambda i: poutine.condition(data={"z": torch.ones(6)}))
_around("block", lambda i: poutine.block())
_around("trace", lambda i: poutine.trace())
_around("seed", lambda i: poutine.seed(rng_seed=3))
_around("plate", lambda i: pyro.plate("more", 3, dim=-2))
_around("local_parameters", lambda i: pyro.settings.context(module_local_params=True))
_around("validation", lambda i: pyro.validation_enabled(False))
_around("autocast", lambda i: torch.autocast("cpu", torch.bfloat16))
_around("default_dtype", _default_dtype)
_around("deterministic", _deterministic)
_around("function_mode", lambda i: Doubled())
_around("anomalies", lambda i: torch.autograd.detect_anomaly(check_nan=False))
_around("default_device", lambda i: torch.device("cpu"))


@situation
def always_under_autocast() -> Step:
    net = Net()
    return stepping(net, *pair(net), around=lambda i: torch.autocast("cpu", torch.bfloat16))


@situation
def no_grad() -> Step:
    net = Net()
    return stepping(net, *pair(net), around=lambda i: torch.set_grad_enabled(i != 4))


@situation
def functional_gradients() -> Step:
    net = Net()
    model, guide = pair(net, lambda x: x.square().sum())

    def step(elbo: Any, i: int) -> list[Any]:
        if i > 2:
            return [torch.func.grad(lambda x: elbo.differentiable_loss(model, guide, x))(data(i))]
        return seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())

    return step
