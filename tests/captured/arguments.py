"""Arguments of every kind, as calls change them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.nn import functional as F

from .making import SITUATIONS, Net, Step, data, late, pair, seen, situation


def _arguments(name: str, of: Callable[[int], tuple[tuple[Any, ...], dict[str, Any]]]) -> None:
    def make() -> Step:
        net = Net()

        def model(x: Any, *args: Any, **kwargs: Any) -> None:
            flat, others = _flat((args, kwargs))
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
                total = sum((k + 1) * t.double().sum() for k, t in enumerate(flat))
                with poutine.scale(scale=1.0 + others + abs(total)):
                    pyro.sample("x", dist.Normal(z, 1.0), obs=x)

        def guide(x: Any, *args: Any, **kwargs: Any) -> None:
            pair(net)[1](x)

        def step(elbo: Any, i: int) -> list[Any]:
            args, kwargs = of(i)
            loss = elbo.differentiable_loss(model, guide, *args, **kwargs)
            tensors = [leaf for leaf in _flat((args, kwargs))[0] if leaf.is_leaf]
            return seen(loss, [*net.parameters(), *tensors])

        return step

    SITUATIONS["arguments_" + name] = make


def _flat(tree: Any) -> tuple[list[Tensor], float]:
    """The tensors in a nest, and what the rest adds up to."""
    tensors: list[Tensor] = []
    total = 0.0
    for leaf in torch.utils._pytree.tree_leaves(tree):
        if isinstance(leaf, Tensor):
            tensors.append(leaf)
        elif isinstance(leaf, np.ndarray | set | frozenset):
            total += float(sum(leaf))
        elif hasattr(leaf, "beta"):
            total += float(leaf.beta)
        elif isinstance(leaf, bool):
            total += 0.5 * leaf
        elif isinstance(leaf, int | float):
            total += leaf if leaf == leaf else 7.0
        elif isinstance(leaf, str):
            total += len(leaf)
    return tensors, total


class Alike:
    """Equal to anything."""

    def __init__(self, beta: float) -> None:
        self.beta = beta

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


KEPT = SimpleNamespace(beta=1.0)
HELD = torch.tensor([1.0, 2.0])


def _changed(i: int) -> Any:
    KEPT.beta = late(i)
    return KEPT


def _same_twice(i: int) -> tuple[Any, ...]:
    a = torch.tensor([1.0, 2.0]) + i
    return (data(i), a, a) if i < 2 else (data(i), a, a * 10)


_arguments("number", lambda i: ((data(i), late(i)), {}))
_arguments("many_numbers", lambda i: ((data(i), float(i)), {}))
_arguments("keyword", lambda i: ((data(i),), {"beta": torch.tensor(late(i))}))
_arguments("other_keyword", lambda i: ((data(i),), {"a" if i < 3 else "bc": 1.0 + (i > 3)}))
_arguments("nested", lambda i: ((data(i), {"a": [torch.ones(2) * i, (late(i),)]}), {}))
_arguments("set", lambda i: ((data(i), {late(i), 7.0}), {}))
_arguments("array", lambda i: ((data(i), np.array([late(i)])), {}))
_arguments("alike", lambda i: ((data(i), Alike(late(i))), {}))
_arguments("namespace", lambda i: ((data(i), SimpleNamespace(beta=late(i))), {}))
_arguments("changed_object", lambda i: ((data(i), _changed(i)), {}))
_arguments("none", lambda i: ((data(i), None if late(i) == 1.0 else 2.0), {}))
_arguments("bool_or_int", lambda i: ((data(i), True if late(i) == 1.0 else 1), {}))
_arguments("nan", lambda i: ((data(i), float("nan")), {}))
_arguments("text", lambda i: ((data(i), "a" * int(late(i))), {}))
_arguments("shape", lambda i: ((data(i, 4 + i % 3),), {}))
_arguments("one_row", lambda i: ((data(i, 1 if late(i) == 3.0 else 4),), {}))
_arguments(
    "dtype", lambda i: ((data(i), torch.ones(2).to((torch.float64, torch.int64)[i % 2])), {})
)
_arguments("other_dtype", lambda i: ((data(i), torch.full((2,), 1.5, dtype=torch.float16)), {}))
_arguments(
    "strides",
    lambda i: (
        (data(i), torch.arange(6.0).view(2, 3).T if i > 2 else torch.arange(6.0).view(3, 2)),
        {},
    ),
)
_arguments(
    "expanded",
    lambda i: ((data(i), torch.tensor(late(i)).expand(3) if i % 2 else torch.ones(3) * i), {}),
)
_arguments(
    "sparse",
    lambda i: ((data(i), torch.eye(3).to_sparse().to_dense() if i < 3 else torch.eye(3) * i), {}),
)
_arguments("twice_the_same", lambda i: (_same_twice(i), {}))
_arguments("overlapping", lambda i: ((data(i), HELD[:1] if i < 3 else HELD[1:] * i, HELD), {}))
_arguments(
    "needs_gradient", lambda i: ((data(i), torch.ones(2).mul(i + 1).requires_grad_(i > 2)), {})
)
_arguments("parameter", lambda i: ((data(i), nn.Parameter(torch.ones(2) * (i + 1))), {}))
_arguments("empty", lambda i: ((data(i), torch.zeros(0) if i % 2 else torch.ones(1)), {}))
_arguments(
    "conjugate",
    lambda i: (
        (data(i), torch.ones(2, dtype=torch.complex64).mul(1 + 1j * i).conj().real.clone()),
        {},
    ),
)
_arguments("module", lambda i: ((data(i), _changed(i)), {"m": KEPT}))


@situation
def no_tensor_among_the_arguments() -> Step:
    net, x = Net(), data(0)

    def model() -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide() -> None:
        raw = net.layer(x.unsqueeze(-1))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(raw[:, 0], F.softplus(raw[:, 1])))

    def step(elbo: Any, i: int) -> list[Any]:
        if i == 4:
            x.mul_(2.0)
        return seen(elbo.differentiable_loss(model, guide), net.parameters())

    return step


@situation
def data_of_the_closure_made_anew() -> Step:
    net, kept = Net(), {"x": data(0)}

    def model() -> None:
        with pyro.plate("data", len(kept["x"])):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=kept["x"])

    def guide() -> None:
        pair(net)[1](kept["x"])

    def step(elbo: Any, i: int) -> list[Any]:
        kept["x"] = data(i // 2)
        return seen(elbo.differentiable_loss(model, guide), net.parameters())

    return step


@situation
def a_closure_holds_an_argument() -> Step:
    net, x = Net(), data(0)
    model, guide = pair(net, lambda given: x.abs().sum())

    def step(elbo: Any, i: int) -> list[Any]:
        given = x if i < 3 else data(i)
        return seen(elbo.differentiable_loss(model, guide, given), net.parameters())

    return step


@situation
def a_module_holds_an_argument() -> Step:
    net = Net()
    net.x = data(0)
    model, guide = pair(net, lambda given: net.x.abs().sum())

    def step(elbo: Any, i: int) -> list[Any]:
        given = net.x if i < 3 else data(i)
        return seen(elbo.differentiable_loss(model, guide, given), net.parameters())

    return step


@situation
def written_through_another_argument() -> Step:
    net = Net()

    def model(x: Tensor, y: Tensor) -> None:
        y.add_(1.0)
        pair(net)[0](x)

    def guide(x: Tensor, y: Tensor) -> None:
        pair(net)[1](x)

    def step(elbo: Any, i: int) -> list[Any]:
        x = data(i)
        return [*seen(elbo.differentiable_loss(model, guide, x, x), net.parameters()), x]

    return step
