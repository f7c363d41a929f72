"""A model's parameters in Pyro's store, under a name that no other model of the process has."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from weakref import WeakValueDictionary

import pyro
import torch
from torch import Tensor, nn

from pyro_vae.errors import InputError

__all__: list[str] = []

_numbers = itertools.count(2)
_taken: set[str] = set()
_owned: WeakValueDictionary[int, Tensor] = WeakValueDictionary()
"""Parameters that a module of ours has put in Pyro's store, by their identity."""
_registers: ContextVar[bool] = ContextVar("registers", default=True)


@contextmanager
def local_params() -> Iterator[None]:
    """A context in which a VAE's programs leave its parameters out of Pyro's parameter store.

    They have to be there for an optimiser of Pyro's only, and telling it costs a tenth of a step.
    """
    token = _registers.set(False)
    try:
        yield
    finally:
        _registers.reset(token)


def unique(name: str) -> str:
    """A name that no other VAE of this process has: Pyro's parameter store goes by names."""
    fresh = name
    while fresh in _taken:
        fresh = f"{name}_{next(_numbers)}"
    _taken.add(fresh)
    return fresh


def take(name: str) -> str:
    """Let no model that is made later have a name."""
    _taken.add(name)
    return name


def register(model: str, part: str, modules: Mapping[str, nn.Module]) -> None:
    """Give Pyro modules' parameters, as ``pyro.module`` does, but refuse another model's.

    Args:
        model: The model's name.
        part: Which part of it they are.
        modules: By the prefix of their parameters' names.

    Raises:
        InputError: If the store has another module's parameters under the name.
    """
    if not _registers.get():
        return
    for prefix, module in modules.items():
        for key, value in module.named_parameters():
            if value.requires_grad:
                _register(model, f"{model}.{part}$$${prefix}{key}", value)


def _register(model: str, name: str, value: nn.Parameter) -> None:
    returned = pyro.param(name, value)
    store = pyro.get_param_store()
    if returned is not value and _loaded(returned, value):
        # Of a store that was read from a file: what was trained goes on in this module.
        with torch.no_grad():
            value.copy_(returned)
        del store[name]
        returned = pyro.param(name, value)
    _owned[id(value)] = value
    if returned is not value and name in store and store[name] is returned:
        raise InputError(
            f"Pyro's parameter store holds another module's parameters under "
            f"{model!r}, so that these would not be trained: give this VAE "
            "another name=, or call pyro.clear_param_store()"
        )


def _loaded(stored: object, value: Tensor) -> bool:
    """Whether a parameter in Pyro's store can only have come out of a file."""
    mine = _owned.get(id(stored)) is stored
    return isinstance(stored, Tensor) and stored.shape == value.shape and not mine
