"""Values of tensors that a program reads, out of the tracer's sight."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .making import SITUATIONS, Step, data, simple

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
