"""Other situations of the kinds beside: modules, modes, aliases and arguments that change."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.nn import functional as F

from .arguments import _arguments
from .making import SITUATIONS, Net, Step, data, late, pair, seen, situation


@dataclass
class Options:
    beta: float
    scale: Tensor


@dataclass(frozen=True)
class Frozen:
    beta: float


BASE = torch.arange(6.0) + 1


def _views(i: int) -> tuple[Any, ...]:
    """Views of one storage, overlapping until later."""
    base = torch.arange(6.0) + i
    return (data(i), base[:3], base[1:4] if i < 3 else base[3:] * 2)


def _own_storage(i: int) -> tuple[Any, ...]:
    x = data(i)
    return (x, x[:3]) if i < 4 else (x, x[:3].clone() + i)


_arguments("dataclass", lambda i: ((data(i), Options(late(i), torch.ones(2))), {}))
_arguments("frozen_dataclass", lambda i: ((data(i), Frozen(late(i))), {}))
_arguments("views", lambda i: (_views(i), {}))
_arguments("view_of_the_data", lambda i: (_own_storage(i), {}))
_arguments("written_view", lambda i: ((data(i), BASE.fill_(1.0 + i)[:2], BASE[2:]), {}))
_arguments(
    "keyword_order",
    lambda i: ((data(i),), {"a": 1.0, "b": late(i)} if i % 2 else {"b": late(i), "a": 1.0}),
)
_arguments("none_later", lambda i: ((data(i), torch.ones(2) * i if i < 4 else None), {}))
_arguments("deep", lambda i: ((data(i), [{"a": (torch.ones(1) * i, [late(i), None])}]), {}))
_arguments("integers", lambda i: ((data(i), torch.arange(3) + i), {}))
_arguments("float16", lambda i: ((data(i), torch.ones(3, dtype=torch.float16) * i), {}))
_arguments("bool_tensor", lambda i: ((data(i), torch.tensor([i > 3, True])), {}))
_arguments("zero_dim", lambda i: ((data(i), torch.tensor(late(i))), {}))
_arguments("flipped", lambda i: ((data(i).flip(0), torch.arange(4.0)[::2] * i), {}))
_arguments("empty_batch", lambda i: ((data(i, 0 if i in (2, 3, 5) else 6),), {}))
_arguments("string_keyword", lambda i: ((data(i),), {"mode": "a" * int(late(i))}))
_arguments("slice", lambda i: ((data(i), slice(0, int(late(i)))), {}))
_arguments("numpy_number", lambda i: ((data(i), np.float64(late(i))), {}))
_arguments("function", lambda i: ((data(i), (lambda: i)), {"beta": late(i)}))


def _extra(name: str, model_of: Callable[[Net], Callable[[Tensor], None]]) -> None:
    def make() -> Step:
        pyro.clear_param_store()
        net = Net()
        model, guide = model_of(net), pair(net)[1]
        return lambda elbo, i: seen(
            elbo.differentiable_loss(model, guide, data(i)), net.parameters()
        )

    SITUATIONS["model_" + name] = make


def _no_grad(net: Net) -> Callable[[Tensor], None]:
    def model(x: Tensor) -> None:
        with torch.no_grad():
            scale = net.layer.weight.abs().sum()
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, scale), obs=x)

    return model


def _shapes(net: Net) -> Callable[[Tensor], None]:
    def model(x: Tensor) -> None:
        scale = 1.0
        while x.numel() // 2 ** int(scale) > 1:
            scale += 1.0
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, scale if x.dim() == 1 else 2.0), obs=x)

    return model


def _factor(net: Net) -> Callable[[Tensor], None]:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            pyro.factor("f", -0.5 * (z - x).square())

    return model


def _masked_rows(net: Net) -> Callable[[Tensor], None]:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)), poutine.mask(mask=x > 0.2):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    return model


def _obs_mask(net: Net) -> Callable[[Tensor], None]:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            p = dist.Normal(z, 1.0).mask(x > 0.2)
            pyro.sample("x", p, obs=x)

    return model


def _deterministic(net: Net) -> Callable[[Tensor], None]:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            y = pyro.deterministic("y", z * 2)
            pyro.sample("x", dist.Normal(y, 1.0), obs=x)

    return model


def _rng(net: Net) -> Callable[[Tensor], None]:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0 + np.random.rand()), obs=x)

    return model


def _seeded_inside(net: Net) -> Callable[[Tensor], None]:
    def model(x: Tensor) -> None:
        pyro.set_rng_seed(7)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0 + torch.rand(())), obs=x)

    return model


for _made in (
    _no_grad, _shapes, _factor, _masked_rows, _obs_mask, _deterministic, _rng, _seeded_inside
):  # fmt: skip
    _extra(_made.__name__.strip("_"), _made)


def _modules(name: str, module: Callable[[], nn.Module], modes: bool = True) -> None:
    """One submodule's mode changes, the others' do not."""

    def make() -> Step:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(1, 4), module(), nn.Linear(4, 2))

        def guide(x: Tensor) -> None:
            raw = net(x.unsqueeze(-1))
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(raw[:, 0], F.softplus(raw[:, 1]) + 0.1))

        model = pair(Net())[0]

        def step(elbo: Any, i: int) -> list[Any]:
            net[1].train(not modes or late(i) == 1.0)
            found = seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())
            return found + [b.clone() for b in net.buffers()]

        return step

    SITUATIONS["mode_" + name] = make


_modules("dropout", lambda: nn.Dropout(0.3))
_modules("batch_norm", lambda: nn.BatchNorm1d(4))
_modules("untracked_batch_norm", lambda: nn.BatchNorm1d(4, track_running_stats=False))
_modules("alpha_dropout", lambda: nn.AlphaDropout(0.3))
_modules("moving_batch_norm", lambda: nn.BatchNorm1d(4, momentum=None), modes=False)
_modules("rrelu", lambda: nn.RReLU())


@situation
def a_constraint_that_changes() -> Step:
    net, kept = Net(), {"constraint": dist.constraints.positive}

    def guide(x: Tensor) -> None:
        scale = pyro.param("scale", torch.tensor(0.5), kept["constraint"])
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(net.layer(x.unsqueeze(-1))[:, 0], scale))

    model = pair(net)[0]

    def step(elbo: Any, i: int) -> list[Any]:
        if i == 4:
            pyro.clear_param_store()
            kept["constraint"] = dist.constraints.greater_than(0.25)
        found = elbo.differentiable_loss(model, guide, data(i))
        return seen(found, [pyro.get_param_store()._params["scale"], *net.parameters()])

    return step


@situation
def a_parameter_stored_anew() -> Step:
    net = Net()

    def guide(x: Tensor) -> None:
        scale = pyro.param("scale", torch.tensor(0.5), dist.constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(net.layer(x.unsqueeze(-1))[:, 0], scale))

    model = pair(net)[0]

    def step(elbo: Any, i: int) -> list[Any]:
        store = pyro.get_param_store()
        if i == 3:
            state = copy.deepcopy(store.get_state())
            state["params"]["scale"] = torch.tensor(1.0, requires_grad=True)
            store.clear()
            store.set_state(state)
        if i == 5:
            store["scale"] = torch.tensor(3.0)
        found = elbo.differentiable_loss(model, guide, data(i))
        return seen(found, [store._params["scale"], *net.parameters()])

    return step


@situation
def handlers_within_the_programs() -> Step:
    net, kept = Net(), {"scale": 1.0}
    inner, guide = pair(net)

    def model(x: Tensor) -> None:
        with poutine.scale(scale=kept["scale"]):
            inner(x)

    def scaled(x: Tensor) -> None:
        with poutine.scale(scale=kept["scale"]):
            guide(x)

    def step(elbo: Any, i: int) -> list[Any]:
        kept["scale"] = late(i)
        return seen(elbo.differentiable_loss(model, scaled, data(i)), net.parameters())

    return step


@situation
def programs_made_by_handlers() -> Step:
    net = Net()
    model, guide = pair(net)
    kept = {"model": poutine.scale(model, scale=2.0), "guide": poutine.scale(guide, scale=2.0)}

    def step(elbo: Any, i: int) -> list[Any]:
        if i == 4:
            kept["model"] = poutine.scale(model, scale=3.0)
            kept["guide"] = poutine.scale(guide, scale=3.0)
        found = elbo.differentiable_loss(kept["model"], kept["guide"], data(i))
        return seen(found, net.parameters())

    return step


@situation
def an_argument_is_a_parameter_of_the_net() -> Step:
    net = Net()
    model, guide = pair(net, lambda x: net.layer.bias.abs().sum())

    def step(elbo: Any, i: int) -> list[Any]:
        x = net.layer.bias.detach() if i < 3 else data(i, 2)
        return seen(elbo.differentiable_loss(model, guide, x), net.parameters())

    return step


@situation
def a_buffer_is_an_argument() -> Step:
    net = Net()
    net.register_buffer("x", data(0))
    model, guide = pair(net, lambda given: net.x.sum().abs() + 1)

    def step(elbo: Any, i: int) -> list[Any]:
        net.x.add_(0.5)
        given = net.x if i < 3 else data(i)
        return seen(elbo.differentiable_loss(model, guide, given), net.parameters())

    return step


@situation
def a_plate_of_another_subsample() -> Step:
    net, kept = Net(), {"rows": torch.arange(3)}

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample=kept["rows"]) as rows:
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x[rows])

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample=kept["rows"]) as rows:
            raw = net.layer(x[rows].unsqueeze(-1))
            pyro.sample("z", dist.Normal(raw[:, 0], F.softplus(raw[:, 1])))

    def step(elbo: Any, i: int) -> list[Any]:
        if i > 2:
            kept["rows"] = torch.tensor([i % 6, 0] if i == 5 else [i % 6, 0, 2])
        if i == 7:
            kept["rows"][0] = 4
        return seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())

    return step
