"""What situations are made of: a network, a model and a guide, a step, and their table."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.nn import functional as F

Step = Callable[[Any, int], list[Any]]
SITUATIONS: dict[str, Callable[[], Step]] = {}


def situation(make: Callable[[], Step]) -> Callable[[], Step]:
    SITUATIONS[make.__name__] = make
    return make


def data(i: int, n: int = 6) -> Tensor:
    return torch.linspace(-1, 1, n) * (1 + 0.5 * i) + 0.1 * i


def seen(loss: Tensor, leaves: Any) -> list[Any]:
    """A loss and its gradients."""
    leaves = [leaf for leaf in leaves if leaf.requires_grad]
    for leaf in leaves:
        leaf.grad = None
    if loss.requires_grad:
        loss.backward()
    return [loss.detach(), *(leaf.grad for leaf in leaves)]


class Net(nn.Module):
    """A guide's network, and numbers to be changed from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 2)
        self.beta = 1.0
        self.register_buffer("shift", torch.tensor(0.5))
        self.table = {"beta": 1.0}
        self.numbers = [1.0, 2.0]
        self.names = {"a"}
        self.extra: Any = None
        self.count = 0
        self.array = np.ones(1, np.float32)
        self.plain = torch.tensor(1.0)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[0.3], [-0.2]]))
            self.layer.bias.copy_(torch.tensor([0.1, 0.2]))


def pair(net: Any, scale: Callable[[Tensor], Any] = lambda x: 1.0) -> tuple[Any, Any]:
    """Model and guide: what is made of x scales the likelihood."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            with poutine.scale(scale=scale(x)):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        raw = net.layer(x.unsqueeze(-1))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(raw[:, 0], F.softplus(raw[:, 1])))

    return model, guide


def stepping(
    net: nn.Module,
    model: Any,
    guide: Any,
    between: Callable[[Any, int], object] = lambda net, i: None,
    inputs: Callable[[int], Tensor] = data,
    around: Callable[[int], AbstractContextManager[Any]] = lambda i: nullcontext(),
) -> Step:
    """Steps of two programs: what happens before each one, and what stands around its loss."""

    def step(elbo: Any, i: int) -> list[Any]:
        between(net, i)
        with around(i):
            loss = elbo.differentiable_loss(model, guide, inputs(i))
        return seen(loss, net.parameters())

    return step


def simple(
    scale: Callable[[Net, Tensor], Any],
    between: Callable[[Net, int], Any] = lambda net, i: None,
    inputs: Callable[[int], Tensor] = data,
) -> Step:
    """A model scaled by what is read of the network and x, and what happens between steps."""
    net = Net()
    return stepping(net, *pair(net, lambda x: scale(net, x)), between, inputs)


def late(i: int) -> float:
    """Changes after the graph has been made, and changes back."""
    return (1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 1.0, 2.0)[i]
