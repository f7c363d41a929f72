"""Situations of modules that change between steps: parametrisations, buffers, hooks, attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .making import SITUATIONS, Net, Step, late, simple


class Doubling(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def _parametrized(net: Net, i: int) -> None:
    if i == 3:
        parametrize.register_parametrization(net.layer, "weight", Doubling())
    if i == 6:
        parametrize.remove_parametrizations(net.layer, "weight")


def _weight_norm(net: Net, i: int) -> None:
    if i == 3:
        nn.utils.parametrizations.weight_norm(net.layer)


def _buffer_registered(net: Net, i: int) -> None:
    if i == 3:
        net.register_buffer("shift", torch.tensor(2.0))


def _buffer_dropped(net: Net, i: int) -> None:
    if i == 3:
        del net.shift


def _pre_hook(net: Net, i: int) -> None:
    if i == 3:
        net.layer.register_forward_pre_hook(lambda module, args: (args[0] * 2,))


def _hook_removed(net: Net, i: int) -> None:
    if i == 0:
        net.extra = net.layer.register_forward_hook(lambda module, args, output: output * 2)
    if i == 3:
        net.extra.remove()


def _global_hook(net: Net, i: int) -> None:
    if i == 3:
        hook = nn.modules.module.register_module_forward_hook(
            lambda module, args, output: output * 2 if module is net.layer else None
        )
        net.table["hook"] = hook
    if i == 5:
        net.table["hook"].remove()


def _deep_freeze(net: Net, i: int) -> None:
    net.requires_grad_(i != 4)


def _to_double(net: Net, i: int) -> None:
    if i == 4:
        net.double()
    if i == 6:
        net.float()


def _swapped_storage(net: Net, i: int) -> None:
    if i == 3:
        net.shift.set_(torch.tensor([5.0, 7.0]).untyped_storage(), 1, ())


def _tied(net: Net, i: int) -> None:
    if i == 3:
        net.layer.bias = nn.Parameter(net.layer.weight.detach()[:, 0].clone())


CHANGES: dict[str, tuple[Callable[[Net, Tensor], Any], Callable[[Net, int], Any]]] = {
    "parametrized": (lambda net, x: 1.0, _parametrized),
    "weight_norm": (lambda net, x: 1.0, _weight_norm),
    "buffer_registered": (lambda net, x: net.shift, _buffer_registered),
    "buffer_dropped": (lambda net, x: getattr(net, "shift", 1.5), _buffer_dropped),
    "pre_hook": (lambda net, x: 1.0, _pre_hook),
    "hook_removed": (lambda net, x: 1.0, _hook_removed),
    "global_hook": (lambda net, x: 1.0, _global_hook),
    "all_frozen": (lambda net, x: 1.0, _deep_freeze),
    "to_double": (lambda net, x: 1.0, _to_double),
    "swapped_storage": (lambda net, x: net.shift, _swapped_storage),
    "new_bias": (lambda net, x: 1.0, _tied),
    "resized_buffer": (
        lambda net, x: net.plain.sum(),
        lambda n, i: n.plain.resize_(1 + (i > 3)).fill_(late(i)),
    ),
    "half_buffer": (
        lambda net, x: net.shift.float(),
        lambda n, i: setattr(n, "shift", torch.tensor(late(i), dtype=torch.float16)),
    ),
    "tuple_attribute": (
        lambda net, x: sum(net.extra or (1.0,)),
        lambda n, i: setattr(n, "extra", (late(i), (2.0)) if i else None),
    ),
    "nested_dictionary": (
        lambda net, x: net.table["deep"][0]["beta"] if "deep" in net.table else 1.0,
        lambda n, i: n.table.setdefault("deep", [{}])[0].update(beta=late(i)),
    ),
    "numpy_scalar": (
        lambda net, x: float(net.count),
        lambda n, i: setattr(n, "count", np.float32(late(i))),
    ),
    "bool_attribute": (
        lambda net, x: 2.0 if net.extra else 1.0,
        lambda n, i: setattr(n, "extra", late(i) != 1.0),
    ),
    "a_method_of_the_net": (
        lambda net, x: net.scaled() if hasattr(net, "scaled") else 1.0,
        lambda n, i: setattr(n, "scaled", lambda i=i: late(i)),
    ),
}


def _changed(name: str) -> Callable[[], Step]:
    return lambda: simple(*CHANGES[name])


for _name in CHANGES:
    SITUATIONS["changed_" + _name] = _changed(_name)
