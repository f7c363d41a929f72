"""State that a program depends on and that is no argument."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn

from .making import SITUATIONS, Net, Step, data, late, pair, seen, simple, situation, stepping

BETA = 1.0
CONFIG = {"beta": 1.0}
SETTINGS = SimpleNamespace(beta=1.0, deep=SimpleNamespace(beta=1.0))
WEIGHT = torch.tensor(1.0)


def _attribute(net: Net, i: int) -> None:
    net.beta = late(i)


def _freeze(net: Net, i: int) -> None:
    net.layer.bias.requires_grad_(late(i) == 1.0)


def _unfreeze(net: Net, i: int) -> None:
    net.layer.bias.requires_grad_(late(i) != 1.0)


def _assign(net: Net, i: int) -> None:
    if i in (3, 5):
        state = {k: v.detach().clone() + i for k, v in net.state_dict().items()}
        net.load_state_dict(state, assign=True)


def _parameter(net: Net, i: int) -> None:
    if i == 3:
        net.layer.weight = nn.Parameter(torch.full((2, 1), 2.0))


def _layer(net: Net, i: int) -> None:
    if i == 3:
        torch.manual_seed(9)
        net.layer = nn.Linear(1, 2)


def _hook(net: Net, i: int) -> None:
    if i == 3:
        net.layer.register_forward_hook(lambda module, args, output: output * 2)


def _method(net: Net, i: int) -> None:
    if i == 3:
        net.layer.forward = lambda x: torch.stack([x[:, 0] * net.layer.weight[0, 0]] * 2, -1)


def _module_global(net: Net, i: int) -> None:
    global BETA
    BETA = late(i)


def _rebound(net: Net, i: int) -> None:
    global WEIGHT
    WEIGHT = torch.tensor(late(i))


STATE: dict[str, tuple[Callable[[Net, Tensor], Any], Callable[[Net, int], Any]]] = {
    "attribute": (lambda net, x: net.beta, _attribute),
    "dictionary": (lambda net, x: net.table["beta"], lambda n, i: n.table.update(beta=late(i))),
    "list": (lambda net, x: sum(net.numbers), lambda n, i: n.numbers.__setitem__(0, late(i))),
    "longer_list": (lambda n, x: sum(n.numbers), lambda n, i: n.numbers.append(late(i))),
    "set": (lambda net, x: float(len(net.names)), lambda n, i: n.names.add(late(i))),
    "array": (lambda net, x: float(net.array[0]), lambda n, i: n.array.__setitem__(0, late(i))),
    "array_as_tensor": (
        lambda net, x: torch.from_numpy(net.array).sum(),
        lambda n, i: n.array.__setitem__(0, late(i)),
    ),
    "buffer_in_place": (lambda net, x: net.shift, lambda n, i: n.shift.fill_(late(i))),
    "buffer_anew": (
        lambda net, x: net.shift,
        lambda n, i: setattr(n, "shift", torch.tensor(late(i))),
    ),
    "buffer_item": (lambda net, x: net.shift.item(), lambda n, i: n.shift.fill_(late(i))),
    "buffer_float": (lambda net, x: float(net.shift), lambda n, i: n.shift.fill_(late(i))),
    "buffer_tolist": (lambda net, x: net.shift.tolist(), lambda n, i: n.shift.fill_(late(i))),
    "buffer_branch": (
        lambda net, x: 2.0 if net.shift > 1.5 else 1.0,
        lambda n, i: n.shift.fill_(late(i)),
    ),
    "buffer_data": (
        lambda net, x: net.shift,
        lambda n, i: setattr(n.shift, "data", torch.tensor(late(i))),
    ),
    "buffer_read_data": (lambda net, x: net.shift.data, lambda n, i: n.shift.fill_(late(i))),
    "tensor_attribute": (
        lambda net, x: net.plain,
        lambda n, i: setattr(n, "plain", torch.tensor(late(i))),
    ),
    "training": (
        lambda net, x: 2.0 if net.training else 1.0,
        lambda n, i: n.train(late(i) == 1.0),
    ),
    "inner_training": (
        lambda net, x: 2.0 if net.layer.training else 1.0,
        lambda n, i: n.layer.train(late(i) == 1.0),
    ),
    "grad_of_a_parameter": (
        lambda net, x: 1.0 if net.layer.bias.grad is None else net.layer.bias.grad.abs().sum(),
        lambda net, i: None,
    ),
    "extra_module": (
        lambda net, x: 1.0 if net.extra is None else 2.0,
        lambda n, i: setattr(n, "extra", nn.Identity() if i > 3 else None),
    ),
    "freeze": (lambda net, x: 1.0, _freeze),
    "unfreeze": (lambda net, x: 1.0, _unfreeze),
    "load_assign": (lambda net, x: 1.0, _assign),
    "new_parameter": (lambda net, x: 1.0, _parameter),
    "new_layer": (lambda net, x: 1.0, _layer),
    "forward_hook": (lambda net, x: 1.0, _hook),
    "patched_forward": (lambda net, x: 1.0, _method),
    "weight_data": (lambda net, x: 1.0, lambda n, i: n.layer.weight.data.fill_(late(i))),
    "weight_set_data": (
        lambda net, x: 1.0,
        lambda n, i: setattr(n.layer.weight, "data", torch.full((2, 1), late(i))),
    ),
    "weight_copy": (
        lambda net, x: 1.0,
        lambda n, i: n.load_state_dict({k: v + i for k, v in n.state_dict().items()}),
    ),
    "module_global": (lambda net, x: BETA, _module_global),
    "global_dictionary": (lambda net, x: CONFIG["beta"], lambda n, i: CONFIG.update(beta=late(i))),
    "global_namespace": (
        lambda net, x: SETTINGS.beta,
        lambda n, i: setattr(SETTINGS, "beta", late(i)),
    ),
    "deep_namespace": (
        lambda net, x: SETTINGS.deep.beta,
        lambda n, i: setattr(SETTINGS.deep, "beta", late(i)),
    ),
    "global_tensor": (lambda net, x: WEIGHT, _rebound),
    "class_attribute": (
        lambda net, x: Classed.beta,
        lambda n, i: setattr(Classed, "beta", late(i)),
    ),
    "negative_zero": (
        lambda net, x: 1.0 + np.copysign(0.5, net.beta),
        lambda n, i: setattr(n, "beta", -0.0 if i > 3 else 0.0),
    ),
    "number_or_bool": (
        lambda net, x: 2.0 if net.beta is True else 1.0,
        lambda n, i: setattr(n, "beta", True if i > 3 else 1),
    ),
}


class Classed:
    beta = 1.0


def _stated(name: str) -> Callable[[], Step]:
    return lambda: simple(*STATE[name])


for _name in STATE:
    SITUATIONS["state_" + _name] = _stated(_name)


def _counter(net: Net, x: Tensor) -> float:
    net.count += 1
    return 1.0 + net.count / 10


def _kept(net: Net, x: Tensor) -> float:
    net.extra = x.sum()
    return 1.0


def _popped(net: Net, x: Tensor) -> float:
    net.numbers.append(net.numbers[-1] * 1.1)
    return net.numbers[-1]


def _counted_buffer(net: Net, x: Tensor) -> Tensor:
    net.shift += 0.5
    return net.shift


def _rebound_buffer(net: Net, x: Tensor) -> Tensor:
    net.shift = net.shift + 0.5
    return net.shift


def _written_array(net: Net, x: Tensor) -> float:
    net.array += 1
    return float(net.array[0])


for _made in (_counter, _kept, _popped, _counted_buffer, _rebound_buffer, _written_array):
    SITUATIONS["changes" + _made.__name__] = functools.partial(simple, _made)


@situation
def closure_number() -> Step:
    beta, net = 1.0, Net()
    programs = pair(net, lambda x: beta)

    def change(net: Net, i: int) -> None:
        nonlocal beta
        beta = late(i)

    return stepping(net, *programs, change)


@situation
def closure_counter() -> Step:
    calls, net = 0, Net()

    def count(x: Tensor) -> float:
        nonlocal calls
        calls += 1
        return 1.0 + calls

    return stepping(net, *pair(net, count))


@situation
def closure_iterator() -> Step:
    values, net = iter([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]), Net()
    return stepping(net, *pair(net, lambda x: next(values)))


@situation
def closure_generator() -> Step:
    noise, net = torch.Generator().manual_seed(0), Net()
    return stepping(net, *pair(net, lambda x: 1.0 + torch.rand((), generator=noise)))


@situation
def closure_python_random() -> Step:
    noise, net = random.Random(3), Net()
    return stepping(net, *pair(net, lambda x: 1.0 + noise.random()))


@situation
def default_argument() -> Step:
    net, kept = Net(), {"beta": 1.0}

    def scale(x: Tensor, kept: Any = kept) -> float:
        return float(kept["beta"])

    return stepping(net, *pair(net, scale), lambda net, i: kept.update(beta=late(i)))


@situation
def partial_program() -> Step:
    net, kept = Net(), {"beta": 1.0}

    def scaled(kept: Any, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            with poutine.scale(scale=kept["beta"]):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    model, guide = functools.partial(scaled, kept), pair(net)[1]
    return stepping(net, model, guide, lambda net, i: kept.update(beta=late(i)))


@situation
def slots() -> Step:
    class Slotted:
        __slots__ = ("beta",)

    net, kept = Net(), Slotted()
    programs = pair(net, lambda x: kept.beta)
    return stepping(net, *programs, lambda net, i: setattr(kept, "beta", late(i)))


@situation
def functional_call() -> Step:
    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()
            self.model, self.guide = pair(self.net)

        def forward(self, elbo: Any, x: Tensor) -> Tensor:
            loss: Tensor = elbo.differentiable_loss(self.model, self.guide, x)
            return loss

    whole = Loss()

    def step(elbo: Any, i: int) -> list[Any]:
        values = {k: (v + i).detach().requires_grad_() for k, v in whole.named_parameters()}
        loss = torch.func.functional_call(whole, values if i > 2 else {}, (elbo, data(i)))
        return seen(loss, values.values() if i > 2 else whole.parameters())

    return step


@situation
def computed_weights() -> Step:
    net, base = Net(), torch.tensor(0.5, requires_grad=True)
    kept = {"weight": base.exp()}
    model, guide = pair(net, lambda x: kept["weight"])

    def step(elbo: Any, i: int) -> list[Any]:
        kept["weight"] = base.exp()
        loss = elbo.differentiable_loss(model, guide, data(i))
        return seen(loss, [base, *net.parameters()])

    return step


@situation
def a_hook_on_a_parameter() -> Step:
    net = Net()
    net.layer.weight.register_hook(lambda gradient: gradient * 3)
    return stepping(net, *pair(net))


@situation
def a_hook_that_comes_later() -> Step:
    net = Net()

    def change(net: Net, i: int) -> None:
        if i == 3:
            net.layer.weight.register_hook(lambda gradient: gradient * 3)

    return stepping(net, *pair(net), change)


@situation
def pyro_parameters() -> Step:
    pyro.clear_param_store()
    net = Net()

    def guide(x: Tensor) -> None:
        scale = pyro.param("scale", torch.tensor(0.5), dist.constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(net.layer(x.unsqueeze(-1))[:, 0], scale))

    def step(elbo: Any, i: int) -> list[Any]:
        if i == 3:
            pyro.get_param_store()["scale"] = torch.tensor(2.0)
        if i == 5:
            pyro.clear_param_store()
        loss = elbo.differentiable_loss(pair(net)[0] if i == 99 else model, guide, data(i))
        raw = pyro.get_param_store()._params["scale"]
        return seen(loss, [raw, *net.parameters()])

    model = pair(net)[0]
    return step
