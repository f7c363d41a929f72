"""Programs that a graph could get wrong without a word: each makes a step, many times over.

A situation is a function that returns ``step``: (objective, i) → what of loss and gradients there
is to see of the i-th step, on noise that was seeded by i.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import random
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.nn import PyroModule, PyroParam
from torch import Tensor, nn
from torch.nn import functional as F

Step = Callable[[Any, int], list[Any]]
SITUATIONS: dict[str, Callable[[], Step]] = {}

BETA = 1.0
CONFIG = {"beta": 1.0}
SETTINGS = SimpleNamespace(beta=1.0, deep=SimpleNamespace(beta=1.0))
WEIGHT = torch.tensor(1.0)


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


def simple(
    scale: Callable[[Net, Tensor], Any],
    between: Callable[[Net, int], Any] = lambda net, i: None,
    inputs: Callable[[int], Tensor] = data,
) -> Step:
    """A model scaled by what is read of the network and x, and what happens between steps."""
    net = Net()
    model, guide = pair(net, lambda x: scale(net, x))

    def step(elbo: Any, i: int) -> list[Any]:
        between(net, i)
        loss = elbo.differentiable_loss(model, guide, inputs(i))
        return seen(loss, net.parameters())

    return step


def late(i: int) -> float:
    """Changes after the graph has been made, and changes back."""
    return (1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 1.0, 2.0)[i]


# --- values that leave the tracer's sight
READS: dict[str, Callable[[Tensor], Any]] = {
    "item": lambda x: x.sum().abs().item() + 0.1,
    "float": lambda x: float(x.sum().abs()) + 0.1,
    "int": lambda x: int(x.sum().abs() * 10) + 1,
    "bool": lambda x: 2.0 if x.sum() > 0.3 else 1.0,
    "numpy": lambda x: float(np.abs(x.numpy()).sum()),
    "detached_numpy": lambda x: float(x.detach().cpu().numpy().max()),
    "asarray": lambda x: float(np.asarray(x)[-1]) + 0.1,
    "tolist": lambda x: max(x.tolist()) + 0.1,
    "from_numpy": lambda x: torch.from_numpy(np.exp(x.numpy())).sum(),
    "tensor_of_list": lambda x: torch.tensor(x.tolist()).abs().sum(),
    "iterate": lambda x: sum(abs(float(v)) for v in x),
    "any": lambda x: 3.0 if (x > 1.5).any() else 1.0,
    "equal": lambda x: 2.0 if torch.equal(x.sign(), torch.ones_like(x)) else 1.5,
    "allclose": lambda x: 2.0 if torch.allclose(x, data(0)) else 1.5,
    "contains": lambda x: 2.0 if 1.0 in x else 1.5,
    "format": lambda x: 1.0 + len(f"{x}") / 100,
    "repr": lambda x: 1.0 + sum(map(ord, repr(x))) / 1e4,
    "deepcopy": lambda x: copy.deepcopy(x).abs().sum(),
    "data": lambda x: x.data.abs().sum(),
    "storage": lambda x: abs(x.untyped_storage()[3]) + 1.0,
    "dlpack": lambda x: float(np.abs(np.from_dlpack(x)).sum()),
    "nonzero": lambda x: float(len(x.nonzero())),
    "mask": lambda x: x[x > 0].sum().abs() + 0.1,
    "mask_mean": lambda x: x[x > 0.2].mean().abs() + 0.1,
    "masked_select": lambda x: x.masked_select(x > 0).sum() + 0.1,
    "unique": lambda x: x.round().unique().numel() * 1.0,
    "where_indices": lambda x: x[torch.where(x > 0)].sum() + 0.1,
    "repeat_interleave": lambda x: (
        x.repeat_interleave((x.abs() * 2).long()).abs().sum() + 0.1
    ),
    "bincount": lambda x: float(len(x.abs().long().bincount())),
    "arange": lambda x: torch.arange(int(x.abs().sum()) + 1).sum() + 1.0,
    "split": lambda x: x.split([int(x[-1] > 1.2) + 1, 5 - int(x[-1] > 1.2)])[0].abs().sum(),
    "argmax_branch": lambda x: [1.0, 2.0, 3.0, 4.0, 5.0, 6.0][int(x.abs().argmax())],
    "sort": lambda x: x.sort().values[0].abs() + 0.1,
    "cumsum": lambda x: x.cumsum(0)[-1].abs() + 0.1,
    "gather": lambda x: x.gather(0, (x > 0).long()).sum().abs() + 0.1,
    "mask_write": lambda x: x.clone().masked_fill_(x > 0, 2.0).sum().abs() + 0.1,
    "index_put": lambda x: torch.zeros(3).index_put(((x > 0).long(),), x).abs().sum() + 0.1,
    "clone_in_place": lambda x: x.clone().add_(1).abs().sum(),
    "argument_in_place": lambda x: x.mul_(1.01).abs().sum(),
    "argument_out": lambda x: torch.abs(x, out=x).sum() + 0.1,
    "grad_enabled": lambda x: x.detach().requires_grad_().abs().sum().detach(),
    "python_noise": lambda x: 1.0 + random.random(),
    "numpy_noise": lambda x: 1.0 + float(np.random.rand()),
    "torch_noise": lambda x: 1.0 + torch.rand(()),
    "own_generator": lambda x: 1.0 + torch.rand((), generator=torch.Generator().manual_seed(1)),
    "manual_seed": lambda x: (torch.manual_seed(5), 1.0 + torch.rand(()))[1],
    "fork_rng": lambda x: forked(),
    "dropout": lambda x: F.dropout(x.abs() + 0.1, 0.5).sum() + 0.1,
    "randperm": lambda x: x[torch.randperm(len(x))[:2]].abs().sum() + 0.1,
    "multinomial": lambda x: x[torch.multinomial(x.abs() + 0.1, 2)].abs().sum() + 0.1,
    "size": lambda x: 1.0 + x.shape[0] * x.stride(0),
    "contiguous": lambda x: 2.0 if x.is_contiguous() else 1.5,
}  # fmt: skip


def forked() -> Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return 1.0 + torch.rand(())


def _reading(read: Callable[[Tensor], Any]) -> Callable[[], Step]:
    return lambda: simple(lambda net, x: read(x))


for _name, _read in READS.items():
    SITUATIONS["reads_" + _name] = _reading(_read)


# --- state that is no argument
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
    model, guide = pair(net, lambda x: beta)

    def step(elbo: Any, i: int) -> list[Any]:
        nonlocal beta
        beta = late(i)
        return seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())

    return step


@situation
def closure_counter() -> Step:
    calls, net = 0, Net()

    def count(x: Tensor) -> float:
        nonlocal calls
        calls += 1
        return 1.0 + calls

    model, guide = pair(net, count)

    def step(elbo: Any, i: int) -> list[Any]:
        return seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())

    return step


@situation
def closure_iterator() -> Step:
    values, net = iter([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]), Net()
    model, guide = pair(net, lambda x: next(values))
    return lambda elbo, i: seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())


@situation
def closure_generator() -> Step:
    noise, net = torch.Generator().manual_seed(0), Net()
    model, guide = pair(net, lambda x: 1.0 + torch.rand((), generator=noise))
    return lambda elbo, i: seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())


@situation
def closure_python_random() -> Step:
    noise, net = random.Random(3), Net()
    model, guide = pair(net, lambda x: 1.0 + noise.random())
    return lambda elbo, i: seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())


@situation
def default_argument() -> Step:
    net, kept = Net(), {"beta": 1.0}

    def scale(x: Tensor, kept: Any = kept) -> float:
        return float(kept["beta"])

    model, guide = pair(net, scale)

    def step(elbo: Any, i: int) -> list[Any]:
        kept["beta"] = late(i)
        return seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())

    return step


@situation
def partial_program() -> Step:
    net, kept = Net(), {"beta": 1.0}

    def scaled(kept: Any, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            with poutine.scale(scale=kept["beta"]):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    model, guide = functools.partial(scaled, kept), pair(net)[1]

    def step(elbo: Any, i: int) -> list[Any]:
        kept["beta"] = late(i)
        return seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())

    return step


@situation
def slots() -> Step:
    class Slotted:
        __slots__ = ("beta",)

    net, kept = Net(), Slotted()
    model, guide = pair(net, lambda x: kept.beta)

    def step(elbo: Any, i: int) -> list[Any]:
        kept.beta = late(i)
        return seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())

    return step


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
    model, guide = pair(net)
    return lambda elbo, i: seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())


@situation
def a_hook_that_comes_later() -> Step:
    net = Net()
    model, guide = pair(net)

    def step(elbo: Any, i: int) -> list[Any]:
        if i == 3:
            net.layer.weight.register_hook(lambda gradient: gradient * 3)
        return seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())

    return step


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


# --- what stands around the loss
def _around(name: str, around: Callable[[int], Any]) -> None:
    def make() -> Step:
        net = Net()
        model, guide = pair(net)

        def step(elbo: Any, i: int) -> list[Any]:
            with around(i) if late(i) != 1.0 else contextlib.nullcontext():
                loss = elbo.differentiable_loss(model, guide, data(i))
            return seen(loss, net.parameters())

        return step

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
    model, guide = pair(net)

    def step(elbo: Any, i: int) -> list[Any]:
        with torch.autocast("cpu", torch.bfloat16):
            loss = elbo.differentiable_loss(model, guide, data(i))
        return seen(loss, net.parameters())

    return step


@situation
def no_grad() -> Step:
    net = Net()
    model, guide = pair(net)

    def step(elbo: Any, i: int) -> list[Any]:
        with torch.set_grad_enabled(i != 4):
            return seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())

    return step


@situation
def functional_gradients() -> Step:
    net = Net()
    model, guide = pair(net, lambda x: x.square().sum())

    def step(elbo: Any, i: int) -> list[Any]:
        if i > 2:
            return [torch.func.grad(lambda x: elbo.differentiable_loss(model, guide, x))(data(i))]
        return seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())

    return step


# --- arguments
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


# --- what only a check sees: nothing that the program holds changes
UNSEEN: dict[str, Callable[[], Step]] = {
    "environment": lambda: simple(
        lambda net, x: float(os.environ["PYRO_VAE_TEST"]),
        lambda net, i: os.environ.update(PYRO_VAE_TEST=str(late(i))),
    ),
    "initial_seed": lambda: simple(lambda net, x: 1.0 + torch.initial_seed() % 7),
    "threads": lambda: simple(
        lambda net, x: 1.0 + sys.getrecursionlimit(),
        lambda net, i: sys.setrecursionlimit(5000 + int(late(i))),
    ),
}


# --- programs
def _networks(name: str, make_net: Callable[[], nn.Module]) -> None:
    def make() -> Step:
        torch.manual_seed(0)
        net = make_net()

        def model(x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

        def guide(x: Tensor) -> None:
            raw = net(torch.stack([x, x.square()], -1))
            raw = raw[0] if isinstance(raw, tuple) else raw
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(raw[:, 0], F.softplus(raw[:, 1]) + 0.1))

        def step(elbo: Any, i: int) -> list[Any]:
            if i == 5:
                net.eval()
            found = seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())
            return found + [b.clone() for b in net.buffers()]

        return step

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
    guide, net = Guide(), Net()

    def step(elbo: Any, i: int) -> list[Any]:
        return seen(elbo.differentiable_loss(model, guide, data(i)), guide.parameters())

    model = pair(net)[0]
    return step


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

    return lambda elbo, i: seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())


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

    return lambda elbo, i: seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())


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
    model, guide = pair(net, lambda x: (x[0] + 1.5).log())

    def step(elbo: Any, i: int) -> list[Any]:
        with pyro.validation_enabled(False):
            return seen(elbo.differentiable_loss(model, guide, data(i)), net.parameters())

    return step


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
