"""Optimisers and learning-rate schedules of torch, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from torch import nn, optim
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from pyro_vae.errors import InputError

__all__: list[str] = []

OPTIMISERS: dict[str, Callable[..., optim.Optimizer]] = {
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "rmsprop": optim.RMSprop,
    "sgd": partial(optim.SGD, momentum=0.9),
}

LR_SCHEDULES: dict[str, Callable[[optim.Optimizer, int], Any]] = {
    "constant": lambda optimiser, total: lr_scheduler.ConstantLR(optimiser, 1.0),
    "cosine": lambda optimiser, total: lr_scheduler.CosineAnnealingLR(optimiser, total),
    "step": lambda optimiser, total: lr_scheduler.StepLR(optimiser, max(1, total // 3), 0.1),
    # An absolute threshold: relative to a negative score any standstill would count as a gain.
    "plateau": lambda optimiser, total: lr_scheduler.ReduceLROnPlateau(
        optimiser, "max", threshold=1e-3, threshold_mode="abs"
    ),
}
"""Name → (optimiser, total steps) → torch's scheduler; ``plateau`` is stepped once an epoch."""


_NORMALISED = ("adam", "adamw", "rmsprop")
"""Those whose steps are as long whatever the gradient's size."""
WIDE = 1024
"""Inputs of a layer from which on its learning rate is scaled."""


def make_optimiser(
    name: str | Callable[..., optim.Optimizer],
    parameters: Iterable[nn.Parameter],
    lr: float,
    weight_decay: float,
    inputs: Mapping[nn.Parameter, int] | None = None,
) -> optim.Optimizer:
    """The optimiser of a name, in its fused form where torch has one for the parameters' device.

    Args:
        name: In ``OPTIMISERS``, or what makes one of (parameters, lr=, weight_decay=).
        parameters: What is trained.
        lr: Learning rate.
        weight_decay: Of the optimiser.
        inputs: How many inputs a weight adds up. A step of Adam moves all of them by as much, and
            what they add up to by that times their number: a layer of more than 1,024 learns at the
            rate of one of 1,024, as in muP (Yang et al. 2021, table 3).
    """
    parameters = list(parameters)
    if callable(name):
        return _of_own(name, parameters, lr, weight_decay)
    make = OPTIMISERS[name]
    options: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
    # The fused form goes through weights, gradients and moments number by number as they lie.
    plain = all(parameter.is_contiguous() for parameter in parameters)
    if plain and name in ("adam", "adamw", "sgd") and parameters[0].device.type in ("cpu", "cuda"):
        options["fused"] = True
    wide = {p: n for p, n in (inputs or {}).items() if n > WIDE and name in _NORMALISED}
    if not wide:
        return make(parameters, **options)
    groups: list[dict[str, Any]] = [{"params": [p for p in parameters if p not in wide]}]
    groups += [{"params": [p], "lr": lr * WIDE / wide[p]} for p in parameters if p in wide]
    return make(groups, **options)


def _of_own(
    make: Callable[..., optim.Optimizer],
    parameters: list[nn.Parameter],
    lr: float,
    weight_decay: float,
) -> optim.Optimizer:
    options = {"lr": lr, **({"weight_decay": weight_decay} if weight_decay else {})}
    try:
        found = make(parameters, **options)
    except TypeError as error:
        raise InputError(f"optimizer takes (parameters, lr=, weight_decay=): {error}") from None
    if not isinstance(found, optim.Optimizer):
        raise InputError(f"optimizer must make a torch optimiser, got {type(found).__name__}")
    return found


def make_schedules(
    name: str, optimiser: optim.Optimizer, total: int, warm_up: int
) -> tuple[list[LRScheduler], lr_scheduler.ReduceLROnPlateau | None]:
    """Schedulers to step after each training step, and one to step with each epoch's score."""
    chosen = LR_SCHEDULES[name](optimiser, total)
    per_epoch = chosen if isinstance(chosen, lr_scheduler.ReduceLROnPlateau) else None
    per_step = [] if per_epoch is not None or name == "constant" else [chosen]
    if warm_up:
        per_step.append(lr_scheduler.LinearLR(optimiser, 1 / warm_up, 1.0, warm_up))
    return per_step, per_epoch
