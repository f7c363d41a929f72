"""Networks and programs of every kind."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule, PyroParam
from torch import Tensor, nn
from torch.nn import functional as F

from .making import SITUATIONS, Net, Step, data, late, pair, seen, situation, stepping


def _networks(name: str, make_net: Callable[[], nn.Module]) -> None:
    def make() -> Step:
        torch.manual_seed(0)
        net = make_net()

        model = pair(net)[0]

        def guide(x: Tensor) -> None:
            raw = net(torch.stack([x, x.square()], -1))
            raw = raw[0] if isinstance(raw, tuple) else raw
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(raw[:, 0], F.softplus(raw[:, 1]) + 0.1))

        steps = stepping(net, model, guide, lambda net, i: net.train(i < 5))
        return lambda elbo, i: steps(elbo, i) + [b.clone() for b in net.buffers()]

    SITUATIONS["network_" + name] = make


class Checkpointed(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return torch.utils.checkpoint.checkpoint(super().forward, x, use_reentrant=False)


class OwnFunction(nn.Linear):
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return torch.from_numpy(np.square(x.detach().numpy()))

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Any:
            return 2 * gradient * ctx.saved_tensors[0]

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.Square.apply(super().forward(x))
        return found


_networks("mlp", lambda: nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2)))
_networks("lstm", lambda: nn.LSTM(2, 2))
_networks("gru", lambda: nn.GRU(2, 2))
_networks("batch_norm", lambda: nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
_networks("dropout", lambda: nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)))
_networks("layer_norm", lambda: nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))
_networks("spectral", lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2)))
_networks("weight_norm", lambda: nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
_networks("old_spectral", lambda: nn.utils.spectral_norm(nn.Linear(2, 2)))
_networks("checkpoint", lambda: Checkpointed(nn.Linear(2, 2), nn.Dropout(0.5)))
_networks("own_function", lambda: OwnFunction(2, 2))
_networks("script", lambda: torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.Tanh())))
_networks("lazy", lambda: nn.Sequential(nn.LazyLinear(2)))
_networks("attention", lambda: nn.TransformerEncoderLayer(2, 1, 4, dropout=0.1))
_networks("embedding_of_nothing", lambda: nn.Sequential(nn.Linear(2, 2), nn.Hardtanh()))


@situation
def pyro_modules() -> Step:
    class Guide(PyroModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = PyroModule[nn.Linear](1, 1)
            self.scale = PyroParam(torch.tensor(0.5), dist.constraints.positive)

        def forward(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(self.layer(x.unsqueeze(-1))[:, 0], self.scale))

    pyro.clear_param_store()
    torch.manual_seed(0)
    guide = Guide()
    return stepping(guide, pair(Net())[0], guide)


@situation
def subsampled_rows() -> Step:
    net = Net()

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample_size=3) as rows:
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x[rows])

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample_size=3) as rows:
            raw = net.layer(x[rows].unsqueeze(-1))
            pyro.sample("z", dist.Normal(raw[:, 0], F.softplus(raw[:, 1])))

    return stepping(net, model, guide)


@situation
def a_loop_over_rows() -> Step:
    net = Net()

    def model(x: Tensor) -> None:
        for k in pyro.plate("data", len(x)):
            z = pyro.sample(f"z{k}", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample(f"x{k}", dist.Normal(z, 1.0), obs=x[k])

    def guide(x: Tensor) -> None:
        raw = net.layer(x.unsqueeze(-1))
        for k in pyro.plate("data", len(x)):
            pyro.sample(f"z{k}", dist.Normal(raw[k, 0], F.softplus(raw[k, 1])))

    return stepping(net, model, guide)


@situation
def programs_made_anew() -> Step:
    net = Net()
    return lambda elbo, i: seen(
        elbo.differentiable_loss(*pair(net, lambda x: late(i)), data(i)), net.parameters()
    )


@situation
def two_programs_in_turns() -> Step:
    nets = [Net(), Net()]
    pairs = [pair(net, lambda x, k=k: 1.0 + k) for k, net in enumerate(nets)]

    def step(elbo: Any, i: int) -> list[Any]:
        loss = elbo.differentiable_loss(*pairs[i % 2], data(i))
        return seen(loss, nets[i % 2].parameters())

    return step


@situation
def a_model_that_raises_once() -> Step:
    net = Net()

    def scale(x: Tensor) -> Any:
        if net.beta == 3.0:
            raise RuntimeError("no")
        return net.beta

    model, guide = pair(net, scale)

    def step(elbo: Any, i: int) -> list[Any]:
        net.beta = late(i)
        try:
            return seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())
        except RuntimeError as error:
            return [str(error).splitlines()[0]]

    return step


@situation
def another_capacity() -> Step:
    from pyro_vae.objectives import CapacityELBO

    net, inner = Net(), CapacityELBO(1.0, 10.0)
    model, guide = pair(net)

    def step(elbo: Any, i: int) -> list[Any]:
        inner.capacity = late(i)
        if hasattr(elbo, "objective"):
            elbo.objective = inner
        else:
            elbo = inner
        return seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())

    return step


@situation
def a_loss_of_nan() -> Step:
    net = Net()
    programs = pair(net, lambda x: (x[0] + 1.5).log())
    return stepping(net, *programs, around=lambda i: pyro.validation_enabled(False))


@situation
def twice_backwards() -> Step:
    net = Net()
    model, guide = pair(net)

    def step(elbo: Any, i: int) -> list[Any]:
        for p in net.parameters():
            p.grad = None
        loss = elbo.differentiable_loss(model, guide, data(i))
        loss.backward(retain_graph=True)
        (3 * loss).backward()
        return [loss.detach(), *(p.grad for p in net.parameters())]

    return step


@situation
def second_derivatives() -> Step:
    net = Net()
    model, guide = pair(net)

    def step(elbo: Any, i: int) -> list[Any]:
        loss = elbo.differentiable_loss(model, guide, data(i))
        (first,) = torch.autograd.grad(loss, net.layer.weight, create_graph=True)
        try:
            return [loss.detach(), *torch.autograd.grad(first.square().sum(), net.layer.weight)]
        except RuntimeError as error:
            return [f"refused: {error}"]

    return step


@situation
def copies() -> Step:
    net = Net()
    model, guide = pair(net)

    def step(elbo: Any, i: int) -> list[Any]:
        if i in (3, 4, 6):
            elbo = copy.deepcopy(elbo)
        return seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())

    return step
